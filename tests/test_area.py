"""Cones, ellipses and views on the ground: their outlines agree with who is inside."""

import pytest
import shapely  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.rules.area import Area, Ring, cone, ellipse, geojson, in_cone, in_ellipse, off_line, reached, view
from pipeline.rules.bearing import Bearing, Limits, Place, apart, moved, towards, turn
from pipeline.rules.cameras import Pose

PLACE = Place(62.5, 24.0, 1200.0, 300.0, 30.0, 60.0)
LINE = Bearing(62.5, 24.0, "tower", 75.0, 1.0, 0.0)


def polygon(ring: Ring) -> shapely.Polygon:
    return shapely.Polygon([(lon, lat) for lat, lon in ring])


def test_the_long_axis_of_an_ellipse_points_where_it_says() -> None:
    ring = ellipse(PLACE)
    farthest = max(ring, key=lambda at: apart(PLACE.lat, PLACE.lon, *at))
    assert apart(PLACE.lat, PLACE.lon, *farthest) == pytest.approx(1200, rel=2e-3)
    assert towards(PLACE.lat, PLACE.lon, *farthest) % 180 == pytest.approx(30, abs=0.5)
    assert ring[0] == ring[-1]


@settings(deadline=None)
@given(st.floats(-1500, 1500), st.floats(-1500, 1500))
def test_the_outline_of_an_ellipse_agrees_with_who_is_inside(east: float, north: float) -> None:
    at = moved(PLACE.lat, PLACE.lon, east, north)
    drawn, point = polygon(ellipse(PLACE, points=720)), shapely.Point(at[1], at[0])
    if drawn.exterior.distance(point) > 2e-4:
        assert drawn.contains(point) == in_ellipse(PLACE, *at)


@settings(deadline=None)
@given(st.floats(-12_000, 12_000), st.floats(-12_000, 12_000))
def test_the_outline_of_a_cone_agrees_with_who_is_inside(east: float, north: float) -> None:
    at = moved(LINE.lat, LINE.lon, east, north)
    drawn, point = polygon(cone(LINE, 10_000)), shapely.Point(at[1], at[0])
    if drawn.exterior.distance(point) > 2e-3:
        assert drawn.contains(point) == in_cone(LINE, *at, 10_000)


@settings(deadline=None)
@given(st.floats(0, 360), st.floats(100, 30_000))
def test_a_line_of_sight_ends_where_it_should(azimuth: float, metres: float) -> None:
    there = reached(47.0, 11.0, azimuth, metres)
    assert apart(47.0, 11.0, *there) == pytest.approx(metres, rel=5e-3)
    assert abs(turn(towards(47.0, 11.0, *there) - azimuth)) < 0.3


def test_a_view_is_as_wide_as_the_camera() -> None:
    pose = Pose(lat=47.0, lon=11.0, azimuth=350.0, fov=40.0)
    first, *arc, last = view(pose, Limits(range_m=5000))
    assert first == last == (47.0, 11.0)
    assert turn(towards(47.0, 11.0, *arc[0]) - 330) == pytest.approx(0, abs=0.2)
    assert turn(towards(47.0, 11.0, *arc[-1]) - 10) == pytest.approx(0, abs=0.2)


def test_distance_is_to_the_place_or_to_the_line() -> None:
    beside = moved(LINE.lat, LINE.lon, 5000, -1000)
    alone, placed = Area(None, (LINE,), 30_000), Area(PLACE, (LINE,), 30_000)
    assert placed.distance(*beside) == pytest.approx(5099, rel=2e-3)
    assert 2000 < alone.distance(*beside) < 2500
    assert alone.distance(*moved(LINE.lat, LINE.lon, -4000, 0)) == pytest.approx(4000, rel=2e-3)
    assert off_line(LINE, *reached(LINE.lat, LINE.lon, 75.0, 8000), 30_000) < 20
    assert beside not in alone and reached(LINE.lat, LINE.lon, 75.5, 9000) in alone
    assert reached(LINE.lat, LINE.lon, 75.5, 9000) not in placed


def test_outlines_leave_longitude_first() -> None:
    outlines = geojson(Area(None, (LINE, LINE), 1000).rings())
    assert shapely.from_geojson(str(outlines).replace("'", '"')).bounds[0] == pytest.approx(24.0, abs=1e-3)
    assert len(outlines["coordinates"]) == 2  # type: ignore[arg-type]
