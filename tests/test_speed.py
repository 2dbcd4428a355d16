"""Too fast for too long, however the input is cut."""

from __future__ import annotations

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.message import SECOND
from pipeline.rules.calendars import Weekly
from pipeline.rules.fences import Fence
from pipeline.rules.head import Scope
from pipeline.rules.speed import Speed, SpeedLimit, State
from pipeline.rules.traits import Traits
from pipeline.rules.zones import Zones
from tests.moving import F, brief, head, run

NAN = float("nan")


def limit(hold: float = 20, hysteresis: float = 2, max_gap: float = 60, scope: Scope | None = None) -> Speed:
    return Speed(
        head("speed", scope=scope), SpeedLimit(30, round(hold * SECOND), hysteresis, round(max_gap * SECOND))
    )


def drive(*speeds: float, step: float = 10, unit: str = "a") -> list[F]:
    return [F(unit, i * step, 50, 10, speed) for i, speed in enumerate(speeds)]


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [
        ((20, 31, 32, 33, 20), [("began", 30, 10), ("ended", 40, 10)]),
        ((20, 31, 32, 20, 31, 32), []),
        ((31, 31, 30, 31, 31, 31), [("began", 50, 30)]),
        ((31, 31, 31, 29, 28.1, 27.9), [("began", 20, 0), ("ended", 50, 0)]),
        ((31, NAN, NAN, 31), [("began", 30, 0)]),
        ((30, 30, 30, 30), []),
        ((NAN, NAN, NAN), []),
    ],
)
def test_a_limit_must_be_broken_long_enough(
    speeds: tuple[float, ...], expected: list[tuple[str, float, float]]
) -> None:
    rows = drive(*speeds)
    assert [word[2:] for word in brief(run(limit(), rows))] == expected
    assert [word[2:] for word in brief(run(limit(), *[[row] for row in rows]))] == expected


def test_without_a_minimum_one_fix_is_enough() -> None:
    (signal,) = run(limit(hold=0), drive(31))
    assert signal.reason == (
        "unit a has been above 30 m/s (108 km/h) for 0 s, fastest 31 m/s (112 km/h), "
        "at 50.00000, 10.00000, 31 m/s (112 km/h)"
    )


def test_two_fast_fixes_far_apart_are_no_run() -> None:
    assert run(limit(max_gap=60), drive(31, 31, step=100)) == []
    assert len(run(limit(max_gap=100), drive(31, 31, step=100))) == 1


def test_evidence_names_limit_and_peak() -> None:
    began, ended = run(limit(), drive(31, 40, 35, 10))
    assert (began.evidence["limit"], began.evidence["peak"], ended.evidence["peak"]) == (30, 40, 40)
    assert began.alarm == ended.alarm


def test_only_units_in_scope() -> None:
    rows = [*drive(31, 31, 31, unit="a"), *drive(31, 31, 31, unit="b")]
    assert {s.subject for s in run(limit(scope=Scope(["b"])), rows)} == {"b"}


speeds = st.lists(
    st.builds(
        F, st.sampled_from("ab"), st.integers(0, 90), st.just(50.0), st.just(10.0), st.floats(26, 33) | st.just(NAN)
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(speeds, st.lists(st.integers(0, 40), max_size=4).map(sorted))
def test_cutting_the_input_and_packing_the_state_changes_nothing(rows: list[F], at: list[int]) -> None:
    parts = [rows[a:b] for a, b in zip([0, *at], [*at, len(rows)], strict=True)]
    whole, cut, packed = run(limit(), rows), run(limit(), *parts), run(limit(), *parts, kind=State)
    assert sorted(whole, key=repr) == sorted(cut, key=repr) == sorted(packed, key=repr)


@settings(max_examples=150, deadline=None)
@given(speeds)
def test_a_slow_twin_agrees(rows: list[F]) -> None:
    assert brief(run(limit(), rows)) == sorted(slowly(rows), key=lambda w: (w[3], w))


def slowly(rows: list[F]) -> list[tuple[str, str, str, float, float]]:
    """Each unit's fixes in order, each looked at alone."""
    found = []
    for unit in "ab":
        newest, since, last, open_since = -1.0, None, None, None
        for row in rows:
            if row.unit != unit or row.t <= newest:
                continue
            newest = row.t
            if open_since is not None:
                if row.speed < 28:
                    found.append((unit, "", "ended", row.t, open_since))
                    open_since = since = None
            elif row.speed > 30:
                since = row.t if since is None or last is None or row.t - last > 60 else since
                last = row.t
                if row.t - since >= 20:
                    open_since = since
                    found.append((unit, "", "began", row.t, since))
            elif row.speed <= 30:
                since = None
    return found


# ---------------------------------------------------------------- limits by place

SCHOOL = Fence("school", "x#school", shapely.box(10.0, 50.0, 10.1, 50.1), traits=Traits(limit=8))
TOWN = Fence("town", "x#town", shapely.box(10.0, 50.0, 10.5, 50.5))
INSIDE, STREET, LAND = (50.05, 10.05), (50.3, 10.3), (51.0, 11.0)


def zoned(hold: float = 0, hours: Weekly | None = None) -> Speed:
    limits = SpeedLimit(14, round(hold * SECOND), 2, 60 * SECOND, Zones([SCHOOL, TOWN], 14), hours)
    return Speed(head("speed"), limits)


def at_places(*fixes: tuple[tuple[float, float], float]) -> list[F]:
    return [F("a", 10 * i, *place, speed) for i, (place, speed) in enumerate(fixes)]


def test_the_lowest_limit_of_the_place_holds_and_none_outside() -> None:
    rows = at_places((LAND, 40), (STREET, 13), (INSIDE, 10), (STREET, 10), (STREET, 15), (LAND, 40))
    assert brief(run(zoned(), rows)) == [
        ("a", "school", "began", 20, 20),
        ("a", "school", "ended", 30, 20),
        ("a", "town", "began", 40, 40),
        ("a", "town", "ended", 50, 40),
    ]


def test_a_run_is_counted_for_each_place_anew() -> None:
    rows = at_places(
        (STREET, 20), (INSIDE, 20), (INSIDE, 20), (STREET, NAN), (STREET, 20), (STREET, 20), (STREET, 20)
    )
    assert [w[1:4] for w in brief(run(zoned(hold=20), rows))] == [("town", "began", 60)]


def test_words_name_the_place_and_say_when_it_was_left() -> None:
    began, ended = run(zoned(), at_places((INSIDE, 10), (LAND, 40)))
    assert began.reason.startswith("unit a has been above 8 m/s (29 km/h) in school for 0 s")
    assert ended.reason.startswith("unit a is no longer held to 8 m/s (29 km/h) in school")


def test_out_of_hours_there_is_no_limit() -> None:
    assert run(zoned(hours=Weekly("00:00-00:01")), at_places((INSIDE, 40), (INSIDE, 40))) == []


places = st.sampled_from([INSIDE, STREET, LAND])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(places, st.sampled_from([5, 7, 10, 13, 15, NAN])), max_size=25), st.integers(0, 25))
def test_cutting_changes_nothing_by_place_either(fixes: list[tuple[tuple[float, float], float]], cut: int) -> None:
    rows = at_places(*fixes)
    whole = brief(run(zoned(hold=10), rows))
    assert whole == brief(run(zoned(hold=10), rows[:cut], rows[cut:], kind=State))
