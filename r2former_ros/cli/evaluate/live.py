# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former evaluate --live``: the same questions to the real node."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError, R2FormerError
from ..options import progress_bar
from .source import bag_images, protocol_of

if TYPE_CHECKING:
    from ...config import Config
    from ...evaluation.outcomes import Outcome
    from ...evaluation.trial import Trial
    from ...ros.replay.live import LiveRun


def live_outcomes(
    arguments: argparse.Namespace, trial: Trial, config: Config
) -> tuple[list[Outcome], dict[str, Any]]:
    """
    Play the bag to the node and judge what it published.

    :returns: outcomes of the images that were answered, and what to put into the result: counts
        of images, and the latency that the node reports.
    :raises R2FormerError: if rclpy is missing, or nothing was answered.
    """
    images = bag_images(arguments)
    run = _replay(arguments, config, images.topic, trial.count)
    outcomes = _judged(arguments, trial, run)
    if not outcomes:
        raise R2FormerError(f'{arguments.bag}: the node answered no image that has a pose')
    latency_ms = {stage: None if math.isnan(ms) else ms for stage, ms in run.latency_ms.items()}
    return outcomes, {
        'live': {**run.counts, 'rate': arguments.rate},
        'latency_ms': latency_ms,
        'latency_p95_ms': {},
    }


def _replay(
    arguments: argparse.Namespace, config: Config, topic: str, total: int
) -> LiveRun:
    from ...config import with_values

    try:
        from ...ros.replay.live import LiveNode, own_domain
    except ImportError:
        raise ConfigError('--live needs rclpy: source your ROS 2 installation') from None
    count = config.rerank.effective.candidates or config.retrieval.candidates
    config = with_values(config, {'map.path': arguments.map, 'node.hypotheses': count})
    with own_domain(), LiveNode(config, topic) as live, progress_bar('replay', total) as bar:
        return live.play(Path(arguments.bag), topic, rate=arguments.rate, on_image=bar.update)


def _judged(arguments: argparse.Namespace, trial: Trial, run: LiveRun) -> list[Outcome]:
    """Judge by the same poses and rule as offline; both rankings come from the hypotheses."""
    from ...evaluation.measures import judge
    from ...evaluation.outcomes import RERANK, RETRIEVAL, Outcome, Query, Ranking
    from ...sources.frames import POSE_TOLERANCE_NS, frame_name

    images = bag_images(arguments)
    said = {stamp_ns: one.hypotheses for stamp_ns, one in run.hypotheses.items()}
    protocol = protocol_of(arguments)
    answers = judge(said, images.trajectory, trial.places(), protocol, POSE_TOLERANCE_NS)
    outcomes = []
    for answer in answers:
        name = frame_name(images.path, images.topic, answer.stamp_ns)
        query = Query(name, answer.stamp_ns, answer.truth, answer.positives)
        best = answer.hypotheses[0].score if answer.hypotheses else -math.inf
        similarity = max((one.similarity for one in answer.hypotheses), default=-math.inf)
        outcomes.append(Outcome(query, {
            RETRIEVAL: Ranking(tuple(answer.retrieved), similarity),
            RERANK: Ranking(tuple(answer.reranked), best),
        }))
    return outcomes
