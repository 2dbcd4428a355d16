"""Crossings for sure: hysteresis in metres and seconds, accuracy; distances to edges; a slow twin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.message import SECOND
from pipeline.rules.ellipsoid import degree, metres
from pipeline.rules.fences import Fence
from pipeline.rules.firm import Edge
from pipeline.rules.geofence import FenceRule, Geofence, State
from pipeline.rules.margin import Margins
from pipeline.rules.moves import arrange, no_slots
from pipeline.rules.traits import Traits
from pipeline.rules.transitions import transitions
from tests.moving import T0, F, batch_of, brief, head, run

EAST = float(degree(np.array(50.0))[1])
NORTH = float(degree(np.array(50.0))[0])
DEPOT = Fence("depot", "x#depot", shapely.box(10 - 500 / EAST, 49.99, 10.0, 50.01))
"""Its eastern edge is the meridian of 10°, at 50° north."""

PARK = Fence("park", "x#park", shapely.box(9.9, 49.9, 10.1, 50.1), 300, 50.0, 10 - 200 / EAST)


def east(unit: str, *steps: tuple[float, float]) -> list[F]:
    """Fixes of (seconds, metres east of the depot's edge)."""
    return [F(unit, t, 50.0, 10 + x / EAST) for t, x in steps]


def said(
    edge: Edge, rows: list[F], fences: tuple[Fence, ...] = (DEPOT,), **columns: Any
) -> list[tuple[str, float]]:
    found = transitions(fences, [batch_of(rows, **columns)], edge=edge)
    return [(event, (at - T0) / SECOND) for _unit, _fence, event, at in found]


def test_leaving_needs_the_band_entering_does_not() -> None:
    rows = east("a", (0, 30), (1, 10), (2, -1), (3, 10), (4, -5), (5, 19), (6, 21), (7, 10), (8, -1))
    assert said(Edge(band=20), rows) == [("enter", 2), ("exit", 6), ("enter", 8)]
    assert said(Edge(), rows) == [("enter", 2), ("exit", 3), ("enter", 4), ("exit", 5), ("enter", 8)]


def test_a_crossing_must_last() -> None:
    rows = east("a", (0, 30), (10, -30), (20, 30), (30, -30), (50, -30), (60, -30), (70, 30), (90, 30), (101, 30))
    assert said(Edge(hold=30 * SECOND), rows) == [("enter", 60), ("exit", 101)]


def test_an_inaccurate_fix_is_no_news() -> None:
    rows = east("a", (0, -30), (1, -30), (2, 30), (3, 30), (4, 30))
    accuracy = np.array([50, 20, 50, np.nan, 20], np.float32)
    assert said(Edge(accuracy=True), rows, accuracy=accuracy) == [("enter", 1), ("exit", 3)]
    assert said(Edge(), rows, accuracy=accuracy) == [("enter", 0), ("exit", 2)]


def test_no_news_neither_confirms_nor_breaks_a_hold() -> None:
    rows = east("a", (0, -30), (10, 1), (20, -30), (30, -30))
    accuracy = np.array([5, 50, 5, 5], np.float32)
    assert said(Edge(hold=20 * SECOND, accuracy=True), rows, accuracy=accuracy) == [("enter", 20)]
    assert said(Edge(hold=20 * SECOND), rows, accuracy=accuracy) == []


def test_the_alarm_begins_when_it_is_sure_and_dwell_when_it_was_first_said() -> None:
    edge = Edge(hold=20 * SECOND)
    rows = east("a", (0, 30), (10, -30), (20, -30), (30, -30), (40, -30), (50, 30), (60, 30), (70, 30))
    enter = Geofence([FenceRule(head(), "enter", [DEPOT])], edge)
    assert brief(run(enter, rows)) == [("a", "depot", "began", 30, 30), ("a", "depot", "ended", 70, 30)]
    dwell = Geofence([FenceRule(head(), "dwell", [DEPOT], 30 * SECOND)], edge)
    assert brief(run(dwell, rows)) == [("a", "depot", "began", 40, 10), ("a", "depot", "ended", 70, 10)]


# ---------------------------------------------------------------- distances


@pytest.mark.parametrize("lat", [-60.0, 0.0, 31.0, 65.0])
def test_the_margin_is_the_distance_to_the_nearest_point_of_the_edge(lat: float) -> None:
    """Against the nearest of many points along the edge, on the ellipsoid."""
    rng = np.random.default_rng(7)
    angle = np.sort(rng.uniform(0, 2 * math.pi, 40))
    radius = rng.uniform(0.2, 0.5, 40)
    ring = np.stack(
        (10 + radius * np.cos(angle) / math.cos(math.radians(lat)), lat + radius * np.sin(angle)), axis=1
    )
    hole = shapely.Point(10, lat).buffer(0.05).exterior.coords[::-1]
    area = shapely.Polygon(ring, [hole])
    index = Margins([Fence("f", "x#f", area)])
    lats, lons = lat + rng.uniform(-0.6, 0.6, 60), 10 + rng.uniform(-0.6, 0.6, 60)
    near = index.near(lats, lons, np.full(60, 200_000.0))
    assert near.rows.tolist() == list(range(60))
    edge = shapely.get_coordinates(shapely.segmentize(shapely.boundary(area), 0.0003))
    for row, margin in zip(near.rows.tolist(), near.margin.tolist(), strict=True):
        n = len(edge)
        there = metres(np.full(n, lats[row]), np.full(n, lons[row]), edge[:, 1], edge[:, 0]).min()
        assert abs(margin) == pytest.approx(there, rel=0.002, abs=2)
        assert (margin > 0) == bool(shapely.contains_xy(area, lons[row], lats[row]))


def test_the_seam_at_180_degrees_is_no_edge() -> None:
    both = shapely.union_all([shapely.box(179, 0, 180, 1), shapely.box(-180, 0, -179, 1)])
    near = Margins([Fence("f", "x#f", both)]).near(np.array([0.5]), np.array([179.999]), np.array([0.0]))
    assert near.margin.tolist() == [pytest.approx(55_287, abs=50)]


# ---------------------------------------------------------------- the slow twin


def margin_of(fence: Fence, row: F) -> float:
    if fence.radius:
        here, centre = (np.array([row.lat]), np.array([row.lon])), (np.array([fence.lat]), np.array([fence.lon]))
        return fence.radius - float(metres(*here, *centre)[0])
    x, y = (row.lon - 10) * EAST, (row.lat - 50) * NORTH
    corners = [((lon - 10) * EAST, (lat - 50) * NORTH) for lon, lat in fence.shape.exterior.coords]
    flat = shapely.Polygon(corners)
    distance = float(flat.exterior.distance(shapely.Point(x, y)))
    return distance if flat.intersects(shapely.Point(x, y)) else -distance


def slowly(fences: tuple[Fence, ...], edge: Edge, rows: list[F], accuracy: list[float]) -> list[tuple[Any, ...]]:
    """Each unit and fence alone, fix by fix."""
    found = []
    for unit in sorted({row.unit for row in rows}):
        for fence in fences:
            inside, since, newest = False, None, -1.0
            for row, doubt in zip(rows, accuracy, strict=True):
                if row.unit != unit or row.t <= newest:
                    continue
                newest = row.t
                r = doubt if edge.accuracy and not math.isnan(doubt) else 0.0
                margin = margin_of(fence, row)
                word = True if margin >= r else False if margin < -(r + edge.band) else None
                if word is None:
                    continue
                since = (row.t if since is None else since) if word != inside else None
                if since is not None and row.t - since >= edge.hold / SECOND:
                    inside, since = word, None
                    found.append((unit, fence.id, "enter" if inside else "exit", T0 + round(row.t * SECOND)))
    return sorted(found)


steps = st.tuples(
    st.sampled_from("ab"), st.integers(0, 60), st.integers(-60, 60), st.sampled_from([math.nan, 3, 11, 47])
)
edges = st.builds(
    Edge, st.sampled_from([0.0, 10.3, 33.0]), st.sampled_from([0, 5 * SECOND, 20 * SECOND]), st.booleans()
)
FENCES = (DEPOT, PARK)


@settings(max_examples=200, deadline=None)
@given(edges, st.lists(steps, max_size=40), st.lists(st.integers(0, 40), max_size=3).map(sorted))
def test_the_slow_twin_agrees_and_cutting_changes_nothing(
    edge: Edge, path: list[tuple[str, int, int, float]], cuts: list[int]
) -> None:
    rows = [F(unit, t, 50.0, 10 + (x + 0.123) / EAST) for unit, t, x, _accuracy in path]
    accuracy = [a for *_rest, a in path]
    column = np.array(accuracy, np.float32)
    whole = transitions(FENCES, [batch_of(rows, accuracy=column)], edge=edge)
    spans = list(zip([0, *cuts], [*cuts, len(rows)], strict=True))
    parts = [batch_of(rows[a:b], accuracy=column[a:b]) for a, b in spans]
    assert sorted(whole) == sorted(transitions(FENCES, parts, edge=edge)) == slowly(FENCES, edge, rows, accuracy)


@settings(max_examples=60, deadline=None)
@given(edges, st.lists(steps, max_size=40), st.lists(st.integers(0, 40), max_size=3).map(sorted))
def test_packing_the_state_changes_nothing(
    edge: Edge, path: list[tuple[str, int, int, float]], cuts: list[int]
) -> None:
    rows = [F(unit, t, 50.0, 10 + (x + 0.123) / EAST) for unit, t, x, _accuracy in path]
    rule = Geofence([FenceRule(head(), "exit", FENCES)], edge)
    parts = [rows[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    assert brief(run(rule, rows)) == brief(run(rule, *parts, kind=State))


def test_without_options_it_is_the_plain_difference() -> None:
    """Through the slow path too: `near` and `within` agree on who is inside."""
    rng = np.random.default_rng(3)
    rows = [F("a", t, 50.0, 10 + x / EAST) for t, x in enumerate(rng.uniform(-600, 300, 500))]
    index = Margins(FENCES)
    moves = arrange(no_slots(), batch_of(rows))
    lat, lon = moves.column("lat"), moves.column("lon")
    near = index.near(lat, lon, np.zeros(len(moves)))
    inside = sorted(zip(near.rows[near.margin >= 0].tolist(), near.fences[near.margin >= 0].tolist(), strict=True))
    assert inside == sorted(zip(*(part.tolist() for part in index.within(lat, lon)), strict=True))
    assert len(inside) > 300


# ---------------------------------------------------------------- floors and ceilings


@pytest.mark.parametrize("edge", [Edge(), Edge(band=50), Edge(accuracy=True)])
def test_a_fence_with_a_floor_and_a_ceiling_is_entered_between_them(edge: Edge) -> None:
    """An altitude that nobody said is no news; away from the fence it is not needed."""
    nan = float("nan")
    space = Fence("space", "x#space", shapely.box(10.0, 50.0, 10.1, 50.1), traits=Traits(floor=100, ceiling=200))
    lons, alts = [10.05] * 8 + [11.0], [nan, 99, 100, nan, 200, 201, 150, nan, nan]
    rows = [F("a", i, 50.05, lon) for i, lon in enumerate(lons)]
    alt = np.array(alts, np.float32)
    expected = [("enter", 2), ("exit", 5), ("enter", 6), ("exit", 8)]
    batch = batch_of(rows, alt=alt)
    found = [(what, (at - T0) // SECOND) for _unit, _fence, what, at in transitions([space], [batch], edge=edge)]
    assert found == expected
    cut = [batch.select(np.arange(i, i + 1)) for i in range(len(batch))]
    assert transitions([space], cut, edge=edge) == transitions([space], [batch], edge=edge)
