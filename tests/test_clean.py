"""Refusals with their reasons, values mended, and the fold around them: each message once, state in snapshots."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.message import SECOND, PositionBatch, Source
from pipeline.rules.silence import UnitSilence, UnitState
from pipeline.rules.speed import Speed, SpeedLimit
from pipeline.rules.speed import State as SpeedState
from pipeline.telemetry.clean import Limits, clean
from pipeline.telemetry.fold import Fold, Result
from pipeline.wire import parse_rfc3339
from tests.moving import T0, F, batch_of, brief, head

GOOD = F("a", 0, 50, 10, 5)
LIMITS = Limits()


def refuse(batch: PositionBatch) -> list[str]:
    return [r.reason for r in clean(batch, enrolled=None, limits=LIMITS).refusals]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (F("a", 0, 95, 10), "latitude_range"),
        (F("a", 0, float("nan"), 10), "latitude_range"),
        (F("a", 0, float("inf"), 10), "latitude_range"),
        (F("a", 0, 50, 180.001), "longitude_range"),
        (F("a", 0, 50, float("nan")), "longitude_range"),
        (F("a", 0, 0, 0), "null_island"),
        (F("a", (parse_rfc3339("1970-01-01T00:00:10Z") - T0) / SECOND, 50, 10), "clock_early"),
    ],
)
def test_a_fix_is_refused_with_its_reason(row: F, reason: str) -> None:
    good, refusals, mended = clean(batch_of([GOOD, row, GOOD]), enrolled=None, limits=LIMITS)
    assert [r.reason for r in refusals] == [reason]
    assert (len(good), mended) == (2, 0)
    assert refusals[0].topic == "vedette/v1/gw/position"
    assert json.loads(refusals[0].raw)["unit"] == "a"


def test_a_fix_from_2099_is_refused_and_one_from_2016_is_not() -> None:
    old = parse_rfc3339("2016-11-24T06:00:00Z")
    at = np.array([parse_rfc3339("2099-01-01T00:00:00Z"), old, T0 + 300 * SECOND, T0 + 301 * SECOND], np.int64)
    batch = batch_of([GOOD] * 4, at=at, received=np.full(4, T0, np.int64))
    good, refusals, _ = clean(batch, enrolled=None, limits=LIMITS)
    assert [(r.reason, r.count) for r in refusals] == [("clock_future", 2)]
    assert good.at.tolist() == [old, T0 + 300 * SECOND]
    assert "2 fixes from 2023-11-14T22:18:21Z to 2099-01-01T00:00:00Z" in refusals[0].detail


def test_edges_of_the_world_are_in_it() -> None:
    rows = [F("a", 0, 90, 180), F("a", 1, -90, -180), F("a", 2, 0, 0.001)]
    assert refuse(batch_of(rows)) == []


def test_of_a_stranger_nothing_is_kept_but_that_he_came() -> None:
    rows = [GOOD, F("spy", 1, 51.234567, 11.345678), F("spy", 2, 51.234567, 95), GOOD]
    good, refusals, _ = clean(batch_of(rows), enrolled={"a"}, limits=LIMITS)
    (refusal,) = refusals
    assert (refusal.reason, refusal.raw, len(good)) == ("not_enrolled", b"", 2)
    assert refusal.detail.startswith("unit spy: 2 fixes from") and "not in the fleet" in refusal.detail
    assert "51.2" not in refusal.detail + repr(refusal.raw)


def test_a_refusal_of_an_enrolled_unit_keeps_the_fix_but_does_not_show_where_it_was() -> None:
    rows = [F("a", (parse_rfc3339("1980-01-06T00:00:00Z") - T0) / SECOND, 51.234567, 11.345678)]
    (refusal,) = clean(batch_of(rows), enrolled={"a"}, limits=LIMITS).refusals
    assert refusal.detail == "unit a: 1 fix at 1980-01-06T00:00:00Z"
    assert json.loads(refusal.raw)["fixes"][0]["lat"] == 51.234567


def test_refusals_of_a_batch_are_one_for_each_unit_source_and_reason() -> None:
    wrong = [F(unit, -(10**9) + t, 50, 10) for t in range(150) for unit in ("a", "b")]
    rows = [GOOD, *wrong, F("a", 1, 95, 10), F("spy", 1, 50, 10)]
    refusals = clean(batch_of(rows), enrolled={"a", "b"}, limits=LIMITS).refusals
    assert [(r.reason, r.count, json.loads(r.raw)["unit"] if r.raw else "") for r in refusals] == [
        ("clock_early", 150, "a"),
        ("clock_early", 150, "b"),
        ("latitude_range", 1, "a"),
        ("not_enrolled", 1, ""),
    ]
    again = clean(batch_of(rows), enrolled={"a", "b"}, limits=LIMITS).refusals
    assert [r.id for r in again] == [r.id for r in refusals] and len({r.id for r in refusals}) == 4


def test_impossible_values_become_absent_and_the_fix_stays() -> None:
    rows = [F("a", t, 50, 10, v) for t, v in enumerate((-1, 150.5, float("inf"), 150, float("nan")))]
    course = np.array([0, 360, -0.1, 361, 90], np.float32)
    good, refusals, mended = clean(batch_of(rows, course=course), enrolled=None, limits=LIMITS)
    assert (refusals, mended, len(good)) == ([], 5, 5)
    assert np.isnan(good.speed).tolist() == [True, True, True, False, True]
    assert np.isnan(good.course).tolist() == [False, False, True, True, False]


# ---------------------------------------------------------------- the fold


def fold(enrolled: set[str] | None = None) -> Fold:
    quick = Speed(head("speed", name="fast"), SpeedLimit(30, 10 * SECOND, 1, 300 * SECOND))
    quiet = UnitSilence(head("silence", name="quiet"), 100 * SECOND)
    return Fold([(quick, SpeedState), (quiet, UnitState)], enrolled=enrolled)


def feed(work: Fold, *batches: PositionBatch, packing: bool = False) -> list[Result]:
    state, results = work.initial(), []
    for batch in batches:
        state, result = work.step(state, batch)
        results.append(result)
        if packing:
            state = work.restore(work.dump(state))
    return results


def signals(results: list[Result]) -> list[tuple[str, str, str, float, float]]:
    return brief([s for result in results for s in result.signals])


def test_a_message_counts_once() -> None:
    rows = [F("a", t, 50, 10, 40) for t in (0, 10, 20)]
    first, again = batch_of(rows, seq=[1, 1, 2]), batch_of([*rows, F("a", 30, 50, 10, 40)], seq=[1, 1, 2, 3])
    results = feed(fold(), first, again, again)
    assert [len(r.stored) for r in results] == [3, 1, 0]


def test_a_message_repeated_inside_a_batch_counts_once() -> None:
    rows = [F("a", t, 50, 10, 40) for t in (0, 10, 0, 10, 20)]
    (result,) = feed(fold(), batch_of(rows, seq=[1, 2, 1, 2, 3]))
    assert [(at - T0) // SECOND for at in result.stored.at.tolist()] == [0, 10, 20]
    assert [(r.reason, r.count, r.raw) for r in result.refusals] == [("duplicate", 1, b"")]


def test_another_epoch_is_another_stream_and_zero_is_no_number() -> None:
    rows = [F("a", 0, 50, 10)]
    other = batch_of([F("a", 1, 50, 10)])
    other = PositionBatch(**{n: getattr(other, n) for n in other.__slots__} | {"sources": (Source("gw", 2),)})
    unnumbered = batch_of([F("a", 2, 50, 10)], seq=[0])
    later = batch_of([F("a", 3, 50, 10)], seq=[0])
    assert [len(r.stored) for r in feed(fold(), batch_of(rows), other, unnumbered, later)] == [1, 1, 1, 1]


def test_late_fixes_are_stored_and_do_not_step_the_rules() -> None:
    rows = [F("a", t, 50, 10, 40) for t in (0, 20, 10)]
    work = fold()
    state, result = work.step(work.initial(), batch_of(rows))
    assert len(result.stored) == 3
    assert [word[2:] for word in brief(result.signals)] == [("began", 20, 0)]
    assert state.slots.late == 1


def test_ticks_hold_after_the_rows() -> None:
    batch = batch_of([F("a", 0, 50, 10)], ticks=[("gw", 101)])
    assert signals(feed(fold(), batch)) == [("a", "", "began", 100, 100)]


def test_a_future_stamp_does_not_freeze_a_unit() -> None:
    at = np.array([T0, T0 + 10**9 * SECOND, T0 + 10 * SECOND], np.int64)
    batch = batch_of([F("a", 0, 50, 10, 40)] * 3, at=at, received=np.full(3, T0, np.int64))
    (result,) = feed(fold(), batch)
    assert [word[2:] for word in brief(result.signals)] == [("began", 10, 0)]


def test_an_empty_batch_is_no_trouble() -> None:
    (result,) = feed(fold(), batch_of([]))
    assert (len(result.stored), result.signals, result.refusals) == (0, [], [])


def test_a_snapshot_of_other_rules_keeps_what_it_can() -> None:
    work = fold()
    state, _ = work.step(work.initial(), batch_of([F("a", 0, 50, 10, 40)]))
    fewer = Fold([(UnitSilence(head("silence", name="quiet"), 100 * SECOND), UnitState)])
    state = fewer.restore(work.dump(state))
    _, result = fewer.step(state, batch_of([F("a", 150, 50, 10)], seq=[9]))
    assert [s.change.value for s in result.signals] == ["began", "ended"]


messages = st.lists(
    st.lists(
        st.builds(F, st.sampled_from("ab"), st.integers(0, 400), st.just(50.0), st.just(10.0), st.floats(20, 40))
    ),
    max_size=8,
)


@settings(max_examples=100, deadline=None)
@given(messages, st.lists(st.integers(0, 8), max_size=3).map(sorted))
def test_cutting_between_messages_and_snapshots_change_nothing(sent: list[list[F]], cuts: list[int]) -> None:
    def batch(start: int, end: int) -> PositionBatch:
        numbered = [(row, i + 1) for i, rows in enumerate(sent) if start <= i < end for row in rows]
        return batch_of([row for row, _ in numbered], seq=[n for _, n in numbered])

    parts = [batch(a, b) for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    whole = [batch(0, len(sent))]
    assert (
        signals(feed(fold(), *parts))
        == signals(feed(fold(), *parts, packing=True))
        == signals(feed(fold(), *whole))
    )
