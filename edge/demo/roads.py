"""The road net around Halla, and the fences on it. Neither town nor roads exist.

They are laid over real forest near 62.90° N, 30.90° E, so that a base map, where there is one, shows trees. Plane
coordinates are metres east and north of the town's centre; a degree of longitude is scaled at the centre's
latitude, which is off by less than 0.1 % over these few kilometres.
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAT0, LON0 = 62.9, 30.9
METRES_PER_DEGREE = 111_320.0
Point = tuple[float, float]

NODES: dict[str, Point] = {
    "north-west corner": (-200, 200),
    "north gate": (0, 200),
    "north-east corner": (200, 200),
    "west gate": (-200, 0),
    "square": (0, 0),
    "east gate": (200, 0),
    "south-west corner": (-200, -200),
    "south gate": (0, -200),
    "south-east corner": (200, -200),
    "west end": (-2900, -150),
    "west cross": (-1300, -60),
    "bypass west": (-520, -470),
    "bypass east": (540, -480),
    "east cross": (1350, 90),
    "east end": (3000, 350),
    "pump road": (20, 1050),
    "north cross": (320, 2350),
    "reserve": (-1500, 1450),
    "north-east bend": (1750, 1650),
    "south-east bend": (1650, -1500),
    "south cross": (-350, -2450),
    "mill": (90, -1250),
    "south-west bend": (-1650, -1450),
    "depot": (1010, -710),
}


@dataclass(frozen=True, slots=True)
class Road:
    """A named road through nodes; `limit` in m/s holds on all of it."""

    name: str
    limit: float
    nodes: tuple[str, ...]


TOWN, COUNTRY, HIGHWAY = 11.1, 16.7, 22.2  # 40, 60 and 80 km/h
ROADS = (
    Road("Highway 9", HIGHWAY, ("west end", "west cross", "bypass west", "bypass east", "east cross", "east end")),
    Road("Main Street", TOWN, ("west cross", "west gate", "square", "east gate", "east cross")),
    Road("Church Street", TOWN, ("pump road", "north gate", "square", "south gate", "mill")),
    Road("North Street", TOWN, ("north-west corner", "north gate", "north-east corner")),
    Road("South Street", TOWN, ("south-west corner", "south gate", "south-east corner")),
    Road("West Street", TOWN, ("north-west corner", "west gate", "south-west corner", "bypass west")),
    Road("East Street", TOWN, ("north-east corner", "east gate", "south-east corner", "bypass east")),
    Road("Pump Road", COUNTRY, ("pump road", "north cross")),
    Road("Depot Road", TOWN, ("bypass east", "depot")),
    Road("Reserve Road", COUNTRY, ("west cross", "reserve", "north cross")),
    Road("Lake Road", COUNTRY, ("north cross", "north-east bend", "east cross")),
    Road("Mill Road", COUNTRY, ("mill", "south cross")),
    Road("Timber Road", COUNTRY, ("west cross", "south-west bend", "south cross", "south-east bend", "east cross")),
)


def to_degrees(point: Point) -> tuple[float, float]:
    """(lat, lon) of plane metres."""
    x, y = point
    return LAT0 + y / METRES_PER_DEGREE, LON0 + x / (METRES_PER_DEGREE * math.cos(math.radians(LAT0)))


def distance(a: Point, b: Point) -> float:
    """Metres in the plane."""
    return math.hypot(b[0] - a[0], b[1] - a[1])


def edges() -> dict[str, dict[str, float]]:
    """Speed limit in m/s between neighbouring nodes, both ways."""
    limits: dict[str, dict[str, float]] = {name: {} for name in NODES}
    for road in ROADS:
        for a, b in zip(road.nodes, road.nodes[1:], strict=False):
            limits[a][b] = limits[b][a] = road.limit
    return limits


def route(stops: Sequence[str]) -> list[str]:
    """Nodes of the quickest way from stop to stop and back to the first."""
    limits, way = edges(), [stops[0]]
    for a, b in zip(stops, [*stops[1:], stops[0]], strict=True):
        way += _quickest(limits, a, b)[1:]
    return way


def _quickest(limits: dict[str, dict[str, float]], start: str, goal: str) -> list[str]:
    """Dijkstra by driving time."""
    queue: list[tuple[float, str, list[str]]] = [(0.0, start, [start])]
    done: set[str] = set()
    while queue:
        seconds, node, way = heapq.heappop(queue)
        if node == goal:
            return way
        if node in done:
            continue
        done.add(node)
        for near, limit in limits[node].items():
            if near not in done:
                leg = distance(NODES[node], NODES[near]) / limit
                heapq.heappush(queue, (seconds + leg, near, [*way, near]))
    raise ValueError(f"no road from {start} to {goal}")


# ---------------------------------------------------------------- what the map and the rules are given


def _lonlat(point: Point) -> list[float]:
    lat, lon = to_degrees(point)
    return [round(lon, 6), round(lat, 6)]


def _feature(geometry: str, coordinates: Any, **properties: Any) -> dict[str, Any]:
    shape = {"type": geometry, "coordinates": coordinates}
    return {"type": "Feature", "properties": properties, "geometry": shape}


def _polygon(id: str, name: str, ring: Sequence[Point]) -> dict[str, Any]:
    coordinates = [[_lonlat(point) for point in (*ring, ring[0])]]
    return {**_feature("Polygon", coordinates, id=id, name=name), "id": id}


def _circle(id: str, name: str, centre: Point, radius: float) -> dict[str, Any]:
    return {**_feature("Point", _lonlat(centre), id=id, name=name, radius=radius), "id": id}


def roads_geojson() -> dict[str, Any]:
    """The roads as a GeoJSON FeatureCollection of LineStrings with `name` and `limit` (m/s). WGS-84."""
    lines = [
        _feature("LineString", [_lonlat(NODES[node]) for node in road.nodes], name=road.name, limit=road.limit)
        for road in ROADS
    ]
    return {"type": "FeatureCollection", "features": lines}


def fences_geojson() -> dict[str, Any]:
    """The fences: polygons, and a circle as a Point with `radius` in metres; each with `id` and `name`. WGS-84."""
    reserve = ((-2050, 1000), (-1250, 900), (-900, 1300), (-1050, 1850), (-1800, 1950))
    depot = ((820, -560), (1180, -540), (1200, -870), (840, -880))
    town = ((-420, 420), (420, 420), (420, -400), (-420, -400))
    features = [
        _circle("water-works", "Halla water works", (170, 1700), 200.0),
        _polygon("depot-keep-out", "Fuel depot keep-out", depot),
        _polygon("nature-reserve", "Nature reserve", reserve),
        _polygon("town", "Halla town", town),
    ]
    return {"type": "FeatureCollection", "features": features}


def write(folder: Path) -> None:
    """Write roads.geojson and fences.geojson, as they stand in config/demo."""
    for name, collection in (("roads", roads_geojson()), ("fences", fences_geojson())):
        text = ",\n".join(json.dumps(feature, ensure_ascii=False) for feature in collection["features"])
        whole = f'{{"type": "FeatureCollection", "features": [\n{text}\n]}}\n'
        (folder / f"{name}.geojson").write_text(whole, "utf-8")
