"""Refused fixes come back through the pipeline once a person says so, and only those that can."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import wire
from pipeline.message import SECOND, Clock, PositionBatch, Refusal
from pipeline.telemetry.refused import ROWS_TOLD, kept
from pipeline.telemetry.release import Wanted, records, releasable, released
from tests.moving import T0, F, batch_of
from tests.test_correct import Rig, drive


def wild(rig: Rig) -> list[Refusal]:
    """A rig that has seen unit a on its way, with one fix that was refused; its refusals."""
    rig.take(drive([0, 20]))
    rig.take([F("a", 40, 52.0, 10.05, 10)])
    state, done = rig.stage.handle(rig.state, [wire.encode_positions(_batch(rig, drive([60])))])
    rig.stage.commit([done])
    rig.state = state
    return done.refusals


def _batch(rig: Rig, rows: list[F]) -> PositionBatch:
    rig.seq += len(rows)
    return batch_of(rows, seq=[rig.seq], received=np.full(len(rows), rig.clock, np.int64))


def back(rig: Rig, refusals: list[Refusal]) -> None:
    rows = [row for refusal in refusals for row in Wanted().rows(refusal)]
    values = [record.value for record in records(released(rows, "anna b."), 1)]
    rig.state, done = rig.stage.handle(rig.state, values)
    rig.stage.commit([done])
    assert done.refusals == []


def test_a_released_jump_is_part_of_the_track_and_of_the_alarms() -> None:
    rig = Rig()
    refusals = wild(rig)
    assert [r.reason for r in refusals] == ["jump"] and len(rig.track()) == 3
    back(rig, refusals)
    assert [at for _, at, _, _ in rig.track()] == [T0 + t * SECOND for t in (0, 20, 40, 60)]
    once = rig.track()
    back(rig, refusals)
    rig.wait()
    assert rig.track() == once and not rig.state.late


def test_what_was_chosen_is_named_by_unit_reason_and_time() -> None:
    (refusal,) = wild(Rig())
    at = T0 + 40 * SECOND
    fitting = (
        Wanted(unit="a"),
        Wanted(reason="jump"),
        Wanted(start=at, end=at + 1),
        Wanted(frozenset({refusal.id})),
    )
    others = (
        Wanted(unit="b"),
        Wanted(reason="frozen"),
        Wanted(end=at),
        Wanted(start=at + 1),
        Wanted(frozenset("x")),
    )
    assert [len(wanted.rows(refusal)) for wanted in (*fitting, *others)] == [1] * 4 + [0] * 5


@pytest.mark.parametrize(
    ("reason", "shifted", "fine"),
    [
        ("jump", False, True),
        ("clock_early", False, False),
        ("clock_early", True, True),
        ("null_island", True, False),
    ],
)
def test_what_no_judgement_can_change_cannot_be_released(reason: str, shifted: bool, fine: bool) -> None:
    (jump,) = wild(Rig())
    refusal = Refusal("gw", jump.topic, reason, "", 0, jump.raw)
    assert (releasable(refusal, shifted=shifted) == "") is fine
    assert releasable(Refusal("gw", jump.topic, "not_enrolled", "", 0), shifted=True) == "no fix was kept of it"


def test_a_shift_sets_the_stamps_right_and_marks_them() -> None:
    (refusal,) = wild(Rig())
    (row,) = released(Wanted().rows(refusal), "anna", shift=-SECOND)
    assert (row.at, row.clock, row.device, row.seq) == (T0 + 39 * SECOND, Clock.IMPLAUSIBLE, "release/anna", 0)


def test_many_refused_rows_are_kept_in_several_refusals_that_fit_the_quarantine() -> None:
    rig = Rig()
    rows = [F("a" * 63, -(10**9) + t, 50.123456789, 10.123456789, 12.3456) for t in range(2 * ROWS_TOLD + 1)]
    many = _batch(rig, rows[:1]).select(np.zeros(len(rows), np.intp))
    _, done = rig.stage.handle(rig.state, [wire.encode_positions(many)])
    assert [r.count for r in done.refusals] == [ROWS_TOLD, ROWS_TOLD, 1]
    assert all(len(r.raw) < 65_536 and kept(r) for r in done.refusals)
