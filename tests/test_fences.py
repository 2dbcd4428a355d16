"""Fences from GeoJSON: what is taken, what is refused and in which words, and distance on the ellipsoid."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.rules.ellipsoid import EQUATOR, metres
from pipeline.rules.fences import FenceIndex, load_fences
from pipeline.rules.shapes import FenceError, Reading

SQUARE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]
BOW_TIE = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]
TOUCHING = [[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [1.0, 0.0], [0.0, 2.0], [0.0, 0.0]]


def geojson(tmp_path: Path, *features: dict[str, Any]) -> Path:
    path = tmp_path / "places.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")
    return path


def feature(coordinates: Any, kind: str = "Polygon", **properties: Any) -> dict[str, Any]:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "properties": {"id": "f", **properties}, "geometry": geometry}


def inside(path: Path, lat: float, lon: float, **options: Any) -> set[str]:
    fences = load_fences(path, how=Reading(**options))
    _rows, found = FenceIndex(fences).within(np.array([lat]), np.array([lon]))
    return {fences[i].id for i in found.tolist()}


def refusal(path: Path, **options: Any) -> FenceError:
    with pytest.raises(FenceError) as caught:
        load_fences(path, how=Reading(**options))
    return caught.value


def test_a_hole_is_outside_and_an_edge_is_inside(tmp_path: Path) -> None:
    hole = [[0.4, 0.4], [0.6, 0.4], [0.6, 0.6], [0.4, 0.6], [0.4, 0.4]]
    path = geojson(tmp_path, feature([SQUARE, hole]))
    assert inside(path, 0.2, 0.2) == {"f"}
    assert inside(path, 0.5, 0.5) == set()
    assert inside(path, 0.0, 0.5) == {"f"}
    assert inside(path, 1.5, 0.5) == set()


def test_every_part_of_a_multipolygon_counts(tmp_path: Path) -> None:
    far = [[x + 10, y] for x, y in SQUARE]
    path = geojson(tmp_path, feature([[SQUARE], [far]], "MultiPolygon"))
    assert inside(path, 0.5, 0.5) == inside(path, 0.5, 10.5) == {"f"}
    assert inside(path, 0.5, 5.5) == set()


def test_the_id_is_properties_id_then_name_then_the_features_own(tmp_path: Path) -> None:
    named = feature([SQUARE])
    named["properties"] = {"name": "Depot"}
    bare = {**feature([SQUARE]), "id": 7, "properties": None}
    both = feature([SQUARE], id="depot", name="The depot")
    assert [f.id for f in load_fences(geojson(tmp_path, named, bare, both))] == ["Depot", "7", "depot"]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (feature([BOW_TIE]), "crosses itself near 0.500000, 0.500000"),
        (feature([SQUARE[:3]]), "3 points"),
        (feature([SQUARE[:4]]), "not closed: it begins at 0.000000, 0.000000 and ends at 1.000000, 0.000000"),
        (feature([]), "no ring"),
        (feature([[[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [0.0, 0.0]]]), "encloses nothing"),
        (feature([[[181.0, 0.0], *SQUARE[1:4], [181.0, 0.0]]]), "outside the world"),
        (feature([[[30.2, -97.7], [30.3, -97.7], [30.3, -97.6], [30.2, -97.7]]]), "looks like latitude, longitude"),
        (feature([[[0.0, "x"], *SQUARE[1:4], [0.0, "x"]]]), "is not a position"),
        (feature([[0, 0], [1, 1]], "MultiPoint"), "has no inside"),
        (feature([[0, 0], [1, 1]], "LineString"), "a line is a corridor, and its width is not given"),
        (feature([[0, 0], [1, 1]], "LineString", width=0), "0.0 m to either side"),
        (feature([[0, 0]], "LineString", width=5), "fewer than 2 points"),
        (feature([0.0, 0.0], "Point"), "radius is None"),
        (feature([0.0, 0.0], "Point", radius=-5), "radius is -5"),
        (feature([0.0, 89.5], "Point", radius=100_000), "over a pole"),
        (
            {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [SQUARE]}},
            "no name",
        ),
        ({"type": "Polygon", "coordinates": [SQUARE]}, "not a GeoJSON Feature"),
        (feature([[[-179.0, 80.0], [-60.0, 80.0], [60.0, 80.0], [179.0, 80.0], [-179.0, 80.0]]]), "round a pole"),
    ],
)
def test_a_bad_fence_is_refused_with_file_place_and_fix(tmp_path: Path, bad: dict[str, Any], words: str) -> None:
    error = refusal(geojson(tmp_path, bad))
    assert words in str(error)
    assert str(error).startswith("places.geojson: f") and error.fix


def test_a_ring_that_touches_itself_is_plain_and_taken(tmp_path: Path) -> None:
    path = geojson(tmp_path, feature([TOUCHING]))
    assert inside(path, 0.1, 0.2) == {"f"}
    assert inside(path, 1.9, 1.0) == set()


def test_a_crossing_is_taken_by_its_odd_even_area_when_asked(tmp_path: Path) -> None:
    path = geojson(tmp_path, feature([BOW_TIE]))
    assert inside(path, 0.5, 0.1, repair=True) == set()
    assert inside(path, 0.5, 0.9, repair=True) == set()
    assert inside(path, 0.1, 0.5, repair=True) == inside(path, 0.9, 0.5, repair=True) == {"f"}


def test_a_hole_outside_its_shell_is_refused(tmp_path: Path) -> None:
    outside = [[x / 2 + 5, y / 2] for x, y in SQUARE]
    assert "hole lies outside shell near" in str(refusal(geojson(tmp_path, feature([SQUARE, outside]))))


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", '{"type": "FeatureCollection", "features": []}', '{"type": "Topology"}']
)
def test_a_file_that_is_no_collection_of_fences_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "places.geojson"
    path.write_text(text, "utf-8")
    assert str(refusal(path)).startswith("places.geojson: ")


def test_a_missing_file_and_a_doubled_id_are_named(tmp_path: Path) -> None:
    assert "no file" in str(refusal(tmp_path / "nowhere.geojson"))
    assert "fence f: the id is used twice" in str(refusal(geojson(tmp_path, feature([SQUARE]), feature([SQUARE]))))


def test_a_circle_is_round(tmp_path: Path) -> None:
    path = geojson(tmp_path, feature([25.0, 62.0], "Point", radius=1000))
    for bearing in range(0, 360, 7):
        near, far = travel(62.0, 25.0, bearing, 999.9), travel(62.0, 25.0, bearing, 1000.1)
        assert inside(path, *near) == {"f"}, bearing
        assert inside(path, *far) == set(), bearing


@pytest.mark.parametrize(("distance", "tolerance"), [(100.0, 0.001), (20_000.0, 0.001), (200_000.0, 0.1)])
@pytest.mark.parametrize("lat", [-75.0, -30.0, 0.0, 45.0, 75.0])
def test_distance_is_the_geodesic(lat: float, distance: float, tolerance: float) -> None:
    for bearing in range(0, 360, 15):
        lat2, lon2 = travel(lat, 179.9, bearing, distance)
        found = metres(np.array([lat]), np.array([179.9]), np.array([lat2]), np.array([lon2]))
        assert found[0] == pytest.approx(distance, abs=tolerance)


def travel(lat: float, lon: float, bearing: float, distance: float) -> tuple[float, float]:
    """Where one arrives: the geodesic integrated in small steps (fourth-order Runge-Kutta), the slow way."""
    flattening = 1 / 298.257223563
    e2 = flattening * (2 - flattening)

    def slope(phi: float, azimuth: float) -> tuple[float, float, float]:
        w2 = 1 - e2 * math.sin(phi) ** 2
        meridian, normal = EQUATOR * (1 - e2) / w2**1.5, EQUATOR / math.sqrt(w2)
        turn = math.sin(azimuth) * math.tan(phi) / normal
        return math.cos(azimuth) / meridian, math.sin(azimuth) / (normal * math.cos(phi)), turn

    phi, lam, azimuth = math.radians(lat), math.radians(lon), math.radians(bearing)
    steps = 200
    h = distance / steps
    for _ in range(steps):
        a = slope(phi, azimuth)
        b = slope(phi + h / 2 * a[0], azimuth + h / 2 * a[2])
        c = slope(phi + h / 2 * b[0], azimuth + h / 2 * b[2])
        d = slope(phi + h * c[0], azimuth + h * c[2])
        phi, lam, azimuth = (
            v + h / 6 * (a[i] + 2 * b[i] + 2 * c[i] + d[i]) for i, v in enumerate((phi, lam, azimuth))
        )
    return math.degrees(phi), math.degrees(lam)


def test_the_shared_fences_load(data_dir: Path) -> None:
    folder = data_dir / "vehicles" / "fences"
    assert len(load_fences(folder / "us_austin_neighborhoods.geojson")) == 70
    assert len(load_fences(folder / "us_sanfrancisco_planning_neighborhoods.geojson")) == 37
    assert len(load_fences(folder / "cn_heilongjiang_province_clickthathood.geojson")) == 1
    for name in ("cn_beijing_districts_echarts", "cn_heilongjiang_prefectures_echarts"):
        path = folder / f"{name}.geojson"
        assert "crosses itself near" in str(refusal(path))
        assert len(load_fences(path, how=Reading(repair=True))) > 10


def test_the_shipped_example_loads(root: Path) -> None:
    fences = load_fences(root / "config" / "fences" / "example.geojson")
    assert [fence.id for fence in fences] == ["fuel-store", "hazmat-district", "pump-house"]
