"""A recorded day of buses, every tenth fix up to half an hour late: the alarms are those of the day in order."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from pipeline import wire
from pipeline.alarms.episode import CORRECTED
from pipeline.message import SECOND, Ints, PositionBatch
from pipeline.replay import batch_of
from pipeline.rules.fences import load_fences
from pipeline.rules.firm import Edge
from pipeline.rules.geofence import FenceRule, Geofence
from pipeline.rules.geofence import State as FenceState
from pipeline.rules.silence import UnitSilence, UnitState
from pipeline.rules.speed import Speed, SpeedLimit
from pipeline.rules.speed import State as SpeedState
from pipeline.telemetry.correct import Corrector
from pipeline.telemetry.fold import CLOCK, Fold
from pipeline.telemetry.stage import PositionStage
from pipeline.trackfile import read_fixes
from tests.doubles import MemoryBook, MemoryStore
from tests.moving import head

UNITS, LATENESS, LATE_SHARE = 12, 1800, 0.1
Told = set[tuple[str, str, str, int, int | None]]


@pytest.fixture(scope="module")
def day(data_dir: Path) -> PositionBatch:
    fixes = list(read_fixes([data_dir / "vehicles/tracks/capmetro_austin_bus_20161124.csv.gz"]))
    units = sorted({fix.unit for fix in fixes})[:UNITS]
    one_a_time = {(fix.unit, fix.at): fix for fix in fixes if fix.unit in units}
    return batch_of(sorted(one_a_time.values(), key=lambda fix: (fix.at, fix.unit)))


def run(data: Path, day: PositionBatch, arrival: Ints) -> tuple[Told, MemoryStore, MemoryBook, int]:
    """Every minute of arrival a batch, through the stage, the store and the alarm book."""
    store, book = MemoryStore(), MemoryBook()
    fences = tuple(load_fences(data / "vehicles/fences/us_austin_neighborhoods.geojson"))
    enter = Geofence([FenceRule(head(name="enter"), "enter", fences)])
    firm = Geofence([FenceRule(head(name="firm"), "enter", fences)], Edge(hold=60 * SECOND))
    fast = Speed(head("speed", name="fast"), SpeedLimit(20, 30 * SECOND, 1, 300 * SECOND))
    quiet = UnitSilence(head("silence", name="quiet"), 600 * SECOND)
    rules = [(enter, FenceState), (firm, FenceState), (fast, SpeedState), (quiet, UnitState)]
    versions = dict.fromkeys(("enter", "firm", "fast", "quiet"), "v1")
    stage = PositionStage(
        Fold(rules, versions=versions), store, None, Corrector(store, lambda unit: book.alarms(subject=unit))
    )
    state = stage.initial()
    for minute in range(int(arrival.min()) // (60 * SECOND), int(arrival.max()) // (60 * SECOND) + 4):
        now = (minute + 1) * 60 * SECOND
        rows = np.flatnonzero(arrival // (60 * SECOND) == minute)
        rows = rows[np.argsort(arrival[rows], kind="stable")]
        part = day.select(rows)
        columns = {name: getattr(part, name) for name in part.__slots__} | {
            "received": np.full(len(rows), now, np.int64),
            "seq": np.zeros(len(rows), np.int64),
            "ticks": ((CLOCK, now),),
        }
        state, done = stage.handle(state, [wire.encode_positions(PositionBatch(**columns))])
        stage.commit([done])
        book.apply(done.signals)
    so = {
        (a.rule, a.subject, a.place, a.start, a.ended_at) for a in book.alarms(limit=10**6) if a.state != CORRECTED
    }
    return so, store, book, int(stage.figures()["corrected"])


def test_a_day_with_every_tenth_fix_late_comes_to_the_alarms_of_the_day_in_order(
    data_dir: Path, day: PositionBatch
) -> None:
    chance = random.Random(7)
    delay = [chance.uniform(0, LATENESS) if chance.random() < LATE_SHARE else 0.0 for _ in range(len(day))]
    late = day.at + (np.array(delay) * SECOND).astype(np.int64)
    told, store, book, corrected = run(data_dir, day, late)
    ordered, whole, _, none = run(data_dir, day, day.at)
    assert corrected > 50 and none == 0
    assert len(ordered) > 100
    assert {unit: {t: r[:2] for t, r in rows.items()} for unit, rows in store.rows.items()} == {
        unit: {t: r[:2] for t, r in rows.items()} for unit, rows in whole.rows.items()
    }
    assert told == ordered, (len(told - ordered), len(ordered - told), sorted(told ^ ordered)[:6])
    assert any("late" in alarm.evidence for alarm in book.alarms())
    print(
        len(day),
        "fixes",
        corrected,
        "corrections",
        len(ordered),
        "alarms",
        len(book.entries) - len(told),
        "corrected",
    )
