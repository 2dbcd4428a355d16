"""Fences from GeoJSON (WGS-84, longitude first): polygons with holes and parts, and circles.

A circle is a Point with `properties.radius` in metres. A ring that merely touches itself is taken, because what
lies inside is still plain; one that crosses itself is refused with the place, unless repair is asked for.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely  # type: ignore[import-untyped]
from numpy.typing import NDArray

from pipeline.message import Floats
from pipeline.ports import UserError

EQUATOR = 6_378_137.0
ECCENTRICITY2 = 0.00669437999014
MEAN_RADIUS = 6_371_008.8
MAX_RADIUS = 200_000.0
CROSSING = 1e-9
"""Part of a polygon's area that may differ between its two readings; a touching ring differs by rounding only."""


class FenceError(UserError):
    """What is wrong with a fence file: `where` names file and fence, `reason` and `fix` are for a person."""

    def __init__(self, where: str, reason: str, fix: str) -> None:
        super().__init__(f"{where}: {reason}: {fix}")
        self.where, self.reason, self.fix = where, reason, fix


@dataclass(frozen=True, slots=True, eq=False)
class Fence:
    """One place. `shape` is a polygon (for a circle: the box around it), `radius` in metres is 0 for a polygon.

    `key` is unique over all files: the file's name and the id.
    """

    id: str
    key: str
    shape: shapely.Geometry
    radius: float = 0.0
    lat: float = 0.0
    lon: float = 0.0


def metres(lat1: Floats, lon1: Floats, lat2: Floats, lon2: Floats) -> Floats:
    """Distance on the WGS-84 ellipsoid, in metres: the straight chord through the earth, bent to an arc.

    Within a millimetre of the geodesic up to 20 km and a decimetre up to 200 km (tests/test_fences.py).
    """
    chord2 = sum((a - b) ** 2 for a, b in zip(_ecef(lat1, lon1), _ecef(lat2, lon2), strict=True))
    return np.asarray(np.sqrt(chord2) * (1 + chord2 / (24 * MEAN_RADIUS**2)), np.float64)


def _ecef(lat: Floats, lon: Floats) -> tuple[Floats, Floats, Floats]:
    """Earth-centred coordinates of a point on the ellipsoid."""
    phi, lam = np.radians(lat), np.radians(lon)
    normal = EQUATOR / np.sqrt(1 - ECCENTRICITY2 * np.sin(phi) ** 2)
    flat = normal * np.cos(phi)
    return flat * np.cos(lam), flat * np.sin(lam), normal * (1 - ECCENTRICITY2) * np.sin(phi)


class FenceIndex:
    """All fences of a rule set under one tree, prepared once."""

    def __init__(self, fences: Sequence[Fence]) -> None:
        self.fences = tuple(fences)
        self._shapes = np.array([f.shape for f in fences], dtype=object)
        shapely.prepare(self._shapes)
        self._tree = shapely.STRtree(self._shapes)
        self._radius = np.array([f.radius for f in fences], np.float64)
        self._centre = np.array([(f.lat, f.lon) for f in fences], np.float64).reshape(-1, 2)
        self._circles = bool((self._radius > 0).any())
        hashes = [int.from_bytes(hashlib.sha256(f.key.encode()).digest()[:8], "little") for f in fences]
        self._hashes = np.array(hashes, np.uint64)

    def within(self, lat: Floats, lon: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Pairs (row, fence): row lies in fence or on its edge. Ascending in row."""
        rows, fences = self._tree.query(shapely.points(lon, lat))
        hit = shapely.intersects_xy(self._shapes[fences], lon[rows], lat[rows])
        if self._circles:
            hit &= self._near(lat, lon, rows, fences)
        return rows[hit], fences[hit]

    def signatures(self, size: int, rows: NDArray[np.intp], fences: NDArray[np.intp]) -> NDArray[np.uint64]:
        """For each of `size` rows a number that stands for the set of its fences (a sum of 64-bit hashes)."""
        signature = np.zeros(size, np.uint64)
        np.add.at(signature, rows, self._hashes[fences])
        return signature

    def _near(
        self, lat: Floats, lon: Floats, rows: NDArray[np.intp], fences: NDArray[np.intp]
    ) -> NDArray[np.bool_]:
        radius, centre = self._radius[fences], self._centre[fences]
        distance = metres(lat[rows], lon[rows], centre[:, 0], centre[:, 1])
        return np.asarray((radius == 0) | (distance <= radius), np.bool_)


# ---------------------------------------------------------------- GeoJSON


def load_fences(path: Path, *, repair: bool = False, source: str = "") -> list[Fence]:
    """The fences of a GeoJSON file. Raises FenceError with file, fence, reason and fix of the first mistake.

    `repair` takes a polygon that crosses itself as its odd-even area. `source` names the file in keys and messages.
    """
    fences, errors = inspect_fences(path, repair=repair, source=source)
    if errors:
        raise errors[0]
    return fences


def inspect_fences(path: Path, *, repair: bool = False, source: str = "") -> tuple[list[Fence], list[FenceError]]:
    """The good fences of a file, and what is wrong with it and the others."""
    source = source or path.name
    fences: dict[str, Fence] = {}
    errors: list[FenceError] = []
    try:
        features = _features(path, source)
    except FenceError as error:
        return [], [error]
    for number, feature in enumerate(features, 1):
        try:
            fence = _fence(feature, source, number, repair)
        except FenceError as error:
            errors.append(error)
            continue
        if fence.id in fences:
            where = f"{source}: fence {fence.id}"
            errors.append(FenceError(where, "the id is used twice", "give each fence its own id"))
        fences.setdefault(fence.id, fence)
    if not features:
        errors.append(FenceError(source, "holds no fence", "put at least one feature into it"))
    return list(fences.values()), errors


def _features(path: Path, source: str) -> list[Any]:
    try:
        tree = json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise FenceError(source, f"there is no file {path}", "check the path") from None
    except (OSError, ValueError, RecursionError) as error:
        raise FenceError(source, f"is not JSON: {error}", "export it as GeoJSON") from None
    kind = tree.get("type") if isinstance(tree, dict) else None
    if kind == "FeatureCollection" and isinstance(tree.get("features"), list):
        return list(tree["features"])
    if kind == "Feature":
        return [tree]
    raise FenceError(source, f"type {kind!r} is no GeoJSON collection", "use a FeatureCollection of Features")


def _fence(feature: Any, source: str, number: int, repair: bool) -> Fence:
    where = f"{source}: feature {number}"
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise FenceError(where, "is not a GeoJSON Feature", 'write {"type": "Feature", "properties", "geometry"}')
    properties, geometry = feature.get("properties") or {}, feature.get("geometry") or {}
    named = [properties.get("id"), properties.get("name"), feature.get("id")]
    name = next((str(n).strip() for n in named if n not in (None, "")), "")
    if not name:
        raise FenceError(where, "has no name", "give it properties.id, properties.name or an id")
    where = f"{source}: fence {name}"
    key = f"{source}#{name}"
    if geometry.get("type") == "Point":
        return _circle(geometry, properties, name, key, where)
    return Fence(name, key, _area(geometry, where, repair))


def _circle(geometry: dict[str, Any], properties: dict[str, Any], name: str, key: str, where: str) -> Fence:
    radius = properties.get("radius")
    if not isinstance(radius, int | float) or not 0 < radius <= MAX_RADIUS:
        fix = f"set properties.radius in metres, above 0 and up to {MAX_RADIUS:.0f}"
        raise FenceError(where, f"a Point is a circle, and its radius is {radius!r}", fix)
    ((lon, lat),) = _points([geometry.get("coordinates")], where)
    dlat = math.degrees(radius / (EQUATOR * (1 - ECCENTRICITY2))) * 1.001
    dlon = dlat / max(math.cos(math.radians(min(abs(lat) + dlat, 90.0))), 1e-6)
    if abs(lon) + dlon > 180 or abs(lat) + dlat > 89:
        raise FenceError(
            where, "the circle reaches over a pole or 180 degrees", "use a smaller radius, or polygons"
        )
    box = shapely.box(lon - dlon, lat - dlat, lon + dlon, lat + dlat)
    return Fence(name, key, box, float(radius), float(lat), float(lon))


def _area(geometry: dict[str, Any], where: str, repair: bool) -> shapely.Geometry:
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind not in ("Polygon", "MultiPolygon"):
        fix = "use Polygon, MultiPolygon, or Point with properties.radius"
        raise FenceError(where, f"geometry {kind!r} has no inside", fix)
    parts = [coordinates] if kind == "Polygon" else coordinates
    if not isinstance(parts, list) or not parts:
        raise FenceError(where, "has no coordinates", "draw it again, or remove it")
    areas = [_polygon(part, where, repair) for part in parts]
    return areas[0] if len(areas) == 1 else shapely.union_all(areas)


def _polygon(rings: Any, where: str, repair: bool) -> shapely.Geometry:
    """A polygon of one shell and its holes.

    Where rings cross, "inside" has two readings: the area by odd-even counting differs from the shell's signed area
    less that of the holes. Where they only touch, or run to and fro on one line, both agree.
    """
    if not isinstance(rings, list) or not rings:
        raise FenceError(where, "a part has no ring", "draw it again, or remove it")
    shell, *holes = (_ring(ring, where) for ring in rings)
    polygon = shapely.Polygon(shell, holes)
    if shapely.is_valid(polygon):
        return polygon
    area = shapely.make_valid(polygon)
    if area.area == 0:
        raise FenceError(where, "encloses nothing", "draw it again, or remove it")
    expected = _signed_area(shell) - sum(map(_signed_area, holes))
    if abs(area.area - expected) > CROSSING * area.area and not repair:
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


def _ring(ring: Any, where: str) -> Floats:
    if not isinstance(ring, list) or len(ring) < 4:
        count = len(ring) if isinstance(ring, list) else 0
        raise FenceError(
            where, f"a ring has {count} points", "a ring needs at least 4, the last equal to the first"
        )
    points = np.array(list(_points(ring, where)), np.float64)
    if (points[0] != points[-1]).any():
        first, last = (f"{lat:.6f}, {lon:.6f}" for lon, lat in (points[0], points[-1]))
        raise FenceError(where, f"a ring is not closed: it begins at {first} and ends at {last}", "close it")
    return points


def _points(points: Any, where: str) -> Iterator[tuple[float, float]]:
    for point in points:
        if not isinstance(point, list | tuple) or len(point) < 2:
            raise FenceError(where, f"{point!r} is not a position", "write [longitude, latitude]")
        lon, lat = point[0], point[1]
        if not all(isinstance(v, int | float) and math.isfinite(v) for v in (lon, lat)):
            raise FenceError(where, f"{point!r} is not a position", "write [longitude, latitude] as numbers")
        if abs(lat) > 90 and abs(lon) <= 90 and abs(lat) <= 180:
            fix = "GeoJSON wants longitude first: swap them"
            raise FenceError(where, f"[{lon}, {lat}] looks like latitude, longitude", fix)
        if abs(lat) > 90 or abs(lon) > 180:
            raise FenceError(where, f"[{lon}, {lat}] is outside the world", "give WGS-84 degrees, longitude first")
        yield float(lon), float(lat)
