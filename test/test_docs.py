# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the documents say, against the code."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_table_of_settings_is_current():
    path = ROOT / 'docs' / 'make_reference.py'
    spec = importlib.util.spec_from_file_location('make_reference', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / 'docs' / 'settings.md').read_text() == module.reference()


PAGES = ['README.md', *(f'docs/{path.name}' for path in sorted((ROOT / 'docs').glob('*.md')))]


@pytest.mark.parametrize('page', PAGES)
def test_links_to_files_lead_somewhere(page):
    path = ROOT / page
    links = re.findall(r'\]\(([^)#]+)[^)]*\)', path.read_text())
    for link in links:
        if '://' not in link:
            assert (path.parent / link).exists(), link
    assert len(links) > 0


def test_the_page_of_the_method_names_what_exists():
    from r2former_ros import images, place_index, recognizer
    from r2former_ros.model import encoder, position_embedding, reranker, transformer

    homes = {
        'images': images, 'reranker': reranker, 'Reranker': reranker.Reranker,
        'VitEncoder': encoder.VitEncoder, 'PlaceIndex': place_index.PlaceIndex,
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
