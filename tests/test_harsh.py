"""Harsh driving from two fixes in a row, beside a slow twin."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import wire
from pipeline.message import SECOND, Signal
from pipeline.rules.harsh import Harsh, Spec, State, build
from pipeline.rules.moves import arrange, no_slots
from tests.moving import T0, F, batch_of, head

NAN = math.nan


class C(NamedTuple):
    """Seconds, m/s, degrees."""

    t: float
    speed: float
    course: float = 90.0
    unit: str = "a"


def rule(**keys: float) -> Harsh:
    return build(Spec(name="harsh", kind="harsh", **keys), head("harsh"), ())[0]  # type: ignore[arg-type]


def run(rule: Harsh, *parts: list[C]) -> list[Signal]:
    slots, state, found = no_slots(), rule.initial(), []
    for part in parts:
        rows = [F(c.unit, c.t, 50, 10, c.speed) for c in part]
        batch = batch_of(rows, course=np.array([c.course for c in part], np.float32))
        state, said = rule.step(state, arrange(slots, batch))
        state = wire.unpack_state(wire.pack_state(state), State)
        found += said
    return found


def brief(found: list[Signal]) -> list[tuple[str, str, str, float]]:
    return sorted((s.subject, s.place, s.change.value, (s.at - T0) / SECOND) for s in found)


@pytest.mark.parametrize(
    ("fixes", "expected"),
    [
        ([C(0, 20), C(1, 14), C(2, 14)], [("a", "braking", "began", 1), ("a", "braking", "ended", 2)]),
        ([C(0, 5), C(2, 14)], [("a", "acceleration", "began", 2)]),
        ([C(0, 20), C(4, 0)], []),  # a gap
        ([C(0, 20), C(1, 17), C(2, 14)], []),  # firm, not harsh
        ([C(0, 2.0), C(0.2, 0.5)], []),  # 7.5 m/s², from a change that is noise
        ([C(0, 30), C(1, 5)], []),  # no vehicle does that
        ([C(0, 15, 90), C(1, 15, 110)], [("a", "cornering", "began", 1)]),
        ([C(0, 15, 350), C(1, 15, 10)], [("a", "cornering", "began", 1)]),  # over north
        ([C(0, 3, 90), C(1, 3, 180)], []),  # at walking pace
        ([C(0, NAN), C(1, 14), C(2, NAN)], []),
    ],
)
def test_what_is_harsh(fixes: list[C], expected: list[tuple[str, str, str, float]]) -> None:
    assert brief(run(rule(), fixes)) == expected
    assert brief(run(rule(), *[[fix] for fix in fixes])) == expected


def test_evidence_has_the_numbers() -> None:
    began = run(rule(), [C(0, 20), C(1, 14)])[0]
    assert (began.evidence["peak"], began.evidence["limit"], began.evidence["over_s"]) == (6.0, 4.0, 1.0)
    assert began.reason.startswith("unit a: braking of 6.0 m/s², 4 are allowed, at 50.00000")


def test_a_kind_without_a_limit_is_not_watched() -> None:
    assert run(rule(braking=0), [C(0, 20), C(1, 14), C(2, 14)]) == []


fixes_ = st.lists(
    st.builds(
        C,
        st.integers(0, 60),
        st.sampled_from([0.0, 1.0, 6.0, 9.0, 14.0, 20.0, 40.0, NAN]),
        st.sampled_from([0.0, 20.0, 170.0, 350.0, NAN]),
        st.sampled_from("ab"),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(fixes_, st.lists(st.integers(0, 40), max_size=3).map(sorted))
def test_cuts_change_nothing_and_a_slow_twin_agrees(fixes: list[C], cuts: list[int]) -> None:
    parts = [fixes[a:b] for a, b in zip([0, *cuts], [*cuts, len(fixes)], strict=True)]
    found = run(rule(), *parts)
    assert brief(run(rule(), fixes)) == brief(found) == sorted(slowly(fixes))


def slowly(fixes: list[C]) -> list[tuple[str, str, str, float]]:
    found = []
    for unit in "ab":
        last: C | None = None
        open_: set[str] = set()
        for fix in fixes:
            if fix.unit != unit or (last is not None and fix.t <= last.t):
                continue
            for kind, force in forces(last, fix).items():
                limit = {"braking": 4.0, "acceleration": 3.5, "cornering": 4.0}[kind]
                if kind not in open_ and force > limit:
                    open_.add(kind)
                    found.append((unit, kind, "began", fix.t))
                elif kind in open_ and force <= limit - 1:
                    open_.remove(kind)
                    found.append((unit, kind, "ended", fix.t))
            last = fix
    return found


def forces(last: C | None, fix: C) -> dict[str, float]:
    if last is None or fix.t - last.t > 3:
        return {"braking": 0.0, "acceleration": 0.0, "cornering": 0.0}
    dt, change = fix.t - last.t, fix.speed - last.speed
    along = NAN if math.isnan(change) else 0.0 if abs(change) < 2 else change / dt
    turned = abs((fix.course - last.course + 180) % 360 - 180)
    across = math.radians(turned) / dt * (fix.speed + last.speed) / 2
    if not math.isnan(change) and min(fix.speed, last.speed) < 5:
        across = 0.0
    found = {"braking": -along, "acceleration": along, "cornering": across}
    return {kind: NAN if abs(force) > 15 else force for kind, force in found.items()}
