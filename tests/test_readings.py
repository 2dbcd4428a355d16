"""Sensor readings: what is refused, limits, rates and missing channels, across cuts and restarts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import wire
from pipeline.message import SECOND, Reading, ReadingRecord, Refusal, Signal
from pipeline.rules import limit, missing, rate
from pipeline.rules.samples import CHANNELS
from pipeline.telemetry.clean import Limits
from pipeline.telemetry.readings import ReadingStage
from tests.doubles import MemoryStore
from tests.moving import T0, head

NAN = math.nan


def record(
    t: float, *values: tuple[str, float], device: str = "mast", seq: int = 0, unit: str = ""
) -> ReadingRecord:
    """Read and received at `t` seconds after T0."""
    at = T0 + round(t * SECOND)
    return ReadingRecord(device, 1, seq, at, [Reading(name, at, value, unit) for name, value in values])


def stage(kind: Any = None, **keys: Any) -> ReadingStage:
    rules = [kind.build(kind.Spec(name="r", kind="x", **keys), head("x"))] if kind else []
    return ReadingStage(MemoryStore(), rules, limits=Limits())


def run(stage: ReadingStage, *parts: Sequence[ReadingRecord]) -> tuple[list[Signal], list[Refusal]]:
    """With a restart between the parts."""
    state, signals, refusals = stage.initial(), [], []
    for part in parts:
        state, done = stage.handle(stage.restore(stage.dump(state)), [wire.pack(one) for one in part])
        signals += done.signals
        refusals += done.refusals
        stage.commit([done])
    return signals, refusals


def brief(signals: Sequence[Signal]) -> list[tuple[str, str, str, float, float]]:
    return sorted(
        (s.subject, s.place, s.change.value, (s.at - T0) / SECOND, (s.start - T0) / SECOND) for s in signals
    )


def told(signals: Sequence[Signal]) -> list[tuple[str, float, float]]:
    return sorted((word[2:] for word in brief(signals)), key=lambda w: w[1:])


# ---------------------------------------------------------------- refused


def test_odd_readings_are_refused_with_their_reason() -> None:
    at = T0
    odd = [
        Reading("t", at, 20.5),
        Reading("t", at + 1, NAN),
        Reading("t", at + 2, math.inf),
        Reading("x" * 64, at, 1),
        Reading("a/b", at, 1),
        Reading("", at, 1),
        Reading("t", at, 1, "u" * 33),
        Reading("t", 0, 1),
        Reading("t", at + 301 * SECOND, 1),
    ]
    one = stage()
    _signals, refusals = run(one, [ReadingRecord("mast", 1, 1, at, odd)])
    counts = {refusal.reason: refusal.count for refusal in refusals}
    assert counts == {"value_not_finite": 2, "channel_name": 4, "clock_early": 1, "clock_future": 1}
    assert one._store.series("mast", "t", 0, 2**60)[1].tolist() == [20.5]
    assert refusals[0].topic == "vedette/v1/mast/reading"
    assert one.figures() == {"stored": 1, "refused": 8}


def test_a_device_has_so_many_channels_and_no_more() -> None:
    many = [(f"c{i}", 1.0) for i in range(CHANNELS + 50)]
    _signals, refusals = run(stage(), [record(0, *many)], [record(1, ("c0", 2.0), ("c299", 2.0))])
    assert [(r.reason, r.count) for r in refusals] == [("too_many_channels", 50), ("too_many_channels", 1)]


def test_a_message_twice_on_the_log_is_stored_and_judged_once() -> None:
    one = stage(limit, above=10)
    signals, _refusals = run(
        one, [record(0, ("t", 20), seq=1), record(0, ("t", 20), seq=1)], [record(0, ("t", 20), seq=1)]
    )
    assert len(signals) == 1
    assert one.figures()["stored"] == 1


def test_a_snapshot_of_the_time_without_rules_is_taken() -> None:
    (signal,) = run(stage(limit, above=10), [record(0, ("t", 20))])[0]
    assert (stage().restore(b"").seen, signal.change) == ({}, "began")


# ---------------------------------------------------------------- limit


def series(*values: float, step: float = 10, name: str = "t") -> list[ReadingRecord]:
    return [record(i * step, (name, value)) for i, value in enumerate(values)]


@pytest.mark.parametrize(
    ("keys", "values", "expected"),
    [
        ({"above": 30}, (29, 31, 30.5, 30), [("began", 10, 10), ("ended", 30, 10)]),
        ({"above": 30, "deadband": 2}, (31, 29, 28), [("began", 0, 0), ("ended", 20, 0)]),
        ({"above": 30, "min_duration_s": 20}, (31, 31, 29, 31, 31, 31), [("began", 50, 30)]),
        ({"below": 5}, (6, 4, 5), [("began", 10, 10), ("ended", 20, 10)]),
        ({"above": 30, "max_gap_s": 5, "min_duration_s": 10}, (31, 31, 31), []),
    ],
)
def test_a_limit(
    keys: dict[str, float], values: tuple[float, ...], expected: list[tuple[str, float, float]]
) -> None:
    assert told(run(stage(limit, **keys), series(*values))[0]) == expected
    assert told(run(stage(limit, **keys), *[[one] for one in series(*values)])[0]) == expected


def test_words_and_another_unit_of_measure() -> None:
    (signal,) = run(stage(limit, above=30, unit="degC"), [record(0, ("t", 31), unit="degC")])[0]
    assert signal.reason == "t of mast has been above 30 degC for 0 s, now 31, highest 31"
    assert (signal.subject, signal.place, signal.evidence["value"]) == ("mast", "t", 31)
    assert run(stage(limit, above=30, unit="degC"), [record(0, ("t", 80), unit="degF")])[0] == []


def test_only_named_devices_and_channels() -> None:
    found = run(
        stage(limit, above=1, devices=["mast-*"], channels=["t"]),
        [record(0, ("t", 5), ("h", 5), device="mast-1"), record(0, ("t", 5), device="car-1")],
    )[0]
    assert [(s.subject, s.place) for s in found] == [("mast-1", "t")]


readings = st.lists(st.tuples(st.integers(0, 60), st.sampled_from([1.0, 9.0, 10.0, 11.0, 12.0, 20.0])), max_size=30)


@settings(max_examples=100, deadline=None)
@given(readings, st.lists(st.integers(0, 30), max_size=3).map(sorted))
def test_limit_cuts_and_slow_twin(rows: list[tuple[int, float]], cuts: list[int]) -> None:
    records = [record(t, ("t", value)) for t, value in rows]
    parts = [records[a:b] for a, b in zip([0, *cuts], [*cuts, len(records)], strict=True)]
    keys = {"above": 10, "deadband": 1, "min_duration_s": 5}
    assert told(run(stage(limit, **keys), *parts)[0]) == told(run(stage(limit, **keys), records)[0]) == slowly(rows)


def slowly(rows: list[tuple[int, float]]) -> list[tuple[str, float, float]]:
    found: list[tuple[str, float, float]] = []
    newest, since, began = -1, None, False
    for t, value in rows:
        if t <= newest:
            continue
        newest = t
        if value > 10:
            since = t if since is None else since
            if not began and t - since >= 5:
                began = True
                found.append(("began", t, since))
        elif since is not None and not began:
            since = None
        elif since is not None and value <= 9:
            found.append(("ended", t, since))
            since, began = None, False
    return found


# ---------------------------------------------------------------- rate


@pytest.mark.parametrize(
    ("keys", "values", "expected"),
    [
        ({"rise": 5}, (20, 22, 24, 26, 26, 26), [("began", 30, 30), ("ended", 40, 30)]),
        ({"rise": 5}, (20, 18, 16, 14), []),
        ({"fall": 5}, (20, 18, 16, 14), [("began", 30, 30)]),
        ({"rise": 5}, (0, 2, 4, 2, 4, 2), []),
    ],
)
def test_a_rate(
    keys: dict[str, float], values: tuple[float, ...], expected: list[tuple[str, float, float]]
) -> None:
    found = run(stage(rate, per_s=30, **keys), *[[one] for one in series(*values)])[0]
    assert told(found) == expected
    assert found == run(stage(rate, per_s=30, **keys), series(*values))[0]


@settings(max_examples=80, deadline=None)
@given(readings, st.integers(0, 30))
def test_the_change_is_from_the_lowest_of_the_window(rows: list[tuple[int, float]], cut: int) -> None:
    records = [record(t, ("t", value)) for t, value in rows]
    found = run(stage(rate, rise=8, per_s=20), records[:cut], records[cut:])[0]
    seen: list[tuple[int, float]] = []
    expected, above = [], False
    for t, value in rows:
        if seen and t <= seen[-1][0]:
            continue
        seen.append((t, value))
        rise = value - min(v for s, v in seen if s >= t - 20)
        if (rise > 8) != above:
            above = rise > 8
            expected.append((t, above))
    assert [(w[1], w[0] == "began") for w in told(found)] == expected


# ---------------------------------------------------------------- missing


def ticks(start: int, end: int) -> list[ReadingRecord]:
    return [record(t, device="") for t in range(start, end, 10)]


def test_a_channel_that_says_nothing_is_missed_by_the_clock() -> None:
    records = [
        record(0, ("t", 1), ("h", 1)),
        *ticks(10, 60),
        record(60, ("h", 1)),
        *ticks(70, 100),
        record(100, ("t", 1)),
    ]
    whole = run(stage(missing, limit_s=55), records)[0]
    assert brief(whole) == [
        ("mast", "h", "began", 55, 55),
        ("mast", "h", "ended", 60, 55),
        ("mast", "t", "began", 55, 55),
        ("mast", "t", "ended", 100, 55),
    ]
    assert whole == run(stage(missing, limit_s=55), *[[one] for one in records])[0]


def test_nothing_is_missed_while_nobody_listened() -> None:
    records = [record(0, ("t", 1)), record(1000, ("t", 1)), *ticks(1010, 1050)]
    assert run(stage(missing, limit_s=55), records)[0] == []


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["t", "h", ""])), max_size=25), st.integers(0, 25))
def test_missing_across_cuts(steps: list[tuple[int, str]], cut: int) -> None:
    now, records = 0, []
    for step, name in steps:
        now += step
        records.append(record(now, *([(name, 1.0)] if name else [])))
    one, two = (
        run(stage(missing, limit_s=50), records)[0],
        run(stage(missing, limit_s=50), records[:cut], records[cut:])[0],
    )
    assert brief(one) == brief(two)
