"""Standing too long, and trips at the wrong hours: the stops of the trips, however the input is cut."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.message import SECOND, Signal
from pipeline.rules.calendars import weekly
from pipeline.rules.fences import Fence
from pipeline.rules.head import Scope
from pipeline.rules.hold import Hold
from pipeline.rules.hours import HoursRule
from pipeline.rules.hours import State as HoursState
from pipeline.rules.longstop import LongStop, State
from pipeline.rules.motion import Point, Stays
from pipeline.rules.sphere import haversine
from pipeline.telemetry.trips import PARAMETERS, segments
from tests.moving import T0, F, brief, head, run

DEGREE = 111_195.0
"""Metres of latitude on the sphere of the trips."""

DEPOT = Fence("depot", "f#depot", shapely.box(9.99, 49.99, 10.01, 50.01))


def rule(limit: float = 600, fences: tuple[Fence, ...] = (), scope: Scope | None = None) -> LongStop:
    return LongStop(head("long_stop", scope=scope), round(limit * SECOND), Stays(), fences)


def drive(*north: float, step: float = 60, unit: str = "a", start: float = 0) -> list[F]:
    """Fixes `step` seconds apart, so many metres north of 50°."""
    return [F(unit, start + i * step, 50 + metres / DEGREE, 10) for i, metres in enumerate(north)]


AWAY = [1000.0 * i for i in range(1, 6)]
STAND = [5000.0] * 15


def test_a_stop_that_is_too_long_until_it_has_left() -> None:
    rows = drive(*AWAY, *STAND, 6000, 7000)
    found = run(rule(), rows)
    assert [w[2:] for w in brief(found)] == [("began", 840, 240), ("ended", 1260, 240)]
    assert found[0].reason == (
        "unit a has stood for 600 s, 600 s are allowed, at 50.04497, 10.00000, speed unknown"
    )
    assert found == run(rule(), *[[row] for row in rows], kind=State)


def test_jitter_and_one_wild_fix_do_not_end_it() -> None:
    jitter = [5000.0 + 30 * (i % 3) for i in range(8)] + [9000.0] + [5000.0] * 6
    assert [w[2] for w in brief(run(rule(), drive(*AWAY, *jitter)))] == ["began"]


def test_allowed_places_and_short_stops_are_none() -> None:
    assert run(rule(), drive(*AWAY, *STAND[:8], 6000, 7000)) == []
    at_home = drive(*[0.0] * 30)
    assert run(rule(fences=(DEPOT,)), at_home) == []
    assert len(run(rule(), at_home)) == 1
    elsewhere = run(rule(fences=(DEPOT,)), drive(*AWAY, *STAND))
    assert [s.evidence["allowed"] for s in elsewhere] == [["depot"]]


def test_only_units_in_scope() -> None:
    rows = [*drive(*STAND, unit="a"), *drive(*STAND, unit="b")]
    assert {s.subject for s in run(rule(scope=Scope(["b"])), rows)} == {"b"}


places = st.sampled_from([0.0, 20.0, 60.0, 90.0, 150.0, 210.0, 400.0, 1000.0, 5000.0])
tracks = st.lists(st.tuples(places, st.sampled_from([10, 40, 60, 100, 200, 4000])), max_size=40)


def track(steps: list[tuple[float, int]], unit: str = "a") -> list[F]:
    at = np.cumsum([step for _m, step in steps]).tolist()
    return [F(unit, t, 50 + m / DEGREE, 10) for t, (m, _step) in zip(at, steps, strict=True)]


@settings(max_examples=150, deadline=None)
@given(tracks, tracks, st.lists(st.integers(0, 80), max_size=4).map(sorted))
def test_cuts_change_nothing(a: list[tuple[float, int]], b: list[tuple[float, int]], cuts: list[int]) -> None:
    rows = sorted(track(a) + track(b, "b"), key=lambda f: f.t)
    parts = [rows[i:j] for i, j in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    key = repr
    assert sorted(run(rule(300), rows), key=key) == sorted(run(rule(300), *parts, kind=State), key=key)
    night = hours("00:00-22:30")
    assert sorted(run(night, rows), key=key) == sorted(run(night, *parts, kind=HoursState), key=key)


@settings(max_examples=150, deadline=None)
@given(tracks)
def test_the_trips_agree(steps: list[tuple[float, int]]) -> None:
    """Every stop of the trips' own fold that was seen to last is told, with the same beginning; no other is."""
    rows = track(steps)
    began = {int(s.start) for s in run(rule(300), rows) if s.change == "began"}
    assert began == {s for s, seen in stops(rows) if seen >= 300 * SECOND}


def stops(rows: list[F]) -> list[tuple[int, int]]:
    """(beginning, how long it was seen) of the stops of a track, each fix asked from the trips anew."""
    longest: dict[int, int] = {}
    points = [Point(T0 + round(r.t * SECOND), r.lat, r.lon) for r in rows]
    for n in range(1, len(points) + 1):
        detector = Stays()
        stay = detector.initial(points[0])
        last = None
        for point in points[:n]:
            detector.step(stay, last, point, lambda a, b: haversine(a.lat, a.lon, b.lat, b.lon, 6_371_008.8))
            last = point
        if stay.stopped:
            longest[stay.began.at] = max(longest.get(stay.began.at, 0), stay.within.at - stay.began.at)
    return list(longest.items())


def test_the_stop_is_that_of_the_report() -> None:
    rows = drive(*AWAY, *STAND, 6000, 7000, 8000, 9000, 9000, 9000, 9000, 9000)
    points = [Point(T0 + round(r.t * SECOND), r.lat, r.lon) for r in rows]
    reported = [s for s in segments(PARAMETERS["default"], points) if s.kind == "stop" and s.duration >= 600]
    (began, _ended) = run(rule(), rows)
    assert [s.start.at for s in reported] == [began.start]


# ---------------------------------------------------------------- hours


def hours(text: str, places: tuple[Fence, ...] = (), lasting: float = 60) -> HoursRule:
    hold = Hold(round(lasting * SECOND), 600 * SECOND)
    return HoursRule(head("trip_hours"), weekly(text, ""), hold, words=text, places=places)


def told(rule: HoursRule, rows: list[F]) -> list[tuple[str, float, float]]:
    return [w[2:] for w in brief(run(rule, rows))]


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        ("00:00-24:00", []),
        ("22:13-23:00", []),
        ("06:00-22:00", [("began", 180, 120)]),
        ("06:00-22:16", [("began", 240, 180)]),
    ],
)
def test_driving_outside_the_hours(allowed: str, expected: list[tuple[str, float, float]]) -> None:
    """T0 is 22:13:20 UTC; the unit drives on."""
    rows = drive(*[1000.0 * i for i in range(8)])
    assert told(hours(allowed), rows) == expected


def test_home_in_time_is_no_trip() -> None:
    """It arrives at 22:17:20 and waits; the hours end at 22:19."""
    rows = drive(*AWAY, *[5000.0] * 10)
    assert told(hours("06:00-22:19"), rows) == []
    late: list[Signal] = run(hours("06:00-22:16"), rows)
    assert [s.change for s in late] == ["began", "ended"]


def test_on_allowed_grounds_it_may_always_drive() -> None:
    rows = [F("a", i * 60, 50 + 0.002 * (i % 4), 10) for i in range(12)]
    assert [s.change for s in run(hours("06:00-22:00"), rows)][:1] == ["began"]
    assert run(hours("06:00-22:00", (DEPOT,)), rows) == []
