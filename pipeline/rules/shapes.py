"""GeoJSON geometry → what a fence covers, in WGS-84, longitude first, cut at 180 degrees.

    Polygon, MultiPolygon           the area, holes left out
    Point                           a circle: properties.radius, metres
    LineString, MultiLineString     a corridor: properties.width (all of it) or .corridor (to either side), metres;
                                    a closed line without either is the area it goes round
    GeometryCollection              all of its areas and corridors

A ring that merely touches itself is taken, because what lies inside is still plain; one that crosses itself is
refused with the place, unless repair is asked for. A step of more than half the world between two points of a ring
or line goes the short way, over 180 degrees.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely  # type: ignore[import-untyped]

from pipeline.message import Floats
from pipeline.ports import UserError
from pipeline.rules.datum import Datum, to_wgs84
from pipeline.rules.ellipsoid import degree

MAX_RADIUS = 200_000.0
CROSSING = 1e-9
"""Part of a polygon's area that may differ between its two readings; a touching ring differs by rounding only."""

STEP = 0.1
"""Degrees. A longer piece of a corridor is cut, because the scale of a map changes along it."""

ROUND = 32
"""Corners in a quarter of a corridor's round end: it is too narrow by 0.03 % there."""

AREAS = ("Polygon", "MultiPolygon")
LINES = ("LineString", "MultiLineString")


class FenceError(UserError):
    """What is wrong with a fence file: `where` names file and fence, `reason` and `fix` are for a person."""

    def __init__(self, where: str, reason: str, fix: str) -> None:
        super().__init__(f"{where}: {reason}: {fix}")
        self.where, self.reason, self.fix = where, reason, fix


@dataclass(frozen=True, slots=True)
class Reading:
    """How a fence file is to be understood.

    `datum` None: nobody said, WGS-84 is taken. `corridor`: metres to either side of lines that name no width;
    `radius`: metres around points that name none. `lat_first`: WKT as Traccar writes it. `numbered`: a fence
    without a name is called by its number. `name_field`: the property that names fences. `floor`, `ceiling`: metres
    of altitude for fences that say none.
    """

    repair: bool = False
    datum: Datum | None = None
    corridor: float = 0.0
    radius: float = 0.0
    lat_first: bool = False
    numbered: bool = False
    name_field: str = ""
    floor: float | None = None
    ceiling: float | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """`area` covers the fence; within it a circle (`radius` > 0, metres) is all that is near its centre."""

    area: shapely.Geometry
    radius: float = 0.0
    lat: float = 0.0
    lon: float = 0.0


def shape_of(geometry: Any, properties: dict[str, Any], where: str, how: Reading) -> Shape:
    """Raises FenceError naming `where`."""
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind == "Point":
        return _circle(geometry, properties, where, how)
    return Shape(fold(_area(geometry, properties, where, how)))


def _area(geometry: Any, properties: dict[str, Any], where: str, how: Reading) -> shapely.Geometry:
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind == "GeometryCollection":
        parts = _parts(geometry.get("geometries"), where)
        return shapely.union_all([_area(part, properties, where, how) for part in parts])
    if kind not in AREAS + LINES:
        raise FenceError(
            where, f"geometry {kind!r} has no inside", "use polygons, lines with a width, or a Point with a radius"
        )
    coordinates = geometry.get("coordinates")
    parts = _parts(coordinates if str(kind).startswith("Multi") else [coordinates], where)
    if kind in LINES:
        areas = [_line(part, properties, where, how) for part in parts]
    else:
        areas = [_polygon(part, where, how) for part in parts]
    return areas[0] if len(areas) == 1 else shapely.union_all(areas)


def _parts(parts: Any, where: str) -> list[Any]:
    if not isinstance(parts, list) or not parts:
        raise FenceError(where, "has no coordinates", "draw it again, or remove it")
    return parts


# ---------------------------------------------------------------- circles and corridors


def _circle(geometry: dict[str, Any], properties: dict[str, Any], where: str, how: Reading) -> Shape:
    said = properties.get("radius", how.radius or None)
    radius = number(said)
    if not 0 < radius <= MAX_RADIUS:
        fix = f"set properties.radius, or radius_m for the file, in metres, above 0 and up to {MAX_RADIUS:.0f}"
        raise FenceError(where, f"a Point is a circle, and its radius is {said!r}", fix)
    ((lon, lat),) = _points([geometry.get("coordinates")], where, how).tolist()
    north, _east = (float(v) for v in degree(np.float64(lat)))  # type: ignore[arg-type]
    dlat = radius / north * 1.02
    if abs(lat) + dlat > 89:
        raise FenceError(where, "the circle reaches over a pole", "use a smaller radius, or polygons")
    _north, east = (float(v) for v in degree(np.float64(abs(lat) + dlat)))  # type: ignore[arg-type]
    dlon = radius / east * 1.02
    return Shape(fold(shapely.box(lon - dlon, lat - dlat, lon + dlon, lat + dlat)), radius, lat, lon)


def number(value: Any) -> float:
    """A number, also one written as text as KML and GPX do; NaN for anything else."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _line(line: Any, properties: dict[str, Any], where: str, how: Reading) -> shapely.Geometry:
    if not isinstance(line, list) or len(line) < 2:
        raise FenceError(where, "a line has fewer than 2 points", "draw it again, or remove it")
    side = _side(properties, how)
    if side is None and len(line) >= 4 and line[0] == line[-1]:
        return _polygon([line], where, how)
    if side is None or not 0 < side <= MAX_RADIUS:
        said = f"{side!r} m to either side" if side is not None else "not given"
        fix = "set properties.width (all of it) or .corridor (to either side) in metres, or corridor_m for the file"
        raise FenceError(where, f"a line is a corridor, and its width is {said}", fix)
    points = path(line, where, how)
    if float(np.abs(points[:, 1]).max()) > 89:
        raise FenceError(where, "the corridor reaches a pole", "end it before")
    return _corridor(points, side)


def _side(properties: dict[str, Any], how: Reading) -> float | None:
    """Metres to either side of a line; None: nobody said."""
    if properties.get("corridor") is not None:
        return number(properties["corridor"])
    if properties.get("width") is not None:
        return number(properties["width"]) / 2
    return how.corridor or None


def _corridor(points: Floats, side: float) -> shapely.Geometry:
    """All within `side` metres of the line: each short piece is widened on a flat map of its own."""
    points = _dense(points)
    if len(points) < 2:
        points = np.repeat(points, 2, axis=0)
    ends = np.stack((points[:-1], points[1:]), axis=1)
    middle = ends.mean(axis=1)
    north, east = degree(middle[:, 1])
    scale = np.stack((east, north), axis=1)
    flat = (ends - middle[:, None]) * scale[:, None]
    pieces = shapely.buffer(shapely.linestrings(flat), side, quad_segs=ROUND)
    corners, piece = shapely.get_coordinates(pieces, return_index=True)
    pieces = shapely.set_coordinates(pieces, corners / scale[piece] + middle[piece])
    return shapely.union_all(pieces)


def _dense(points: Floats) -> Floats:
    """The line with further points, so that no piece is longer than STEP; points that stand still are left out."""
    moved = np.ones(len(points), np.bool_)
    moved[1:] = (np.diff(points, axis=0) != 0).any(axis=1)
    points = points[moved]
    counts = np.ceil(np.abs(np.diff(points, axis=0)).max(axis=1, initial=0) / STEP).astype(int)
    pieces = [
        a + (b - a) * np.arange(n)[:, None] / n for a, b, n in zip(points[:-1], points[1:], counts, strict=True)
    ]
    return np.concatenate([*pieces, points[-1:]])


# ---------------------------------------------------------------- polygons


def _polygon(rings: Any, where: str, how: Reading) -> shapely.Geometry:
    """A polygon of one shell and its holes.

    Where rings cross, "inside" has two readings: the area by odd-even counting differs from the shell's signed area
    less that of the holes. Where they only touch, or run to and fro on one line, both agree.
    """
    if not isinstance(rings, list) or not rings:
        raise FenceError(where, "a part has no ring", "draw it again, or remove it")
    shell, *holes = (_ring(ring, where, how) for ring in rings)
    holes = [_beside(hole, shell) for hole in holes]
    polygon = shapely.Polygon(shell, holes)
    if shapely.is_valid(polygon):
        return polygon
    area = shapely.make_valid(polygon)
    if area.area == 0:
        raise FenceError(where, "encloses nothing", "draw it again, or remove it")
    expected = _signed_area(shell) - sum(map(_signed_area, holes))
    if abs(area.area - expected) > CROSSING * area.area and not how.repair:
        raise FenceError(where, _crossing(polygon), "mend it, or set repair = true")
    return area


def _crossing(polygon: shapely.Geometry) -> str:
    """What shapely finds first, and where; its own words are `Self-intersection[lon lat]`."""
    what, _, place = shapely.is_valid_reason(polygon).partition("[")
    what = "crosses itself" if "intersection" in what else what.lower()
    lon, _, lat = place.rstrip("]").partition(" ")
    return f"{what} near {float(lat):.6f}, {float(lon):.6f} (latitude, longitude)" if lat else what


def _signed_area(ring: Floats) -> float:
    x, y = (ring - ring[0]).T
    return abs(float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))) / 2


def _ring(ring: Any, where: str, how: Reading) -> Floats:
    if how.lat_first and isinstance(ring, list) and len(ring) >= 3 and ring[0] != ring[-1]:
        ring = [*ring, ring[0]]  # Traccar leaves the last point out
    if not isinstance(ring, list) or len(ring) < 4:
        count = len(ring) if isinstance(ring, list) else 0
        raise FenceError(
            where, f"a ring has {count} points", "a ring needs at least 4, the last equal to the first"
        )
    points = _points(ring, where, how)
    if (points[0] != points[-1]).any():
        first, last = (f"{lat:.6f}, {lon:.6f}" for lon, lat in (points[0], points[-1]))
        raise FenceError(where, f"a ring is not closed: it begins at {first} and ends at {last}", "close it")
    points = _unwrapped(points)
    if points[0, 0] != points[-1, 0]:
        raise FenceError(where, "goes round a pole", "cut it into polygons that do not")
    return points


# ---------------------------------------------------------------- points, and the line at 180 degrees


def _points(points: Sequence[Any], where: str, how: Reading) -> Floats:
    """(n, 2): longitude and latitude, WGS-84."""
    lonlat = np.array(list(_checked(points, where)), np.float64)
    if how.datum in (None, "WGS-84"):
        return lonlat
    lat, lon = to_wgs84(how.datum, lonlat[:, 1], lonlat[:, 0])
    return np.stack((lon, lat), axis=1)


def _checked(points: Sequence[Any], where: str) -> Iterator[tuple[float, float]]:
    for point in points:
        if not isinstance(point, list | tuple) or len(point) < 2:
            raise FenceError(where, f"{point!r} is not a position", "write [longitude, latitude]")
        lon, lat = point[0], point[1]
        if not all(isinstance(v, int | float) and -1000 < v < 1000 for v in (lon, lat)):
            raise FenceError(where, f"{point!r} is not a position", "write [longitude, latitude] as numbers")
        if abs(lat) > 90 and abs(lon) <= 90 and abs(lat) <= 180:
            fix = "longitude comes first: swap them"
            raise FenceError(where, f"[{lon}, {lat}] looks like latitude, longitude", fix)
        if abs(lat) > 90 or abs(lon) > 180:
            raise FenceError(where, f"[{lon}, {lat}] is outside the world", "give degrees, longitude first")
        yield float(lon), float(lat)


def path(line: Sequence[Any], where: str, how: Reading) -> Floats:
    """(n, 2): the points of a line in WGS-84, longitudes without jumps. Raises FenceError."""
    return _unwrapped(_points(line, where, how))


def _unwrapped(points: Floats) -> Floats:
    """Longitudes without jumps: a step of more than half the world is one the other way. A whole turn is none."""
    step = np.diff(points[:, 0])
    turns = np.where((np.abs(step) > 180) & (np.abs(step) < 360), -np.sign(step), 0.0)
    shift = np.concatenate(([0.0], np.cumsum(turns)))
    return np.stack((points[:, 0] + 360 * shift, points[:, 1]), axis=1)


def _beside(hole: Floats, shell: Floats) -> Floats:
    """The hole on the same turn of the world as its shell."""
    turns = np.round((shell[:, 0].mean() - hole[:, 0].mean()) / 360)
    return hole + np.array([360.0 * turns, 0.0]) if turns else hole


def fold(area: shapely.Geometry) -> shapely.Geometry:
    """What lies beyond 180 degrees, brought to the other side."""
    west, _south, east, _north = area.bounds
    if west >= -180 and east <= 180:
        return area
    pieces = []
    for turn in (-1, 0, 1):
        piece = shapely.intersection(area, shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90))
        corners = shapely.get_coordinates(piece) - [360.0 * turn, 0.0]
        pieces.append(shapely.set_coordinates(piece, corners))
    return shapely.union_all(pieces)
