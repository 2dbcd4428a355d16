"""Metres on the WGS-84 ellipsoid."""

from __future__ import annotations

import math

import numpy as np

from pipeline.message import Floats

EQUATOR = 6_378_137.0
ECCENTRICITY2 = 0.00669437999014
MEAN_RADIUS = 6_371_008.8


def metres(lat1: Floats, lon1: Floats, lat2: Floats, lon2: Floats) -> Floats:
    """Distance on the ellipsoid, in metres: the straight chord through the earth, bent to an arc.

    Within a millimetre of the geodesic up to 20 km and a decimetre up to 200 km (tests/test_fences.py).
    """
    chord2 = sum((a - b) ** 2 for a, b in zip(ecef(lat1, lon1), ecef(lat2, lon2), strict=True))
    return np.asarray(np.sqrt(chord2) * (1 + chord2 / (24 * MEAN_RADIUS**2)), np.float64)


def ecef(lat: Floats, lon: Floats) -> tuple[Floats, Floats, Floats]:
    """Earth-centred coordinates of a point on the ellipsoid, in metres."""
    phi, lam = np.radians(lat), np.radians(lon)
    normal = EQUATOR / np.sqrt(1 - ECCENTRICITY2 * np.sin(phi) ** 2)
    flat = normal * np.cos(phi)
    return flat * np.cos(lam), flat * np.sin(lam), normal * (1 - ECCENTRICITY2) * np.sin(phi)


def degree(lat: Floats) -> tuple[Floats, Floats]:
    """Metres in a degree of latitude and in a degree of longitude, at latitude `lat`."""
    phi = np.radians(lat)
    w2 = 1 - ECCENTRICITY2 * np.sin(phi) ** 2
    north = EQUATOR * (1 - ECCENTRICITY2) / w2**1.5
    east = EQUATOR * np.cos(phi) / np.sqrt(w2)
    return np.asarray(north * math.pi / 180, np.float64), np.asarray(east * math.pi / 180, np.float64)
