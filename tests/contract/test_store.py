"""One suite for every store: the double, SQLite, and a real InfluxDB."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from influxdb_client.client.influxdb_client import InfluxDBClient

from pipeline.message import Clock, PositionBatch, Reading, ReadingRecord, ScoredFrame, Source, codes
from pipeline.ports import Store
from pipeline.settings import StoreTable
from pipeline.store.influx import InfluxStore
from pipeline.store.sqlite import SqliteStore
from tests.doubles import MemoryStore
from tests.live.servers import InfluxDB

T0 = 1_480_000_000_000_000
SEC = 1_000_000
EVER = (-(2**62), 2**62)
buckets = itertools.count()


@pytest.fixture(params=["memory", "sqlite", "influxdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store
    if request.param == "memory":
        made = MemoryStore()
    elif request.param == "sqlite":
        made = SqliteStore(tmp_path)
    else:
        made = InfluxStore(bucket(request.getfixturevalue("influxdb")))
    yield made
    made.close()


def bucket(server: InfluxDB) -> StoreTable:
    """A new bucket on the test server, so that tests do not see each other's rows."""
    name = f"contract-{next(buckets)}"
    with InfluxDBClient(server.url, server.token, org=server.org) as client:
        client.buckets_api().create_bucket(bucket_name=name, org=server.org)
    return StoreTable(engine="influxdb", url=server.url, token=server.token, org=server.org, bucket=name)


Row = tuple[str, int, float, float]


def batch(rows: Sequence[Row], *, speed: Sequence[float] | None = None) -> PositionBatch:
    """Rows of (unit, at, lat, lon); no speed means NaN, and course, alt and accuracy are NaN."""
    n = len(rows)
    units, unit = codes([row[0] for row in rows])
    nothing = np.full(n, np.nan, np.float32)
    return PositionBatch(
        units=units,
        sources=(Source("agent", 1),),
        unit=unit,
        source=np.zeros(n, np.uint32),
        seq=np.arange(1, n + 1),
        at=np.array([row[1] for row in rows], np.int64),
        received=np.array([row[1] + 5 for row in rows], np.int64),
        lat=np.array([row[2] for row in rows], np.float64),
        lon=np.array([row[3] for row in rows], np.float64),
        speed=nothing if speed is None else np.array(speed, np.float32),
        course=nothing,
        alt=nothing,
        accuracy=nothing,
        clock=np.full(n, Clock.SYNCED, np.uint8),
    )


def scored(camera: str, at: int, *scores: float) -> ScoredFrame:
    boxes = [("smoke", score, (1.5, 2.0, 30.25, 40.0)) for score in scores]
    return ScoredFrame(camera, at, at + 9, 640, 480, 'fire-smoke@3f "q" \\', boxes, Clock.STEPPED)


def record(device: str, *readings: Reading) -> ReadingRecord:
    return ReadingRecord(device=device, epoch=1, seq=1, received=T0, readings=list(readings))


def test_a_track_is_what_was_written_in_order_of_time(store: Store) -> None:
    rows = [("bus-1", T0 + 2, 62.1234567890123, 6.1), ("bus-2", T0 + 1, 1.0, 2.0), ("bus-1", T0, -33.5, -0.1)]
    store.write_positions([batch(rows, speed=[12.3, 0.0, float("nan")])])
    track = store.track("bus-1", *EVER)
    assert track.unit == "bus-1"
    assert track.at.tolist() == [T0, T0 + 2]
    assert track.at.dtype == np.int64
    assert track.lat.tolist() == [-33.5, 62.1234567890123]
    assert track.lon.tolist() == [-0.1, 6.1]
    assert np.isnan(track.speed[0])
    assert track.speed[1] == np.float32(12.3)
    assert np.isnan(track.alt).all()


def test_a_track_takes_the_start_and_leaves_the_end(store: Store) -> None:
    store.write_positions([batch([("u", T0 + i, 1.0, 2.0) for i in range(10)])])
    assert store.track("u", T0 + 3, T0 + 6).at.tolist() == [T0 + 3, T0 + 4, T0 + 5]
    assert store.track("u", T0 + 3, T0 + 9, limit=2).at.tolist() == [T0 + 3, T0 + 4]
    assert len(store.track("u", T0 + 6, T0 + 3)) == 0


def test_an_unknown_unit_has_an_empty_track(store: Store) -> None:
    assert len(store.track("nobody", *EVER)) == 0
    store.write_positions([batch([("u", T0, 1.0, 2.0)])])
    empty = store.track("nobody", *EVER)
    assert (len(empty), len(empty.lat), len(empty.accuracy)) == (0, 0, 0)


def test_writing_twice_leaves_what_writing_once_leaves(store: Store) -> None:
    positions = batch([(f"u{i % 3}", T0 + i, float(i), 2.0) for i in range(30)])
    for _ in range(2):
        store.write_positions([positions, positions])
        store.write_frames([scored("cam", T0, 0.5)])
        store.write_readings([record("dev", Reading("t", T0, 1.5))])
    assert len(store.track("u1", *EVER)) == 10
    assert len(store.frames("cam", *EVER)) == 1
    assert store.series("dev", "t", *EVER)[1].tolist() == [1.5]


def test_the_last_writer_of_an_identity_wins(store: Store) -> None:
    store.write_positions([batch([("u", T0, 1.0, 1.0)]), batch([("u", T0, 2.0, 2.0), ("u", T0, 3.0, 3.0)])])
    assert store.track("u", *EVER).lat.tolist() == [3.0]
    store.write_positions([batch([("u", T0, 4.0, 4.0)])])
    assert store.track("u", *EVER).lat.tolist() == [4.0]
    assert [p.lat for p in store.latest()] == [4.0]
    store.write_readings([record("d", Reading("t", T0, 1.0)), record("d", Reading("t", T0, 2.0))])
    assert store.series("d", "t", *EVER)[1].tolist() == [2.0]
    store.write_frames([scored("c", T0, 0.5), scored("c", T0, 0.75)])
    assert [f.detections[0][1] for f in store.frames("c", *EVER)] == [0.75]


def test_latest_is_the_newest_by_event_time_of_every_unit(store: Store) -> None:
    assert store.latest() == []
    store.write_positions([batch([("b", T0 + 9, 1.0, 2.0), ("a", T0, 3.0, 4.0)], speed=[5.5, float("nan")])])
    store.write_positions([batch([("b", T0 + 4, 7.0, 8.0)])])
    found = store.latest()
    assert [(p.unit, p.at, p.lat, p.lon, p.speed) for p in found] == [
        ("a", T0, 3.0, 4.0, None),
        ("b", T0 + 9, 1.0, 2.0, 5.5),
    ]


def test_a_speed_of_an_older_fix_is_not_the_latest_ones(store: Store) -> None:
    store.write_positions([batch([("a", T0, 1.0, 1.0)], speed=[20.0]), batch([("a", T0 + 1, 2.0, 2.0)])])
    assert [(p.at, p.speed) for p in store.latest()] == [(T0 + 1, None)]


def test_a_scored_frame_comes_back_whole(store: Store) -> None:
    sent = [scored("cam-1", T0 + 5, 0.25, 0.9), scored("cam-1", T0), scored("cam-2", T0, 0.5)]
    store.write_frames(sent)
    assert store.frames("cam-1", *EVER) == [sent[1], sent[0]]
    assert store.frames("cam-1", T0 + 1, T0 + 6) == [sent[0]]
    assert store.frames("cam-1", *EVER, limit=1) == [sent[1]]
    assert store.frames("cam-3", *EVER) == []


def test_a_series_is_one_channel_in_order(store: Store) -> None:
    hot = [Reading("t", T0 + 2, 21.5, "degC"), Reading("t", T0, -3.25, "degC"), Reading("h", T0, 40.0)]
    store.write_readings([record("mast", *hot), record("other", Reading("t", T0, 99.0))])
    at, values = store.series("mast", "t", *EVER)
    assert (at.tolist(), values.tolist()) == ([T0, T0 + 2], [-3.25, 21.5])
    assert store.series("mast", "wind", *EVER)[0].tolist() == []


def test_a_reading_that_is_not_a_number_is_not_stored(store: Store) -> None:
    store.write_readings([record("mast", Reading("t", T0, float("nan")), Reading("t", T0 + 1, 1.0))])
    assert store.series("mast", "t", *EVER)[1].tolist() == [1.0]


@pytest.mark.parametrize(
    "name", ["a b", "a,b", "a=b", 'q"q', "it's", "back\\slash", "Ünit-ß", "x;--", "a\\,b", "${x}"]
)
def test_names_with_special_characters_stay_apart(store: Store, name: str) -> None:
    store.write_positions([batch([(name, T0, 1.0, 2.0), ("plain", T0, 3.0, 4.0)])])
    assert store.track(name, *EVER).lat.tolist() == [1.0]
    assert [p.unit for p in store.latest()] == sorted([name, "plain"])
    store.write_readings([record("d", Reading(name, T0, 1.0))])
    assert store.series("d", name, *EVER)[1].tolist() == [1.0]


def test_forget_takes_what_is_older_and_nothing_else(store: Store) -> None:
    store.write_positions([batch([("u", T0 + i, float(i), 0.0) for i in range(4)] + [("old", T0, 1.0, 1.0)])])
    store.write_frames([scored("c", T0), scored("c", T0 + 2)])
    store.write_readings([record("d", Reading("t", T0, 1.0), Reading("t", T0 + 2, 2.0))])
    store.forget(T0 + 2)
    assert store.track("u", *EVER).at.tolist() == [T0 + 2, T0 + 3]
    assert [p.unit for p in store.latest()] == ["u"]
    assert [f.at for f in store.frames("c", *EVER)] == [T0 + 2]
    assert store.series("d", "t", *EVER)[0].tolist() == [T0 + 2]


def test_nothing_at_all_may_be_written(store: Store) -> None:
    store.write_positions([])
    store.write_positions([batch([])])
    store.write_frames([])
    store.write_readings([])
    assert store.latest() == []


def test_more_rows_than_one_request_holds(store: Store) -> None:
    rows = [(f"u{i % 7}", T0 + i * SEC, i / 1000, 10.0) for i in range(12_000)]
    store.write_positions([batch(rows[:8000]), batch(rows[8000:])])
    assert sum(len(store.track(f"u{k}", *EVER)) for k in range(7)) == 12_000
    assert store.track("u3", *EVER).lat.tolist() == [i / 1000 for i in range(3, 12_000, 7)]
