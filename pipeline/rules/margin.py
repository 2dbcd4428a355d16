"""How far inside a fence a fix lies, or how far outside, in metres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import shapely  # type: ignore[import-untyped]
from numpy.typing import NDArray

from pipeline.message import Floats
from pipeline.rules.ellipsoid import degree, metres
from pipeline.rules.fences import Fence, FenceIndex

SEAM = shapely.MultiLineString([[(-180.0, -90.0), (-180.0, 90.0)], [(180.0, -90.0), (180.0, 90.0)]])
"""Where an area over 180 degrees was cut: no edge of the fence."""


class Near(NamedTuple):
    """Pairs of row and fence, ascending in row, with metres to the edge: positive inside."""

    rows: NDArray[np.intp]
    fences: NDArray[np.intp]
    margin: Floats


class Margins(FenceIndex):
    """A fence index that also knows distances to edges.

    The nearest point of an edge is found on a flat map with the scale of the fence's middle, its distance on the
    ellipsoid. So the error is of second order: below 0.1 % for a fence of 100 km (tests/test_firm.py).
    """

    def __init__(self, fences: Sequence[Fence]) -> None:
        super().__init__(fences)
        bounds = shapely.bounds(self._shapes).reshape(-1, 4)
        north_m, east_m = degree((bounds[:, 1] + bounds[:, 3]) / 2)
        self._scale = east_m / north_m
        edges = [_edge(shape) for shape in self._shapes]
        stretched = [_stretched(edge, scale) for edge, scale in zip(edges, self._scale, strict=True)]
        self._edges = np.array(stretched, dtype=object)
        shapely.prepare(self._edges)

    def near(self, lat: Floats, lon: Floats, reach: Floats, *, rough: NDArray[np.bool_] | None = None) -> Near:
        """Every fence that a row lies in or, maybe, within `reach` metres of.

        For rows that are `rough` it is enough to know that they lie in a fence: infinitely deep, which is quicker.
        """
        north, east = degree(np.clip(lat, -89, 89))
        dlat, dlon = reach / north * 1.02, reach / east * 1.05
        rows, fences = self._tree.query(shapely.box(lon - dlon, lat - dlat, lon + dlon, lat + dlat))
        inside = self._contains(lat[rows], lon[rows], fences)
        margin = np.where(inside, np.inf, -np.inf)
        wanted = (reach[rows] > 0) | inside
        if rough is not None:
            wanted &= ~(inside & rough[rows])
        distance = self._distance(lat[rows[wanted]], lon[rows[wanted]], fences[wanted])
        margin[wanted] = np.where(inside[wanted], distance, -distance)
        return Near(rows, fences, margin)

    def _distance(self, lat: Floats, lon: Floats, fences: NDArray[np.intp]) -> Floats:
        """Metres from each point to the edge of the fence beside it."""
        scale = self._scale[fences]
        way = shapely.shortest_line(self._edges[fences], shapely.points(lon * scale, lat))
        nearest = shapely.get_coordinates(way)[::2]
        distance = metres(lat, lon, nearest[:, 1], nearest[:, 0] / scale)
        centre, radius = self._centre[fences], self._radius[fences]
        round_ = np.abs(radius - metres(lat, lon, centre[:, 0], centre[:, 1]))
        return np.asarray(np.where(radius > 0, round_, distance), np.float64)


def _edge(area: shapely.Geometry) -> shapely.Geometry:
    edge = shapely.boundary(area)
    west, _south, east, _north = area.bounds
    return shapely.difference(edge, SEAM) if west <= -180 or east >= 180 else edge


def _stretched(edge: shapely.Geometry, scale: float) -> shapely.Geometry:
    return shapely.set_coordinates(edge, shapely.get_coordinates(edge) * [scale, 1.0])
