"""The operators' console: five pages on NiceGUI over the same `Desk` as the api; `mount` puts it on the app.

What must be shared is on the server (one tail of the book, one look at the health a second); what moves often, or
must still work when the server is gone, is in assets/console.js and assets/map.js.
"""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from pipeline.api.console.alarms_page import alarms_page
from pipeline.api.console.cameras_page import cameras_page
from pipeline.api.console.devices_page import devices_page
from pipeline.api.console.outlook import Outlook
from pipeline.api.console.scene import Scene
from pipeline.api.console.tracks_page import tracks_page
from pipeline.api.console.whynot_page import why_not_page
from pipeline.api.console.words import NAME, WHY_NOT
from pipeline.api.desk import Desk

__all__ = ["Scene", "mount"]


def mount(app: FastAPI, desk: Desk, scene: Scene) -> None:
    """Add the console to `app` (of `pipeline.api.app.create`). NiceGUI is one to a process, and so is this call."""
    from nicegui import ui

    outlook = Outlook(desk, app.state.tail)

    @app.get("/console/scene.json", include_in_schema=False)
    async def scene_json() -> JSONResponse:
        return JSONResponse({"fences": scene.fences, "roads": scene.roads, "cameras": scene.cameras})

    @ui.page("/", title=NAME)
    async def alarms(request: Request, alarm: str = "") -> None:
        await alarms_page(outlook, request.state.user, alarm)

    @ui.page("/why-not", title=f"{WHY_NOT} · {NAME}")
    async def why_not(request: Request, camera: str = "", at: str = "") -> None:
        await why_not_page(outlook, request.state.user, camera, at)

    @ui.page("/devices", title=f"Devices · {NAME}")
    async def devices(request: Request) -> None:
        await devices_page(outlook, request.state.user)

    @ui.page("/tracks", title=f"Tracks · {NAME}")
    async def tracks(request: Request) -> None:
        await tracks_page(outlook, request.state.user)

    @ui.page("/cameras", title=f"Cameras · {NAME}")
    async def cameras(request: Request) -> None:
        await cameras_page(outlook, request.state.user)

    ui.run_with(
        app,
        title=NAME,
        favicon=FAVICON,
        dark=True,
        language="en-US",
        tailwind=False,
        reconnect_timeout=10.0,
        show_welcome_message=False,
    )


FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<rect width="32" height="32" rx="7" fill="#121a22"/>'
    '<path d="M6 9l10 16L26 9" fill="none" stroke="#4fb0ff" stroke-width="3.4" stroke-linecap="round" '
    'stroke-linejoin="round"/><circle cx="16" cy="9.5" r="2.8" fill="#ffb338"/></svg>'
)
