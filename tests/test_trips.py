"""Trips and stops: Traccar's rules on its own cases, ours on made and on real tracks."""

from __future__ import annotations

import json
import math
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import wire
from pipeline.cli.trips import tracks_of
from pipeline.message import SECOND
from pipeline.rules.ellipsoid import MEAN_RADIUS, metres
from pipeline.rules.motion import KNOT, Flag, FlagState, Point, Stays, Window, WindowState
from pipeline.rules.sphere import haversine, sphere
from pipeline.telemetry.overspeed import Limit, Over, overspeed
from pipeline.telemetry.trips import (
    PARAMETERS,
    TRACCAR_RADIUS,
    Journey,
    Name,
    Parameters,
    Segment,
    begin,
    current,
    points,
    segments,
    step,
)
from pipeline.trackfile import read_columns
from pipeline.wire import parse_rfc3339

WORDS = {"trip": "deviceMoving", "stop": "deviceStopped"}
T0 = 1_700_000_000 * SECOND
METRE = 180 / math.pi / MEAN_RADIUS


def cases(data_dir: Path, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((data_dir / "vehicles" / "conformance" / name).read_text())["cases"]
    assert found
    return found


def far(a: Point, b: Point) -> float:
    return haversine(a.lat, a.lon, b.lat, b.lon, TRACCAR_RADIUS)


# ---------------------------------------------------------------- Traccar's cases


def recorded(row: dict[str, Any]) -> Point:
    speed = float(row.get("speed_knots", 0)) * KNOT
    at, odometer = parse_rfc3339(row["time_utc"]), float(row["total_distance_m"])
    return Point(at, 0, 0, speed, odometer, row["motion"], row.get("ignition"))


def test_traccars_older_motion_events(data_dir: Path) -> None:
    for case in cases(data_dir, "traccar_motion_events.json"):
        c = case["config"]
        rule = Flag(
            c["minimal_trip_distance_m"],
            c["minimal_trip_duration_ms"] * 1000,
            c["minimal_parking_duration_ms"] * 1000,
            c["minimal_no_data_duration_ms"] * 1000,
            c["use_ignition"],
        )
        state = FlagState(case["initial_state"]["motion_streak"], case["initial_state"]["motion_state"])
        for n, row in enumerate(case["steps"]):
            last = recorded(row["last"]) if row["last"] else None
            turns = rule.step(state, last, recorded(row["position"])._replace(moving=row["new_motion"]), far)
            pending = state.since.odometer if state.since else 0.0
            told = [WORDS[turn.kind] for turn in turns]
            expected = row["expected"]
            assert told == [expected["event"]] * (expected["event"] is not None), (case["id"], n)
            assert (state.moving, pending) == (expected["motion_state"], expected["motion_distance_m"]), (
                case["id"],
                n,
            )


def placed(row: dict[str, Any]) -> Point:
    east = math.degrees(row["east_m"] / TRACCAR_RADIUS)
    return Point(parse_rfc3339(row["time_utc"]), row["lat"], east)


def test_traccars_newer_motion_events(data_dir: Path) -> None:
    for case in cases(data_dir, "traccar_new_motion_events.json"):
        assert case["mode"] == "single_step"
        c = case["config"]
        gap = None if c["stop_gap_ms"] is None else c["stop_gap_ms"] * 1000
        rule = Window(c["min_distance_m"], c["min_duration_ms"] * 1000, gap)
        window = [placed(row) for row in case["window"]]
        state = WindowState(case["initial_motion_streak"], placed(case["last_event_position"]), window)
        way = case["current"].get("distance_from_previous_m", 0.0)
        turns = rule.judge(state, placed(case["current"])._replace(odometer=way), far)
        assert [{"type": WORDS[turn.kind]} for turn in turns] == case["expected"]["events"], case["id"]
        assert state.streak is case["expected"]["motion_streak"], case["id"]


def test_traccars_reports_of_trips_and_stops(data_dir: Path) -> None:
    for case in cases(data_dir, "traccar_trips_stops.json"):
        c = case["config"]
        rule = Flag(
            c["minimal_trip_distance_m"],
            c["minimal_trip_duration_s"] * SECOND,
            c["minimal_parking_duration_s"] * SECOND,
            c["minimal_no_data_duration_s"] * SECOND,
            c["use_ignition"],
        )
        parameters = Parameters(rule, TRACCAR_RADIUS, traccar=True)
        kind = case["report"].removesuffix("s")
        found = [s for s in segments(parameters, map(recorded, case["positions"])) if s.kind == kind]
        expected = case["expected_leading_items"]
        assert len(found) >= len(expected) and not (case["expected_empty"] and found), case["id"]
        for segment, item in zip(found, expected, strict=False):
            check_item(segment, item, case["id"])


def check_item(segment: Segment, item: dict[str, Any], name: str) -> None:
    assert segment.start.at == parse_rfc3339(item["start_time_utc"]), name
    assert segment.end.at == parse_rfc3339(item["end_time_utc"]), name
    assert segment.duration * 1000 == item["duration_ms"], name
    values = {
        "average_speed_knots": segment.pace / KNOT,
        "max_speed_knots": segment.top / KNOT,
        "distance_m": segment.distance,
    }
    for key, value in values.items():
        if key in item:
            assert value == pytest.approx(item[key], abs=item["tolerance"][key]), (name, key)


def test_traccars_overspeed(data_dir: Path) -> None:
    for case in cases(data_dir, "traccar_overspeed_events.json"):
        c = case["config"]
        fence = str(c["geofence_id"])
        limit = Limit(c["speed_limit_knots"], fence, c["minimal_duration_ms"] * 1000, c["threshold_multiplier"])
        state = Over()
        for n, row in enumerate(case["steps"]):
            position, expected = row["position"], row["expected"]
            event = overspeed(state, parse_rfc3339(position["time_utc"]), position["speed_knots"], limit)
            assert (event is None) == (expected["event"] is None), (case["id"], n)
            if event is not None:
                told = (event.speed, event.limit, int(event.fence))
                keys = ("event_speed_knots", "event_speed_limit_knots", "event_geofence_id")
                assert told == tuple(expected[key] for key in keys), (case["id"], n)
            after = {"overspeed_state": state.over, "overspeed_geofence_id": int(state.fence or 0)}
            assert after == {key: expected.get(key, value) for key, value in after.items()}, (case["id"], n)


def test_traccars_defaults(data_dir: Path) -> None:
    told = json.loads((data_dir / "vehicles" / "conformance" / "traccar_thresholds.json").read_text())["defaults"]
    new, old = PARAMETERS["traccar"].detector, PARAMETERS["traccar-old"].detector
    assert told["report.trip.newLogic"] is True
    assert new.distance == told["report.trip.minDistance_m"]
    assert (new.duration, new.gap) == (
        told["report.trip.minDuration_s"] * SECOND,
        told["report.trip.stopGap_s"] * SECOND,
    )
    assert old.distance == told["report.trip.minimalTripDistance_m (old)"]
    times = [told[f"report.trip.minimal{key}Duration_s (old)"] * SECOND for key in ("Trip", "Parking", "NoData")]
    assert [old.trip, old.parking, old.gap] == times
    assert old.ignition is told["report.trip.useIgnition (old)"]
    assert Limit(1).tolerance == told["event.overspeed.thresholdMultiplier"]
    assert Limit(1).hold == told["event.overspeed.minimalDuration_s"]


# ---------------------------------------------------------------- ours


def walk(*legs: tuple[float, float], start: float = 0.0) -> list[Point]:
    """Fixes a minute apart along the equator: for each (minutes, metres a minute) so many fixes more."""
    metre, found = start, [start]
    for minutes, pace in legs:
        for _ in range(round(minutes)):
            metre += pace
            found.append(metre)
    return along(found)


def along(east: list[float], every: int = 60) -> list[Point]:
    odometer = np.concatenate(([0.0], np.cumsum(np.abs(np.diff(east)))))
    pairs = zip(east, odometer.tolist(), strict=True)
    return [Point(T0 + n * every * SECOND, 0.0, x * METRE, 0.0, way) for n, (x, way) in enumerate(pairs)]


def brief(name: Name, track: list[Point]) -> list[tuple[str, float, float]]:
    """(kind, first minute, last minute)"""
    found = segments(PARAMETERS[name], track)
    return [(s.kind, (s.start.at - T0) / SECOND / 60, (s.end.at - T0) / SECOND / 60) for s in found]


def test_a_stop_is_from_the_first_fix_there_to_the_last() -> None:
    track = walk((10, 500), (10, 0), (10, 500))
    assert brief("default", track) == [("trip", 0, 10), ("stop", 10, 20), ("trip", 20, 30)]
    assert brief("traccar", track)[1:] == [("trip", 1, 14), ("stop", 14, 20), ("trip", 20, 30)]


def test_a_track_that_begins_and_ends_parked() -> None:
    assert brief("default", walk((10, 0), (5, 500), (30, 0))) == [
        ("stop", 0, 10),
        ("trip", 10, 15),
        ("stop", 15, 45),
    ]
    assert brief("default", walk((2, 0))) == [("stop", 0, 2)]
    assert brief("default", walk()) == []


def test_jitter_and_one_wild_fix_are_no_trip() -> None:
    rng = np.random.default_rng(5)
    east = rng.normal(0, 15, 600)
    east[300] = 5_000
    assert brief("default", along(east.tolist(), every=30)) == [("stop", 0, 599 / 2)]


def test_moving_on_a_little_stays_one_stop() -> None:
    """From one bay to another, 130 m away, and after a while off: the trip begins at the second bay."""
    track = walk((10, 0), (1, 130), (30, 0), (10, 500))
    assert brief("default", track) == [("stop", 0, 41), ("trip", 41, 51)]


def test_a_gap_with_a_move_is_a_gap_and_without_one_a_stop() -> None:
    before, after = walk((10, 500), (10, 0)), walk((10, 500), start=50_000)
    late = [p._replace(at=p.at + 200 * 60 * SECOND) for p in after]
    assert brief("default", before + late) == [
        ("trip", 0, 10), ("stop", 10, 20), ("gap", 20, 200), ("trip", 200, 210)
    ]  # fmt: skip
    parked = walk((10, 500), start=5_000)
    late = [p._replace(at=p.at + 200 * 60 * SECOND) for p in parked]
    assert brief("default", before + late) == [("trip", 0, 10), ("stop", 10, 200), ("trip", 200, 210)]


def test_the_top_speed_is_of_the_segments_own_fixes() -> None:
    track = walk((10, 500), (10, 0), (10, 500))
    fast = [p._replace(speed=20.0 if n < 9 else 3.0 if n < 20 else 25.0) for n, p in enumerate(track)]
    assert [s.top for s in segments(PARAMETERS["default"], fast)] == [20.0, 25.0, 25.0]
    fast[20] = fast[20]._replace(speed=math.nan)
    assert [s.top for s in segments(PARAMETERS["default"], fast)] == [20.0, 3.0, 25.0]


names = st.sampled_from(list(PARAMETERS))
tracks = st.lists(
    st.tuples(st.integers(1, 4000), st.floats(-2000, 2000), st.floats(0, 30)), min_size=1, max_size=60
)


def made(steps: list[tuple[int, float, float]]) -> list[Point]:
    at, x, way, found = T0, 0.0, 0.0, []
    for seconds, east, speed in steps:
        at, x, way = at + seconds * SECOND, x + east, way + abs(east)
        found.append(Point(at, 0.0, x * METRE, speed, way, speed > 0.005))
    return found


@settings(max_examples=150, deadline=None)
@given(names, tracks)
def test_segments_cover_the_track_without_holes(name: Name, steps: list[tuple[int, float, float]]) -> None:
    track = made(steps)
    found = list(segments(PARAMETERS[name], track))
    assert all(a.end == b.start for a, b in pairwise(found))
    assert all(a.kind != b.kind or a.kind == "gap" for a, b in pairwise(found))
    if found:
        assert (found[0].start, found[-1].end) == (track[0], track[-1])
        assert found[-1].open or found[-1].kind == "gap"
        assert not any(s.open for s in found[:-1])
        assert sum(s.distance for s in found) == pytest.approx(track[-1].odometer - track[0].odometer)
        assert max(s.top for s in found) <= max(p.speed for p in track)


@settings(max_examples=100, deadline=None)
@given(names, tracks, st.integers(0, 60))
def test_a_stream_says_what_a_query_says(name: Name, steps: list[tuple[int, float, float]], cut: int) -> None:
    """The state is packed and unpacked in the middle, as in a snapshot."""
    parameters, track = PARAMETERS[name], made(steps)
    journey = begin(parameters, track[0])
    found: list[Segment] = []
    for n, point in enumerate(track[1:]):
        if n == cut:
            journey = wire.unpack_state(wire.pack_state(journey), Journey)
        found += step(parameters, journey, point)
    assert [*found, *current(parameters, journey)] == list(segments(parameters, track))


@settings(max_examples=100, deadline=None)
@given(tracks)
def test_stops_of_ours_last_and_trips_go_away(steps: list[tuple[int, float, float]]) -> None:
    """From the definition: a stop that a trip ended lasted; a trip went far from the place where it began."""
    rule: Stays = PARAMETERS["default"].detector
    track = made(steps)
    found = list(segments(PARAMETERS["default"], track))
    for s, after in zip_longest(found, found[1:]):
        inside = [p for p in track if s.start.at <= p.at <= s.end.at]
        if s.kind == "stop" and after is not None and after.kind == "trip":
            assert s.duration * SECOND >= rule.stay
        if s.kind == "trip":
            assert max(far(s.start, p) for p in inside) >= rule.far - rule.near - 1
        if s.kind == "gap":
            assert len(inside) == 2 and s.duration * SECOND > rule.gap


def test_distances_in_columns_are_those_point_by_point() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.uniform(-80, 80, (2, 50)), rng.uniform(-180, 180, (2, 50))
    there = sphere(a[0], b[0], a[1], b[1], MEAN_RADIUS)
    for n in range(50):
        one = haversine(float(a[0, n]), float(b[0, n]), float(a[1, n]), float(b[1, n]), MEAN_RADIUS)
        assert one == pytest.approx(there[n], rel=1e-9)
    near = metres(a[0], b[0], a[0] + 0.01, b[0])
    assert sphere(a[0], b[0], a[0] + 0.01, b[0], MEAN_RADIUS) == pytest.approx(near, rel=0.007)


def test_a_real_day_of_buses(data_dir: Path) -> None:
    """Nobody knows the truth; but buses that stand at a terminus stand still there, and trips go somewhere."""
    day = read_columns([data_dir / "vehicles" / "tracks" / "capmetro_austin_bus_20161124.csv.gz"])
    rules = PARAMETERS["default"]
    found = [s for _unit, track in tracks_of(day) for s in segments(rules, points(rules, track))]
    stops = [s for s in found if s.kind == "stop" and not s.open and s.duration >= 180]
    trips = [s for s in found if s.kind == "trip" and not s.open]
    assert len(stops) > 500 and len(trips) > 500
    assert np.median([s.distance for s in stops]) < 30
    assert np.mean([s.distance < 500 for s in stops]) > 0.97
    assert np.mean([s.distance > 200 for s in trips]) > 0.99
    assert 10 < np.median([s.pace * 3.6 for s in trips]) < 40
