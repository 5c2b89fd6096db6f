# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The last measured pose on disk: a hint for the next start, never an answer."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
from rclpy.impl.rcutils_logger import RcutilsLogger

from ..common.files import replacing
from ..config import Config
from ..errors import FileError
from ..recognizer import Recognizer
from ..records import State
from .seen import Seen

WRITE_PERIOD_S = 5.0
"""Shortest time between two writes."""


class LastPose:
    """Keep the last pose in metres of a localized node; expect it at the next start."""

    def __init__(self, config: Config, recognizer: Recognizer, log: RcutilsLogger) -> None:
        """Let the filter expect what an earlier run kept for the same map."""
        self._path = Path(config.node.last_pose_path).expanduser()
        self._log = log
        self._written_s = -WRITE_PERIOD_S
        position_m = self._read(recognizer.search.place_map.map_id)
        if position_m is not None:
            recognizer.filter.expect(position_m)
            log.info(f'the last pose in {self._path} is expected, but images must confirm it')

    def take(self, seen: Seen) -> None:
        """Keep the measured pose of a localized image."""
        pose, now_s = seen.recognition.pose, time.monotonic()
        if pose is None or seen.recognition.state is not State.LOCALIZED \
                or now_s - self._written_s < WRITE_PERIOD_S:
            return
        self._written_s = now_s
        content = {
            'map_id': seen.recognizer.search.place_map.map_id,
            'stamp_ns': seen.recognition.stamp_ns,
            'map_T_base': pose.map_T_base.tolist(),
        }
        try:
            with replacing(self._path) as part:
                part.write_text(json.dumps(content), encoding='utf-8')
        except FileError as error:
            self._log.warning(f'node.last_pose_path: {error}', throttle_duration_sec=60.0)

    def _read(self, map_id: str) -> np.ndarray | None:
        """Return the position kept for a map; None if there is none that can be used."""
        try:
            content = json.loads(self._path.read_text(encoding='utf-8'))
            position_m = np.array(content['map_T_base'], np.float64).reshape(4, 4)[:3, 3]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._log.warning(f'{self._path}: is not a pose and is ignored ({error!r})')
            return None
        known = content.get('map_id') == map_id and bool(np.isfinite(position_m).all())
        return position_m if known else None
