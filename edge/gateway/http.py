"""OsmAnd, Traccar Client and OwnTracks over HTTP: 200 means that the fix is on the disk.

    GET  /?id=..&lat=..&lon=..&timestamp=..       POST / with a form, or Traccar Client's JSON
    POST /owntracks or /pub with OwnTracks' JSON          the device is its topic's end, X-Limit-D, or tid

Answers in words: 400 what is wrong with the report, 403 the device is in no table, 503 the disk does not take it.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from edge.decode import DecodeError, Message, osmand, owntracks
from edge.gateway import request as http
from edge.gateway.desk import Desk, together
from edge.gateway.door import Door, watched
from edge.gateway.keeper import Keeper
from edge.gateway.request import Refusal, Request

REQUEST_S = 20.0
"""For a whole request, however slowly its bytes come; and for the client to take the answer."""

KEEP_S = 75.0
"""An app that reports once a minute keeps its connection."""

JSON, TEXT = "application/json", "text/plain; charset=utf-8"
OWNTRACKS_PATHS = ("/owntracks", "/pub")


class HttpServer:
    """Called by asyncio with each connection."""

    def __init__(self, door: Door, keeper: Keeper) -> None:
        self._door, self._keeper = door, keeper

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._door.guest(writer) as admitted:
            if not admitted:
                return
            try:
                watched(writer)
                await self._serve(reader, writer)
            except TimeoutError:
                self._door.desk.refused("silent")
            except OSError:
                pass  # the client is gone

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Requests and answers, until one of both wants no more. TimeoutError, OSError."""
        keep, patience = True, REQUEST_S
        while keep:
            try:
                async with asyncio.timeout(patience):
                    request = await http.read(reader, writer)
                if request is None:
                    return
                keep = request.keep
                answer = await self._answer(request)
            except Refusal as refusal:
                keep = keep and not refusal.close
                self._door.desk.refused(f"http_{refusal.status.value}")
                answer = http.response(refusal.status, refusal.reason + "\n", keep=keep)
            writer.write(answer)
            async with asyncio.timeout(REQUEST_S):
                await writer.drain()
            patience = KEEP_S

    async def _answer(self, request: Request) -> bytes:
        """200 when all of it is kept. Refusal."""
        theirs = request.path.rstrip("/") in OWNTRACKS_PATHS
        try:
            messages = owntracks_messages(request) if theirs else osmand.decode(report(request))
        except DecodeError as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, str(error)) from None
        desk = self._door.desk
        kept = together(desk.kept(known(desk, message), message, arrival=True) for message in messages)
        if not await self._keeper.keep(kept):
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "not kept: send it again later")
        return http.response(
            HTTPStatus.OK, "[]" if theirs else "", keep=request.keep, kind=JSON if theirs else TEXT
        )


def known(desk: Desk, message: Message) -> str:
    """The unit of the device that sent it. Refusal."""
    device = message.device or ""
    if unit := desk.unit(device):
        return unit
    raise Refusal(HTTPStatus.FORBIDDEN, f"device {device!r:.80} is not in the gateway's [source] units")


def report(request: Request) -> bytes:
    """What OsmAnd's decoder reads: the body, or else the query."""
    return request.body if request.body.strip() else urlsplit(request.target).query.encode()


def owntracks_messages(request: Request) -> list[Message]:
    """The device's name is in the message's topic, or else in a header, in the query, or the tracker's id."""
    asked = parse_qs(urlsplit(request.target).query)
    device = request.headers.get("x-limit-d") or asked.get("d", [""])[0]
    topic = f"owntracks/user/{device} ".encode() if device else b""
    return owntracks.decode(topic + request.body)
