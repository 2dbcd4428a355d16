"""The map element. It draws and follows by itself (assets/map.js); the server only tells it what was chosen."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from nicegui import ui

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

    def _tell(self, method: str, argument: Any) -> None:
        if self.ready:
            ui.run_javascript(f"vedette.map.{method}({script_json(argument)})")


def script_json(value: Any) -> str:
    """JSON that is safe as a JavaScript expression."""
    return json.dumps(value).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
