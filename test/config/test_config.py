# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Settings: names, ranges, files."""

from pathlib import Path

import pytest
import yaml

from r2former_ros.config import Config, load_yaml, options, to_dict, to_yaml, with_values
from r2former_ros.errors import ConfigError, FileError

SHIPPED = Path(__file__).parents[2] / 'config' / 'localize.yaml'


def test_the_shipped_file_states_the_defaults():
    assert load_yaml(SHIPPED) == Config()
    text = SHIPPED.read_text()
    assert text[text.index('/**:'):] == to_yaml(Config())  # the comments as well


def test_every_default_is_within_its_own_range():
    names = [setting.name for setting in options()]
    assert len(set(names)) == len(names) > 15
    for setting in options():
        assert setting.checked(setting.default) == setting.default
        assert setting.description


def test_written_and_read_again(tmp_path):
    config = with_values(Config(), {'rerank.candidates': 7, 'decision.min_score': 1,
                                    'map.path': 'a "quoted": path'})
    assert config.decision.min_score == 1.0
    (tmp_path / 'c.yaml').write_text(to_yaml(config))
    assert load_yaml(tmp_path / 'c.yaml') == config
    assert yaml.safe_load(to_yaml(config))['/**']['ros__parameters'] == to_dict(config)


def test_a_file_changes_only_what_it_names(tmp_path):
    path = tmp_path / 'c.yaml'
    path.write_text('localizer:\n  ros__parameters:\n    use_sim_time: true\n'
                    '    rerank: {candidates: 3}\n    map.frame_id: site\n')
    base = with_values(Config(), {'model.device': 'cpu'})
    config = load_yaml(path, base)
    assert (config.rerank.candidates, config.map.frame_id, config.model.device) == \
        (3, 'site', 'cpu')
    assert config.retrieval == Config().retrieval


@pytest.mark.parametrize(('values', 'match'), [
    ({'rerank.candidate': 3}, 'rerank.candidate: no such setting'),
    ({'rerank.candidates': -1}, r'rerank.candidates: -1 is outside \[0, 10000\]'),
    ({'rerank.candidates': 2.5}, 'rerank.candidates: 2.5 is a float, not a int'),
    ({'rerank.candidates': True}, 'rerank.candidates: True is a bool, not a int'),
    ({'rerank.ranking': 'best'}, "'best' is not one of probability, blended"),
    ({'decision.min_score': float('nan')}, 'decision.min_score: nan is not a number'),
    ({'decision.min_score': 'high'}, "decision.min_score: 'high' is a str, not a float"),
])
def test_bad_values_name_key_value_and_range(values, match):
    with pytest.raises(ConfigError, match=match):
        with_values(Config(), values)


@pytest.mark.parametrize(('text', 'match'), [
    ('a: [1', 'is not YAML'),
    ('- 1\n- 2\n', 'expected a mapping'),
    ('/**: {ros__parameters: {bogus: 1}}', 'bogus: no such setting'),
])
def test_bad_files_are_named(tmp_path, text, match):
    path = tmp_path / 'bad.yaml'
    path.write_text(text)
    with pytest.raises(ConfigError, match=f'bad.yaml: .*{match}'):
        load_yaml(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileError, match='none.yaml: cannot be read'):
        load_yaml(tmp_path / 'none.yaml')
