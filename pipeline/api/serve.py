"""Composition of the api process: open the ports, put the app and the console together, listen, run the chores.

Nothing connects before `serve` is called; what it opens, it closes.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import shapely  # type: ignore[import-untyped]
import uvicorn
from fastapi import FastAPI

from pipeline.alarms.book import open_book
from pipeline.api.app import create
from pipeline.api.auth import LOOPBACK, new_token, users_of
from pipeline.api.console import Scene, mount
from pipeline.api.console.scene import empty, views
from pipeline.api.desk import Desk, wall_clock
from pipeline.message import SECOND
from pipeline.ports import AlarmBook, NotConnected, Retryable, UserError
from pipeline.pulse import beating
from pipeline.rules import config
from pipeline.rules.cameras import Cameras, load_cameras
from pipeline.rules.fences import Fence
from pipeline.rules.fleet import load_fleet
from pipeline.settings import Settings
from pipeline.state import open_state
from pipeline.store import open_store
from pipeline.store.blobs import open_blobs
from pipeline.wire import rfc3339

logger = logging.getLogger(__name__)
FAILED = 70
"""Exit status (EX_SOFTWARE) when a background task has failed: the supervisor starts the process again."""
RETAIN_EVERY_S = 3600.0
DAY = 86_400 * SECOND


def serve(settings: Settings, say: Callable[[str], None]) -> None:
    """Until SIGTERM or SIGINT. UserError for a port in use, a bad token, or rules and fleet that cannot be read."""
    listener = listen(settings.api.host, settings.api.port)
    settings = with_api(settings, listener.getsockname()[1])
    with opened(settings) as desk:
        app = create(desk, chores=(lambda: beat(app, settings), lambda: retain(settings)))
        mount(app, desk, scene_of(Path(settings.rules.file), load_cameras(Path(settings.cameras.file))))
        say(f"Console: {address(settings)}")
        run(app, listener)
    if app.state.failed:
        sys.exit(FAILED)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. UserError naming the port and the fix when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(512)
    except (OSError, OverflowError) as error:
        listener.close()
        used = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = "is in use: stop what listens there" if used else f"cannot be had: {error}"
        raise UserError(
            f"port {port} on {host} {reason}, or name another with --port or VEDETTE_API_PORT"
        ) from None
    return listener


def with_api(settings: Settings, port: int) -> Settings:
    """The settings with the port that was got, and with a token if they had none. UserError for bad ones."""
    if "/" in settings.api.public_host:
        raise UserError(f"[api] public_host: {settings.api.public_host!r} is an address: write only the name in it")
    api = msgspec.structs.replace(settings.api, port=port, token=settings.api.token or new_token())
    users_of(api.token)
    return msgspec.structs.replace(settings, api=api)


def address(settings: Settings) -> str:
    """What to open in a browser on this machine."""
    api = settings.api
    host = api.host if api.host in LOOPBACK else "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{api.port}/?token={next(iter(users_of(api.token)))}"


@contextmanager
def opened(settings: Settings) -> Iterator[Desk]:
    """The desk over the adapters that the settings name."""
    store, book, pulse = open_store(settings), open_book(settings), open_state(settings)
    fleet = load_fleet(Path(settings.fleet.file))
    desk = Desk(settings, store, book, pulse, open_blobs(settings), fleet.units, kinds=fleet.groups)
    try:
        yield desk
    finally:
        desk.close()
        for port in (store, book, pulse):
            port.close()


def run(app: FastAPI, listener: socket.socket) -> None:
    """Serve until told to stop, or until a background task of the app has failed."""
    options = uvicorn.Config(
        app, log_level="warning", lifespan="on", server_header=False, timeout_graceful_shutdown=3
    )
    server = uvicorn.Server(options)
    app.state.tail.stopping = lambda: server.should_exit

    def stop(_error: BaseException) -> None:
        server.should_exit = True

    app.state.on_failure = stop
    server.run(sockets=[listener])


# ---------------------------------------------------------------- what the map shows


def scene_of(rules: Path, cameras: Cameras) -> Scene:
    """The fences of the rules, the roads in `roads.geojson` beside them, if there are any, and the cameras."""
    fences = {fence.key: fence for group in config.load(rules).fences.values() for fence in group}
    roads = rules.parent / "roads.geojson"
    try:
        drawn = json.loads(roads.read_text("utf-8")) if roads.is_file() else None
    except ValueError as error:
        raise UserError(f"{roads}: not valid JSON: {error}") from None
    shown = {"type": "FeatureCollection", "features": [_feature(fence) for fence in fences.values()]}
    return Scene(shown, drawn or empty(), views(cameras))


def _feature(fence: Fence) -> dict[str, Any]:
    circle = {"type": "Point", "coordinates": [fence.lon, fence.lat]}
    geometry = circle if fence.radius else json.loads(shapely.to_geojson(fence.shape))
    return {"type": "Feature", "properties": {"name": fence.id, "radius": fence.radius}, "geometry": geometry}


# ---------------------------------------------------------------- chores


async def beat(app: FastAPI, settings: Settings) -> None:
    """Say every two seconds that this part is there, and whether it can read the book."""
    state = open_state(settings)
    tail = app.state.tail

    def row() -> dict[str, Any]:
        return {"ready": not tail.blindness, "trouble": tail.blindness, "listeners": tail.listeners}

    try:
        await beating(state, "api", row)
    finally:
        state.close()


async def retain(settings: Settings) -> None:
    """At the start and then once an hour, forget what is past its retention."""
    while True:
        await asyncio.to_thread(forget, settings)
        await asyncio.sleep(RETAIN_EVERY_S)


def forget(settings: Settings, now: int | None = None) -> None:
    """Delete what is past its days, and put that on the audit log; 0 days keep for ever.

    One that cannot be done, as with a token that may not delete, is logged and does not keep the others from it.
    Opens adapters of its own: it may take long.
    """
    now = wall_clock() if now is None else now
    store, book, kept = open_store(settings), open_book(settings), settings.retention
    try:
        for what, days, forgotten in (
            ("refusals", kept.tracks_days, book.forget_refusals),
            ("signals", kept.evidence_days, book.forget_signals),
            ("what was held back", kept.evidence_days, book.forget_held_back),
            ("evidence", kept.evidence_days, open_blobs(settings).forget),
            ("tracks", kept.tracks_days, store.forget),
        ):
            if days > 0:
                _forget_one(book, what, days=days, before=now - days * DAY, forgotten=forgotten)
    finally:
        store.close()
        book.close()


def _forget_one(book: AlarmBook, what: str, *, days: int, before: int, forgotten: Callable[[int], int]) -> None:
    try:
        detail = f"{forgotten(before)} deleted, older than {rfc3339(before)}"
        book.audit(who="vedette", what="retention", subject=what, purpose=f"{days} days", detail=detail)
    except (NotConnected, Retryable, UserError) as error:
        logger.error("retention: %s older than %s are not deleted: %s", what, rfc3339(before), error)
