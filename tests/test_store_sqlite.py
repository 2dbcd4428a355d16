"""The embedded store: folding, crashes, a full disk, and files that are not ours."""

import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.message import Reading
from pipeline.ports import Retryable, UserError
from pipeline.settings import Settings, StoreTable
from pipeline.store import open_store, positions
from pipeline.store.positions import Positions
from pipeline.store.sqlite import SqliteStore
from tests.contract.test_store import EVER, T0, batch, record, scored

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path)
    yield made
    made.close()


@pytest.fixture
def small_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fold every few commits, a few rows at a time, so that a short test goes through many folds."""
    for name, value in {"FOLD_ROWS": 60, "FOLD_BLOBS": 9, "SLICE": 7, "FORGET_ROWS": 5}.items():
        monkeypatch.setattr(positions, name, value)


def count(folder: Path, table: str) -> int:
    with sqlite3.connect(folder / "positions.db") as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@pytest.mark.usefixtures("small_folds")
def test_reading_is_the_same_before_during_and_after_folds(store: SqliteStore, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    truth: dict[str, dict[int, float]] = {"a": {}, "b": {}, "c": {}}
    folded = set()
    for step in range(120):
        rows = []
        for _ in range(int(rng.integers(1, 12))):
            unit, at, lat = "abc"[rng.integers(3)], T0 + int(rng.integers(300)), float(step)
            rows.append((unit, at, lat, 1.0))
            truth[unit][at] = lat
        store.write_positions([batch(rows)])
        folded.add(count(tmp_path, "position"))
        for unit, expected in truth.items():
            track = store.track(unit, *EVER)
            assert dict(zip(track.at.tolist(), track.lat.tolist(), strict=True)) == expected
            assert (np.diff(track.at) > 0).all()
        newest = {p.unit: (p.at, p.lat) for p in store.latest()}
        assert newest == {unit: (max(rows), rows[max(rows)]) for unit, rows in truth.items() if rows}
    assert len(folded) > 20, "no fold went on while we looked"


@pytest.mark.usefixtures("small_folds")
def test_another_process_reads_the_same(tmp_path: Path) -> None:
    writer, reader = SqliteStore(tmp_path), SqliteStore(tmp_path)
    for i in range(50):
        writer.write_positions([batch([("u", T0 + i * 10 + k, float(i), 0.0) for k in range(5)])])
        assert len(reader.track("u", *EVER)) == (i + 1) * 5
        assert reader.latest()[0].at == T0 + i * 10 + 4
    writer.close()
    reader.close()


@pytest.mark.usefixtures("small_folds")
def test_two_writers_do_not_undo_each_other(tmp_path: Path) -> None:
    writers = [SqliteStore(tmp_path), SqliteStore(tmp_path)]
    for i in range(100):
        writers[i % 2].write_positions(
            [batch([("u", T0 + i // 2 % 25, float(i), 0.0), (f"w{i % 2}", T0 + i, 1.0, 1.0)])]
        )
    track = writers[0].track("u", *EVER)
    assert track.lat.tolist() == [float(51 + 2 * k) for k in range(25)]
    assert len(writers[1].track("w0", *EVER)) == len(writers[0].track("w1", *EVER)) == 50
    for writer in writers:
        writer.close()


@pytest.mark.usefixtures("small_folds")
def test_what_was_forgotten_does_not_come_back_from_a_fold_under_way(tmp_path: Path) -> None:
    writer, other = SqliteStore(tmp_path), SqliteStore(tmp_path)
    for i in range(30):
        writer.write_positions([batch([("u", T0 + i * 10 + k, 1.0, 1.0) for k in range(4)])])
        if i % 4 == 3:
            other.forget(T0 + i * 10)
            assert other.track("u", *EVER).at.min() == T0 + i * 10
    assert writer.track("u", *EVER).at.min() == T0 + 270
    writer.close()
    assert other.track("u", *EVER).at.min() == T0 + 270
    other.close()


def test_closing_leaves_everything_in_the_table_of_positions(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store.write_positions([batch([(f"u{i % 3}", T0 + i, 1.0, 1.0) for i in range(100)])])
    store.close()
    assert (count(tmp_path, "position"), count(tmp_path, "inbox")) == (100, 0)
    assert len(SqliteStore(tmp_path).track("u0", *EVER)) == 34


def test_units_without_a_row_are_not_named_in_the_store(store: SqliteStore, tmp_path: Path) -> None:
    rows = batch([("enrolled", T0, 1.0, 1.0), ("stranger", T0, 2.0, 2.0)])
    store.write_positions([rows.select(np.array([0]))])
    with sqlite3.connect(tmp_path / "positions.db") as db:
        assert db.execute("SELECT name FROM unit").fetchall() == [("enrolled",)]


def test_a_full_disk_asks_for_time_and_loses_nothing(store: SqliteStore) -> None:
    store.write_positions([batch([("u", T0, 1.0, 1.0)])])
    with store.positions.file.reading() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages + 2}")
    more = batch([(f"v{i}", T0 + i, 1.0, 1.0) for i in range(5000)])
    with pytest.raises(Retryable, match=r"positions\.db.*full") as caught:
        store.write_positions([more])
    assert caught.value.after == 5
    assert [p.unit for p in store.latest()] == ["u"]
    with store.positions.file.reading() as db:
        db.execute("PRAGMA max_page_count = 1000000")
    store.write_positions([more])
    assert len(store.latest()) == 5001


def test_telemetry_does_not_wait_for_the_lock_of_frames(store: SqliteStore, tmp_path: Path) -> None:
    store.write_frames([scored("cam", T0, 0.5)])
    holder = sqlite3.connect(tmp_path / "frames.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    begin = time.monotonic()
    store.write_positions([batch([("u", T0, 1.0, 1.0)])])
    store.write_readings([record("d", Reading("t", T0, 1.0))])
    assert time.monotonic() - begin < 2
    holder.close()


def test_a_file_locked_for_long_asks_for_time(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.store.file.BUSY_MS", 50)
    store.write_positions([batch([("u", T0, 1.0, 1.0)])])
    holder = sqlite3.connect(tmp_path / "positions.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Retryable, match="locked"):
        store.write_positions([batch([("u", T0 + 1, 1.0, 1.0)])])
    assert len(store.track("u", *EVER)) == 1
    holder.close()


@pytest.mark.parametrize("name", ["positions.db", "frames.db", "readings.db"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no database at all, but long enough to look at " * 50)
    store = SqliteStore(tmp_path)
    with pytest.raises(UserError, match=name):
        store.forget(T0)


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "positions.db") as db:
        db.execute("PRAGMA user_version = 7")
    with pytest.raises(UserError, match=r"positions\.db.*schema 7.*reads 1"):
        SqliteStore(tmp_path).latest()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/series"):
        SqliteStore(tmp_path / "file" / "series").latest()


def test_commits_are_synced_and_the_log_is_ahead(store: SqliteStore) -> None:
    for file in (store.positions.file, store.frames_file, store.readings_file):
        with file.reading() as db:
            assert db.execute("PRAGMA synchronous").fetchone()[0] == 2
            assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_open_store_makes_nothing_before_it_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "series"
    store = open_store(Settings(store=StoreTable(path=str(folder))))
    assert not folder.exists()
    assert store.latest() == []
    store.close()
    assert (folder / "positions.db").exists()


WRITER = """
import sys
from pathlib import Path
from pipeline.store import positions
from pipeline.store.sqlite import SqliteStore
from tests.contract.test_store import T0, batch
positions.FOLD_ROWS, positions.SLICE = 2000, 100
store = SqliteStore(Path(sys.argv[1]))
for i in range(100_000):
    store.write_positions([batch([(f"u{k}", T0 + i, float(i), 0.0) for k in range(40)])])
    print(i, flush=True)
"""


def test_a_writer_killed_in_the_middle_leaves_whole_batches(tmp_path: Path) -> None:
    """What was answered is there; a batch that was being written is there as a whole or not at all."""
    answered = -1
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert child.stdout is not None
        first = [int(line) for line in itertools.islice(child.stdout, 130)]
        child.send_signal(signal.SIGKILL)
        answered = max([answered, *first, *map(int, child.stdout.read().split())])
        child.wait()
        store = SqliteStore(tmp_path)
        tracks = [store.track(f"u{k}", *EVER) for k in range(40)]
        steps = tracks[0].at - T0
        assert steps.tolist() == list(range(len(steps)))
        assert answered < len(steps) <= answered + 2
        assert all((track.at == tracks[0].at).all() and (track.lat == steps).all() for track in tracks)
        store.positions.file.close()
    assert Positions(tmp_path / "positions.db").latest()[0].at >= T0 + answered
