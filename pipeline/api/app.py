"""Puts the routes together. Connecting to anything is done by whoever calls (`pipeline.cli.api`), never here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from pipeline.api import alarms, devices, docs, metrics, problems, stream, trips, units
from pipeline.api.auth import Gate, users_of
from pipeline.api.desk import Desk
from pipeline.api.problems import Problem
from pipeline.api.stream import Tail

logger = logging.getLogger(__name__)

ROOT = "/api/v1"
ASSETS = Path(__file__).parent / "assets"
ABOUT = (
    "Alarms with their reasons, units and tracks, devices and what was refused. Times are RFC 3339 in UTC, "
    "positions WGS-84 degrees, speeds m/s. Every request but /healthz carries a token: Authorization: Bearer TOKEN."
)
Chore = Callable[[], Awaitable[None]]


def create(
    desk: Desk, *, users: Mapping[str, str] | None = None, tail: Tail | None = None, chores: Sequence[Chore] = ()
) -> FastAPI:
    """The app over `desk`. `users` is user by token (default: from settings); `chores` run as long as the app.

    A chore that fails ends up in `app.state.failed`, and `app.state.on_failure` is called with it.
    """
    tail = tail or Tail(desk)
    app = FastAPI(
        title="Vedette",
        description=ABOUT,
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{ROOT}/openapi.json",
        responses=problems.RESPONSES,
        lifespan=_lifespan(tail, chores),
    )
    app.state.tail, app.state.failed, app.state.on_failure = tail, None, lambda _error: None
    problems.install(app)
    over = (alarms.routes, units.routes, trips.routes)
    for router in (stream.routes(tail), *(routes(desk) for routes in over), devices.routes(desk, tail)):
        app.include_router(router, prefix=ROOT)
    app.include_router(devices.health_routes(desk, tail))
    app.include_router(metrics.routes(desk, tail))
    _add_docs(app)
    app.mount("/assets", StaticFiles(directory=ASSETS), name="assets")
    api = desk.settings.api
    who = users or users_of(api.token)
    app.add_middleware(Gate, users=who, host=api.host, port=api.port, public_host=api.public_host)
    return app


def _add_docs(app: FastAPI) -> None:
    @app.get(f"{ROOT}/docs", include_in_schema=False)
    async def documentation() -> HTMLResponse:
        return HTMLResponse(docs.page(app.openapi()))

    @app.api_route("/api/{path:path}", include_in_schema=False, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    async def unknown(request: Request) -> None:
        raise Problem(404, f"no {request.method} {request.url.path}; {ROOT}/docs lists what there is")


def _lifespan(
    tail: Tail, chores: Sequence[Chore]
) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.ensure_future(chore()) for chore in (tail.run, *chores)]
        for task in tasks:
            task.add_done_callback(lambda done: _note(app, done))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return lifespan


def _note(app: FastAPI, done: asyncio.Future[None]) -> None:
    """A chore that fails must not fail alone, leaving a server that looks well."""
    if not done.cancelled() and (error := done.exception()):
        logger.critical("a background task of the api failed", exc_info=error)
        app.state.failed = error
        app.state.on_failure(error)
