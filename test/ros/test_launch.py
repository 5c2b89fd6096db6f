# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The launch files: their arguments by their source, and for real where launch is installed."""

import ast
import re
from pathlib import Path

import pytest
from fakes import module_of

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / 'launch' / 'localize.launch.py'
SLAM = LAUNCH.with_name('slam.launch.py')
ARGUMENTS = {
    'map', 'image', 'odom', 'camera_info', 'image_transport', 'weights', 'device',
    'params_file', 'autostart', 'namespace', 'use_sim_time', 'log_level', 'respawn',
    'required', 'initialpose',
}


def declared():
    """Yield name and keywords of every declared argument."""
    for node in ast.walk(ast.parse(LAUNCH.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'DeclareLaunchArgument':
            yield node.args[0].value, {keyword.arg for keyword in node.keywords}


def test_every_argument_has_a_default_and_a_description():
    arguments = dict(declared())
    assert set(arguments) == ARGUMENTS
    for keywords in arguments.values():
        assert keywords == {'default_value', 'description'}


def test_overrides_name_settings_that_exist():
    from r2former_ros.config import options

    tree = ast.parse(LAUNCH.read_text())
    (overrides,) = [
        ast.literal_eval(node.value) for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == 'OVERRIDES'
    ]
    assert set(overrides.values()) <= {setting.name for setting in options()}
    assert set(overrides) < ARGUMENTS


def constants_of(path):
    """Return the values of a launch file's constants by name."""
    return {node.targets[0].id: ast.literal_eval(node.value)
            for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign)}


def test_slam_hands_on_what_localize_takes():
    constants = constants_of(SLAM)
    own = set(constants['NOT_OF_LOCALIZER'])
    assert own < set(constants['ARGUMENTS'])
    assert set(constants['ARGUMENTS']) - own | {'params_file'} == ARGUMENTS
    for default, description in constants['ARGUMENTS'].values():
        assert isinstance(default, str) and description


def test_commands_of_the_docs_give_arguments_that_exist():
    taken = {'localize': ARGUMENTS, 'two_cameras': {'map'},
             'slam': {*constants_of(SLAM)['ARGUMENTS'], 'params_file'}}
    shown = set()
    for page in [ROOT / 'README.md', *(ROOT / 'docs').glob('*.md')]:
        text = page.read_text().replace('\\\n', '')
        for name, rest in re.findall(r'r2former_ros (\w+)\.launch\.py([^\n`#]*)', text):
            assert set(re.findall(r'(\w+):=', rest)) <= taken[name], page
            shown.add(name)
    assert shown == set(taken)


def test_the_parameters_of_slam_are_settings_and_turn_loop_closure_on():
    from r2former_ros.config import load_yaml

    config = load_yaml(SLAM.parents[1] / 'config' / 'slam.yaml')
    assert config.loop_closure.enabled
    assert config.map.keyframe_distance_m > 0


def test_the_pose_graph_hears_the_localizer():
    pytest.importorskip('launch_ros')
    from launch import LaunchContext
    from launch_ros.utilities import evaluate_parameters

    module, context = module_of(SLAM), LaunchContext()
    given = {name: default for name, (default, _) in module.ARGUMENTS.items()}
    node = module.pose_graph({**given, 'params_file': '', 'tum': '2026', 'use_sim_time': 'true'})
    (ending,) = node._ExecuteLocal__on_exit
    with pytest.raises(RuntimeError, match='pose_graph has ended'):
        ending.execute(context)
    context._set_is_shutdown(True)
    assert ending.execute(context) is None
    assert evaluate_parameters(context, node._Node__parameters[-1:])[0] == {
        'pose_graph.tum_path': '2026', 'use_sim_time': True}
    pairs = [tuple(context.perform_substitution(*part) for part in pair)
             for pair in node._Node__remappings]
    assert ('loop_closures', 'localizer/loop_closures') in pairs


@pytest.mark.parametrize('path', [LAUNCH, SLAM])
def test_the_default_parameter_file_is_shown_by_its_path(path):
    pytest.importorskip('launch_ros')
    (argument,) = [one for one in module_of(path).generate_launch_description().entities
                   if getattr(one, 'name', '') == 'params_file']
    (default,) = argument.default_value
    assert Path(default.text).is_file()


def nodes_in(actions):
    """Return the actions that start a node."""
    from launch_ros.actions import Node

    return [one for one in actions if isinstance(one, Node)]


@pytest.fixture
def parameters():
    """Return what the launch file gives the node, by name, for some arguments' values."""
    pytest.importorskip('launch_ros')
    from launch import LaunchContext
    from launch_ros.utilities import evaluate_parameters

    module = module_of(LAUNCH)

    def given(**values):
        context = LaunchContext()
        defaults = dict.fromkeys(ARGUMENTS, '') | {'autostart': 'false', 'image': '/camera'}
        context.launch_configurations.update(defaults | values)
        (node,) = nodes_in(module.start(context))
        return evaluate_parameters(context, node._Node__parameters[-1:])[0]

    return given


def test_empty_arguments_override_nothing(parameters):
    assert parameters(map='site.r2map') == {'map.path': 'site.r2map'}


@pytest.mark.parametrize('path', ['2026', 'lap #1.r2map', 'true', '[a]'])
def test_the_map_path_is_taken_as_text(parameters, path):
    assert parameters(map=path) == {'map.path': path}


@pytest.mark.parametrize(('text', 'value'), [('true', True), ('True', True), ('false', False)])
def test_simulated_time_is_a_switch(parameters, text, value):
    assert parameters(use_sim_time=text) == {'use_sim_time': value}


@pytest.fixture
def started():
    """Return what the launch file starts, by name of the executable, for some arguments."""
    pytest.importorskip('launch_ros')
    from launch import LaunchContext

    module = module_of(LAUNCH)

    def given(**values):
        context = LaunchContext()
        defaults = dict.fromkeys(ARGUMENTS, '') | {'autostart': 'true', 'image': '/camera'}
        context.launch_configurations.update(defaults | values)
        return module.start(context)

    return given


def test_a_node_that_starts_again_is_configured_again(started):
    from launch.actions import RegisterEventHandler
    from launch.event_handlers import OnProcessStart

    actions = started(respawn='true')
    handlers = [one.event_handler for one in actions if isinstance(one, RegisterEventHandler)]
    assert [isinstance(one, OnProcessStart) for one in handlers] == [True, False, False]
    assert actions[-1]._ExecuteLocal__respawn is True
    assert started()[-1]._ExecuteLocal__on_exit is None
    assert len(started(required='true')[-1]._ExecuteLocal__on_exit) == 1


def test_initial_poses_are_handed_on_only_where_asked_for(started):
    def executables(actions):
        return [one._Node__node_executable for one in nodes_in(actions)]

    assert executables(started()) == ['localizer']
    assert executables(started(initialpose='/initialpose')) == ['localizer', 'initial_pose']
