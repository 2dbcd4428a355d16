"""Fixes that only their neighbours can judge: held, refused, believed; nothing is lost or condemned for another."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import wire
from pipeline.message import SECOND, PositionBatch, Refusal, Source
from pipeline.rules.moves import no_slots
from pipeline.telemetry.clean import RELEASED, Limits
from pipeline.telemetry.doubt import HELD_FOR, Doubts, give_up, no_doubts, weigh
from pipeline.telemetry.refused import kept
from tests.moving import T0, F, batch_of

HOME, FAR = (50.0, 10.0), (52.0, 10.0)
Seen = tuple[list[tuple[float, float]], list[tuple[str, int]]]


def pieces(rows: list[F], cut: int, ahead: list[float] | None = None) -> list[PositionBatch]:
    """Batches of `cut` rows. `ahead`: how far the stamp of each is ahead of its receipt, in seconds."""
    ahead = ahead or [0.0] * len(rows)
    return [
        batch_of(
            rows[i : i + cut],
            seq=list(range(i + 1, i + 1 + len(rows[i : i + cut]))),
            received=np.array(
                [T0 + round((r.t - a) * SECOND) for r, a in zip(rows[i : i + cut], ahead[i:], strict=False)],
                np.int64,
            ),
        )
        for i in range(0, len(rows), cut)
    ]


def feed(batches: list[PositionBatch]) -> tuple[list[PositionBatch], list[Refusal], Doubts]:
    state, slots = no_doubts(), no_slots()
    believed, refusals = [], list[Refusal]()
    for batch in batches:
        weighed = weigh(state, slots, batch, Limits())
        state = wire.unpack_state(wire.pack_state(state), Doubts)
        believed.append(weighed.batch)
        refusals += weighed.refusals
    return believed, refusals, state


def told(batches: list[PositionBatch]) -> Seen:
    """(time, latitude) of what was believed, and the reasons with their counts."""
    believed, refusals, _ = feed(batches)
    rows = [
        ((at - T0) / SECOND, lat) for b in believed for at, lat in zip(b.at.tolist(), b.lat.tolist(), strict=True)
    ]
    reasons = sorted((r.reason, r.count) for r in refusals)
    return sorted(rows), reasons


def at_home(times: list[float]) -> list[F]:
    return [F("a", t, HOME[0] + t * 1e-5, HOME[1], 1) for t in times]


@pytest.mark.parametrize("cut", [1, 2, 3, 100])
def test_one_wild_fix_is_refused_and_does_not_condemn_the_next(cut: int) -> None:
    good = at_home([0, 10, 30, 40])
    rows = [*good[:2], F("a", 20, *FAR, 1), *good[2:]]
    assert told(pieces(rows, cut)) == ([(r.t, r.lat) for r in good], [("jump", 1)])


@pytest.mark.parametrize("cut", [1, 2, 100])
def test_a_unit_that_was_moved_is_believed_and_nothing_is_lost(cut: int) -> None:
    rows = at_home([0, 10]) + [F("a", t, FAR[0] + t * 1e-5, FAR[1], 1) for t in (20, 30, 40, 50)]
    seen, reasons = told(pieces(rows, cut))
    assert (seen, reasons) == ([(r.t, r.lat) for r in rows], [])


def test_what_is_far_and_has_had_the_time_is_no_jump() -> None:
    rows = [F("a", 0, *HOME), F("a", 3600, *FAR), F("a", 3610, *FAR)]
    assert told(pieces(rows, 1))[1] == []


def test_a_fix_within_reach_of_both_neighbours_is_believed_after_all() -> None:
    rows = [F("a", 0, *HOME), F("a", 20, 50.05, 10.0), F("a", 140, 50.06, 10.0)]
    assert told(pieces(rows, 1)) == ([(r.t, r.lat) for r in rows], [])


@pytest.mark.parametrize("cut", [1, 2, 100])
def test_one_stamp_ahead_does_not_make_the_next_fixes_late(cut: int) -> None:
    good = at_home([0, 10, 30, 40, 50])
    rows = [*good[:2], F("a", 310, 50.0002, 10.0, 1), *good[2:]]
    ahead = [0.0, 0, 290, 0, 0, 0]
    assert told(pieces(rows, cut, ahead)) == ([(r.t, r.lat) for r in good], [("clock_step", 1)])
    believed, _, _ = feed(pieces(rows, cut, ahead))
    slots = no_slots()
    for batch in believed:
        weigh(no_doubts(), slots, batch, Limits())
    assert slots.late == 0


def test_the_first_stamp_of_a_unit_can_be_wrong_too() -> None:
    rows = [F("a", 250, *HOME), *at_home([10, 20])]
    assert told(pieces(rows, 1, [250.0, 0, 0]))[1] == [("clock_step", 1)]


def test_a_clock_that_is_ahead_for_good_is_believed() -> None:
    rows = at_home([100, 110, 120, 130, 140])
    seen, reasons = told(pieces(rows, 1, [100.0] * 5))
    assert ([t for t, _ in seen], reasons) == ([100, 110, 120, 130, 140], [])


def test_a_moving_unit_that_says_the_same_place_is_frozen_until_it_says_another() -> None:
    rows = [F("a", 10 * n, *HOME, 20) for n in range(9)] + [F("a", 90, 50.001, 10.0, 20)]
    seen, reasons = told(pieces(rows, 2))
    assert [t for t, _ in seen] == [0, 10, 20, 30, 40, 90]
    assert sum(count for reason, count in reasons if reason == "frozen") == 4


def test_a_unit_that_stands_is_not_frozen() -> None:
    rows = [F("a", 10 * n, *HOME, 0.5) for n in range(20)]
    assert told(pieces(rows, 3))[1] == []


def test_a_late_fix_from_out_of_reach_is_refused_and_a_late_one_from_nearby_is_not() -> None:
    rows = [*at_home([0, 100]), F("a", 50, *FAR), F("a", 60, *HOME)]
    seen, reasons = told(pieces(rows, 1))
    assert ([t for t, _ in seen], reasons) == ([0, 60, 100], [("jump", 1)])


def test_a_refused_fix_is_kept_whole_and_a_doubled_one_is_only_counted() -> None:
    rows = [*at_home([0, 10]), F("a", 10, HOME[0] + 10 * 1e-5, HOME[1], 1), F("a", 20, *FAR, 7), *at_home([30])]
    _, refusals, _ = feed(pieces(rows, 1))
    double, jump = refusals
    assert (double.reason, double.raw) == ("duplicate", b"")
    content = kept(jump)
    assert content is not None and content.unit == "a"
    (row,) = content.fixes
    assert (row.at, row.lat, row.speed, row.device, row.seq) == (T0 + 20 * SECOND, 52.0, 7.0, "gw", 4)
    assert "52" not in jump.detail.replace("2023", "") and json.loads(jump.raw)


def test_what_nobody_judges_is_refused_in_the_end() -> None:
    _, refusals, state = feed(pieces([*at_home([0]), F("a", 10, *FAR)], 1))
    assert refusals == [] and give_up(state, T0 + HELD_FOR) == []
    (late,) = give_up(state, T0 + 11 * SECOND + HELD_FOR)
    assert (late.reason, late.count, state.held) == ("jump", 1, {})


def test_what_a_person_released_is_not_doubted_again() -> None:
    first, wild = pieces([*at_home([0]), F("a", 10, *FAR)], 1)
    names = {name: getattr(wild, name) for name in wild.__slots__}
    believed, refusals, _ = feed([first, PositionBatch(**names | {"sources": (Source(f"{RELEASED}anna", 0),)})])
    assert ([len(batch) for batch in believed], refusals) == ([1, 1], [])


fixes = st.tuples(st.sampled_from("ab"), st.integers(1, 60), st.sampled_from([HOME, FAR, (50.001, 10.0)]))


@settings(max_examples=150, deadline=None)
@given(st.lists(fixes, min_size=1, max_size=25), st.integers(1, 6))
def test_how_the_input_is_cut_makes_no_difference_and_every_fix_is_accounted_for(
    steps: list[tuple[str, int, tuple[float, float]]], cut: int
) -> None:
    t, rows = 0, []
    for unit, step, place in steps:
        t += step
        rows.append(F(unit, t, *place, 20))
    whole, parts = told(pieces(rows, 1000)), told(pieces(rows, cut))
    assert whole[0] == parts[0]
    counted = [{r: sum(c for q, c in s[1] if q == r) for r, _ in s[1]} for s in (whole, parts)]
    assert counted[0] == counted[1]
    _, _, state = feed(pieces(rows, cut))
    held = sum(map(len, state.held.values()))
    assert len(parts[0]) + sum(count for _, count in parts[1]) + held == len(rows)
