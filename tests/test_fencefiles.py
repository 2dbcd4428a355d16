"""Fence files of every kind: what is taken, and what is refused in which words."""

from __future__ import annotations

import contextlib
import json
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.rules.datum import Datum, wgs_to_gcj
from pipeline.rules.ellipsoid import degree
from pipeline.rules.fences import Fence, FenceIndex, datum_doubt, inspect_fences, load_fences
from pipeline.rules.fencewkt import geometries
from pipeline.rules.shapes import FenceError, Reading, shape_of

KML = """<?xml version="1.0" encoding="UTF-8"?>
<kml xmlns="http://www.opengis.net/kml/2.2"><Document><Folder>
<Placemark><name>yard</name><Polygon>
  <outerBoundaryIs><LinearRing><coordinates>0,0,5 4,0 4,4 0,4 0,0</coordinates></LinearRing></outerBoundaryIs>
  <innerBoundaryIs><LinearRing><coordinates>1,1 2,1 2,2 1,2 1,1</coordinates></LinearRing></innerBoundaryIs>
</Polygon></Placemark>
<Placemark id="tower"><ExtendedData><Data name="radius"><value>500</value></Data></ExtendedData>
  <Point><coordinates>10,10</coordinates></Point></Placemark>
<Placemark><name>both</name><MultiGeometry>
  <Polygon><outerBoundaryIs><LinearRing><coordinates>20,0 21,0 21,1 20,0</coordinates></LinearRing>
  </outerBoundaryIs></Polygon>
  <LineString><coordinates>30,0 30,1</coordinates></LineString></MultiGeometry>
  <ExtendedData><SchemaData><SimpleData name="width">200</SimpleData></SchemaData></ExtendedData></Placemark>
</Folder></Document></kml>"""

GPX = """<gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1">
<wpt lat="10" lon="10"><name>tower</name><extensions><radius>500</radius></extensions></wpt>
<rte><name>road</name><rtept lat="0" lon="30"/><rtept lat="1" lon="30"/></rte>
<trk><name>patrol</name><trkseg><trkpt lat="0" lon="0"/><trkpt lat="0" lon="4"/><trkpt lat="4" lon="4"/>
<trkpt lat="0" lon="0"/></trkseg></trk></gpx>"""


def write(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return path


def inside(fences: list[Fence], lat: float, lon: float) -> set[str]:
    _rows, found = FenceIndex(fences).within(np.array([lat]), np.array([lon]))
    return {fences[i].id for i in found.tolist()}


def refused(path: Path, **how: Any) -> str:
    with pytest.raises(FenceError) as caught:
        load_fences(path, how=Reading(**how))
    assert caught.value.fix
    return str(caught.value)


def metres_east(lat: float, lon: float, distance: float) -> float:
    return lon + distance / float(degree(np.array(lat))[1])


# ---------------------------------------------------------------- kinds of files


def check_kml(fences: list[Fence]) -> None:
    assert [fence.id for fence in fences] == ["yard", "tower", "both"]
    assert inside(fences, 3, 3) == {"yard"}
    assert inside(fences, 1.5, 1.5) == set()
    assert inside(fences, 10, metres_east(10, 10, 499)) == {"tower"}
    assert inside(fences, 10, metres_east(10, 10, 501)) == set()
    assert inside(fences, 0.2, 20.5) == inside(fences, 0.5, metres_east(0.5, 30, 99)) == {"both"}
    assert inside(fences, 0.5, metres_east(0.5, 30, 101)) == set()


def test_kml_and_kmz(tmp_path: Path) -> None:
    check_kml(load_fences(write(tmp_path, "places.kml", KML)))
    with zipfile.ZipFile(tmp_path / "places.kmz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("doc.kml", KML)
    check_kml(load_fences(tmp_path / "places.kmz"))


def test_gpx(tmp_path: Path) -> None:
    path = write(tmp_path, "places.gpx", GPX)
    fences = load_fences(path, how=Reading(corridor=50))
    assert inside(fences, 0.5, metres_east(0.5, 30, -49)) == {"road"}
    assert inside(fences, 0.5, metres_east(0.5, 30, -51)) == inside(fences, 1, 3) == set()
    assert inside(fences, 10, 10) == {"tower"}
    assert "its width is not given" in refused(path)
    closed = GPX.replace('<rtept lat="1" lon="30"/>', '<rtept lat="1" lon="30"/><rtept lat="1" lon="31"/>' * 2)
    closed = closed.replace("</rte>", '<rtept lat="0" lon="30"/></rte>')
    assert inside(load_fences(write(tmp_path, "closed.gpx", closed)), 1, 3) == {"patrol"}


def test_a_radius_for_points_that_name_none(tmp_path: Path) -> None:
    path = write(tmp_path, "places.gpx", GPX.replace("<radius>500</radius>", ""))
    assert "its radius is None" in refused(path, corridor=50)
    fences = load_fences(path, how=Reading(corridor=50, radius=100))
    assert inside(fences, 10, metres_east(10, 10, 99)) == {"tower"}
    assert inside(fences, 10, metres_east(10, 10, 101)) == set()
    assert inside(load_fences(write(tmp_path, "p.gpx", GPX), how=Reading(corridor=50, radius=1)), 10, 10.004) == {
        "tower"
    }


def test_wkt_and_a_table_of_it(tmp_path: Path) -> None:
    text = "SRID=4326;POLYGON Z((0 0 1, +4 0 1, 4 4 1, 0 4 1, 0 0 1), (1 1, 2 1, 2 2, 1 2, 1 1))"
    fences = load_fences(write(tmp_path, "yard.wkt", text))
    assert [fence.id for fence in fences] == ["yard"]
    assert (inside(fences, 3, 3), inside(fences, 1.5, 1.5)) == ({"yard"}, set())
    both = write(
        tmp_path, "two.wkt", text + ";\nmultipolygon (((10 0, 11 0, 11 1, 10 0)), ((12 0, 13 0, 13 1, 12 0)))"
    )
    assert inside(load_fences(both), 0.2, 12.5) == inside(load_fences(both), 0.2, 10.5) == {"two-2"}
    rows = (
        f'name,wkt,width,radius\nyard,"{text}",,\nroad,"LINESTRING (30 0, 30 1)",100,\ntower,POINT (10 10),,500\n'
    )
    fences = load_fences(write(tmp_path, "places.csv", rows))
    assert [fence.id for fence in fences] == ["yard", "road", "tower"]
    assert inside(fences, 0.5, metres_east(0.5, 30, 49)) == {"road"}
    assert inside(fences, 0.5, metres_east(0.5, 30, 51)) == set()


def test_wkt_with_latitude_first(tmp_path: Path) -> None:
    text = "CIRCLE (50.0 10.0, 100); POLYGON ((50 10, 50 11, 51 11))"
    fences = load_fences(write(tmp_path, "t.wkt", text), how=Reading(lat_first=True))
    assert inside(fences, 50, metres_east(50, 10, 99)) == {"t-1", "t-2"}
    assert inside(fences, 50.1, 10.8) == {"t-2"}
    assert "latitude first" in refused(tmp_path / "t.wkt")


def test_a_bare_geometry_is_called_as_its_file(tmp_path: Path) -> None:
    ring = [[0, 0], [4, 0], [4, 4], [0, 0]]
    path = write(tmp_path, "yard.geojson", json.dumps({"type": "Polygon", "coordinates": [ring]}))
    assert inside(load_fences(path), 1, 3) == {"yard"}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.kml", "<kml><Placemark><name>x</name></Placemark></kml>", "fence x: geometry None has no inside"),
        ("a.kml", "<!DOCTYPE kml [<!ENTITY a 'a'>]><kml>&a;</kml>", "declares a document type"),
        ("a.gpx", "<!DOCTYPE gpx SYSTEM 'http://nowhere.invalid/x.dtd'><gpx/>", "declares a document type"),
        ("a.kml", "<gpx/>", "begins with <gpx>, not <kml>"),
        ("a.kml", "<kml", "is not XML"),
        ("a.kml", "<kml/>", "holds no fence"),
        ("a.kml", KML.replace("4,0", "four,0"), "are no coordinates"),
        ("a.gpx", GPX.replace('lat="10"', ""), 'a <wpt> has lat="None"'),
        ("a.wkt", "POLYGON ((0 0, 1 1", "brackets or numbers do not fit"),
        ("a.wkt", "POLYGON ((0 0, 1 e, 1 1, 0 0))", "brackets or numbers do not fit"),
        ("a.wkt", "hello", "is not WKT"),
        ("a.wkt", "SRID=3857;POINT (1 2)", "reference system 3857"),
        ("a.wkt", "TRIANGLE ((0 0, 1 1, 1 0, 0 0))", "TRIANGLE has no inside"),
        ("a.csv", "id,shape\n", "has no column wkt"),
        ("a.dxf", "x", ".dxf is no kind of fence file"),
        ("a.kmz", "x", "is not a KMZ"),
        (
            "a.geojson",
            '{"type": "FeatureCollection", "features": [], "crs": {"properties": {"name": "EPSG:3857"}}}',
            "names the reference system EPSG:3857",
        ),
    ],
)
def test_a_bad_file_is_refused_in_words(tmp_path: Path, name: str, text: str, words: str) -> None:
    said = refused(write(tmp_path, name, text))
    assert words in said
    assert said.startswith(name)


def test_a_fence_without_a_name_is_numbered_when_asked(tmp_path: Path) -> None:
    path = write(tmp_path, "a.gpx", GPX.replace("<name>tower</name>", ""))
    assert "has no name" in refused(path, corridor=5)
    assert [f.id for f in load_fences(path, how=Reading(corridor=5, numbered=True))] == ["1", "road", "patrol"]


# ---------------------------------------------------------------- corridors, 180 degrees, datum


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-70, 70),
    st.floats(-179.9, 179.9),
    st.floats(0, 359),
    st.floats(0.01, 2),
    st.sampled_from([10, 100, 5000]),
)
def test_a_corridor_is_as_wide_as_it_says(
    lat: float, lon: float, bearing: float, length: float, side: float
) -> None:
    """Points beside the middle of a line, at right angles by the scale there; also over 180 degrees."""
    north, east = (float(v) for v in degree(np.array(lat)))
    step = np.array([np.sin(np.radians(bearing)) / east, np.cos(np.radians(bearing)) / north]) * 10_000 * length
    beside = np.array([np.cos(np.radians(bearing)) / east, -np.sin(np.radians(bearing)) / north]) * side
    ends = [[(x + 180) % 360 - 180, y] for x, y in ((lon - step[0], lat - step[1]), (lon + step[0], lat + step[1]))]
    feature = {"type": "Feature", "properties": {"id": "f", "corridor": side}}
    fences = read({**feature, "geometry": {"type": "LineString", "coordinates": ends}})
    for factor, expected in ((0.99, {"f"}), (1.01, set())):
        x, y = lon + factor * beside[0], lat + factor * beside[1]
        assert inside(fences, y, (x + 180) % 360 - 180) == expected


def read(feature: dict[str, Any], **how: Any) -> list[Fence]:
    shape = shape_of(feature["geometry"], feature["properties"], "here", Reading(**how))
    return [Fence("f", "x#f", shape.area, shape.radius, shape.lat, shape.lon)]


def test_a_fence_may_lie_over_180_degrees() -> None:
    hole = [[-179.9, 0.4], [-179.8, 0.4], [-179.8, 0.6], [-179.9, 0.4]]
    ring = [[179, 0], [-179, 0], [-179, 1], [179, 1], [179, 0]]
    polygon = read({"properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring, hole]}})
    circle = read({"properties": {"radius": 20_000}, "geometry": {"type": "Point", "coordinates": [179.95, 0.5]}})
    for fences in (polygon, circle):
        assert inside(fences, 0.5, 180) == inside(fences, 0.5, -180) == inside(fences, 0.5, -179.95) == {"f"}
        assert inside(fences, 0.5, 0) == inside(fences, 0.5, 178) == inside(fences, 0.5, -178) == set()
    assert inside(polygon, 0.45, -179.82) == set()
    assert inside(polygon, 0.5, 179.5) == {"f"}


@pytest.mark.parametrize("datum", ["GCJ-02", "WGS-84", None])
def test_the_datum_moves_the_fence(datum: Datum | None) -> None:
    here = np.array([39.9, 39.9, 39.9005, 39.9005, 39.9]), np.array([116.4, 116.4005, 116.4005, 116.4, 116.4])
    lat, lon = wgs_to_gcj(*here) if datum == "GCJ-02" else here
    ring = np.stack((lon, lat), axis=1).tolist()
    fences = read({"properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}, datum=datum)
    assert inside(fences, 39.90025, 116.40025) == {"f"}
    assert inside(fences, 39.90167, 116.40649) == set()


def test_a_fence_in_china_without_a_datum_is_doubted(data_dir: Path) -> None:
    folder = data_dir / "vehicles" / "fences"
    there = load_fences(folder / "cn_beijing_districts_echarts.geojson", how=Reading(repair=True))
    doubt = datum_doubt(there)
    assert doubt is not None and 'datum = "WGS-84" | "GCJ-02" | "BD-09"' in doubt[1]
    assert datum_doubt(load_fences(folder / "us_austin_neighborhoods.geojson")) is None


# ---------------------------------------------------------------- anything at all

KEYS = ["type", "properties", "geometry", "coordinates", "geometries", "radius", "width", "id"]
odd = st.one_of(st.just(10**400), st.booleans(), st.none(), st.text(max_size=3))
numbers = st.one_of(st.integers(-200, 200), st.floats(), odd)
words = st.sampled_from(["Feature", "Polygon", "MultiPolygon", "Point", "LineString", "GeometryCollection", "x"])
anything = st.recursive(
    numbers | words,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=25,
)
positions = st.lists(st.one_of(st.floats(-200, 200), numbers), min_size=1, max_size=3)
lines = st.lists(positions, max_size=6)
geometry = st.fixed_dictionaries(
    {
        "type": words,
        "coordinates": st.one_of(positions, lines, st.lists(lines, max_size=3), anything),
        "geometries": anything,
    }
)


@settings(max_examples=300, deadline=None)
@given(geometry, st.one_of(st.none(), anything, st.fixed_dictionaries({"radius": numbers, "corridor": numbers})))
def test_no_feature_does_more_than_be_refused(geometry: Any, properties: Any) -> None:
    feature = {"type": "Feature", "id": "f", "properties": properties, "geometry": geometry}
    with TemporaryDirectory() as folder:
        path = write(Path(folder), "a.geojson", json.dumps(feature))
        _fences, errors = inspect_fences(path, how=Reading(repair=True))
    assert all(isinstance(error, FenceError) for error in errors)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="POLYGNSRID=4326;(), 0123456789.eE-+Z\n", max_size=60), st.booleans())
def test_no_wkt_does_more_than_be_refused(text: str, lat_first: bool) -> None:
    with contextlib.suppress(FenceError):
        for found, properties in geometries(f"POLYGON {text}", "here", lat_first=lat_first):
            shape_of(found, properties, "here", Reading(repair=True))
