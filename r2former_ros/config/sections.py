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
        'r2former-tiny', 'Bundled weights by name (r2former-tiny), a .safetensors file, or the '
        'name of an untrained preset'
    )
    device: str = option(
        'auto', 'Where the network runs: auto, cpu, cuda or cuda:N; auto uses CUDA where it works'
    )
    precision: str = option(
        'float32', 'Arithmetic of the encoder, and of the reranker where numba does not compute '
        'it; correlations are always float32. bfloat16 swaps the order of 2.5 % of candidate '
        'pairs (bundled weights); recall is about the same',
        choices=('float32', 'bfloat16', 'float16'),
    )
    backend: str = option(
        'auto', 'Engine: torch is the reference; numba scores pairs with float32 kernels compiled '
        'for this CPU; openvino encodes with OpenVINO and scores with numba where it is '
        'installed; auto picks the fastest one installed; onnx runs the files in onnx_folder '
        'with onnxruntime in float32; cudagraphs replays the network as one CUDA graph; triton '
        'also fuses part of the reranker into one kernel, in bfloat16 or float16',
        choices=('auto', 'torch', 'numba', 'openvino', 'onnx', 'cudagraphs', 'triton'),
    )
    onnx_folder: str = option(
        '', 'Folder of the files that r2former weights export wrote, for the onnx engine; empty: '
        'the default folder of that command, one per weights and input size'
    )
    onnx_providers: str = option(
        'CPUExecutionProvider', 'onnxruntime execution providers for the onnx engine, '
        'comma-separated, preferred first'
    )
    image_height: int = option(
        0, "Height of the network's input; 0: as in the weights",
        unit='px', minimum=0, maximum=4096,
    )
    image_width: int = option(
        0, "Width of the network's input; 0: as in the weights",
        unit='px', minimum=0, maximum=4096,
    )
    sixteen_bit: str = option(
        'auto', '16-bit images: full maps 0..65535 to 0..255; stretch maps the range of values in '
        'each image; auto stretches images that stay below 16384, as 10- to 14-bit cameras send',
        choices=('auto', 'full', 'stretch'),
    )
    global_descriptor: str = option(
        '', 'Network of the global descriptor: onnx:FILE, or onnx:FILE@HxW where it takes images '
        "of one size in pixels; empty: the weights' own. Local features and reranking stay those "
        'of the weights'
    )


@dataclass(frozen=True)
class RetrievalConfig:
    """Search by global descriptor."""

    candidates: int = option(
        100, 'Places retrieved from the index per query',
        minimum=1, maximum=10_000, runtime=True,
    )
    index: str = option(
        'auto', 'Index type: flat (exact), hnsw (graph), ivf (inverted lists) or ivfsq (inverted '
        'lists with one byte per value, a quarter of the memory); auto chooses by the number of '
        'places',
        choices=('auto', 'flat', 'hnsw', 'ivf', 'ivfsq'),
    )
    device: str = option(
        'auto', 'Where the index is searched; auto: where the model runs. On cuda, auto is flat',
        choices=('auto', 'cpu', 'cuda'),
    )
    flat_up_to: int = option(
        200_000, 'Largest map for which auto chooses flat',
        unit='places', minimum=0,
    )
    hnsw_up_to: int = option(
        400_000, 'Largest map for which auto chooses hnsw; ivf above that',
        unit='places', minimum=0,
    )
    hnsw_links: int = option(
        32, 'Graph links per place; more raise recall and memory',
        minimum=4, maximum=128,
    )
    hnsw_build_effort: int = option(
        80, 'Places visited while inserting one into the graph; more raise recall and build time',
        minimum=8, maximum=2000,
    )
    hnsw_effort: int = option(
        256, 'Places visited per query of the graph; more raise recall and query time',
        minimum=8, maximum=10_000,
    )
    ivf_lists: int = option(
        0, 'Number of inverted lists; 0: 4·sqrt(number of places)',
        minimum=0, maximum=1_000_000,
    )
    ivf_probes: int = option(
        64, 'Inverted lists searched per query; more raise recall and query time',
        minimum=1, maximum=1_000_000,
    )


@dataclass(frozen=True)
class RerankConfig:
    """Scoring of query and candidate by their local features."""

    candidates: int = option(
        20, 'Candidates reranked per query; 0 turns reranking off',
        minimum=0, maximum=10_000, runtime=True,
    )
    shortlist: int = option(
        100, 'Retrieved candidates compared with a cheap score first; the best of them are '
        'reranked. No effect unless larger than rerank.candidates',
        minimum=0, maximum=10_000, runtime=True,
    )
    local_features: int = option(
        0, 'Local features compared per image, those with the largest attention; 0: all stored '
        'ones',
        minimum=0, maximum=100_000, runtime=True,
    )
    profile: str = option(
        'custom', 'Named setting of shortlist, candidates and local_features; custom uses the '
        'three as they are set',
        choices=('custom', *RERANK_PROFILES), runtime=True,
    )
    ranking: str = option(
        'probability', 'Ranking criterion: the match probability alone, as in the released '
        'evaluation, or blended with the similarity by the learned ratio',
        choices=('probability', 'blended'), runtime=True,
    )
    batch: int = option(
        10, 'Pairs scored per batch; bounds the memory of reranking',
        minimum=1, maximum=1000, runtime=True,
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
        0.5, 'Score that the best hypothesis of an image must reach to be accepted, if no '
        'probability is known or false_discovery_rate is 0',
        minimum=0.0, maximum=1.0, runtime=True,
    )
    false_accept_rate: float = option(
        0.0, 'Share of images from outside the map that may be accepted; sets the threshold from '
        'the calibration that r2former map calibrate stored in the map. 0: use min_score',
        minimum=0.0, maximum=0.5,
    )
    false_discovery_rate: float = option(
        0.1, 'Share of wrong ones among the accepted answers of single images; sets the '
        'probability that they must reach. 0: use min_score. No effect with weights that have no '
        'fitted probability, or with false_accept_rate',
        minimum=0.0, maximum=0.5, runtime=True,
    )
    evidence_score: float = option(
        0.0, 'Score at which the filter over places finds "here" and "not in the map" equally '
        'likely, for weights that have no fitted probability; 0: use min_score',
        minimum=0.0, maximum=1.0, runtime=True,
    )
    agreement_frames: int = option(
        3, 'Consecutive images whose best places must agree before the state becomes localized',
        minimum=1, maximum=1000, runtime=True,
    )
    agreement_radius_m: float = option(
        10.0, 'Largest distance between places that agree; without odometry, also the largest '
        'motion between two images',
        unit='m', minimum=0.0,
    )
    localized_probability: float = option(
        0.9, 'Probability of the places around the best one at which the state becomes localized',
        minimum=0.5, maximum=0.999, runtime=True,
    )
    keep_probability: float = option(
        0.5, 'Probability below which localized becomes lost',
        minimum=0.0, maximum=0.999, runtime=True,
    )
    miss_likelihood: float = option(
        0.1, 'Likelihood of an image at a place it does not name, relative to outside the map',
        minimum=0.001, maximum=1.0, runtime=True,
    )
    leave_probability: float = option(
        0.02, 'Probability per image of leaving or re-entering the map',
        minimum=0.0001, maximum=0.5, runtime=True,
    )
    odometry_error_percent: float = option(
        30.0, 'Error of the motion between two images, as a share of its length',
        unit='%', minimum=0.0, maximum=1000.0, runtime=True,
    )

    def __post_init__(self) -> None:
        if self.keep_probability > self.localized_probability:
            raise ConfigError(
                f'decision.keep_probability: {self.keep_probability:g} is above '
                f'decision.localized_probability, {self.localized_probability:g}',
                'a state that is reached must be one that can be kept: lower the first or raise '
                'the second')


@dataclass(frozen=True)
class VerificationConfig:
    """The geometric check of hypotheses by matched patches."""

    hypotheses: int = option(
        0, 'Hypotheses per image checked by matched patches when localizing; 0: none. Those that '
        'fail move to the end, and only those that pass count for the state',
        minimum=0, maximum=10_000,
    )
    min_inliers: int = option(
        15, 'Matched patches that one homography must explain',
        minimum=4, maximum=10_000,
    )
    tolerance_percent: float = option(
        5.0, "Largest error of such a match, as a share of the longer side of the network's input",
        unit='%', minimum=0.1, maximum=50.0,
    )
    min_view_inliers: int = option(
        20, 'Matches that the essential matrix must explain before it gives a relative rotation '
        'and a direction; computed for loop closures where camera_info is known',
        minimum=8, maximum=10_000,
    )


@dataclass(frozen=True)
class LoopClosureConfig:
    """Growing a map while driving, and places seen before. Keyframes: ``map.keyframe_*``."""

    enabled: bool = option(
        False, 'Add keyframes to a new map while driving and report loop closures; needs odom'
    )
    folder: str = option(
        '~/.ros', 'Folder of the map grown while driving, drive_<date>_<time>.r2map; the file '
        'survives a crash'
    )
    save_path: str = option(
        '', 'File to which ~/save_map copies that map; empty: next to it, with _saved in its name'
    )
    exclusion_s: float = option(30.0, 'Ignore keyframes younger than this', unit='s', minimum=0.0)
    exclusion_m: float = option(
        50.0, 'Ignore keyframes from the last this many metres of travel',
        unit='m', minimum=0.0,
    )
    min_score: float = option(0.95, 'Smallest score of the best place', minimum=0.0, maximum=1.0)
    agreement_keyframes: int = option(
        3, 'Consecutive keyframes whose best places must lie together',
        minimum=1, maximum=1000,
    )
    agreement_radius_m: float = option(
        5.0, 'Largest excess of the distance between the best places of two consecutive keyframes '
        'over the distance the robot moved',
        unit='m', minimum=0.0,
    )
    verify: bool = option(True, 'Check the best place by matched patches (verification.*)')
    metric: bool = option(
        True, 'With camera_info, make landmarks for the keyframes of this drive and measure loop '
        'closures in metres (refine.*); takes about 0.4 s of CPU time per keyframe'
    )


@dataclass(frozen=True)
class PoseGraphConfig:
    """The node pose_graph: how far odometry and loop closures are trusted."""

    node_distance_m: float = option(
        1.0, 'Travel between two poses of the graph',
        unit='m', minimum=0.01,
    )
    node_angle_deg: float = option(
        15.0, 'Rotation between two poses of the graph',
        unit='deg', minimum=0.1, maximum=180.0,
    )
    odometry_sigma_m: float = option(
        0.1, 'Standard deviation of the position after 1 m of travel; grows with the square root '
        'of the distance',
        unit='m', minimum=1e-4,
    )
    odometry_sigma_deg: float = option(
        1.0, 'Standard deviation of the rotation after 1 m of travel; grows with the square root '
        'of the distance',
        unit='deg', minimum=1e-3, maximum=180.0,
    )
    loop_sigma_m: float = option(
        3.0, 'Standard deviation of the distance between a place and where it was recognised from',
        unit='m', minimum=1e-3,
    )
    loop_sigma_deg: float = option(
        15.0, 'Standard deviation of the rotation between the two',
        unit='deg', minimum=0.1, maximum=180.0,
    )
    view_sigma_deg: float = option(
        3.0, 'Standard deviation of that rotation where it was measured with the essential matrix',
        unit='deg', minimum=0.1, maximum=180.0,
    )
    gate_sigmas: float = option(
        3.0, 'Number of standard deviations beyond which two loop closures contradict each other, '
        'or one contradicts the graph',
        minimum=0.5, maximum=100.0,
    )
    min_support: int = option(
        2, 'Other loop closures within support_m of travel that must agree with a loop closure',
        minimum=0, maximum=1000,
    )
    support_m: float = option(
        30.0, 'Travel at both ends within which loop closures support each other',
        unit='m', minimum=0.0,
    )
    frame_id: str = option(
        'map', 'Frame of the corrected path: that of the saved map; without a saved map, the path '
        'starts at the odometry frame'
    )
    tum_path: str = option(
        '', 'TUM file to which the corrected trajectory is written; empty: none'
    )
    publish_period_s: float = option(
        1.0, 'Time between two corrected paths',
        unit='s', minimum=0.05, maximum=3600.0,
    )
    metric_sigma_m: float = option(
        0.05, 'Least standard deviation of the position in a loop closure measured in metres',
        unit='m', minimum=1e-3,
    )
    metric_sigma_deg: float = option(
        0.5, 'Least standard deviation of the rotation in a loop closure measured in metres',
        unit='deg', minimum=0.01, maximum=180.0,
    )


@dataclass(frozen=True)
class MapConfig:
    """The map file and which frames become places."""

    path: str = option('', 'The .r2map file, or postgresql://USER@HOST:PORT/DATABASE#MAP')
    frame_id: str = option('map', 'Frame of the poses in the map; header.frame_id of all results')
    keyframe_distance_m: float = option(
        0.0, 'Distance travelled between keyframes; 0: not by distance',
        unit='m', minimum=0.0,
    )
    keyframe_angle_deg: float = option(
        0.0, 'Rotation between keyframes; 0: not by angle',
        unit='deg', minimum=0.0, maximum=180.0,
    )
    keyframe_interval_s: float = option(
        0.0, 'Time between keyframes; 0: not by time',
        unit='s', minimum=0.0,
    )
    local_dtype: str = option(
        'float16', 'Storage of local features: 128 values take 262 bytes as float16, 134 as int8',
        choices=('float16', 'int8'),
    )
    thumbnail_width: int = option(
        320, 'Width of the stored thumbnails; 0: no thumbnails',
        unit='px', minimum=0, maximum=4096,
    )
    preload_mb: int = option(
        1024, 'Memory for local features loaded at start (GPU memory if the model runs there); '
        'the rest is read from the map when needed',
        unit='MiB', minimum=0,
    )


@dataclass(frozen=True)
class RefineConfig:
    """A pose in metres, for maps that hold landmarks."""

    hypotheses: int = option(
        6, 'Hypotheses per image whose landmarks are tried, in order, until a pose is accepted; '
        '0: no poses in metres. Without landmarks in the map nothing is tried',
        minimum=0, maximum=100, runtime=True,
    )
    keypoints: str = option(
        'sift,xfeat', 'Kinds of keypoints, tried in this order: sift is exact by day; xfeat still '
        'matches day with night',
        choices=('sift,xfeat', 'xfeat,sift', 'sift', 'xfeat'),
    )
    keypoint_count: int = option(
        1000, 'Most keypoints of each kind per image', minimum=50, maximum=20_000,
    )
    image_side_px: int = option(
        640, 'Longest side to which images are reduced for keypoints; 0: full size, which is '
        'slower and more accurate',
        unit='px', minimum=0, maximum=8192,
    )
    min_inliers: int = option(
        20, 'Keypoints that must agree with the pose', minimum=6, maximum=10_000, runtime=True,
    )
    min_share: float = option(
        0.25, 'Share of the matched keypoints that must agree with the pose: the check that tells '
        'a wrong place from the right one',
        minimum=0.0, maximum=1.0, runtime=True,
    )
    min_cells: int = option(
        5, 'Cells of the image, 8 across and 6 down, that must hold agreeing keypoints',
        minimum=1, maximum=48, runtime=True,
    )
    max_sigma_m: float = option(
        0.3, 'Largest predicted standard deviation of the position along its worst axis',
        unit='m', minimum=0.0, runtime=True,
    )
    max_distance_m: float = option(
        15.0, 'Largest distance of the pose from the place', unit='m', minimum=0.0, runtime=True,
    )
    base_to_camera: str = option(
        '', 'Pose of the camera\'s optical frame (z forward) in the frame that odometry is about, '
        'as "x y z qx qy qz qw"; empty: from /tf_static if tf2_msgs is installed, else as for the '
        "map's camera"
    )
    map_sigma_m: float = option(
        0.05, "Standard deviation of a keyframe's position relative to its neighbours, when "
        'landmarks are made',
        unit='m', minimum=0.0001, maximum=10.0,
    )
    map_sigma_deg: float = option(
        0.3, "Standard deviation of a keyframe's orientation relative to its neighbours, when "
        'landmarks are made',
        unit='deg', minimum=0.001, maximum=30.0,
    )

    @property
    def kinds(self) -> list[str]:
        """The kinds of keypoints, in order."""
        return self.keypoints.split(',')


@dataclass(frozen=True)
class NodeConfig:
    """The ROS side of the node."""

    image_transport: str = option(
        'raw', 'Subscribe to image (raw) or to image/compressed (compressed)',
        choices=('raw', 'compressed'),
    )
    image_reliability: str = option(
        'reliable', 'Reliability of the image subscription; reliable falls back to best effort if '
        'the publisher offers nothing else',
        choices=('reliable', 'best_effort'),
    )
    image_depth: int = option(
        5, 'Queue depth of the image subscription; only the newest image is ever processed',
        minimum=1, maximum=1000,
    )
    hypotheses: int = option(
        10, 'Hypotheses published per image',
        minimum=1, maximum=10_000, runtime=True,
    )
    no_image_warning_s: float = option(
        5.0, 'Silence on the image topic after which a warning names it',
        unit='s', minimum=0.1, runtime=True,
    )
    no_image_lost_s: float = option(
        10.0, 'Time without a usable new image (silence, a frozen picture, a covered lens) after '
        'which the state becomes lost',
        unit='s', minimum=0.1, runtime=True,
    )
    diagnostics_period_s: float = option(
        1.0, 'Time between messages on /diagnostics',
        unit='s', minimum=0.1, maximum=3600.0,
    )
    last_pose_path: str = option(
        '', 'File that keeps the last measured pose, for the next start: the filter then expects '
        'to be near it, but is not localized before images say so; empty: none'
    )
    publish_tf: bool = option(
        False, 'Publish map -> odom on /tf with every image used while localized, from the last '
        'pose in metres; needs tf2_msgs, odom and a map with landmarks'
    )
    image_conversion: str = option(
        'auto', 'What decodes images: own is this package, cv_bridge is that of ROS; auto is own, '
        'and cv_bridge, if it works here, for encodings that own does not know',
        choices=('auto', 'own', 'cv_bridge'),
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
    refine: RefineConfig = field(default_factory=RefineConfig)


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
            raise ConfigError(f'{name}: no such setting', 'docs/settings.md lists all of them')
        section, key = name.split('.')
        sections.setdefault(section, {})[key] = known[name].checked(value)
    changed = {name: replace(getattr(config, name), **new) for name, new in sections.items()}
    return replace(config, **changed)


def to_dict(config: Config) -> dict[str, dict[str, Scalar]]:
    """Return the nested mapping that maps, checkpoints and reports store."""
    return asdict(config)
