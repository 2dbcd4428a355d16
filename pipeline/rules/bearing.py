"""From a box in a picture to a bearing, and from bearings to a place with its error. Pure geometry.

    box + Pose ─► sight ─► Bearing (azimuth, elevation, error)
    Bearings of several masts ─► locate ─► Place (error ellipse at 95 %) or Unplaced (why not)

The camera is a pinhole: no roll, square pixels, no distortion. A bearing is the vertical plane that light comes in,
which is a normal section of the WGS-84 ellipsoid; planes are crossed on the ellipsoid itself, at any distance that
can be seen, with no flat-earth step. Errors are one sigma in degrees and taken as Gaussian and independent between
masts. A target stands at height 0: 1,000 m above it move a place at 30 km by less than a metre.

No distance comes from one camera: without terrain, the elevation angle alone does not tell how far a fire is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import msgspec
import numpy as np

from pipeline.message import Floats
from pipeline.rules.cameras import Pose
from pipeline.rules.ellipsoid import degree, ecef, metres
from pipeline.rules.fit import fit

SURE = math.sqrt(5.991)
"""Semi-axes of an ellipse that holds 95 % of a plane's normal distribution, in sigmas."""
SURE_ANGLE = 1.96
"""Half of what holds 95 % of a line's, in sigmas."""
DISAGREE = 13.8
"""Square of the misfit, over each bearing beyond two, from which three bearings do not mean one place (0.1 %,
with two degrees of freedom; stricter with more)."""


class Bearing(msgspec.Struct, frozen=True):
    """A line of sight from `lat`, `lon`: degrees true, `error` one sigma, `elevation` above the horizon's plane.

    `width` is how many degrees the box is across.
    """

    lat: float
    lon: float
    mast: str
    azimuth: float
    error: float
    elevation: float
    width: float = 0.0


class Limits(msgspec.Struct, frozen=True):
    """What may be crossed. Masts nearer to each other than `least_baseline_m` count as one; lines that meet at less
    than `least_crossing` degrees, or farther than `range_m` from a camera, say nothing about a place."""

    range_m: float = 30_000.0
    least_baseline_m: float = 200.0
    least_crossing: float = 10.0


LIMITS = Limits()


class Place(msgspec.Struct, frozen=True):
    """WGS-84 degrees; semi-axes of the 95 % ellipse in metres, `orientation` of the longer in degrees true, 0..180.

    `crossing` is the widest angle between two of the lines, `misfit` the sum of squared errors in sigmas.
    """

    lat: float
    lon: float
    major_m: float
    minor_m: float
    orientation: float
    crossing: float
    misfit: float = 0.0


class Unplaced(msgspec.Struct, frozen=True):
    """`reason` is mast, grazing, behind, far or disagree."""

    reason: str
    detail: str


# ---------------------------------------------------------------- one camera


def sight(pose: Pose, size: Sequence[int], box: Sequence[float], *, camera: str = "") -> Bearing:
    """Where the foot of a box lies. What burns may stand anywhere across it: its width is part of the error."""
    x1, _y1, x2, y2 = box
    azimuth, elevation = look(pose, size, (x1 + x2) / 2, y2)
    left, right = look(pose, size, x1 - 0.5, y2)[0], look(pose, size, x2 + 0.5, y2)[0]
    width = abs(turn(right - left))
    error = math.hypot(pose.azimuth_error, width / math.sqrt(12))
    return Bearing(pose.lat, pose.lon, pose.mast or camera, azimuth, error, elevation, width)


def look(pose: Pose, size: Sequence[int], x: float, y: float) -> tuple[float, float]:
    """(azimuth, elevation) in degrees of the pixel at `x`, `y` of a picture of `size` (width, height)."""
    width, height = size
    focal = width / 2 / math.tan(math.radians(pose.fov) / 2)
    right, up = (x - width / 2) / focal, (height / 2 - y) / focal
    tilt = math.radians(pose.tilt)
    ahead, rise = math.cos(tilt) - up * math.sin(tilt), math.sin(tilt) + up * math.cos(tilt)
    azimuth = pose.azimuth + math.degrees(math.atan2(right, ahead))
    return azimuth % 360, math.degrees(math.atan2(rise, math.hypot(ahead, right)))


def turn(degrees: float) -> float:
    """The same angle between -180 and 180."""
    return (degrees + 180) % 360 - 180


def towards(lat: float, lon: float, to_lat: float, to_lon: float) -> float:
    """Azimuth, degrees true, at which one place sees another."""
    east, north = _level(lat, lon, to_lat, to_lon)
    return math.degrees(math.atan2(east, north)) % 360


def apart(lat: float, lon: float, to_lat: float, to_lon: float) -> float:
    """Metres on the ellipsoid between two places."""
    return float(metres(*np.array((lat, lon, to_lat, to_lon), np.float64)[:, None])[0])


def moved(lat: float, lon: float, east: float, north: float) -> tuple[float, float]:
    """The place so many metres away. For steps: exact to the first order."""
    in_lat, in_lon = degree(np.array([lat]))
    return lat + north / float(in_lat[0]), turn(lon + east / float(in_lon[0]))


def _level(lat: float, lon: float, to_lat: float, to_lon: float) -> tuple[float, float]:
    """(east, north) metres of a place in the horizontal plane of another."""
    dx, dy, dz = (float(v[1] - v[0]) for v in ecef(np.array([lat, to_lat]), np.array([lon, to_lon])))
    phi, lam = math.radians(lat), math.radians(lon)
    outward = math.cos(lam) * dx + math.sin(lam) * dy
    return math.cos(lam) * dy - math.sin(lam) * dx, math.cos(phi) * dz - math.sin(phi) * outward


# ---------------------------------------------------------------- several


def locate(bearings: Sequence[Bearing], limits: Limits = LIMITS) -> Place | Unplaced:
    """Where the lines meet, by least squares over two or more; or why they say nothing about a place."""
    crossings = [
        _crossing(a, b) for a, b in combinations(bearings, 2) if not same_mast(a, b, limits.least_baseline_m)
    ]
    if not crossings:
        return Unplaced("mast", "all of it is seen from one mast")
    if max(crossings) < limits.least_crossing:
        detail = f"the lines meet at {max(crossings):.1f} degrees, {limits.least_crossing:g} needed"
        return Unplaced("grazing", detail)
    met = _meet(bearings)
    if met is None:
        return Unplaced("behind", "the lines do not meet in front of the cameras")
    (lat, lon), misfit = met
    farthest = max(apart(b.lat, b.lon, lat, lon) for b in bearings)
    if farthest > limits.range_m:
        return Unplaced(
            "far", f"the lines meet {farthest / 1000:.1f} km away, at most {limits.range_m / 1000:g} km"
        )
    if len(bearings) > 2 and misfit > DISAGREE + 6 * (len(bearings) - 3):
        return Unplaced("disagree", f"the lines miss each other by {math.sqrt(misfit):.1f} sigmas together")
    return _place(bearings, (lat, lon), max(crossings), misfit)


def same_mast(a: Bearing, b: Bearing, least_m: float) -> bool:
    """Whether two cameras stand so near to each other that their lines cannot be crossed."""
    return (a.mast == b.mast and a.mast != "") or apart(a.lat, a.lon, b.lat, b.lon) < least_m


def _crossing(a: Bearing, b: Bearing) -> float:
    """Angle between two lines, 0..90 degrees. Meridians are not parallel: counted at `a`."""
    there = (b.azimuth - turn(b.lon - a.lon) * math.sin(math.radians((a.lat + b.lat) / 2))) % 180
    return abs((there - a.azimuth + 90) % 180 - 90)


def _meet(bearings: Sequence[Bearing]) -> tuple[tuple[float, float], float] | None:
    """The place that fits best and its misfit; None if it is not in front of every camera."""
    start = _rough(bearings)
    if start is None:
        return None

    def misses(step: Floats) -> Floats:
        lat, lon = moved(*start, float(step[0]), float(step[1]))
        return np.array([turn(towards(b.lat, b.lon, lat, lon) - b.azimuth) / b.error for b in bearings])

    found = fit(misses, np.zeros(2), scale=1.0)
    if found is None:
        return None
    off = misses(found)
    if any(abs(miss) * b.error > 90 for miss, b in zip(off, bearings, strict=True)):
        return None
    return moved(*start, float(found[0]), float(found[1])), float(off @ off)


def _rough(bearings: Sequence[Bearing]) -> tuple[float, float] | None:
    """Where the lines meet on a plane that touches the first camera; None if behind one of them."""
    first = bearings[0]
    stands = np.array([_level(first.lat, first.lon, b.lat, b.lon) for b in bearings])
    angles = np.radians([b.azimuth - turn(b.lon - first.lon) * math.sin(math.radians(b.lat)) for b in bearings])
    ahead = np.column_stack([np.sin(angles), np.cos(angles)])
    across = np.column_stack([np.cos(angles), -np.sin(angles)])
    east_north, *_ = np.linalg.lstsq(across, (across * stands).sum(axis=1), rcond=None)
    if (((east_north - stands) * ahead).sum(axis=1) <= 0).any() or np.abs(east_north).max() > 1e6:
        return None
    return moved(first.lat, first.lon, float(east_north[0]), float(east_north[1]))


def _place(bearings: Sequence[Bearing], at: tuple[float, float], crossing: float, misfit: float) -> Place:
    """The place with the covariance of a least-squares fit, drawn at 95 %."""
    rows = []
    for b in bearings:
        back = math.radians(towards(*at, b.lat, b.lon) + 180)
        per_metre = math.degrees(1 / apart(*at, b.lat, b.lon)) / b.error
        rows.append((math.cos(back) * per_metre, -math.sin(back) * per_metre))
    lines = np.array(rows)
    values, vectors = np.linalg.eigh(np.linalg.inv(lines.T @ lines))
    minor, major = SURE * np.sqrt(np.maximum(values, 0.0))
    east, north = vectors[:, 1]
    orientation = math.degrees(math.atan2(east, north)) % 180
    return Place(*at, float(major), float(minor), orientation, crossing, misfit)
