# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the documents say, against the code."""

import ast
import importlib
import re
from pathlib import Path

import pytest
from fakes import module_of

ROOT = Path(__file__).parents[1]
REFERENCE = module_of(ROOT / 'docs' / 'make_reference.py')
PAGES = ['README.md', *(f'docs/{path.name}' for path in sorted((ROOT / 'docs').glob('*.md')))]


def test_the_table_of_settings_is_current():
    assert (ROOT / 'docs' / 'settings.md').read_text() == REFERENCE.reference()


def test_the_table_of_topics_and_services_is_current():
    pytest.importorskip('rclpy')
    assert (ROOT / 'docs' / 'node.md').read_text() == REFERENCE.node_reference()


@pytest.mark.parametrize('page', PAGES)
def test_links_to_files_lead_somewhere(page):
    path = ROOT / page
    links = re.findall(r'\]\(([^)#]+)[^)]*\)', path.read_text())
    for link in links:
        if '://' not in link:
            assert (path.parent / link).exists(), link
    assert links or page != 'README.md'


def test_the_page_of_the_method_names_what_exists():
    from r2former_ros import recognizer
    from r2former_ros.maps import index
    from r2former_ros.model import (
        position_embedding,
        preprocess,
        reranker,
        transformer,
        vit_encoder,
    )

    homes = {
        'preprocess': preprocess, 'reranker': reranker, 'Reranker': reranker.Reranker,
        'VitEncoder': vit_encoder.VitEncoder, 'PlaceIndex': index.PlaceIndex,
        'Recognizer': recognizer.Recognizer,
    }
    text = (ROOT / 'docs' / 'method.md').read_text()
    named = re.findall(rf'`({"|".join(homes)})\.(\w+)`', text)
    assert len(named) > 10
    for home, name in named:
        known = hasattr(homes[home], name)
        assert known or name in vars(reranker.Reranker()).get('_modules', {}), f'{home}.{name}'
    assert hasattr(position_embedding, 'fit_position_embedding')
    assert hasattr(transformer, 'read_out')


def test_the_code_of_the_page_on_slam_imports_what_exists():
    pytest.importorskip('rclpy')
    blocks = re.findall(r'```python\n(.*?)```', (ROOT / 'docs' / 'slam.md').read_text(), re.S)
    ours = [node for block in blocks for node in ast.walk(ast.parse(block))
            if isinstance(node, ast.ImportFrom) and node.module.startswith('r2former_ros')]
    assert len(ours) > 3
    for node in ours:
        module = importlib.import_module(node.module)
        assert all(hasattr(module, name.name) for name in node.names), node.module
