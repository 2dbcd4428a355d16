"""What the map shows that does not move: fences and roads, as GeoJSON, given by whoever composes the console."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def empty() -> dict[str, Any]:
    """A FeatureCollection without features."""
    return {"type": "FeatureCollection", "features": []}


@dataclass(frozen=True)
class Scene:
    """GeoJSON FeatureCollections, WGS-84. A fence that is a Point has its `radius` in metres."""

    fences: dict[str, Any] = field(default_factory=empty)
    roads: dict[str, Any] = field(default_factory=empty)
