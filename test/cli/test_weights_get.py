# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former weights list`` and ``get``, against a server on this machine."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
import yaml
from recipe import make_state_dict

from r2former_ros.cli import main
from r2former_ros.model import ModelSpec, load_model, save_weights
from r2former_ros.model.catalogue import KNOWN
from r2former_ros.model.checkpoint import BUNDLED, downloaded_weights, untrained_model

SMALL = ModelSpec('tiny', 'deit_tiny_distilled_patch16_224', 64, 96, num_local=12)


class Server(ThreadingHTTPServer):
    """Sends ``files``; cuts an answer short after ``stop_after`` bytes, and notes the ranges."""

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.files, self.ranges, self.stop_after, self.kind = {}, [], None, 'application/zip'


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        wanted = self.headers.get('Range')
        first = int(wanted.removeprefix('bytes=').rstrip('-')) if wanted else 0
        self.server.ranges.append(first)
        self.send_response(206 if wanted else 200)
        self.send_header('Content-Type', self.server.kind)
        self.send_header('Content-Length', str(len(content) - first))
        self.end_headers()
        end = self.server.stop_after
        self.wfile.write(content[first:end])
        self.server.stop_after = None

    def log_message(self, *_):
        """Stay silent."""


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A running server, and an empty cache."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def offer(server, tmp_path):
    """Return a function that offers a file under a name, in a catalogue."""
    def offer(name, path, sha256=None):
        content = path.read_bytes()
        server.files[f'/{path.name}'] = content
        catalogue = tmp_path / 'catalogue.yaml'
        catalogue.write_text(yaml.safe_dump([{
            'name': name, 'text': 'ours', 'licence': 'MIT', 'size': len(content),
            'address': f'http://127.0.0.1:{server.server_port}/{path.name}',
            'sha256': hashlib.sha256(content).hexdigest() if sha256 is None else sha256}]))
        return catalogue
    return offer


@pytest.fixture
def weights(tmp_path):
    """A weights file of this package."""
    path = tmp_path / 'w.safetensors'
    save_weights(untrained_model(SMALL), path)
    return path


def test_weights_are_found_by_name_once_they_are_here(offer, weights, server, capsys):
    catalogue = offer('site', weights)
    assert main(['weights', 'get', 'site', '--catalogue', str(catalogue)]) == 0
    assert load_model('site').fingerprint == load_model(weights).fingerprint
    assert load_model('site').fingerprint in capsys.readouterr().out
    assert main(['weights', 'get', 'site', '--catalogue', str(catalogue)]) == 0
    assert server.ranges == [0]  # downloaded once
    assert [path.name for path in downloaded_weights('site').parent.iterdir()] == [
        'site.safetensors']


def test_an_interrupted_download_resumes(offer, weights, server, capsys):
    catalogue = offer('site', weights)
    server.stop_after = 300_000
    assert main(['weights', 'get', 'site', '--catalogue', str(catalogue)]) == 2
    assert 'ended after 300,000 of' in capsys.readouterr().err
    assert main(['weights', 'get', 'site', '--catalogue', str(catalogue)]) == 0
    assert server.ranges == [0, 300_000]
    assert load_model('site').fingerprint == load_model(weights).fingerprint


def test_a_released_checkpoint_is_converted(offer, tmp_path):
    state = {f'module.{k}': torch.from_numpy(v) for k, v in make_state_dict('deit').items()}
    torch.save({'model_state_dict': state}, tmp_path / 'CVPR23.pth')
    catalogue = offer('authors', tmp_path / 'CVPR23.pth')
    assert main(['weights', 'get', 'authors', '--half', '--catalogue', str(catalogue)]) == 0
    model = load_model('authors')
    assert model.spec.preset == 'small' and model.origin.reranker_trained


def test_what_is_not_the_file_is_refused_in_one_line(offer, weights, server, capsys):
    catalogue = str(offer('site', weights, sha256='0' * 64))
    assert main(['weights', 'get', 'site', '--catalogue', catalogue]) == 2
    assert f'not {"0" * 64}; it was removed, try again' in capsys.readouterr().err
    catalogue = str(offer('site', weights))
    server.kind = 'text/html'
    assert main(['weights', 'get', 'site', '--catalogue', catalogue]) == 2
    assert 'sends a page instead of a file; download it from' in capsys.readouterr().err
    server.files.clear()
    assert main(['weights', 'get', 'site', '--catalogue', catalogue]) == 2
    assert 'answers 404 Not Found' in capsys.readouterr().err
    assert not downloaded_weights('site').exists()


def test_without_a_network_one_line_says_what_to_do(offer, weights, server, capsys):
    catalogue = str(offer('site', weights))
    server.shutdown()
    server.server_close()
    assert main(['weights', 'get', 'site', '--catalogue', catalogue]) == 2
    said = capsys.readouterr().err
    assert 'cannot be downloaded' in said and 'r2former weights convert FILE' in said
    assert len([line for line in said.splitlines() if line.startswith('r2former:')]) == 1
    assert main(['weights', 'get', 'r2former-small-msls']) == 2
    assert 'has no address to download from; download it from https' in capsys.readouterr().err
    assert main(['weights', 'get', 'nothing']) == 2
    assert 'nothing: no such weights; there are r2former-tiny' in capsys.readouterr().err


def test_the_list_says_what_is_here(offer, weights, capsys):
    assert main(['weights', 'list', '--catalogue', str(offer('site', weights))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*(entry.name for entry in KNOWN), 'site']
    assert lines[0].split()[1] == 'here' and lines[-1].split()[1] == 'get'
    assert lines[-1].endswith('ours; licence: MIT')
    assert {entry.name for entry in KNOWN} >= set(BUNDLED)


@pytest.mark.parametrize(('text', 'match'), [
    ('name: x', 'expected a list of entries'),
    ('- {name: x, text: y, url: z}', 'url: no such field; known are address'),
    ('- {text: y}', 'an entry needs a name and a text'),
    ('- [', 'is not YAML'),
])
def test_a_catalogue_that_is_none_is_refused(text, match, tmp_path, capsys):
    (tmp_path / 'c.yaml').write_text(text)
    assert main(['weights', 'list', '--catalogue', str(tmp_path / 'c.yaml')]) == 2
    assert match in capsys.readouterr().err
