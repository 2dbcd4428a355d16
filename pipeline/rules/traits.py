"""What a fence says beside its shape: how high it reaches, how fast one may go in it, when it is there.

floor_m, ceiling_m      metres of altitude, as the fixes' source counts them
speed_limit_kmh         for rules of kind speed
hours, time_zone        weekly hours, see `calendars`: at other times nobody is told of it
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely  # type: ignore[import-untyped]

from pipeline.rules.calendars import Hours, weekly
from pipeline.rules.shapes import LINES, FenceError, Reading, fold, number, path

KMH = 1 / 3.6
"""Metres a second."""


@dataclass(frozen=True, slots=True)
class Traits:
    """Metres; `limit` in m/s, 0: none. `line`: the middle of a corridor, longitude first."""

    floor: float = -math.inf
    ceiling: float = math.inf
    limit: float = 0.0
    hours: Hours | None = None
    line: shapely.Geometry | None = None

    @property
    def bounded(self) -> bool:
        return math.isfinite(self.floor) or math.isfinite(self.ceiling)


NONE = Traits()


def traits_of(geometry: Any, properties: dict[str, Any], where: str, how: Reading) -> Traits:
    """Of a geometry that `shape_of` has taken. Raises FenceError naming `where`."""
    floor = _metres(properties, "floor_m", where, -math.inf if how.floor is None else how.floor)
    ceiling = _metres(properties, "ceiling_m", where, math.inf if how.ceiling is None else how.ceiling)
    if floor >= ceiling:
        raise FenceError(where, f"its floor, {floor:g} m, is not below its ceiling, {ceiling:g} m", "mend them")
    limit = _metres(properties, "speed_limit_kmh", where, 0.0) * KMH
    if limit < 0:
        raise FenceError(where, "speed_limit_kmh is below 0", "give km/h, or remove it")
    return Traits(floor, ceiling, limit, _hours(properties, where), _line(geometry, where, how))


def _metres(properties: dict[str, Any], key: str, where: str, default: float) -> float:
    said = properties.get(key)
    if said in (None, ""):
        return default
    value = number(said)
    if not math.isfinite(value):
        raise FenceError(where, f"{key} is {said!r}", "give a number, or remove it")
    return value


def _hours(properties: dict[str, Any], where: str) -> Hours | None:
    said, zone = properties.get("hours"), properties.get("time_zone")
    if said in (None, ""):
        return None
    try:
        return weekly(str(said), str(zone or ""))
    except ValueError as error:
        raise FenceError(where, f"hours: {error}", 'write "Mon-Fri 06:00-20:00"') from None


def _line(geometry: Any, where: str, how: Reading) -> shapely.Geometry | None:
    """The line of a corridor; None for anything else, also for a closed line without a width, which is an area."""
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind not in LINES:
        return None
    parts = coordinates if kind == "MultiLineString" else [coordinates]
    points = [path(part, where, how) for part in parts]
    if all(np.array_equal(part[0], part[-1]) for part in points):
        return None
    return fold(shapely.MultiLineString([part for part in points if len(part) > 1]))
