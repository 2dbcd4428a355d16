"""History corrected by late fixes: the same alarms and the same track in whatever order the fixes came."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import wire
from pipeline.alarms.episode import CORRECTED
from pipeline.message import SECOND, Alarm, PositionBatch
from pipeline.rules.fences import Fence
from pipeline.rules.firm import Edge
from pipeline.rules.geofence import FenceRule, Geofence
from pipeline.rules.geofence import State as FenceState
from pipeline.rules.longstop import LongStop
from pipeline.rules.longstop import State as StopState
from pipeline.rules.motion import Stays
from pipeline.rules.silence import UnitSilence, UnitState
from pipeline.rules.speed import Speed, SpeedLimit
from pipeline.rules.speed import State as SpeedState
from pipeline.telemetry.correct import LONGEST, MOST, Corrector, Patience
from pipeline.telemetry.fold import CLOCK, Fold
from pipeline.telemetry.stage import PositionStage
from tests.doubles import MemoryBook, MemoryStore
from tests.moving import T0, F, batch_of, head

DEPOT = Fence("depot", "x#depot", shapely.box(10.0, 49.0, 10.1, 51.0))
YARD = Fence("yard", "x#yard", shapely.box(10.15, 49.0, 10.2, 51.0))
RULES = ("enter", "loiter", "firm", "fast", "quiet", "stood")


def rules() -> list[tuple[Any, type[Any]]]:
    enter = FenceRule(head(name="enter"), "enter", (DEPOT, YARD))
    loiter = FenceRule(head(name="loiter"), "dwell", (DEPOT,), 120 * SECOND)
    firm = FenceRule(head(name="firm"), "enter", (YARD,))
    fast = SpeedLimit(30, 20 * SECOND, 1, 300 * SECOND)
    return [
        (Geofence([enter, loiter]), FenceState),
        (Geofence([firm], Edge(hold=20 * SECOND)), FenceState),
        (Speed(head("speed", name="fast"), fast), SpeedState),
        (UnitSilence(head("silence", name="quiet"), 200 * SECOND), UnitState),
        (LongStop(head("long_stop", name="stood"), 300 * SECOND, Stays()), StopState),
    ]


class Rig:
    """Telemetry stage, store and alarm book together, without a log between them."""

    def __init__(self, patience: Patience | None = None) -> None:
        self.store, self.book = MemoryStore(), MemoryBook()
        self.fold = Fold(
            rules(), versions=dict.fromkeys(("enter", "loiter", "firm", "fast", "quiet", "stood"), "v1")
        )
        known = lambda unit: self.book.alarms(subject=unit)  # noqa: E731
        self.stage = PositionStage(self.fold, self.store, None, Corrector(self.store, known, patience))
        self.state, self.said = self.stage.initial(), 0
        self.clock, self.seq = T0 + 10_000 * SECOND, 0

    def take(self, rows: Sequence[F], *, after: float = 1, crash: bool = False, **columns: Any) -> None:
        """Rows that are received `after` seconds later than the ones before."""
        self.clock += round(after * SECOND)
        received = np.full(len(rows), self.clock, np.int64)
        seq = list(range(self.seq + 1, self.seq + 1 + len(rows)))
        self.seq += len(rows)
        self._turn(batch_of(rows, seq=seq, received=received, **columns), crash=crash)

    def wait(self, seconds: float = 61) -> None:
        """Only the bridge's clock goes on, ten times."""
        for _ in range(10):
            self.clock += round(seconds / 10 * SECOND)
            self._turn(batch_of([], ticks=[(CLOCK, (self.clock - T0) / SECOND)]))

    def _turn(self, batch: PositionBatch, *, crash: bool = False) -> None:
        """A crash: the log has the turn's signals, the snapshot is the one before."""
        before = self.stage.dump(self.state)
        for again in (True, False) if crash else (False,):
            self.state, done = self.stage.handle(self.state, [wire.encode_positions(batch)])
            self.stage.commit([done])
            signals = [wire.unpack_signal(wire.pack(signal)) for signal in done.signals]
            self.book.apply(signals)
            self.state = self.stage.restore(before if again else self.stage.dump(self.state))

    def alarms(self) -> list[Alarm]:
        """Those that are so, by time."""
        found = [alarm for alarm in self.book.alarms() if alarm.state != CORRECTED]
        return sorted(found, key=lambda alarm: (alarm.start, alarm.rule, alarm.place))

    def truth(self) -> list[tuple[str, str, float, float | None]]:
        """(rule, place, beginning, end) of the alarms that are so."""
        return [
            (a.rule, a.place, (a.start - T0) / SECOND, None if a.ended_at is None else (a.ended_at - T0) / SECOND)
            for a in self.alarms()
        ]

    def track(self) -> list[tuple[str, int, float, float]]:
        return sorted((unit, at, row[0], row[1]) for unit, of in self.store.rows.items() for at, row in of.items())


def drive(times: Iterable[float], inside: Iterable[float] = (), speed: float = 10, unit: str = "a") -> list[F]:
    """Fixes outside all fences, but for those at the times `inside`, which are in the depot."""
    within = set(inside)
    return [F(unit, t, 50.0 + t * 1e-4, 10.005 if t in within else 9.995, speed) for t in times]


def feed(rows: Sequence[F], **options: Any) -> Rig:
    rig = Rig()
    for row in rows:
        rig.take([row], **options)
    rig.wait()
    return rig


def in_order(rows: Sequence[F]) -> Rig:
    return feed(sorted(rows, key=lambda row: row.t))


def test_a_visit_that_comes_late_raises_an_alarm_marked_late() -> None:
    rows = drive(range(0, 400, 20), inside=(100, 120))
    late = [row for row in rows if row.t in (100, 120)]
    rig = feed([row for row in rows if row not in late] + late)
    assert rig.truth() == [("enter", "depot", 100, 140)] == in_order(rows).truth()
    (alarm,) = rig.alarms()
    assert alarm.state == "cleared" and alarm.evidence["late"]["first"] == T0 + 100 * SECOND
    assert "; late: known at 2023-" in rig.book.history(alarm.id)[0].reason
    assert rig.track() == in_order(rows).track()


def test_an_alarm_that_late_fixes_refute_is_marked_and_never_deleted() -> None:
    rows = drive(range(0, 600, 20))
    gap = [row for row in rows if 100 <= row.t <= 400]
    rig = Rig()
    for row in [row for row in rows if row not in gap]:
        rig.take([row])
    (silent,) = rig.alarms()
    assert (silent.rule, silent.state) == ("quiet", "cleared")
    rig.take(gap)
    rig.wait()
    assert rig.truth() == []
    (alarm,) = rig.book.alarms()
    assert (alarm.id, alarm.state) == (silent.id, "corrected")
    assert [event.change for event in rig.book.history(alarm.id)] == ["raised", "cleared", "corrected"]
    assert "no such episode: fixes from 2023-11-14T22:15:00Z on came late" in alarm.evidence["refuted"]["reason"]


def test_what_a_person_has_acknowledged_stays_and_gets_the_note() -> None:
    rows = drive(range(0, 600, 20))
    gap = [row for row in rows if 100 <= row.t <= 400]
    rig = Rig()
    rig.take([row for row in rows if row not in gap])
    (silent,) = rig.alarms()
    rig.book.act(silent.id, "acknowledge", by="olga")
    rig.take(gap)
    rig.wait()
    (alarm,) = rig.alarms()
    assert (alarm.state, alarm.acknowledged_by, "refuted" in alarm.evidence) == ("cleared", "olga", True)


def test_an_end_that_was_too_early_is_moved() -> None:
    rows = drive(range(0, 300, 20), inside=range(100, 200, 20))
    rig = feed([row for row in rows if row.t != 120])
    assert rig.truth() == [("enter", "depot", 100, 200)]
    rig.take([F("a", 120, 50.012, 9.995, 10)])
    rig.wait()
    assert rig.truth() == [("enter", "depot", 100, 120), ("enter", "depot", 140, 200)]


def test_the_live_rules_go_on_from_the_corrected_state() -> None:
    rig = feed(drive([0, 20, 40], inside=[40]))
    assert rig.truth() == [("enter", "depot", 40, None)]
    rig.take(drive([30], inside=[30]))
    rig.wait()
    assert rig.truth() == [("enter", "depot", 30, None)]
    rig.take(drive([60, 80], inside=[60]))
    assert rig.truth() == [("enter", "depot", 30, 80)]
    assert sum(a.state == CORRECTED for a in rig.book.alarms()) == 1


def test_two_late_bursts_come_to_the_same() -> None:
    rows = drive(range(0, 1200, 20), inside=[*range(200, 300, 20), *range(600, 900, 20)])
    first, second = ([row for row in rows if a <= row.t <= b] for a, b in ((180, 400), (580, 800)))
    rest = [row for row in rows if row not in first and row not in second]
    rig = feed(rest)
    rig.take(second)
    rig.wait()
    rig.take(first)
    rig.wait()
    assert rig.truth() == in_order(rows).truth()


def test_a_condition_older_than_the_reach_is_left_as_it_is() -> None:
    patience = Patience(5 * SECOND, 60 * SECOND, 200 * SECOND)
    rig = Rig(patience)
    rig.take(drive(range(0, 1000, 20), inside=range(100, 1000, 20)))
    before = rig.truth()
    assert ("enter", "depot", 100, None) in before
    rig.take(drive([930], inside=[930]))
    rig.wait()
    assert rig.truth() == before
    rig.take(drive([1000, 1020]))
    assert ("enter", "depot", 100, 1000) in rig.truth()


def test_alarms_of_rules_that_were_changed_since_stay() -> None:
    rows = drive(range(0, 600, 20))
    gap = [row for row in rows if 100 <= row.t <= 400]
    rig = Rig()
    rig.take([row for row in rows if row not in gap])
    rig.fold.versions = {"quiet": "v2"}
    rig.take(gap)
    rig.wait()
    assert [a.rule for a in rig.alarms()] == ["quiet"]


def test_many_units_at_once_are_corrected_in_turns() -> None:
    rig = Rig()
    units = [f"u{n}" for n in range(2 * MOST + 1)]
    rig.take([row for unit in units for row in drive((0, 40), unit=unit)])
    rig.take([row for unit in units for row in drive([20], inside=[20], unit=unit)])
    assert len(rig.state.late) == len(units) and rig.truth() == []
    rig.take([], after=6)
    rig._turn(batch_of([], ticks=[(CLOCK, (rig.clock - T0) / SECOND)]))
    assert len(rig.state.late) == MOST + 1
    rig.wait()
    assert (len(rig.state.late), len(rig.truth())) == (0, len(units))


def test_a_unit_whose_fixes_go_on_coming_late_is_corrected_all_the_same() -> None:
    rig = Rig()
    rig.take(drive([0, 1000]))
    for t in range(20, 40 + LONGEST // SECOND, 4):
        rig.take(drive([t], inside=[t]), after=4)
    assert [place for rule, place, *_ in rig.truth() if rule == "enter"] == ["depot"]


def test_a_crash_between_the_log_and_the_snapshot_changes_nothing() -> None:
    rows = drive(range(0, 600, 20), inside=[*range(100, 200, 20), 300])
    chance = random.Random(3)
    shuffled = sorted(rows, key=lambda row: row.t + chance.uniform(0, 200))
    assert feed(shuffled, crash=True).truth() == in_order(rows).truth()


PLACES = ((50.05, 9.99), (50.05, 10.05), (50.05, 10.12), (50.05, 10.17))
journey = st.lists(
    st.tuples(st.integers(60, 240), st.integers(0, 3), st.sampled_from([0.0, 10.0, 40.0]), st.integers(0, 900)),
    min_size=2,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(journey, st.integers(1, 8), st.booleans())
def test_any_order_of_arrival_comes_to_the_same(
    steps: list[tuple[int, int, float, int]], cut: int, crash: bool
) -> None:
    t, rows = 0, []
    for step, place, speed, delay in steps:
        t += step
        lat, lon = PLACES[place]
        rows.append((F("a", t, lat + t * 1e-5, lon, speed), t + delay))
    arrival = [row for row, _ in sorted(rows, key=lambda pair: pair[1])]
    rig = Rig()
    for i in range(0, len(arrival), cut):
        rig.take(arrival[i : i + cut], after=3, crash=crash)
    rig.wait()
    ordered = in_order([row for row, _ in rows])
    for step, place, speed, _ in steps[:4]:  # and the live rules go on as if nothing had been
        t += step
        for one in (rig, ordered):
            one.take([F("a", t, PLACES[place][0] + t * 1e-5, PLACES[place][1], speed)], after=60)
    assert rig.track() == ordered.track()
    assert rig.truth() == ordered.truth()
    assert not rig.state.late
