"""The map element. It draws and follows by itself (assets/map.js); the server only tells it what was chosen."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

from nicegui import ui
from nicegui.events import GenericEventArguments

from pipeline.api.console import words

logger = logging.getLogger(__name__)
WORLD = (20.0, 0.0)
PATIENCE_S = 15.0


class Place:
    """A Leaflet map without tiles, so that it asks nobody for anything."""

    def __init__(self, *, follow: bool) -> None:
        options = {"preferCanvas": True, "attributionControl": False, "zoomSnap": 0.5, "worldCopyJump": False}
        self._leaflet = ui.leaflet(center=WORLD, zoom=2, options=options).classes("map")
        self._leaflet.clear_layers()
        self._leaflet.props(f'role="application" aria-label="{words.MAP}"')
        self._follow = follow
        self.ready = False

    async def start(self) -> None:
        """Once the browser has the map: draw the scene, and follow the units if asked to.

        A browser that does not manage in time has no map; its list of alarms must not wait for that.
        """
        start = f"return vedette.startMap(getElement({self._leaflet.id}), {json.dumps(self._follow)})"
        try:
            await asyncio.wait_for(self._leaflet.initialized(), PATIENCE_S)
            await ui.run_javascript(start, timeout=PATIENCE_S)
        except TimeoutError:
            logger.warning("a browser has not drawn the map within %.0f s", PATIENCE_S)
        else:
            self.ready = True

    def show(self, places: list[dict[str, Any]]) -> None:
        """Add, change or take away marks of alarms."""
        self._tell("showPlaces", places)

    def choose(self, place: dict[str, Any] | None) -> None:
        """Go to the mark of the chosen alarm."""
        self._tell("choose", place)

    def on_click(self, told: Callable[[float, float], None]) -> None:
        """Call `told` with latitude and longitude of each click on the map."""

        def clicked(event: GenericEventArguments) -> None:
            told(float(event.args["latlng"]["lat"]), float(event.args["latlng"]["lng"]))

        self._leaflet.on("map-click", clicked)
        self._leaflet.classes(add="aimed")

    def mark(self, spots: list[tuple[float, float, str]], view: dict[str, Any] | None) -> None:
        """Show named spots, and the field of view of a camera (GeoJSON geometry) with them."""
        self._tell("showMarks", {"spots": spots, "view": view})

    def go(self, lat: float, lon: float) -> None:
        """Show what lies around a place."""
        self._tell("go", [lat, lon])

    def _tell(self, method: str, argument: Any) -> None:
        if self.ready:
            ui.run_javascript(f"vedette.map.{method}({script_json(argument)})")


def script_json(value: Any) -> str:
    """JSON that is safe as a JavaScript expression."""
    return json.dumps(value).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
