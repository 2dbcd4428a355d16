"""Fences: places read from files (see `fencefiles`, `shapes`), and the index that tells who lies in which."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely  # type: ignore[import-untyped]
from numpy.typing import NDArray

from pipeline.message import Floats
from pipeline.rules.datum import DATUMS, in_china
from pipeline.rules.ellipsoid import metres
from pipeline.rules.fencefiles import read_features
from pipeline.rules.moves import narrow
from pipeline.rules.shapes import FenceError, Reading, shape_of
from pipeline.rules.traits import NONE, Traits, traits_of


@dataclass(frozen=True, slots=True, eq=False)
class Fence:
    """One place. `shape` is its area (for a circle: the box around it), `radius` in metres is 0 for an area.

    `key` is unique over all files: the file's name and the id.
    """

    id: str
    key: str
    shape: shapely.Geometry
    radius: float = 0.0
    lat: float = 0.0
    lon: float = 0.0
    traits: Traits = NONE


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
        self._floor = np.array([f.traits.floor for f in fences], np.float64)
        self._ceiling = np.array([f.traits.ceiling for f in fences], np.float64)
        self.bounded = any(f.traits.bounded for f in fences)
        hashes = [int.from_bytes(hashlib.sha256(f.key.encode()).digest()[:8], "little") for f in fences]
        self._hashes = np.array(hashes, np.uint64)

    def within(self, lat: Floats, lon: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Pairs (row, fence): row lies in fence or on its edge. Ascending in row."""
        rows, fences = self._tree.query(shapely.points(lon, lat))
        hit = self._contains(lat[rows], lon[rows], fences)
        return rows[hit], fences[hit]

    def levels(self, alt: Floats, fences: NDArray[np.intp]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Whether each altitude is, and whether it may be, within the bounds of the fence beside it; NaN may be."""
        floor, ceiling = self._floor[fences], self._ceiling[fences]
        within = ((alt >= floor) & (alt <= ceiling)) | (np.isneginf(floor) & np.isposinf(ceiling))
        return within, within | np.isnan(alt)

    def signatures(self, size: int, rows: NDArray[np.intp], fences: NDArray[np.intp]) -> NDArray[np.uint64]:
        """For each of `size` rows a number that stands for the set of its fences (a sum of 64-bit hashes)."""
        signature = np.zeros(size, np.uint64)
        np.add.at(signature, rows, self._hashes[fences])
        return signature

    def _contains(self, lat: Floats, lon: Floats, fences: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether each point lies in the fence beside it, or on its edge.

        Fence by fence: a prepared shape stays in the processor's cache for all of its points, thrice as fast.
        """
        order = np.argsort(narrow(fences), kind="stable")
        hit = np.empty(len(fences), np.bool_)
        hit[order] = shapely.intersects_xy(self._shapes[fences[order]], lon[order], lat[order])
        if self._circles:
            radius, centre = self._radius[fences], self._centre[fences]
            hit &= (radius == 0) | (metres(lat, lon, centre[:, 0], centre[:, 1]) <= radius)
        return np.asarray(hit, np.bool_)


# ---------------------------------------------------------------- files


def load_fences(path: Path, *, source: str = "", how: Reading | None = None) -> list[Fence]:
    """The fences of a file. Raises FenceError with file, fence, reason and fix of the first mistake.

    `source` names the file in keys and messages.
    """
    fences, errors = inspect_fences(path, source=source, how=how)
    if errors:
        raise errors[0]
    return fences


def inspect_fences(
    path: Path, *, source: str = "", how: Reading | None = None
) -> tuple[list[Fence], list[FenceError]]:
    """The good fences of a file, and what is wrong with it and the others."""
    source, how = source or path.name, how or Reading()
    fences: dict[str, Fence] = {}
    errors: list[FenceError] = []
    try:
        features = read_features(path, source, how)
    except FenceError as error:
        return [], [error]
    for number, feature in enumerate(features, 1):
        try:
            fence = _fence(feature, source, number, how)
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


def datum_doubt(fences: Sequence[Fence]) -> tuple[str, str] | None:
    """(reason, fix) where fences lie in China and nobody said in which datum: maps there are seldom WGS-84."""
    there = [f.id for f in fences if in_china(*reversed(shapely.get_coordinates(shapely.centroid(f.shape))[0]))]
    if not there:
        return None
    return (
        f"fence {there[0]} lies in China, and public maps there are drawn about 0.5 km off, in GCJ-02 or BD-09",
        f"say which: datum = {' | '.join(map(repr, DATUMS))}".replace("'", '"'),
    )


def _fence(feature: Any, source: str, number: int, how: Reading) -> Fence:
    where = f"{source}: feature {number}"
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise FenceError(where, "is not a GeoJSON Feature", 'write {"type": "Feature", "properties", "geometry"}')
    said = feature.get("properties")
    properties = said if isinstance(said, dict) else {}
    name = _name(feature, properties, how) or (str(number) if how.numbered else "")
    if not name:
        known = ", ".join(sorted(map(str, properties))) or "none"
        fix = f"give it properties.id, properties.name or an id, or name_field, of: {known}"
        raise FenceError(where, "has no name", fix)
    where, geometry = f"{source}: fence {name}", feature.get("geometry")
    shape = shape_of(geometry, properties, where, how)
    traits = traits_of(geometry, properties, where, how)
    return Fence(name, f"{source}#{name}", shape.area, shape.radius, shape.lat, shape.lon, traits)


def _name(feature: dict[str, Any], properties: dict[str, Any], how: Reading) -> str:
    """`id`, then `name` among the properties, in any case (shapefiles shout), then the feature's own id."""
    if how.name_field:
        named = [properties.get(how.name_field)]
    else:
        lower = {str(key).lower(): value for key, value in reversed(properties.items())}
        lower |= {key: properties[key] for key in ("id", "name") if key in properties}
        named = [lower.get("id"), lower.get("name"), feature.get("id")]
    return next((text for n in named if n is not None and (text := str(n).strip())), "")
