"""Chinese map datums, converted to WGS-84.

    WGS-84   what receivers give
    GCJ-02   what Chinese public maps must use: WGS-84 moved by 50 to 700 m, by a formula of the place
    BD-09    Baidu's: GCJ-02 moved once more

The forward formulae were never published by their makers; these are the ones reconstructed by the field (see the
"Restrictions on geographic data in China" literature) and agree with the public map services to about a metre. The
way back is found by iteration, to a micrometre.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import shapely  # type: ignore[import-untyped]

from pipeline.message import Floats

Datum = Literal["WGS-84", "GCJ-02", "BD-09"]
DATUMS: tuple[Datum, ...] = get_args(Datum)

KRASOVSKY_A, KRASOVSKY_E2 = 6_378_245.0, 0.00669342162296594323
BAIDU = math.pi * 3000 / 180
Formula = Callable[[Floats, Floats], tuple[Floats, Floats]]

CHINA = (
    (73.5, 39.4), (80.2, 42.0), (80.2, 45.0), (82.5, 45.2), (82.5, 47.2), (85.5, 47.1), (85.7, 48.4), (87.8, 49.2),
    (91.0, 47.0), (91.0, 45.2), (95.4, 44.3), (96.3, 42.7), (101.0, 42.6), (105.0, 41.6), (107.5, 42.4),
    (110.0, 42.6), (112.0, 43.7), (111.9, 45.1), (114.5, 45.4), (119.7, 46.7), (117.8, 47.8), (115.5, 47.7),
    (116.7, 49.9), (119.3, 50.1), (119.3, 52.2), (121.0, 53.3), (125.6, 53.1), (127.6, 50.2), (127.7, 49.7),
    (130.9, 47.7), (134.7, 48.4), (133.1, 45.1), (131.0, 44.8), (131.2, 42.9), (130.4, 42.3), (128.0, 42.0),
    (124.3, 39.9), (122.9, 38.5), (122.9, 36.5), (122.5, 29.5), (117.8, 23.3), (114.6, 22.0), (111.2, 19.0),
    (109.5, 17.9), (108.2, 18.4), (108.0, 21.5), (105.3, 23.3), (102.2, 22.5), (101.7, 21.1), (99.2, 22.0),
    (97.6, 23.9), (98.7, 27.5), (97.3, 28.2), (94.0, 29.0), (91.5, 27.9), (88.9, 27.3), (86.0, 27.9), (81.1, 30.1),
    (78.7, 31.5), (78.9, 33.5), (76.0, 35.9), (74.5, 37.2), (73.5, 39.4),
)  # fmt: skip
"""Rough outline of the mainland and Hainan, (longitude, latitude), to some tens of km: to ask, not to tell."""


def to_wgs84(datum: Datum, lat: Floats, lon: Floats) -> tuple[Floats, Floats]:
    """(latitude, longitude) of `datum` in WGS-84, degrees."""
    if datum == "BD-09":
        return _inverse(lambda a, o: gcj_to_bd(*wgs_to_gcj(a, o)), lat, lon)
    return _inverse(wgs_to_gcj, lat, lon) if datum == "GCJ-02" else (lat, lon)


def in_china(lat: float, lon: float) -> bool:
    return bool(shapely.intersects_xy(shapely.Polygon(CHINA), lon, lat))


def wgs_to_gcj(lat: Floats, lon: Floats) -> tuple[Floats, Floats]:
    """Applied wherever it is asked for: that a place is in China is the caller's word."""
    x, y = lon - 105.0, lat - 35.0
    north = -100 + 2 * x + 3 * y + 0.2 * y**2 + 0.1 * x * y + 0.2 * np.sqrt(np.abs(x))
    north = north + _waves(x, (20, 6), (20, 2)) + _waves(y, (20, 1), (40, 1 / 3), (160, 1 / 12), (320, 1 / 30))
    east = 300 + x + 2 * y + 0.1 * x**2 + 0.1 * x * y + 0.1 * np.sqrt(np.abs(x))
    east = east + _waves(x, (20, 6), (20, 2), (20, 1), (40, 1 / 3), (150, 1 / 12), (300, 1 / 30))
    phi = np.radians(lat)
    w2 = 1 - KRASOVSKY_E2 * np.sin(phi) ** 2
    meridian, normal = KRASOVSKY_A * (1 - KRASOVSKY_E2) / w2**1.5, KRASOVSKY_A / np.sqrt(w2)
    return lat + np.degrees(north / meridian), lon + np.degrees(east / (normal * np.cos(phi)))


def gcj_to_bd(lat: Floats, lon: Floats) -> tuple[Floats, Floats]:
    z = np.hypot(lon, lat) + 0.00002 * np.sin(lat * BAIDU)
    theta = np.arctan2(lat, lon) + 0.000003 * np.cos(lon * BAIDU)
    return z * np.sin(theta) + 0.006, z * np.cos(theta) + 0.0065


def _waves(u: Floats, *terms: tuple[float, float]) -> Floats:
    """Two thirds of the sum of a·sin(k·π·u) over `terms` (a, k)."""
    return np.asarray(sum(a * np.sin(k * math.pi * u) for a, k in terms) * 2 / 3, np.float64)


def _inverse(forward: Formula, lat: Floats, lon: Floats) -> tuple[Floats, Floats]:
    """Where `forward` gives (lat, lon). The shift changes by less than 1 % of the way: a round gains two digits."""
    found_lat, found_lon = lat, lon
    for _ in range(8):
        there_lat, there_lon = forward(found_lat, found_lon)
        found_lat, found_lon = found_lat + lat - there_lat, found_lon + lon - there_lon
    return found_lat, found_lon
