"""The made-up country: its roads, its fences, and a fleet that does what the demonstration promises."""

import json
import math
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from shapely.geometry import Point, shape

from edge.demo import fleet, roads
from pipeline import wire
from pipeline.message import SECOND, Fix

START = 1_790_000_000 * SECOND
Sent = list[tuple[float, Fix]]


@pytest.fixture(scope="module")
def sent() -> Sent:
    return list(takewhile(lambda pair: pair[0] < 300, fleet.fleet(START, 1)))


def inside(fence: dict[str, Any], fix: Fix) -> bool:
    radius = fence["properties"].get("radius")
    if radius is None:
        return bool(shape(fence["geometry"]).contains(Point(fix.lon, fix.lat)))
    lon, lat = fence["geometry"]["coordinates"]
    east = (fix.lon - lon) * math.cos(math.radians(lat))
    return math.hypot(east, fix.lat - lat) * roads.METRES_PER_DEGREE < float(radius)


def entry(sent: Sent, unit: str, fence: str) -> float:
    (shape_,) = (f for f in roads.fences_geojson()["features"] if f["id"] == fence)
    track = [(due, inside(shape_, fix)) for due, fix in sent if fix.unit == unit]
    assert not track[0][1], "it must begin outside, or there is nothing to see"
    return next(due for due, is_inside in track if is_inside)


def test_the_files_in_config_are_what_the_code_draws(root: Path, tmp_path: Path) -> None:
    roads.write(tmp_path)
    for name in ("roads.geojson", "fences.geojson"):
        assert (root / "config/demo" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_fences_are_valid_closed_and_named() -> None:
    features = roads.fences_geojson()["features"]
    assert {f["id"] for f in features} == {"water-works", "depot-keep-out", "nature-reserve", "town"}
    for feature in features:
        assert feature["properties"]["id"] == feature["id"]
        assert feature["properties"]["name"]
        assert shape(feature["geometry"]).is_valid
    json.dumps(features, allow_nan=False)


def test_the_trespasser_and_the_tanker_enter_within_twenty_seconds(sent: Sent) -> None:
    assert 8 < entry(sent, fleet.TRESPASSER, "water-works") < 20
    assert 8 < entry(sent, fleet.DWELLER, "depot-keep-out") < 20


def test_one_vehicle_speeds_and_the_others_do_not(sent: Sent) -> None:
    fastest = {u: max(f.speed or 0 for _, f in sent if f.unit == u) for u in fleet.units()}
    assert fastest.pop(fleet.SPEEDER) > roads.HIGHWAY * 1.4
    assert max(fastest.values()) < roads.HIGHWAY


def test_nobody_drives_off_the_road(sent: Sent) -> None:
    net = [shape(f["geometry"]) for f in roads.roads_geojson()["features"]]
    for _, fix in sent[::50]:
        nearest = min(line.distance(Point(fix.lon, fix.lat)) for line in net) * roads.METRES_PER_DEGREE
        assert nearest < 25, fix


def test_fixes_are_about_one_a_second_with_gaps_and_late_ones(sent: Sent) -> None:
    assert [due for due, _ in sent] == sorted(due for due, _ in sent)
    newest: dict[str, int] = {}
    late: set[str] = set()
    gaps: set[str] = set()
    for due, fix in sent:
        assert 0 <= START + due * SECOND - fix.at < fleet.LATENESS * SECOND
        last = newest.get(fix.unit)
        if last is not None and fix.at < last:
            late.add(fix.unit)
        if last is not None and fix.at - last > 8 * SECOND:
            gaps.add(fix.unit)
        newest[fix.unit] = max(fix.at, last or 0)
    assert late == {p.unit for p in fleet.PLANS if p.hold < 300}
    assert gaps == {p.unit for p in fleet.PLANS if p.gap < 300}
    assert 0.85 < len(sent) / (300 * len(fleet.PLANS)) <= 1.01


def test_the_same_seed_drives_the_same_day_and_another_does_not(sent: Sent) -> None:
    again = list(takewhile(lambda pair: pair[0] < 20, fleet.fleet(START, 1)))
    other = list(takewhile(lambda pair: pair[0] < 20, fleet.fleet(START, 2)))
    assert again == sent[: len(again)]
    assert other != again


def test_unit_names_may_stand_in_a_topic_and_a_url() -> None:
    assert len(set(fleet.units())) == 12
    assert all(wire.DEVICE_NAME.fullmatch(unit) for unit in fleet.units())
