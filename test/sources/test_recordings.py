# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bags as recorders and tools leave them: killed, split, compressed, edited, set back in time."""

import logging
import shutil
import sqlite3

import pytest
from recordings import (
    SECOND,
    T0,
    drive,
    edit_metadata,
    fix,
    image_message,
    odometry_message,
    positions,
    split,
    two_runs,
    write_messages,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from r2former_ros.errors import BagError
from r2former_ros.sources.bag_writer import STORAGES
from r2former_ros.sources.bags import Bag
from r2former_ros.sources.frames import frames_of_bag
from r2former_ros.sources.messages import TYPES

# Which files


@pytest.mark.parametrize('storage', STORAGES)
def test_a_killed_recorder_leaves_no_metadata(tmp_path, storage, caplog):
    path = drive(tmp_path / 'bag', range(4), storage=storage)
    (path / 'metadata.yaml').unlink()
    assert positions(path) == ([0, 1, 2, 3], [])
    assert 'has no metadata.yaml, as if the recorder was killed; reads bag.' in caplog.text


@pytest.mark.parametrize('names', [
    ['run_0.db3', 'run_1.db3', 'run_2.db3'],
    [f'run_{number}.db3' for number in (9, 10, 11)],
    ['0_run_2026_05_22-10_30_00.db3', '1_run_2026_05_22-10_31_00.db3',
     '2_run_2026_05_22-10_32_00.db3'],
    [f'{number}_run_2026_05_22-10_30_00.db3' for number in (9, 10, 11)],
])
def test_all_files_of_a_split_bag_are_read_in_order(tmp_path, names):
    assert positions(split(tmp_path, names)) == (list(range(9)), [])


def test_files_of_two_bags_are_not_mixed(tmp_path):
    path = split(tmp_path, ['monday_0.db3', 'tuesday_0.db3'])
    with pytest.raises(BagError, match=r'no metadata.yaml and holds files of 2 bags; give one of '
                                       r'monday_0.db3, tuesday_0.db3'):
        Bag(path).__enter__()


def test_metadata_names_the_files_and_their_order(tmp_path, caplog):
    path = split(tmp_path, ['b.db3', 'a.db3', 'c.db3'])
    shutil.copy(tmp_path / 'part0' / 'metadata.yaml', path)
    edit_metadata(path, lambda bag: bag.update(relative_file_paths=['b.db3', 'old/a.db3']))
    assert positions(path) == (list(range(6)), [])
    assert 'leaves out c.db3, which metadata.yaml does not list' in caplog.text


def test_a_missing_file_is_named(tmp_path):
    path = drive(tmp_path / 'bag', range(2))
    edit_metadata(path, lambda bag: bag['relative_file_paths'].append('bag_1.db3'))
    with pytest.raises(BagError, match='bag_1.db3 is missing, which metadata.yaml lists; restore'):
        Bag(path).__enter__()


def test_one_file_of_a_split_bag_is_read_alone_and_said(tmp_path, caplog):
    path = split(tmp_path, ['run_0.db3', 'run_1.db3'])
    shutil.copy(tmp_path / 'part0' / 'metadata.yaml', path)
    edit_metadata(path, lambda bag: bag.update(relative_file_paths=['run_0.db3', 'run_1.db3']))
    assert positions(path / 'run_1.db3') == ([3, 4, 5], [])
    assert f'run_1.db3: is one of 2 files of a split bag; give {path} to read' in caplog.text


# Compressed


@pytest.mark.parametrize('mode', [CompressionMode.FILE, CompressionMode.MESSAGE])
@pytest.mark.parametrize('alone', [False, True])
def test_compressed_bags_are_read_with_and_without_metadata(tmp_path, mode, alone):
    plain = drive(tmp_path / 'plain', range(3))
    path = tmp_path / 'packed'
    writer = Writer(path, version=8, storage_plugin=StoragePlugin.SQLITE3)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with Bag(plain) as bag, writer:
        topics = {topic: writer.add_connection(topic, kind, typestore=TYPES)
                  for topic, kind in bag.topics.items()}
        for raw in bag.raw_messages():
            writer.write(topics[raw.topic], raw.bag_time_ns, raw.cdr)
    (file,) = [one for one in path.iterdir() if one.suffix != '.yaml']
    if not alone:
        assert positions(path) == ([0, 1, 2], [])
        (path / 'metadata.yaml').unlink()
        assert positions(path) == ([0, 1, 2], [])
    else:
        assert positions(file) == ([0, 1, 2], [])


# Counts and QoS


def test_qos_in_metadata_that_differs_from_the_files_hides_nothing(tmp_path):
    path = drive(tmp_path / 'bag', range(3))

    def other_qos(bag):
        for topic in bag['topics_with_message_count']:
            topic['topic_metadata']['offered_qos_profiles'] = '- history: 1\n  depth: 10\n'

    edit_metadata(path, other_qos)
    assert positions(path) == ([0, 1, 2], [])


def test_counts_in_metadata_that_differ_from_the_files_are_said(tmp_path, caplog):
    path = drive(tmp_path / 'bag', range(3))
    edit_metadata(path, lambda bag: bag.update(message_count=99))
    assert positions(path) == ([0, 1, 2], [])
    assert 'metadata.yaml counts 99 messages, its files hold 6; the files are read' in caplog.text


# Killed and cut


@pytest.mark.parametrize('with_metadata', [False, True])
def test_messages_in_the_log_of_a_killed_recorder_are_read(tmp_path, with_metadata, caplog):
    live = drive(tmp_path / 'live', range(8))
    database = live / 'live.db3'
    connection = sqlite3.connect(database)
    rows = connection.execute(
        'SELECT topic_id, timestamp, data FROM messages WHERE id > 8 ORDER BY id').fetchall()
    connection.execute('DELETE FROM messages WHERE id > 8')
    connection.commit()
    connection.execute('PRAGMA journal_mode = WAL').fetchall()
    connection.execute('PRAGMA wal_autocheckpoint = 0')
    connection.executemany(
        'INSERT INTO messages(topic_id, timestamp, data) VALUES(?, ?, ?)', rows)
    connection.commit()
    killed = tmp_path / 'killed'
    shutil.copytree(live, killed)
    connection.close()
    if not with_metadata:
        (killed / 'metadata.yaml').unlink()
    before = {file.name: file.read_bytes() for file in killed.iterdir()}
    assert positions(killed) == (list(range(8)), [])
    assert positions(killed / 'live.db3') == (list(range(8)), [])
    assert 'is read with live.db3-wal beside it' in caplog.text
    assert {file.name: file.read_bytes() for file in killed.iterdir()} == before


@pytest.mark.parametrize(('storage', 'remedy'), [
    ('mcap', 'mcap recover bag.mcap -o whole.mcap'), ('sqlite3', 'sqlite3 bag.db3 .recover'),
])
def test_a_file_that_was_cut_off_names_the_tool_that_mends_it(tmp_path, storage, remedy):
    path = drive(tmp_path / 'bag', range(300), storage=storage)
    (file,) = [one for one in path.iterdir() if one.suffix != '.yaml']
    content = file.read_bytes()
    file.write_bytes(content[:len(content) // 2])
    with pytest.raises(BagError, match=remedy):
        positions(path)


# A clock that was set back


BOTH_RUNS = [0.001, 1.001, 2.001, 3.001, 4.001, 5, 90.001, 91.001, 92.001, 93.001, 94.001, 95]


@pytest.mark.parametrize('storage', STORAGES)
@pytest.mark.parametrize('recorder_too', [False, True])
@pytest.mark.parametrize('offset_s', [0, 2, -3])
def test_frames_after_a_restart_get_the_poses_of_their_own_run(
    tmp_path, storage, recorder_too, offset_s, caplog
):
    path = write_messages(tmp_path / 'bag', two_runs(recorder_too=recorder_too, offset_s=offset_s),
                          storage)
    assert positions(path) == (BOTH_RUNS, [])
    assert '/odom: time runs backwards 1 time, first from 15.000 s to' in caplog.text


def test_a_simulator_begins_at_0_and_begins_again_there(tmp_path):
    items = [('/odom' if kind else '/cam', T0 + 20 * SECOND * run + k * SECOND + kind,
              odometry_message(k * SECOND, 90.0 * run + k) if kind
              else image_message(k * SECOND, k))
             for run in (0, 1) for k in range(4) for kind in (1, 0)]
    found, left_out = positions(write_messages(tmp_path / 'bag', items, 'mcap'))
    assert found == [0, 1, 2, 3, 90, 91, 92, 93] and left_out == []
    with Bag(tmp_path / 'bag') as bag:
        assert [frame.stamp_ns for frame in bag.images('/cam')] == \
            [k * SECOND for k in range(4)] * 2


def test_images_of_two_runs_have_names_of_their_own(tmp_path):
    path = write_messages(tmp_path / 'bag', two_runs(recorder_too=False, offset_s=2), 'mcap')
    with Bag(path) as bag:
        names = [posed.source for posed in frames_of_bag(bag, '/cam', None, print)]
    assert len(set(names)) == 12
    assert names[0] == 'bag:/cam:10001000000' and names[6] == 'bag:/cam:12001000000:2'


def test_a_restart_at_the_seam_of_two_files_is_one(tmp_path):
    items = list(two_runs(recorder_too=True))
    for part, name in enumerate(('run_0', 'run_1')):
        write_messages(tmp_path / name, items[12 * part:12 * part + 12], 'sqlite3')
    (tmp_path / 'run').mkdir()
    for name in ('run_0', 'run_1'):
        shutil.move(tmp_path / name / f'{name}.db3', tmp_path / 'run')
    assert positions(tmp_path / 'run') == (BOTH_RUNS, [])


def test_a_bag_that_a_tool_wrote_topic_by_topic_has_no_restart(tmp_path, caplog):
    items = [item for item in two_runs(recorder_too=False) if item[1] < T0 + 50 * SECOND]
    path = write_messages(tmp_path / 'bag', sorted(items, key=lambda item: item[0]), 'sqlite3')
    assert positions(path) == (BOTH_RUNS[:6], [])
    assert 'backwards' not in caplog.text
    with Bag(path) as bag:
        times = [raw.bag_time_ns for raw in bag.raw_messages()]
    assert times == sorted(times)


def test_a_stamp_that_occurs_twice_gets_no_pose_of_a_trajectory_that_knows_one_run(tmp_path):
    path = write_messages(tmp_path / 'bag', two_runs(recorder_too=False, images_only=True), 'mcap')
    found, left_out = positions(path)
    assert found == BOTH_RUNS[:6]
    assert len(left_out) == 6
    assert left_out[0] == ('stamp 10001000000 occurs again after the clock was set back, so its '
                           'pose is not known')


def test_images_out_of_order_by_less_than_the_tolerance_are_no_restart(tmp_path):
    items = [('/odom', T0 + k, odometry_message(k * SECOND, float(k))) for k in range(4)]
    items += [('/cam', T0 + 10 + k, image_message(stamp_ns, 0))
              for k, stamp_ns in enumerate((SECOND, SECOND + 10**8, SECOND + 10**7))]
    assert positions(write_messages(tmp_path / 'bag', items, 'mcap')) == ([1, 1.1, 1.01], [])


# Poses that are none


@pytest.mark.parametrize('x', [float('nan'), float('inf'), 1e300])
def test_numbers_that_are_no_position_are_left_out_and_counted(tmp_path, x, caplog):
    items = [('/odom', k, odometry_message(k * SECOND, x if k == 1 else 0.0)) for k in range(3)]
    with Bag(write_messages(tmp_path / 'bag', items, 'mcap')) as bag:
        assert len(bag.trajectory('/odom')) == 2
    assert '/odom: left out 1 of 3 messages that hold no pose (1: position' in caplog.text


@pytest.mark.parametrize(('numbers', 'said'), [
    ((0.0, 0.0, -2), 'status -2 means no fix'),
    ((48.0, 11.0, -2), 'status -2 means no fix'),
    ((48.0, 11.0, -1), 'status -1 means no fix'),
    ((480.0, 11.0), 'is not a place on earth'),
    ((48.0, -200.0), 'is not a place on earth'),
    ((float('nan'), 11.0), 'is not a place on earth'),
    ((0.0, 0.0), 'latitude 0, longitude 0 is not set'),
])
def test_what_is_no_fix_is_left_out_and_the_origin_is_the_first_fix(
    tmp_path, numbers, said, caplog
):
    items = [('/fix', 1, fix(SECOND, *numbers)), ('/fix', 2, fix(2 * SECOND, 48.0, 11.0)),
             ('/fix', 3, fix(3 * SECOND, 48.0, 11.0001))]
    with Bag(write_messages(tmp_path / 'bag', items, 'mcap')) as bag:
        trajectory = bag.trajectory('/fix')
    assert trajectory.origin == (48.0, 11.0)
    assert trajectory.stamps_ns.tolist() == [2 * SECOND, 3 * SECOND]
    assert said in caplog.text


@pytest.fixture(autouse=True)
def all_warnings(caplog):
    caplog.set_level(logging.WARNING)
