"""Metres on a sphere: quick, and at most 0.6 % off the ellipsoid, which no limit on stops would notice."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def haversine(lat1: float, lon1: float, lat2: float, lon2: float, radius: float) -> float:
    """Metres between two points, in degrees, on a sphere of `radius` metres."""
    phi1, phi2 = math.radians(lat1), math.radians(lat2)
    a = math.sin((phi2 - phi1) / 2) ** 2
    a += math.cos(phi1) * math.cos(phi2) * math.sin(math.radians(lon2 - lon1) / 2) ** 2
    return 2 * radius * math.asin(min(1.0, math.sqrt(a)))


def sphere(lat1: Any, lon1: Any, lat2: Any, lon2: Any, radius: float) -> Any:
    """`haversine` in columns."""
    phi1, phi2 = np.radians(lat1), np.radians(lat2)
    a = np.sin((phi2 - phi1) / 2) ** 2 + np.cos(phi1) * np.cos(phi2) * np.sin(np.radians(lon2 - lon1) / 2) ** 2
    return 2 * radius * np.arcsin(np.minimum(1.0, np.sqrt(a)))
