# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Two runs on the same queries: by hand, against scipy's bootstrap, and on the command line."""

import json

import numpy as np
import pytest
from scipy.stats import bootstrap

from r2former_ros.cli import main
from r2former_ros.evaluation.comparison import paired_difference


def result(right, *, method='rerank', prefix='q'):
    """Make a result whose first answers are right where the flags say so."""
    queries = [{'name': f'{prefix}{number}', 'positives': [1],
                'answers': {method: {'first_right': 1 if flag else 2}}}
               for number, flag in enumerate(right)]
    unknown = {'name': 'elsewhere', 'positives': [], 'answers': {method: {'first_right': None}}}
    return {'source': prefix, 'methods': {method: {}}, 'per_query': [*queries, unknown]}


def test_two_queries_are_no_progress_and_forty_are():
    base = np.arange(200) < 120
    luck = base.copy()
    luck[120:122] = True
    little = paired_difference(base, luck)
    assert (little.base, little.other, little.queries) == (0.6, 0.61, 200)
    assert (little.only_base, little.only_other) == (0, 2)
    assert little.low <= 0 and not little.clear
    progress = base.copy()
    progress[120:160] = True
    much = paired_difference(base, progress)
    assert much.gain == pytest.approx(0.2) and 0.14 < much.low < 0.2 < much.high < 0.26
    assert much.clear and paired_difference(progress, base).clear
    same = paired_difference(base, base)
    assert (same.low, same.high) == (0.0, 0.0) and not same.clear


def test_the_interval_is_that_of_scipy():
    random = np.random.default_rng(1)
    base, other = random.random(150) < 0.6, random.random(150) < 0.7
    ours = paired_difference(base, other)
    theirs = bootstrap((other.astype(float) - base,), np.mean, n_resamples=9999,
                       method='percentile', rng=2).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.011)


def test_compare_prints_runs_against_the_first_or_methods_of_one(tmp_path, capsys):
    for name, right in (('a', [1, 1, 0, 0]), ('b', [1, 1, 1, 0])):
        (tmp_path / f'{name}.json').write_text(json.dumps(result(right)))
    a, b = str(tmp_path / 'a.json'), str(tmp_path / 'b.json')
    assert main(['evaluate', 'compare', a, b]) == 0
    printed = capsys.readouterr().out
    assert '0.500' in printed and '0.750' in printed and '+0.250' in printed
    assert 'not told apart' in printed
    both = result([1, 1, 0, 0])
    both['methods']['ransac'] = {}
    for one in both['per_query']:
        one['answers']['ransac'] = {'first_right': 1}
    (tmp_path / 'both.json').write_text(json.dumps(both))
    assert main(['evaluate', 'compare', str(tmp_path / 'both.json')]) == 0
    assert 'ransac' in capsys.readouterr().out


@pytest.mark.parametrize(('other', 'method', 'match'), [
    (result([1], prefix='p'), 'rerank', 'have no query in common'),
    (result([1], method='hog'), 'rerank', 'was not run with rerank; it has hog'),
    ({'queries': 3}, 'rerank', 'is not a result of r2former evaluate'),
    (None, 'rerank', 'cannot be read as a result'),
])
def test_what_cannot_be_compared_is_said_in_one_line(tmp_path, other, method, match, capsys):
    (tmp_path / 'a.json').write_text(json.dumps(result([1])))
    if other is not None:
        (tmp_path / 'b.json').write_text(json.dumps(other))
    runs = [str(tmp_path / 'a.json'), str(tmp_path / 'b.json')]
    assert main(['evaluate', 'compare', *runs, '--method', method]) == 2
    assert match in capsys.readouterr().err
