"""The servers of one gateway, in the source's thread, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import threading
from collections.abc import Callable
from typing import Any

from edge.errors import SetupError
from edge.gateway.desk import Desk
from edge.gateway.door import Door
from edge.gateway.http import HttpServer
from edge.gateway.jt808 import Jt808Talk
from edge.gateway.keeper import Keeper
from edge.gateway.request import LONGEST_HEAD
from edge.gateway.talk import Gt06Talk, NmeaTalk, Talk
from edge.gateway.tcp import CHUNK, TcpServer
from edge.gateway.udp import UdpServer
from edge.outlet import Outlet
from edge.settings import Gateway

log = logging.getLogger(__name__)
PORTS = ("jt808_port", "jt808_udp_port", "gt06_port", "http_port", "nmea_port")
TURN_S = 0.1
WAITING_GUESTS = 1024
"""Connections that the kernel may hold until they are accepted: after a network's outage all come at once."""

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


class GatewaySource:
    """SetupError for a table without a port or with a bad unit, and from `run` for a port that cannot be had."""

    def __init__(self, settings: Gateway) -> None:
        self._settings = settings
        self._desk = Desk(settings)
        self._door = Door(settings, self._desk)
        _check(settings)

    @property
    def trouble(self) -> str:
        return self._desk.trouble

    def facts(self) -> dict[str, Any]:
        """For the status: how many trackers are connected, and what was counted since the start."""
        counts = dict(sorted(self._desk.counts.items()))
        return {"connections": self._door.open, "trackers": self._door.devices, "counts": counts}

    def run(self, outlet: Outlet, stop: threading.Event) -> None:
        asyncio.run(self._serve(outlet, stop))

    async def _serve(self, outlet: Outlet, stop: threading.Event) -> None:
        keeper = Keeper(outlet, self._settings.late_s)
        _more_files(self._settings.connections)
        async with contextlib.AsyncExitStack() as stack:
            work = (keeper.run(), keeper.promise()) if self._settings.late_s else (keeper.run(),)
            tasks = [asyncio.create_task(each) for each in work]
            for task in tasks:
                stack.callback(task.cancel)
            await self._open(keeper, stack)
            while not stop.is_set():
                for ended in (await asyncio.wait(tasks, timeout=TURN_S))[0]:
                    ended.result()  # they only end by an error, which ends the source

    async def _open(self, keeper: Keeper, stack: contextlib.AsyncExitStack) -> None:
        settings, door, desk = self._settings, self._door, self._desk

        def framed(talk: Callable[[str], Talk]) -> Handler:
            return TcpServer(settings, door, keeper, talk)

        servers: tuple[tuple[int, Handler, int], ...] = (
            (settings.jt808_port, framed(lambda _: Jt808Talk(desk)), CHUNK),
            (settings.gt06_port, framed(lambda _: Gt06Talk(desk)), CHUNK),
            (settings.nmea_port, framed(lambda address: NmeaTalk(desk, address)), CHUNK),
            (settings.http_port, HttpServer(door, keeper), LONGEST_HEAD),
        )
        for port, handler, limit in servers:
            if port:
                await self._listen(port, handler, limit, stack)
        if settings.jt808_udp_port:
            await self._hear(UdpServer(desk, keeper, lambda _: Jt808Talk(desk)), stack)

    async def _listen(self, port: int, handler: Handler, limit: int, stack: contextlib.AsyncExitStack) -> None:
        bind = self._settings.bind
        try:
            server = await asyncio.start_server(handler, bind, port, limit=limit, backlog=WAITING_GUESTS)
        except OSError as error:
            raise _taken(bind, port, error) from None
        stack.callback(server.close)
        log.info("listening on %s:%d", bind, port)

    async def _hear(self, server: UdpServer, stack: contextlib.AsyncExitStack) -> None:
        bind, port = self._settings.bind, self._settings.jt808_udp_port
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.create_datagram_endpoint(lambda: server, local_addr=(bind, port))
        except OSError as error:
            raise _taken(bind, port, error) from None
        stack.callback(transport.close)
        log.info("listening on %s:%d (UDP)", bind, port)


def _taken(bind: str, port: int, error: OSError) -> SetupError:
    reason = error.strerror or str(error)
    return SetupError(f"[source]: cannot listen on {bind}:{port}: {reason}: choose another bind or port")


def _check(settings: Gateway) -> None:
    ports = {name: getattr(settings, name) for name in PORTS}
    for name, port in ports.items():
        if not 0 <= port < 65536:
            raise SetupError(f"[source]: {name} = {port}: a port is 1 to 65535, or 0 for none")
    if not any(ports.values()):
        raise SetupError(f"[source]: a gateway without a port hears nobody: set one of {', '.join(PORTS)}")
    streams = [port for name, port in ports.items() if port and name != "jt808_udp_port"]
    if len(streams) != len(set(streams)):
        raise SetupError("[source]: two protocols on one port: give each its own")
    if not settings.units and settings.unknown == "refuse":
        raise SetupError(
            '[source]: no units, so every tracker is refused: write units = { "013800138000" = "bus-12" }'
        )


def _more_files(connections: int) -> None:
    """Each connection is an open file; the soft limit is often 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 256
    if soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        if most < wanted:
            log.warning(
                "%d files may be open: there is room for %d trackers, not %d", most, most - 256, connections
            )
