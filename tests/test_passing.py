"""Passing through fences and over lines, also between two fixes; against a slow twin, however cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.message import SECOND
from pipeline.rules.calendars import Weekly
from pipeline.rules.fences import Fence, load_fences
from pipeline.rules.passing import Passing, PassRule, State
from tests.moving import T0, F, brief, head, run

AREA = Fence("area", "x#area", shapely.box(10.0, 50.0, 10.1, 50.1))


def fence(tmp_path: Path, kind: str, coordinates: Any, **properties: Any) -> Fence:
    path = tmp_path / "f.geojson"
    geometry = {"type": kind, "coordinates": coordinates}
    path.write_text(json.dumps({"type": "Feature", "properties": {"id": "f", **properties}, "geometry": geometry}))
    return load_fences(path)[0]


def passes(rule: PassRule, *points: tuple[float, float, float]) -> list[tuple[float, float]]:
    """(at, start) of each pass of a unit by (t, lon, lat); each is over as soon as it is told."""
    rows = [F("a", t, lat, lon) for t, lon, lat in points]
    said = brief(run(Passing(rule), rows))
    assert said == brief(run(Passing(rule), *([row] for row in rows), kind=State))
    assert [w[3:] for w in said if w[2] == "began"] == [w[3:] for w in said if w[2] == "ended"]
    return [w[3:] for w in said if w[2] == "began"]


def test_in_and_out_again_is_a_pass_told_at_the_fix_outside() -> None:
    rule = PassRule(head(), [AREA])
    assert passes(rule, (0, 9.9, 50.05), (10, 10.05, 50.05), (20, 10.06, 50.05), (30, 10.2, 50.05)) == [(30, 10)]
    assert passes(rule, (0, 10.05, 50.05), (30, 10.2, 50.05)) == []  # first seen inside


def test_a_fast_unit_passes_between_two_fixes_but_not_in_a_long_silence() -> None:
    rule = PassRule(head(), [AREA])
    assert passes(rule, (0, 9.9, 50.05), (30, 10.2, 50.05)) == [(30, 0)]
    assert passes(rule, (0, 9.9, 50.2), (30, 10.2, 50.2)) == []
    assert passes(rule, (0, 9.9, 50.05), (900, 10.2, 50.05)) == []


def test_a_pass_may_have_to_be_quick_and_within_hours() -> None:
    slow = ((0.0, 9.9, 50.05), (10.0, 10.05, 50.05), (100.0, 10.2, 50.05))
    assert passes(PassRule(head(), [AREA], within=90 * SECOND), *slow) == [(100, 10)]
    assert passes(PassRule(head(), [AREA], within=89 * SECOND), *slow) == []
    assert passes(PassRule(head(), [AREA], hours=Weekly("00:00-00:01")), *slow) == []


NORTH = [[10.0, 50.0], [10.0, 50.1]]
WEST, ON, EAST = 9.99, 10.0002, 10.01


@pytest.mark.parametrize(
    ("direction", "path", "expected"),
    [
        ("left-to-right", [WEST, EAST], [(10, 0)]),
        ("left-to-right", [EAST, WEST], []),
        ("right-to-left", [EAST, WEST], [(10, 0)]),
        ("any", [EAST, WEST, EAST], [(10, 0), (20, 10)]),
        ("any", [WEST, ON, EAST], [(20, 10)]),
        ("right-to-left", [WEST, ON, EAST], []),
        ("any", [WEST, ON, WEST], []),
        ("any", [WEST, ON, 9.9999, ON, EAST], [(40, 10)]),
    ],
)
def test_a_line_is_crossed_from_one_side_to_the_other(
    tmp_path: Path, direction: Any, path: list[float], expected: list[tuple[float, float]]
) -> None:
    line = fence(tmp_path, "LineString", NORTH, width=100)
    points = [(10.0 * i, lon, 50.05) for i, lon in enumerate(path)]
    assert passes(PassRule(head(), [line], direction), *points) == expected


def test_beside_the_end_of_a_line_nothing_is_crossed_and_circles_are_passed(tmp_path: Path) -> None:
    line = fence(tmp_path, "LineString", NORTH, width=100)
    assert passes(PassRule(head(), [line]), (0, WEST, 50.2), (10, EAST, 50.2)) == []
    circle = fence(tmp_path, "Point", [10.0, 50.0], radius=500)
    assert passes(PassRule(head(), [circle]), (0, WEST, 50.004), (10, EAST, 50.004)) == [(10, 0)]
    corner = ((0.0, 10.0060, 50.0052), (10.0, 10.0076, 50.0036))  # of the box around the circle
    assert passes(PassRule(head(), [circle]), *corner) == []


def test_the_reason_names_the_direction(tmp_path: Path) -> None:
    line = fence(tmp_path, "LineString", NORTH, width=100)
    began, _ended = run(Passing(PassRule(head(), [line])), [F("a", 0, 50.05, WEST), F("a", 10, 50.05, EAST)])
    assert began.reason.startswith("unit a crossed f from left to right within 10 s, now at 50.05000, 10.01000")


# ---------------------------------------------------------------- the slow twin


def slowly(rows: list[F]) -> list[tuple[str, float, float]]:
    """Passes of the area, from the definition alone."""
    found = []
    before: dict[str, F] = {}
    since: dict[str, float | None] = {}
    for row in rows:
        old = before.get(row.unit)
        if old is not None and row.t <= old.t:
            continue
        inside = bool(AREA.shape.intersects(shapely.Point(row.lon, row.lat)))
        if old is None:
            since[row.unit] = -1.0 if inside else None
        else:
            way = shapely.LineString([(old.lon, old.lat), (row.lon, row.lat)])
            was = since[row.unit]
            if was is None and inside:
                since[row.unit] = row.t
            elif not inside:
                if was is not None and was >= 0:
                    found.append((row.unit, row.t, was))
                elif was is None and row.t - old.t <= 300 and AREA.shape.intersects(way):
                    found.append((row.unit, row.t, old.t))
                since[row.unit] = None
        before[row.unit] = row
    return sorted(found)


places = st.sampled_from([9.951, 10.031, 10.062, 10.153])
paths = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 40), places, st.sampled_from([49.94, 50.03, 50.07, 50.16])),
    max_size=30,
)


@settings(max_examples=120, deadline=None)
@given(paths, st.lists(st.integers(0, 30), max_size=3).map(sorted))
def test_a_slow_twin_agrees_and_cutting_changes_nothing(
    path: list[tuple[str, int, float, float]], cuts: list[int]
) -> None:
    rows = [F(unit, t * 40, lat, lon) for unit, t, lon, lat in path]
    rule = Passing(PassRule(head(), [AREA]))
    parts = [rows[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    whole, cut, packed = run(rule, rows), run(rule, *parts), run(rule, *parts, kind=State)
    said = sorted((s.subject, (s.at - T0) / SECOND, (s.start - T0) / SECOND) for s in whole if s.change == "began")
    assert said == slowly(rows)
    assert brief(whole) == brief(cut) == brief(packed)
