"""Off the route and back, however the input is cut."""

from __future__ import annotations

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.message import SECOND
from pipeline.rules.fences import Fence
from pipeline.rules.hold import Hold
from pipeline.rules.route import Route, State
from tests.moving import F, brief, head, run

ROUTE = Fence("route", "f#route", shapely.box(10.0, 49.99, 10.1, 50.01))
"""1,112 m to either side of the parallel of 50°."""


def rule(lasting: float = 60, hysteresis: float = 0) -> Route:
    return Route(head("route"), [ROUTE], Hold(round(lasting * SECOND), 600 * SECOND, 1.0), hysteresis)


def drive(*lat: float, step: float = 30) -> list[F]:
    return [F("a", i * step, value, 10.05) for i, value in enumerate(lat)]


ON, OFF = 50.0, 50.02


@pytest.mark.parametrize(
    ("lat", "expected"),
    [
        ((ON, OFF, OFF, OFF, ON), [("began", 90, 30), ("ended", 120, 30)]),
        ((ON, OFF, OFF, ON, OFF, OFF), []),
        ((OFF, OFF, OFF, OFF), []),
        ((OFF, ON, OFF, OFF, OFF), [("began", 120, 60)]),
    ],
)
def test_off_it_for_long_enough(lat: tuple[float, ...], expected: list[tuple[str, float, float]]) -> None:
    rows = drive(*lat)
    assert [w[2:] for w in brief(run(rule(), rows))] == expected
    assert [w[2:] for w in brief(run(rule(), *[[row] for row in rows], kind=State))] == expected


def test_it_tells_how_far_off() -> None:
    began = run(rule(), drive(ON, OFF, OFF, OFF))[0]
    assert began.evidence["off_m"] == pytest.approx(1112, abs=2)
    assert began.evidence["route"] == ["route"]
    assert "off its route for 60 s, now 1112 m from it" in began.reason


def test_with_hysteresis_it_is_left_further_out_and_back_at_the_edge() -> None:
    near = 50.0104  # 44 m beyond the edge
    assert run(rule(hysteresis=100), drive(ON, near, near, near, near)) == []
    assert len(run(rule(), drive(ON, near, near, near, near))) == 1
    words = brief(run(rule(hysteresis=100), drive(ON, OFF, OFF, OFF, near, ON)))
    assert [w[2:4] for w in words] == [("began", 90), ("ended", 150)]


fixes = st.lists(
    st.builds(F, st.sampled_from("ab"), st.integers(0, 900), st.sampled_from([ON, 50.0104, OFF]), st.just(10.05)),
    max_size=40,
)


@settings(max_examples=120, deadline=None)
@given(fixes, st.lists(st.integers(0, 40), max_size=4).map(sorted), st.sampled_from([0.0, 100.0]))
def test_cuts_change_nothing(rows: list[F], cuts: list[int], hysteresis: float) -> None:
    parts = [rows[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    whole, cut = run(rule(hysteresis=hysteresis), rows), run(rule(hysteresis=hysteresis), *parts, kind=State)
    assert sorted(whole, key=repr) == sorted(cut, key=repr)
