"""Enter, exit and dwell; crossings against a slow twin; the same answer however the input is cut."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.message import SECOND, PositionBatch
from pipeline.rules.ellipsoid import metres
from pipeline.rules.fences import Fence, load_fences
from pipeline.rules.fleet import Fleet
from pipeline.rules.geofence import FenceRule, Geofence, On, State
from pipeline.rules.head import Scope
from pipeline.rules.transitions import transitions
from pipeline.trackfile import read_columns
from tests.moving import T0, F, batch_of, brief, head, run

DEPOT = Fence("depot", "x#depot", shapely.box(10.0, 50.0, 10.1, 50.1))
YARD = Fence("yard", "x#yard", shapely.box(10.05, 50.05, 10.2, 50.2))
LAT_IN, LON_IN = 50.02, 10.02
OUT = 49.0


def rule(on: On, *fences: Fence, dwell: float = 0, scope: Scope | None = None) -> Geofence:
    return Geofence([FenceRule(head(scope=scope), on, fences or (DEPOT,), round(dwell * SECOND))])


def visit(*inside: bool, step: float = 10, unit: str = "a") -> list[F]:
    """Fixes every `step` seconds, inside the depot or outside."""
    return [F(unit, i * step, LAT_IN if here else OUT, LON_IN, 4) for i, here in enumerate(inside)]


def test_enter_stands_from_entering_to_leaving() -> None:
    signals = run(rule("enter"), visit(False, True, True, False))
    assert brief(signals) == [("a", "depot", "began", 10, 10), ("a", "depot", "ended", 30, 10)]
    assert signals[0].alarm == signals[1].alarm
    assert signals[0].reason == "unit a entered depot at 50.02000, 10.02000, 4 m/s (14 km/h)"
    assert signals[1].reason == "unit a left depot after 20 s at 49.00000, 10.02000, 4 m/s (14 km/h)"


def test_the_group_of_a_unit_stands_in_the_sentence() -> None:
    scope = Scope(fleet=Fleet({"2228": "bus"}))
    (signal,) = run(rule("enter", scope=scope), visit(False, True, unit="2228"))
    assert signal.reason.startswith("bus 2228 entered depot at ")


def test_a_unit_first_seen_inside_has_entered() -> None:
    (signal,) = run(rule("enter"), visit(True, True))
    assert signal.at == T0
    assert "was first seen inside depot" in signal.reason


def test_exit_stands_from_leaving_to_coming_back() -> None:
    signals = run(rule("exit"), visit(False, True, False, False, True))
    assert brief(signals) == [("a", "depot", "began", 20, 20), ("a", "depot", "ended", 40, 20)]


def test_two_visits_are_two_alarms() -> None:
    signals = run(rule("enter"), visit(True, False, True, False))
    assert len({s.alarm for s in signals}) == 2


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ((True, True, True, True, False), [("began", 30, 0), ("ended", 40, 0)]),
        ((True, True, True, False), []),
        ((True, False, True, True, True, True), [("began", 50, 20)]),
    ],
)
@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_dwell_needs_a_fix_inside_when_it_is_due(
    path: tuple[bool, ...], expected: list[tuple[str, float, float]], cut: int
) -> None:
    rows = visit(*path)
    signals = run(rule("dwell", dwell=25), rows[:cut], rows[cut:])
    assert [word[2:] for word in brief(signals)] == expected


def test_overlapping_fences_are_told_apart() -> None:
    rows = [F("a", 0, OUT, 10), F("a", 1, 50.07, 10.07), F("a", 2, 50.15, 10.15)]
    assert brief(run(rule("enter", DEPOT, YARD), rows)) == [
        ("a", "depot", "began", 1, 1),
        ("a", "yard", "began", 1, 1),
        ("a", "depot", "ended", 2, 1),
    ]


def test_only_units_in_scope_make_alarms() -> None:
    scope = Scope(["b*"], ["hazmat"], Fleet({"a": "bus", "t": "hazmat", "b1": ""}))
    rows = [F(unit, 0, LAT_IN, LON_IN) for unit in ("a", "b1", "t", "x")]
    assert {s.subject for s in run(rule("enter", scope=scope), rows)} == {"b1", "t"}


def test_a_late_fix_moves_nothing() -> None:
    rows = [F("a", 0, OUT, 10), F("a", 20, OUT, 10), F("a", 10, LAT_IN, LON_IN), F("a", 20, LAT_IN, LON_IN)]
    assert run(rule("enter"), rows) == run(rule("enter"), rows[:2], rows[2:]) == []


# ---------------------------------------------------------------- the slow twin


def slowly(fences: list[Fence], rows: list[F]) -> list[tuple[str, str, str, int]]:
    """The same transitions by the crossing-number rule, point by point and set by set."""
    was: dict[str, set[str]] = {}
    newest: dict[str, float] = {}
    found = []
    for row in rows:
        if row.t <= newest.get(row.unit, -math.inf):
            continue
        newest[row.unit] = row.t
        now = {f.id for f in fences if lies_in(f, row.lat, row.lon)}
        before = was.get(row.unit, set())
        at = T0 + round(row.t * SECOND)
        found += [(row.unit, name, "exit", at) for name in before - now]
        found += [(row.unit, name, "enter", at) for name in now - before]
        was[row.unit] = now
    return sorted(found)


def lies_in(fence: Fence, lat: float, lon: float) -> bool:
    if fence.radius:
        distance = metres(np.array([lat]), np.array([lon]), np.array([fence.lat]), np.array([fence.lon]))
        return bool(distance[0] <= fence.radius)
    crossings = 0
    for ring in rings(fence.shape):
        for (x1, y1), (x2, y2) in pairwise(ring):
            if (y1 > lat) != (y2 > lat) and lon < x1 + (lat - y1) / (y2 - y1) * (x2 - x1):
                crossings += 1
    return crossings % 2 == 1


def rings(shape: shapely.Geometry) -> list[list[tuple[float, float]]]:
    parts = getattr(shape, "geoms", [shape])
    return [[(x, y) for x, y, *_ in r.coords] for part in parts for r in (part.exterior, *part.interiors)]


degree = st.floats(-1, 1).map(lambda v: round(v, 3) + 0.00037)  # never on an edge of the fences below


@st.composite
def star(draw: st.DrawFn, number: int) -> Fence:
    """A star-shaped polygon with a hole, or a circle, around a point near 0, 0."""
    x, y, size = draw(degree), draw(degree), draw(st.floats(0.1, 0.8))
    key = f"x#f{number}"
    if draw(st.booleans()):
        radius = size * 100_000
        return Fence(f"f{number}", key, shapely.box(x - 1, y - 1, x + 1, y + 1), radius, y, x)
    radii = draw(st.lists(st.floats(0.5, 1), min_size=5, max_size=12))
    angles = [2 * math.pi * i / len(radii) for i in range(len(radii))]
    shell = [(x + size * r * math.cos(a), y + size * r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]
    hole = [(x + size * 0.3 * math.cos(a), y + size * 0.3 * math.sin(a)) for a in angles]
    return Fence(f"f{number}", key, shapely.Polygon(shell, [hole]))


fences_near_0 = st.integers(0, 5).flatmap(lambda n: st.tuples(*(star(i) for i in range(n)))).map(list)
tracks = st.lists(
    st.builds(F, st.sampled_from("abc"), st.integers(0, 30), degree, degree, st.floats(0, 40)), max_size=40
)
cuts = st.lists(st.integers(0, 40), max_size=4).map(sorted)


def cut_up(rows: list[F], at: list[int]) -> list[list[F]]:
    return [rows[a:b] for a, b in zip([0, *at], [*at, len(rows)], strict=True)]


@settings(max_examples=150, deadline=None)
@given(fences_near_0, tracks, cuts)
def test_transitions_are_those_of_the_slow_twin(fences: list[Fence], rows: list[F], at: list[int]) -> None:
    batches = [batch_of(part) for part in cut_up(rows, at)]
    assert sorted(transitions(fences, batches)) == slowly(fences, rows)


@settings(max_examples=100, deadline=None)
@given(fences_near_0, tracks, cuts, st.integers(1, 20))
def test_cutting_the_input_and_packing_the_state_changes_nothing(
    fences: list[Fence], rows: list[F], at: list[int], dwell: int
) -> None:
    kinds: tuple[On, ...] = ("enter", "exit", "dwell")
    rules = Geofence([FenceRule(head(name=on), on, fences, dwell * SECOND if on == "dwell" else 0) for on in kinds])
    whole, cut, packed = run(rules, rows), run(rules, *cut_up(rows, at)), run(rules, *cut_up(rows, at), kind=State)
    assert sorted(whole, key=repr) == sorted(cut, key=repr) == sorted(packed, key=repr)


@settings(max_examples=100, deadline=None)
@given(fences_near_0, tracks)
def test_every_alarm_of_enter_is_a_transition(fences: list[Fence], rows: list[F]) -> None:
    signals = run(Geofence([FenceRule(head(), "enter", fences)]), rows)
    said = [(s.subject, s.place, {"began": "enter", "ended": "exit"}[s.change.value], s.at) for s in signals]
    assert sorted(said) == sorted(transitions(fences, [batch_of(rows)]))


# ---------------------------------------------------------------- real tracks


def rows_of(batch: PositionBatch) -> list[F]:
    columns = (batch.unit.tolist(), batch.at.tolist(), batch.lat.tolist(), batch.lon.tolist())
    return [F(batch.units[u], (at - T0) / SECOND, lat, lon) for u, at, lat, lon in zip(*columns, strict=True)]


def test_a_real_day_of_buses_agrees_with_the_slow_twin(data_dir: Path) -> None:
    """The crossing-number rule in Python takes minutes for a day; shapely's own predicate stands in for it."""
    folder = data_dir / "vehicles"
    fences = load_fences(folder / "fences" / "us_austin_neighborhoods.geojson")
    day = read_columns([folder / "tracks" / "capmetro_austin_bus_20161124.csv.gz"])
    inside = [shapely.intersects(f.shape, shapely.points(day.lon, day.lat)) for f in fences]
    was: dict[int, set[str]] = {}
    newest: dict[int, int] = {}
    expected = []
    for row, (unit, at) in enumerate(zip(day.unit.tolist(), day.at.tolist(), strict=True)):
        if at <= newest.get(unit, -1):
            continue
        newest[unit] = at
        now = {f.id for f, mask in zip(fences, inside, strict=True) if mask[row]}
        before = was.get(unit, set())
        expected += [(day.units[unit], name, "exit", at) for name in before - now]
        expected += [(day.units[unit], name, "enter", at) for name in now - before]
        was[unit] = now
    pieces = [day.select(np.arange(i, min(i + 777, len(day)))) for i in range(0, len(day), 777)]
    assert sorted(transitions(fences, [day])) == sorted(transitions(fences, pieces)) == sorted(expected)
    assert len(expected) > 5000
    some = rows_of(day.select(np.arange(300)))
    assert sorted(transitions(fences, [day.select(np.arange(300))])) == slowly(fences, some)
