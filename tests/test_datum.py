"""GCJ-02 and BD-09: known points, and there and back again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.message import Floats
from pipeline.rules.datum import gcj_to_bd, in_china, to_wgs84, wgs_to_gcj
from pipeline.rules.ellipsoid import metres


def point(lat: float, lon: float) -> tuple[Floats, Floats]:
    return np.array([lat]), np.array([lon])


def apart(a: tuple[Floats, Floats], b: tuple[Floats, Floats]) -> float:
    return float(metres(*a, *b)[0])


@pytest.mark.parametrize(
    ("wgs", "gcj"),
    [
        ((31.1774276, 121.5272106), (31.17530398364597, 121.531541859215)),
        ((22.543847, 113.912316), (22.540796131694766, 113.9171764808363)),
        ((39.911954, 116.377817), (39.91334545536069, 116.38404722455657)),
        ((39.915, 116.404), (39.91640428150164, 116.41024449916938)),
    ],
)
def test_points_that_the_fields_converters_agree_on(wgs: tuple[float, float], gcj: tuple[float, float]) -> None:
    assert apart(wgs_to_gcj(*point(*wgs)), point(*gcj)) < 0.001
    assert apart(to_wgs84("GCJ-02", *point(*gcj)), point(*wgs)) < 0.001
    assert 300 < apart(point(*wgs), point(*gcj)) < 700


def test_baidus_own_shift() -> None:
    assert apart(gcj_to_bd(*point(39.915, 116.404)), point(39.92133699351021, 116.41036949371029)) < 0.001


@given(st.floats(18, 53.5), st.floats(73.5, 135))
def test_there_and_back_is_the_same_place(lat: float, lon: float) -> None:
    here = point(lat, lon)
    gcj = wgs_to_gcj(*here)
    assert apart(to_wgs84("GCJ-02", *gcj), here) < 0.001
    assert apart(to_wgs84("BD-09", *gcj_to_bd(*gcj)), here) < 0.001
    assert to_wgs84("WGS-84", *here) == here


@pytest.mark.parametrize(
    ("place", "there"),
    [
        ((39.90, 116.40), True),  # Beijing
        ((45.75, 126.64), True),  # Harbin
        ((43.83, 87.62), True),  # Urumqi
        ((20.02, 110.35), True),  # Haikou
        ((37.57, 126.98), False),  # Seoul
        ((47.92, 106.92), False),  # Ulaanbaatar
        ((21.03, 105.85), False),  # Hanoi
        ((28.61, 77.21), False),  # Delhi
        ((30.27, -97.74), False),  # Austin
    ],
)
def test_whether_a_place_is_in_china(place: tuple[float, float], there: bool) -> None:
    assert in_china(*place) is there
