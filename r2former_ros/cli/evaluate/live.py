# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former evaluate --live``: the same queries, answered by the live node."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import R2FormerError, UsageError
from ..options import progress_bar, tracked
from .source import Given

if TYPE_CHECKING:
    from ...config import Config
    from ...evaluation.ground_truth import Protocol
    from ...evaluation.outcomes import Outcome
    from ...evaluation.trial import BagImages, Trial
    from ...model import Model
    from ...records import Candidate
    from ...ros.replay.live import LiveRun


def live_outcomes(
    arguments: argparse.Namespace, given: Given, trial: Trial, model: Model, config: Config
) -> tuple[list[Outcome], dict[str, Any]]:
    """
    Play the bag to the node and judge what it published.

    :returns: outcomes of the images that were answered, and what to put into the result: counts
        of images, and the latency that the node reports.
    :raises R2FormerError: if rclpy is missing, or nothing was answered.
    """
    images = given.images
    assert images is not None  # check_live: --live needs a bag
    run = _replay(arguments, config, images.topic, trial.count)
    candidates = _candidates(arguments, model, config, images, set(run.hypotheses))
    outcomes = _judged(given.protocol, trial, run, images, candidates)
    if not outcomes:
        raise R2FormerError(f'{arguments.bag}: the node answered no image that has a pose')
    latency_ms = {stage: None if math.isnan(ms) else ms for stage, ms in run.latency_ms.items()}
    return outcomes, {
        'live': {**run.counts, 'rate': arguments.rate},
        'latency_ms': latency_ms,
        'latency_p95_ms': {},
        'memory_mb': run.memory_mb,
    }


def _replay(
    arguments: argparse.Namespace, config: Config, topic: str, total: int
) -> LiveRun:
    from ...config import with_values
    from ...evaluation.published import ranked_count

    try:
        from ...ros.replay.live import LiveNode, own_domain
    except ImportError:
        raise UsageError('--live needs rclpy', 'source your ROS 2 installation') from None
    config = with_values(
        config, {'map.path': arguments.map, 'node.hypotheses': ranked_count(config)})
    with own_domain(), LiveNode(config, topic) as live, progress_bar('replay', total) as bar:
        return live.play(Path(arguments.bag), topic, rate=arguments.rate, on_image=bar.update)


def _candidates(
    arguments: argparse.Namespace, model: Model, config: Config, images: BagImages,
    stamps_ns: set[int],
) -> Mapping[int, Sequence[Candidate]]:
    """Retrieve, in this process, for the images that the node answered."""
    from ...evaluation.published import candidates_of
    from ...sources.bags import Bag

    with Bag(images.path) as bag:
        frames = (frame for frame in bag.images(images.topic, on_bad_frame=lambda _: None)
                  if frame.stamp_ns in stamps_ns)
        with tracked(frames, 'retrieve', len(stamps_ns)) as shown:
            return candidates_of(model, arguments.map, shown, config)


def _judged(
    protocol: Protocol, trial: Trial, run: LiveRun, images: BagImages,
    candidates: Mapping[int, Sequence[Candidate]],
) -> list[Outcome]:
    """Judge by the same poses and rule as an offline run."""
    from ...evaluation.published import judge
    from ...geometry.trajectories import POSE_TOLERANCE_NS
    from ...sources.frames import frame_name

    said = {stamp_ns: one.hypotheses for stamp_ns, one in run.hypotheses.items()}
    return judge(
        said, candidates, images.trajectory, trial.places(), protocol,
        tolerance_ns=POSE_TOLERANCE_NS,
        name_of=lambda stamp_ns: frame_name(images.path, images.topic, stamp_ns),
    )
