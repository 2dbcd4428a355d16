"""What a bearing or a place covers on the ground: outlines to draw, and whether a position lies inside.

A cone is the bearing and 1.96 sigmas to both sides (95 %), out to the range of `Limits`: how far along it the fire
is, nobody knows. An ellipse is the place at 95 %. Outlines are rings of (lat, lon), closed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from pipeline.rules.bearing import LIMITS, SURE_ANGLE, Bearing, Limits, Place, apart, moved, towards, turn
from pipeline.rules.cameras import Pose
from pipeline.rules.ellipsoid import MEAN_RADIUS

Ring = list[tuple[float, float]]
STEP = 2.0
"""Degrees between two points of an arc, at most."""


class Area(msgspec.Struct, frozen=True):
    """Where a fire may be: at its place if it has one, else somewhere along its bearings."""

    place: Place | None
    bearings: tuple[Bearing, ...]
    range_m: float

    def __contains__(self, position: tuple[float, float]) -> bool:
        if self.place is not None:
            return in_ellipse(self.place, *position)
        return any(in_cone(bearing, *position, self.range_m) for bearing in self.bearings)

    def distance(self, lat: float, lon: float) -> float:
        """Metres to the place; without one, to the nearest of the cameras' lines of sight."""
        if self.place is not None:
            return apart(lat, lon, self.place.lat, self.place.lon)
        return min(off_line(bearing, lat, lon, self.range_m) for bearing in self.bearings)

    def rings(self) -> list[Ring]:
        if self.place is not None:
            return [ellipse(self.place)]
        return [cone(bearing, self.range_m) for bearing in self.bearings]


def in_ellipse(place: Place, lat: float, lon: float) -> bool:
    angle = math.radians(towards(place.lat, place.lon, lat, lon) - place.orientation)
    metres = apart(place.lat, place.lon, lat, lon)
    along, across = metres * math.cos(angle), metres * math.sin(angle)
    return math.hypot(along / place.major_m, across / place.minor_m) <= 1


def in_cone(bearing: Bearing, lat: float, lon: float, range_m: float) -> bool:
    off = turn(towards(bearing.lat, bearing.lon, lat, lon) - bearing.azimuth)
    return abs(off) <= SURE_ANGLE * bearing.error and apart(bearing.lat, bearing.lon, lat, lon) <= range_m


def off_line(bearing: Bearing, lat: float, lon: float, range_m: float) -> float:
    """Metres from a position to a line of sight, between the camera and `range_m`. On a plane: to 1 in 1,000."""
    off = math.radians(turn(towards(bearing.lat, bearing.lon, lat, lon) - bearing.azimuth))
    metres = apart(bearing.lat, bearing.lon, lat, lon)
    along = min(max(metres * math.cos(off), 0.0), range_m)
    return math.hypot(metres * math.cos(off) - along, metres * math.sin(off))


def ellipse(place: Place, points: int = 48) -> Ring:
    turned = math.radians(place.orientation)
    ring = []
    for i in range(points + 1):
        angle = 2 * math.pi * i / points
        along, across = place.major_m * math.cos(angle), place.minor_m * math.sin(angle)
        north, east = (
            along * math.cos(turned) - across * math.sin(turned),
            along * math.sin(turned) + across * math.cos(turned),
        )
        ring.append(moved(place.lat, place.lon, east, north))
    return ring


def cone(bearing: Bearing, range_m: float) -> Ring:
    return sector(bearing.lat, bearing.lon, bearing.azimuth, SURE_ANGLE * bearing.error, range_m)


def view(pose: Pose, limits: Limits = LIMITS) -> Ring:
    """The field of view of a camera."""
    return sector(pose.lat, pose.lon, pose.azimuth, pose.fov / 2, limits.range_m)


def sector(lat: float, lon: float, azimuth: float, half: float, range_m: float) -> Ring:
    """From the camera to the arc at `range_m` and back; `half` degrees to both sides."""
    pieces = max(2, math.ceil(2 * half / STEP))
    arc = [reached(lat, lon, azimuth + half * (2 * i / pieces - 1), range_m) for i in range(pieces + 1)]
    return [(lat, lon), *arc, (lat, lon)]


def reached(lat: float, lon: float, azimuth: float, metres: float) -> tuple[float, float]:
    """Where a line of sight ends after `metres`: on a sphere, for outlines (0.5 % of the way at most)."""
    phi, lam, beta, arc = *map(math.radians, (lat, lon, azimuth)), metres / MEAN_RADIUS
    there = math.asin(math.sin(phi) * math.cos(arc) + math.cos(phi) * math.sin(arc) * math.cos(beta))
    east = math.sin(beta) * math.sin(arc) * math.cos(phi)
    return math.degrees(there), turn(
        math.degrees(lam + math.atan2(east, math.cos(arc) - math.sin(phi) * math.sin(there)))
    )


def geojson(rings: Iterable[Ring]) -> dict[str, object]:
    """A MultiPolygon of the rings, longitude first."""
    outlines = [[[[round(lon, 6), round(lat, 6)] for lat, lon in ring]] for ring in rings]
    return {"type": "MultiPolygon", "coordinates": outlines}
