"""A condition that must last, looked at in pieces or all at once, and beside a slow twin."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.message import Change
from pipeline.rules.hold import Hold, Looks, Run, sweep

HOLD = Hold(20, 30, 2.0)


def looks(*pairs: tuple[int, float]) -> Looks:
    at = np.array([t for t, _excess in pairs], np.int64)
    excess = np.array([excess for _t, excess in pairs], np.float64)
    return Looks(at, excess + 100, excess)


def swept(parts: list[list[tuple[int, float]]], hold: Hold = HOLD) -> list[tuple[str, int, int, float]]:
    """(change, at, since, peak)"""
    run: Run | None = None
    found = []
    for part in parts:
        seen = looks(*part)
        run, turns = sweep(run, seen, hold)
        found += [(t.change.value, int(seen.at[t.row]), t.run.since, t.run.peak) for t in turns]
    return found


@pytest.mark.parametrize(
    ("excess", "expected"),
    [
        ((1, 1, 5, -2), [("began", 20, 0, 105), ("ended", 30, 0, 105)]),
        ((1, 1, 1, -1, 0, -2), [("began", 20, 0, 101), ("ended", 50, 0, 101)]),
        ((1, 1, 0, 1, 1), []),
        ((1, math.nan, 1), [("began", 20, 0, 101)]),
        ((-1, -1, -1), []),
        ((1, 1, 1, 9, -2), [("began", 20, 0, 101), ("ended", 40, 0, 109)]),
    ],
)
def test_it_must_last_and_be_surely_over(
    excess: tuple[float, ...], expected: list[tuple[str, int, int, float]]
) -> None:
    rows = [(10 * i, value) for i, value in enumerate(excess)]
    assert swept([rows]) == expected
    assert swept([[row] for row in rows]) == expected


def test_looks_far_apart_are_no_run() -> None:
    assert swept([[(0, 1), (31, 1)]]) == []
    assert swept([[(0, 1), (30, 1)]]) == [("began", 30, 0, 101)]


rows_ = st.lists(st.tuples(st.integers(1, 25), st.sampled_from([-3.0, -1.0, 0.0, 1.0, 2.0, math.nan])), max_size=30)


@settings(max_examples=200, deadline=None)
@given(rows_, st.lists(st.integers(0, 30), max_size=4).map(sorted))
def test_cuts_change_nothing_and_a_slow_twin_agrees(steps: list[tuple[int, float]], cuts: list[int]) -> None:
    at = np.cumsum([step for step, _e in steps]).tolist()
    rows = list(zip(at, [excess for _s, excess in steps], strict=True))
    parts = [rows[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    assert swept([rows]) == swept(parts) == slowly(rows)


def slowly(rows: list[tuple[int, float]]) -> list[tuple[str, int, int, float]]:
    found: list[tuple[str, int, int, float]] = []
    since, last, peak, began = 0, 0, -math.inf, False
    running = False
    for at, excess in rows:
        if math.isnan(excess):
            continue
        if excess > 0:
            if not running or (not began and at - last > 30):
                running, since, peak = True, at, -math.inf
            last, peak = at, max(peak, excess)
            if not began and at - since >= 20:
                began = True
                found.append(("began", at, since, peak + 100))
        elif running and not began:
            running = False
        elif running and excess <= -2:
            found.append(("ended", at, since, peak + 100))
            running = began = False
    return found


def test_what_began_is_told_as_it_stood_then() -> None:
    run, turns = sweep(None, looks((0, 1), (20, 2), (30, 9)), HOLD)
    assert run is not None
    assert (turns[0].change, turns[0].run.peak, run.peak) == (Change.BEGAN, 102, 109)
