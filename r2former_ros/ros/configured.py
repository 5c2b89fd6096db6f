# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Everything that exists from configuring to cleaning up."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

from rclpy.lifecycle import LifecycleNode

from ..config import Config, options, with_values
from ..errors import ConfigError
from ..maps.calibration import calibration_for
from ..maps.search import PlaceSearch
from ..model import Model
from ..model.loading import compiling, load_configured
from ..recognizer import Recognizer
from ..sources.sixteen_bit import use_scaling
from .decoding import decoder_of
from .inputs import OdometryBuffer
from .last_pose import LastPose
from .loop_reporter import LoopReporter, end_map
from .map_transform import MapTransform
from .mounted_camera import CameraInput
from .seen import Consumer

Guard = Callable[[Callable[[], None]], AbstractContextManager[None]]


def unguarded(abandon: Callable[[], None]) -> AbstractContextManager[None]:
    """Guard nothing."""
    return nullcontext()


class Configured:
    """The recognizer on a saved map, the odometry buffer, and loop closure where enabled."""

    def __init__(
        self, node: LifecycleNode, config: Config, guard: Guard = unguarded
    ) -> None:
        """
        Load the weights, open the saved map, begin a map of this drive, and warm up.

        :param guard: a context for this work, which may take long; it is given what to call
            before the process ends in the middle of it.
        :raises R2FormerError: if something that the configuration names cannot be used; whatever
            was opened is closed again.
        """
        use_scaling(config.model.sixteen_bit)
        self.config = config
        self.odometry = OdometryBuffer()
        self.decode = decoder_of(config.node.image_conversion)
        self.loops: LoopReporter | None = None
        self.map_transform: MapTransform | None = None
        self.last_pose: LastPose | None = None
        self.camera = CameraInput(
            node, config.refine.base_to_camera, lambda: self.odometry.child_frame_id)
        self._node = node
        self._log = node.get_logger()
        with guard(self._abandon), ExitStack() as opened:
            opened.callback(self.camera.close)
            self.recognizer = self._open(opened)
            self.camera.map_camera = self.recognizer.refiner.map_camera
            if config.node.last_pose_path:
                self.last_pose = LastPose(config, self.recognizer, self._log)
            if config.node.publish_tf:
                self.map_transform = MapTransform(node, config, self.odometry)
                opened.callback(self.map_transform.close)
            self.recognizer.search.warm_up()
            opened.pop_all()
        self._describe()
        if text := compiling(self.recognizer.search.model):
            self._log.info(text)

    @property
    def has_saved_map(self) -> bool:
        """Whether a saved map is open; otherwise the empty map of this drive stands in for it."""
        return self.loops is None or self.recognizer.search.place_map is not self.loops.place_map

    @property
    def consumers(self) -> list[Consumer]:
        """What must see every image besides the node's own outputs."""
        parts = (self.loops, self.map_transform, self.last_pose)
        return [part.take for part in parts if part is not None]

    def changed(self, values: dict[str, Any]) -> Config:
        """
        Return the settings with some changed at run time, by their dotted names.

        :raises R2FormerError: if they contradict each other, or the open map cannot serve them.
        """
        known = {setting.name for setting in options()}
        given = {name: value for name, value in values.items() if name in known}
        config = with_values(self.config, given)
        calibration_for(self.recognizer.search.place_map, config)
        return config

    def use(self, config: Config) -> None:
        """Apply settings that may change at run time."""
        self.config = config
        self.recognizer.use(config)
        if self.loops is not None:
            self.loops.use(config)

    def reload(self) -> None:
        """
        Read the saved map again, with the same weights.

        :raises R2FormerError: if it cannot be used; the old map stays.
        """
        if not self.has_saved_map:
            raise ConfigError('no saved map is open: configure the node with one first')
        old = self.recognizer
        self.recognizer = Recognizer.open(
            self.config.map.path, self.config, old.search.model, self._log.info)
        self.camera.map_camera = self.recognizer.refiner.map_camera
        old.close()

    def close(self) -> None:
        """Close the maps, and what belongs to the configuration."""
        self.camera.close()
        if self.map_transform is not None:
            self.map_transform.close()
        if self.has_saved_map:
            self.recognizer.close()
        if self.loops is not None:
            self.loops.close()

    def facts(self) -> dict[str, str]:
        """Return what diagnostics report about map, drive, weights and device."""
        model = self.recognizer.search.model
        return {
            'map': self.config.map.path,
            'places': str(len(self.recognizer.search.index)),
            **(self.loops.facts() if self.loops else {}),
            'weights': f'{model.spec.preset} {model.fingerprint} ({model.origin.text})',
            'device': str(model.device),
            'odometry_skipped': str(self.odometry.skipped),
        }

    def _abandon(self) -> None:
        """Leave no file behind when the process ends while configuring."""
        if self.loops is not None:
            end_map(self.loops.place_map)

    def _open(self, opened: ExitStack) -> Recognizer:
        """Open the saved map and begin the drive; register with ``opened`` what to close."""
        config = self.config
        if config.map.path:
            recognizer = Recognizer.open(config.map.path, config, notify=self._log.info)
            opened.callback(recognizer.close)
            if config.loop_closure.enabled:
                self._begin_drive(recognizer.search.model, opened)
            return recognizer
        if not config.loop_closure.enabled:
            raise ConfigError('map.path is empty: give a map (map:=site.r2map)')
        model = load_configured(config)
        loops = self._begin_drive(model, opened)
        # Nothing is recognized on the map of the drive: it is indexed now, while it is empty.
        return Recognizer(PlaceSearch(model, loops.place_map, config))

    def _begin_drive(self, model: Model, opened: ExitStack) -> LoopReporter:
        self.loops = LoopReporter(
            self._node, model, self.config, self.odometry, self.camera)
        opened.callback(self.loops.close)
        self._log.info(f'this drive grows {self.loops.place_map.location}')
        return self.loops

    def _describe(self) -> None:
        model = self.recognizer.search.model
        self._log.info(
            f'map {self.config.map.path or "none"} with {self.facts()["places"]} places; '
            f'{model.origin.text}, {model.spec.preset}, on {model.device} ({model.backend})'
        )
        if self.recognizer.refiner.ready:
            kinds = ', '.join(one.kind for one in self.recognizer.refiner.detectors)
            self._log.info(f'poses are measured in metres with the landmarks of the map ({kinds})')
        if not model.origin.trained:
            self._log.warning('untrained weights: results mean nothing')
        elif not self.recognizer.search.reranks:
            self._log.warning('untrained reranker: hypotheses are ranked by similarity')
