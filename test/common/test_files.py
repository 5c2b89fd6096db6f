# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Writing a file: whole or not at all, by whatever name, for every reader."""

import os
import stat

import pytest

from r2former_ros.common.files import (
    digest_of,
    read_text,
    replacing,
    require_writable,
)
from r2former_ros.common.text import printable, quoted
from r2former_ros.errors import FileError, MapError


def test_a_file_changes_only_when_the_new_one_is_whole(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with replacing(path) as part:
        part.write_text('new')
        assert path.read_text() == 'old'
    assert path.read_text() == 'new'
    assert os.listdir(tmp_path) == ['a.txt']


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with pytest.raises(MapError, match='half'), replacing(path) as part:
        part.write_text('ne')
        raise MapError('half of it')
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['a.txt']


def test_the_whole_name_is_kept_and_what_a_kill_left_is_replaced(tmp_path):
    (tmp_path / 'run.1.csv.part').write_text('left by a kill')
    for name in ('run.1.csv', 'run.1'):
        with replacing(tmp_path / name) as part:
            part.write_text(name)
    assert sorted(os.listdir(tmp_path)) == ['run.1', 'run.1.csv']


def test_others_may_read_what_a_library_wrote_for_its_owner_only(tmp_path):
    with replacing(tmp_path / 'a') as part:
        part.write_text('')
        part.chmod(0o600)
    (tmp_path / 'b').touch()
    assert stat.S_IMODE((tmp_path / 'a').stat().st_mode) == stat.S_IMODE(
        (tmp_path / 'b').stat().st_mode)


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'a').write_text('old')
    (tmp_path / 'link').symlink_to(tmp_path / 'data' / 'a')
    with replacing(tmp_path / 'link') as part:
        part.write_text('new')
    assert (tmp_path / 'link').is_symlink()
    assert (tmp_path / 'data' / 'a').read_text() == 'new'


def test_a_device_is_written_and_not_replaced():
    with replacing('/dev/null') as part:
        part.write_text('gone')
    require_writable('/dev/null')
    assert stat.S_ISCHR(os.stat('/dev/null').st_mode)


def test_two_processes_may_write_one_cache_file(tmp_path):
    with replacing(tmp_path / 'a', cache=True) as part:
        assert part.name == f'a.{os.getpid()}.part'
        part.write_text('1')
    assert (tmp_path / 'a').read_text() == '1'


@pytest.mark.parametrize(('name', 'said'), [
    ('missing/a.txt', 'a.txt: cannot be written (No such file or directory)'),
    ('file/a.txt', 'a.txt: cannot be written (Not a directory)'),
    ('folder', 'folder: is a folder; name a file in it'),
])
def test_what_cannot_be_written_is_said_before_the_work(tmp_path, name, said):
    (tmp_path / 'file').touch()
    (tmp_path / 'folder').mkdir()
    with pytest.raises(FileError) as error:
        require_writable(tmp_path / name)
    assert str(error.value).endswith(said)
    worked = []
    with pytest.raises(FileError), replacing(tmp_path / name):
        worked.append(True)
    assert not worked


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / 'latin').write_bytes(b'caf\xe9')
    for name, said in (('none', 'cannot be read (No such file or directory)'),
                       ('latin', 'is not a text file (UTF-8)'),
                       ('.', 'cannot be read (Is a directory)'),
                       ('a\0b', 'cannot be read (embedded null byte)')):
        with pytest.raises(FileError) as error:
            read_text(tmp_path / name)
        assert said in str(error.value)


def test_names_of_any_bytes_can_be_shown_and_told_apart():
    name = os.fsdecode(b'caf\xe9.jpg')
    assert printable(name) == 'caf\\xe9.jpg'
    assert printable('ü.jpg') == 'ü.jpg'
    assert printable('\ud800') == '\\ud800'
    assert digest_of(name) != digest_of('caf.jpg')
    assert digest_of('a', 1) == '4f395a2e9ea1'


def test_long_values_are_shortened():
    assert quoted('no') == "'no'"
    assert len(quoted('a' * 5000)) <= 80
    assert quoted('a' * 5000).endswith('... (5,002 characters)')
