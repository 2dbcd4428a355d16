"""What the map shows that does not move: fences, roads and cameras, as GeoJSON, given by who composes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipeline.rules.area import geojson, sector
from pipeline.rules.cameras import Cameras

VIEW_M = 5_000.0
"""How far a camera's field of view is drawn: a fire may be seen from much farther."""


def empty() -> dict[str, Any]:
    """A FeatureCollection without features."""
    return {"type": "FeatureCollection", "features": []}


@dataclass(frozen=True)
class Scene:
    """GeoJSON FeatureCollections, WGS-84. A fence that is a Point has its `radius` in metres."""

    fences: dict[str, Any] = field(default_factory=empty)
    roads: dict[str, Any] = field(default_factory=empty)
    cameras: dict[str, Any] = field(default_factory=empty)


def views(cameras: Cameras) -> dict[str, Any]:
    """A Feature for each camera with a pose: its field of view, with `lat` and `lon` of where it stands."""
    posed = [(camera.name, camera.pose) for camera in cameras.values() if camera.pose is not None]
    features = [
        {
            "type": "Feature",
            "properties": {"name": name, "lat": pose.lat, "lon": pose.lon, "azimuth": pose.azimuth},
            "geometry": geojson([sector(pose.lat, pose.lon, pose.azimuth, pose.fov / 2, VIEW_M)]),
        }
        for name, pose in posed
    ]
    return {"type": "FeatureCollection", "features": features}
