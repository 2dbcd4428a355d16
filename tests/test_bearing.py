"""Boxes to bearings and bearings to places: against the ellipsoid, by chance, and where there is no answer."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.rules.area import in_ellipse
from pipeline.rules.bearing import (
    Bearing,
    Limits,
    Place,
    Unplaced,
    apart,
    locate,
    look,
    moved,
    sight,
    towards,
    turn,
)
from pipeline.rules.cameras import Pose
from pipeline.rules.ellipsoid import ECCENTRICITY2, EQUATOR

SIZE = (1280, 720)
TOWER = Pose(lat=40.0, lon=116.0, azimuth=45.0, fov=60.0, mast="tower")


def pose(lat: float, lon: float, at: tuple[float, float], **other: Any) -> Pose:
    """A camera that looks at a place."""
    return Pose(lat=lat, lon=lon, azimuth=towards(lat, lon, *at), fov=60.0, **other)


def line(mast: str, lat: float, lon: float, azimuth: float, error: float = 0.5) -> Bearing:
    return Bearing(lat, lon, mast, azimuth % 360, error, 0.0)


def pixel(camera: Pose, azimuth: float, elevation: float) -> tuple[float, float]:
    """Where a direction falls in the picture: the pinhole the other way round, by rotation matrices."""
    a, e, t = (math.radians(v) for v in (azimuth - camera.azimuth, elevation, camera.tilt))
    ahead, right, up = math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)
    turned = np.array([[math.cos(t), math.sin(t)], [-math.sin(t), math.cos(t)]]) @ [ahead, up]
    focal = SIZE[0] / 2 / math.tan(math.radians(camera.fov / 2))
    return SIZE[0] / 2 + focal * right / turned[0], SIZE[1] / 2 - focal * turned[1] / turned[0]


# ---------------------------------------------------------------- one camera


def test_the_middle_of_the_picture_is_where_the_camera_looks() -> None:
    tilted = msgspec.structs.replace(TOWER, tilt=-5.0)
    assert look(tilted, SIZE, 640, 360) == pytest.approx((45.0, -5.0))
    assert look(TOWER, SIZE, 1280, 360) == pytest.approx((75.0, 0.0))
    assert look(TOWER, SIZE, 0, 360) == pytest.approx((15.0, 0.0))


@given(st.floats(0, 359.9), st.floats(-20, 20), st.floats(20, 110), st.floats(-0.45, 0.45), st.floats(-15.0, 15.0))
def test_a_direction_seen_through_any_camera_comes_back(
    azimuth: float, tilt: float, fov: float, share: float, elevation: float
) -> None:
    camera = Pose(lat=10.0, lon=20.0, azimuth=azimuth, tilt=tilt, fov=fov)
    wanted = azimuth + share * fov
    x, y = pixel(camera, wanted, elevation)
    found = look(camera, SIZE, x, y)
    assert turn(found[0] - wanted) == pytest.approx(0, abs=1e-6)
    assert found[1] == pytest.approx(elevation, abs=1e-6)


def test_a_wide_box_and_a_badly_known_azimuth_make_a_doubtful_bearing() -> None:
    narrow = sight(TOWER, SIZE, (630, 300, 650, 380))
    wide = sight(TOWER, SIZE, (440, 300, 840, 380))
    doubtful = sight(msgspec.structs.replace(TOWER, azimuth_error=4.0), SIZE, (630, 300, 650, 380))
    assert narrow.azimuth == wide.azimuth == pytest.approx(45.0)
    assert 1.0 < narrow.error < 1.1
    assert wide.error > 5
    assert 4.0 < doubtful.error < 4.1
    assert narrow.elevation < 0, "the foot of the box is below the middle"


def test_pixels_cost_something_even_a_perfect_camera() -> None:
    sharp = msgspec.structs.replace(TOWER, azimuth_error=0.01)
    assert sight(sharp, (160, 120), (80, 60, 80, 60)).error > 0.1


# ---------------------------------------------------------------- several


@settings(deadline=None)
@given(
    st.floats(-65, 65), st.floats(-179.5, 179.5), st.floats(0, 360), st.floats(20, 160), st.floats(800, 28_000),
    st.floats(800, 28_000),
)  # fmt: skip
def test_exact_bearings_meet_where_the_target_is(
    lat: float, lon: float, way: float, between: float, first_m: float, second_m: float
) -> None:
    """To a metre, anywhere on the ellipsoid, and the height of the target makes no difference."""
    stands = [
        moved(lat, lon, metres * math.sin(math.radians(a)), metres * math.cos(math.radians(a)))
        for a, metres in ((way, first_m), (way + between, second_m))
    ]
    found = locate([line(str(i), *at, azimuth_of(at, (lat, lon), 1000.0)) for i, at in enumerate(stands)])
    assert isinstance(found, Place), found
    assert apart(lat, lon, found.lat, found.lon) < 1.0


def azimuth_of(here: tuple[float, float], there: tuple[float, float], height: float) -> float:
    """The azimuth of something high above a place, by way of three dimensions."""
    (east, north) = level(here, there, height)
    return math.degrees(math.atan2(east, north)) % 360


def level(here: tuple[float, float], there: tuple[float, float], height: float) -> tuple[float, float]:
    phi, lam = map(math.radians, here)
    gap = spot(*there, height) - spot(*here, 0.0)
    east = np.array([-math.sin(lam), math.cos(lam), 0])
    north = np.array([-math.sin(phi) * math.cos(lam), -math.sin(phi) * math.sin(lam), math.cos(phi)])
    return float(gap @ east), float(gap @ north)


def spot(lat: float, lon: float, height: float) -> Any:
    phi, lam = math.radians(lat), math.radians(lon)
    normal = EQUATOR / math.sqrt(1 - ECCENTRICITY2 * math.sin(phi) ** 2)
    flat = (normal + height) * math.cos(phi)
    up = (normal * (1 - ECCENTRICITY2) + height) * math.sin(phi)
    return np.array([flat * math.cos(lam), flat * math.sin(lam), up])


@settings(deadline=None, max_examples=60)
@given(
    st.floats(30, 150), st.floats(1500, 20_000), st.floats(1500, 20_000), st.floats(0, 360),
    st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
)  # fmt: skip
def test_boxes_of_two_masts_find_the_fire_within_the_stated_error(
    between: float, first_m: float, second_m: float, way: float, wrong: tuple[float, float]
) -> None:
    """Two cameras whose azimuths are off by up to two sigmas, through pictures: pose, box, bearing, place."""
    target = (47.0, 12.0)
    seen = []
    for i, (angle, metres) in enumerate(((way, first_m), (way + between, second_m))):
        at = moved(*target, metres * math.sin(math.radians(angle)), metres * math.cos(math.radians(angle)))
        true = pose(*at, target, tilt=-1.0, azimuth_error=0.8)
        x, y = pixel(true, towards(*at, *target), -1.5)
        believed = msgspec.structs.replace(true, azimuth=(true.azimuth + 0.8 * wrong[i]) % 360)
        seen.append(sight(believed, SIZE, (x - 4, y - 20, x + 4, y), camera=f"cam-{i}"))
    assume(abs(math.hypot(*wrong)) <= 2.3)
    found = locate(seen)
    assert isinstance(found, Place), found
    grown = msgspec.structs.replace(found, major_m=1.15 * found.major_m, minor_m=1.15 * found.minor_m)
    assert in_ellipse(grown, *target), "two sigmas are inside an ellipse of 2.45, but for what a curve bends"


@pytest.mark.parametrize(
    ("error", "azimuths", "low", "high"),
    [
        (0.5, (45, 315), 0.93, 0.97),
        (1.0, (60, 330, 10), 0.93, 0.97),
        (1.0, (70, 100), 0.925, 0.97),
        (2.0, (45, 315), 0.93, 0.97),
    ],
)
def test_an_ellipse_holds_what_it_says(error: float, azimuths: tuple[float, ...], low: float, high: float) -> None:
    """By chance: 800 draws of bearings with their error; the target is in 95 % of the ellipses."""
    target, rng, held, found = (45.0, 7.0), np.random.default_rng(7), 0, 0
    stands = [
        moved(*target, -8000 * math.sin(math.radians(a)), -8000 * math.cos(math.radians(a))) for a in azimuths
    ]
    true = [towards(*at, *target) for at in stands]
    for noise in rng.normal(0, error, (800, len(azimuths))):
        lines = [line(str(i), *at, true[i] + noise[i], error) for i, at in enumerate(stands)]
        place = locate(lines, Limits(least_crossing=5))
        if isinstance(place, Place):
            found += 1
            held += in_ellipse(place, *target)
    assert found > 770
    assert low <= held / found <= high


def test_a_third_mast_makes_the_place_better() -> None:
    stands, target = [(45.0, 7.0), (45.0, 7.1), (45.05, 7.0)], (45.04, 7.06)
    lines = [line(str(i), *at, towards(*at, *target)) for i, at in enumerate(stands)]
    two, three = locate(lines[:2]), locate(lines)
    assert isinstance(two, Place) and isinstance(three, Place)
    assert three.major_m < two.major_m and three.misfit < 1e-6


@pytest.mark.parametrize(
    ("reason", "lines"),
    [
        ("mast", [line("a", 45, 7, 10), line("a", 45, 7, 80)]),
        ("mast", [line("a", 45, 7, 10), line("b", 45.001, 7, 80)]),
        ("grazing", [line("a", 45, 7, 40), line("b", 45.0, 7.1, 34)]),
        ("grazing", [line("a", 45, 7, 90), line("b", 45.0, 7.1, 270)]),
        ("behind", [line("a", 45, 7, 315), line("b", 45.0, 7.1, 45)]),
        ("behind", [line("a", 45, 7, 45), line("b", 45.0, 7.1, 135)]),
        ("far", [line("a", 45, 7, 10), line("b", 45.0, 7.2, 355)]),
        ("disagree", [line("a", 45, 7, 45), line("b", 45.0, 7.1, 315), line("c", 45.08, 7.0, 90)]),
    ],
)
def test_what_says_nothing_about_a_place_is_refused_with_its_reason(reason: str, lines: list[Bearing]) -> None:
    found = locate(lines)
    assert isinstance(found, Unplaced)
    assert found.reason == reason and found.detail


def test_lines_across_the_antimeridian_meet() -> None:
    target = (10.0, 179.99)
    stands = [(10.0, -179.95), (10.05, 179.97)]
    found = locate([line(str(i), *at, towards(*at, *target)) for i, at in enumerate(stands)])
    assert isinstance(found, Place)
    assert apart(found.lat, found.lon, *target) < 1
