# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The only home of defaults, units and ranges.

A setting is named by its path through these dataclasses (``rerank.candidates``): the same name
in a ROS parameter file, in ``--set`` on the command line and in the reference table of the docs.
Precedence: default < YAML file < flag or launch argument.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..errors import ConfigError
from .schema import Option, Scalar, option, options_of

RERANK_PROFILES: dict[str, dict[str, int]] = {
    'exact': {'shortlist': 0, 'candidates': 100, 'local_features': 0},
    'balanced': {'shortlist': 100, 'candidates': 20, 'local_features': 0},
    'fast': {'shortlist': 50, 'candidates': 10, 'local_features': 250},
}
"""exact: as published. balanced: full reranking of the best 20. fast: less of everything."""


@dataclass(frozen=True)
class ModelConfig:
    """Which network runs, and where."""

    weights: str = option(
        'r2former-tiny', 'The bundled r2former-tiny, a .safetensors file, or an untrained preset'
    )
    device: str = option('auto', 'auto, cpu, cuda or cuda:N; auto takes CUDA where it works')
    precision: str = option(
        'float32', 'Arithmetic of the encoder and, where numba does not compute it, of the '
        'reranker; correlations are float32 in any case. bfloat16 orders 2.5 % of the bundled '
        "weights' pairs otherwise, at about the same recall",
        choices=('float32', 'bfloat16', 'float16'),
    )
    backend: str = option(
        'auto', 'What computes: torch is the reference; numba scores pairs by the same in '
        'float32 kernels compiled for this CPU; openvino encodes by OpenVINO, and scores by numba '
        'where it is installed; auto is the fastest of these that is installed; onnx runs the '
        'files in onnx_folder by onnxruntime, in float32; cudagraphs starts the GPU once instead '
        'of for each operation; triton does so too, with a part of the reranker in a kernel of '
        'its own, in bfloat16 or float16',
        choices=('auto', 'torch', 'numba', 'openvino', 'onnx', 'cudagraphs', 'triton'),
    )
    onnx_folder: str = option(
        '', 'For the backend onnx: where r2former weights export wrote the files; empty: where it '
        'writes them when no folder is named, for each weights and size apart'
    )
    onnx_providers: str = option(
        'CPUExecutionProvider', 'For the backend onnx: of onnxruntime, comma-separated, the '
        'preferred first'
    )
    image_height: int = option(
        0, 'Height the image is resized to; 0: as in the weights', unit='px', minimum=0,
        maximum=4096,
    )
    image_width: int = option(
        0, 'Width the image is resized to; 0: as in the weights', unit='px', minimum=0,
        maximum=4096,
    )


@dataclass(frozen=True)
class RetrievalConfig:
    """Search by global descriptor."""

    candidates: int = option(
        100, 'Places taken from the index per query', minimum=1, maximum=10_000, runtime=True,
    )
    index: str = option(
        'auto', 'How places are searched: exactly (flat), by a graph (hnsw), in lists (ivf), in '
        'lists with a byte a value, a quarter of the memory (ivfsq); auto chooses by number',
        choices=('auto', 'flat', 'hnsw', 'ivf', 'ivfsq'),
    )
    device: str = option(
        'auto', 'Where places are searched; auto: where the model runs. On cuda auto is flat',
        choices=('auto', 'cpu', 'cuda'),
    )
    flat_up_to: int = option(
        200_000, 'Places up to which auto is flat', unit='places', minimum=0
    )
    hnsw_up_to: int = option(
        400_000, 'Places up to which auto is hnsw; beyond, ivf', unit='places', minimum=0
    )
    hnsw_links: int = option(32, 'Links of a place in the graph', minimum=4, maximum=128)
    hnsw_build_effort: int = option(
        80, 'Places looked at for each place put into the graph', minimum=8, maximum=2000
    )
    hnsw_effort: int = option(
        256, 'Places looked at for each query of the graph; more find more', minimum=8,
        maximum=10_000,
    )
    ivf_lists: int = option(
        0, 'Lists that places are divided into; 0: four times the root of their number', minimum=0,
        maximum=1_000_000,
    )
    ivf_probes: int = option(
        64, 'Lists looked through for each query; more find more', minimum=1, maximum=1_000_000
    )


@dataclass(frozen=True)
class RerankConfig:
    """Scoring of query and candidate by their local features."""

    candidates: int = option(
        20, 'Candidates that are reranked; 0 turns reranking off', minimum=0, maximum=10_000,
        runtime=True,
    )
    shortlist: int = option(
        100, 'First candidates of retrieval whose local features are compared in a cheap way '
        'first; the best of them are reranked. Not above candidates: the first are reranked',
        minimum=0, maximum=10_000, runtime=True,
    )
    local_features: int = option(
        0, 'Local features of largest attention that are compared; 0: all that are stored',
        minimum=0, maximum=100_000, runtime=True,
    )
    profile: str = option(
        'custom', 'A named choice of shortlist, candidates and local_features; custom takes '
        'them as set', choices=('custom', *RERANK_PROFILES), runtime=True,
    )
    ranking: str = option(
        'probability',
        'What ranks: the match probability alone, as in the released evaluation, or blended '
        'with the similarity by the learned ratio',
        choices=('probability', 'blended'), runtime=True,
    )
    batch: int = option(
        10, 'Pairs scored at a time; bounds the memory of reranking', minimum=1, maximum=1000,
        runtime=True,
    )

    @property
    def effective(self) -> RerankConfig:
        """The same with what the profile names."""
        named: Any = RERANK_PROFILES.get(self.profile, {})
        return replace(self, **named)


@dataclass(frozen=True)
class DecisionConfig:
    """When hypotheses become a localization: a Bayes filter over the places of the map."""

    min_score: float = option(
        0.5, 'Score that speaks as much for a place as for being nowhere on the map; a better '
        'best score makes a candidate', minimum=0.0, maximum=1.0, runtime=True,
    )
    false_accept_rate: float = option(
        0.0, 'Share of foreign images that may pass: the threshold for it comes from the map, '
        'which r2former map calibrate has prepared; 0: min_score as it is set',
        minimum=0.0, maximum=0.5,
    )
    agreement_frames: int = option(
        3, 'Fewest images in a row whose best places agree before the state is localized',
        minimum=1, maximum=1000, runtime=True,
    )
    agreement_radius_m: float = option(
        10.0, 'Places so near to each other agree; without odometry, also how far the camera may '
        'move between two images', unit='m', minimum=0.0,
    )
    localized_probability: float = option(
        0.9, 'Probability of the places around the best from which the state is localized',
        minimum=0.5, maximum=0.999, runtime=True,
    )
    keep_probability: float = option(
        0.5, 'Probability below which localized becomes lost', minimum=0.0, maximum=0.999,
        runtime=True,
    )
    miss_likelihood: float = option(
        0.1, 'How much rarer an image is at a place it does not name than outside the map',
        minimum=0.001, maximum=1.0, runtime=True,
    )
    leave_probability: float = option(
        0.02, 'Probability, at each image, of leaving the map or coming back to it',
        minimum=0.0001, maximum=0.5, runtime=True,
    )
    odometry_error_percent: float = option(
        30.0, 'Error of the motion between two images, of its length', unit='%', minimum=0.0,
        maximum=1000.0, runtime=True,
    )


@dataclass(frozen=True)
class VerificationConfig:
    """The geometric check of hypotheses by matched patches."""

    hypotheses: int = option(
        0, 'First hypotheses of an image that are checked when localizing; 0: none. Those that '
        'fail go last, and only those that pass count for the state', minimum=0, maximum=10_000,
    )
    min_inliers: int = option(
        15, 'Matched patches that one homography must explain', minimum=4, maximum=10_000
    )
    tolerance_percent: float = option(
        5.0, 'Largest error of such a match, of the longer side of the model input',
        unit='%', minimum=0.1, maximum=50.0,
    )
    min_view_inliers: int = option(
        20, 'Matches that the essential matrix must explain before it gives a relative rotation '
        'and a direction; it is computed for loop closures where camera_info is known',
        minimum=8, maximum=10_000,
    )


@dataclass(frozen=True)
class LoopClosureConfig:
    """Growing a map while driving, and places seen before. Keyframes: ``map.keyframe_*``."""

    enabled: bool = option(
        False, 'Add keyframes to a new map while driving and report loop closures; needs odom'
    )
    folder: str = option(
        '~/.ros', 'Folder of the grown map, drive_<date>_<time>.r2map; it is there after a crash'
    )
    save_path: str = option(
        '', 'Where ~/save_map copies the grown map; empty: beside it, with _saved in its name'
    )
    exclusion_s: float = option(
        30.0, 'Keyframes younger than this are no loop closure', unit='s', minimum=0.0
    )
    exclusion_m: float = option(
        50.0, 'Keyframes less travel ago than this are no loop closure', unit='m', minimum=0.0
    )
    min_score: float = option(
        0.95, 'Smallest score of the best place', minimum=0.0, maximum=1.0
    )
    agreement_keyframes: int = option(
        3, 'Keyframes in a row whose best places must lie together', minimum=1, maximum=1000
    )
    agreement_radius_m: float = option(
        5.0, 'How much further apart than the robot moved the best places of two keyframes in a '
        'row may be', unit='m', minimum=0.0,
    )
    verify: bool = option(True, 'Check the best place by matched patches: verification.*')


@dataclass(frozen=True)
class PoseGraphConfig:
    """The node pose_graph: how far odometry and loop closures are trusted."""

    node_distance_m: float = option(
        1.0, 'Travel between two poses of the graph', unit='m', minimum=0.01
    )
    node_angle_deg: float = option(
        15.0, 'Rotation between two poses of the graph', unit='deg', minimum=0.1, maximum=180.0
    )
    odometry_sigma_m: float = option(
        0.1, 'Standard deviation of the position after 1 m; grows with the root of the distance',
        unit='m', minimum=1e-4,
    )
    odometry_sigma_deg: float = option(
        1.0, 'Standard deviation of the rotation after 1 m; grows with the root of the distance',
        unit='deg', minimum=1e-3, maximum=180.0,
    )
    loop_sigma_m: float = option(
        3.0, 'Standard deviation of the distance between a place and where it was recognised',
        unit='m', minimum=1e-3,
    )
    loop_sigma_deg: float = option(
        15.0, 'Standard deviation of the rotation between the two', unit='deg', minimum=0.1,
        maximum=180.0,
    )
    view_sigma_deg: float = option(
        3.0, 'The same where the essential matrix gave the rotation', unit='deg', minimum=0.1,
        maximum=180.0,
    )
    gate_sigmas: float = option(
        3.0, 'Two loop closures contradict each other, and a loop closure the graph, beyond this '
        'many standard deviations', minimum=0.5, maximum=100.0,
    )
    min_support: int = option(
        2, 'Loop closures within support_m of travel that a loop closure must agree with',
        minimum=0, maximum=1000,
    )
    support_m: float = option(
        30.0, 'Travel, at both ends, within which loop closures support each other', unit='m',
        minimum=0.0,
    )
    frame_id: str = option(
        'map', 'Frame of the corrected path: give that of the saved map; without one, the path '
        'begins at the odometry frame',
    )
    tum_path: str = option('', 'File the corrected trajectory is written to, TUM; empty: none')
    publish_period_s: float = option(
        1.0, 'Time between corrected paths', unit='s', minimum=0.05, maximum=3600.0
    )


@dataclass(frozen=True)
class MapConfig:
    """The map file and which frames become places."""

    path: str = option('', 'The .r2map file, or postgresql://USER@HOST:PORT/DATABASE#MAP')
    frame_id: str = option('map', 'Frame of the poses in the map; header.frame_id of results')
    keyframe_distance_m: float = option(
        0.0, 'Movement that makes a new keyframe; 0: not by distance', unit='m', minimum=0.0
    )
    keyframe_angle_deg: float = option(
        0.0, 'Rotation that makes a new keyframe; 0: not by angle', unit='deg', minimum=0.0,
        maximum=180.0,
    )
    keyframe_interval_s: float = option(
        0.0, 'Time that makes a new keyframe; 0: not by time', unit='s', minimum=0.0
    )
    local_dtype: str = option(
        'float16', 'How local features are stored: one of 128 values takes 262 or 134 bytes',
        choices=('float16', 'int8'),
    )
    thumbnail_width: int = option(
        320, 'Width of the stored thumbnail; 0 stores none', unit='px', minimum=0, maximum=4096
    )
    preload_mb: int = option(
        1024, 'Memory for local features read at start, that of the GPU where the model runs '
        'there; the rest is read when needed', unit='MiB', minimum=0,
    )


@dataclass(frozen=True)
class NodeConfig:
    """The ROS side of the node."""

    image_transport: str = option(
        'raw', 'Subscribe to image (raw) or image/compressed (compressed)',
        choices=('raw', 'compressed'),
    )
    image_reliability: str = option(
        'reliable', 'Quality of the image subscription; reliable falls back where the publisher '
        'offers best effort only', choices=('reliable', 'best_effort'),
    )
    image_depth: int = option(
        5, 'Images that may wait in the subscription; only the newest is ever worked on',
        minimum=1, maximum=1000,
    )
    hypotheses: int = option(
        10, 'Hypotheses published per image', minimum=1, maximum=10_000, runtime=True
    )
    no_image_warning_s: float = option(
        5.0, 'Silence on the image topic after which a warning names it', unit='s', minimum=0.1,
        runtime=True,
    )
    diagnostics_period_s: float = option(
        1.0, 'Time between messages on /diagnostics', unit='s', minimum=0.1, maximum=3600.0
    )


@dataclass(frozen=True)
class Config:
    """Everything that can be set."""

    model: ModelConfig = field(default_factory=ModelConfig)
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    rerank: RerankConfig = field(default_factory=RerankConfig)
    verification: VerificationConfig = field(default_factory=VerificationConfig)
    decision: DecisionConfig = field(default_factory=DecisionConfig)
    map: MapConfig = field(default_factory=MapConfig)
    node: NodeConfig = field(default_factory=NodeConfig)
    loop_closure: LoopClosureConfig = field(default_factory=LoopClosureConfig)
    pose_graph: PoseGraphConfig = field(default_factory=PoseGraphConfig)


def options() -> Iterator[Option]:
    """Walk over every setting, in the order of the dataclasses."""
    return options_of(Config)


def with_values(config: Config, values: Mapping[str, object]) -> Config:
    """
    Return the configuration with some settings changed, by dotted name.

    :raises ConfigError: for an unknown name, or a value of the wrong type or range.
    """
    known = {item.name: item for item in options()}
    sections: dict[str, dict[str, Scalar]] = {}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(f'{name}: no such setting; see --print-config for all of them')
        section, key = name.split('.')
        sections.setdefault(section, {})[key] = known[name].checked(value)
    changed = {name: replace(getattr(config, name), **new) for name, new in sections.items()}
    return replace(config, **changed)


def to_dict(config: Config) -> dict[str, dict[str, Scalar]]:
    """Return the nested mapping that maps, checkpoints and reports store."""
    return asdict(config)
