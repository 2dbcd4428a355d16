"""The live alarm stream: one reader of the book, and server-sent events to everybody who listens.

    book.events_after(n) ──50 ms──► Tail ──► a bounded queue each ──► GET /alarms/stream, the console's pages

A listener that does not keep up is cut off, not waited for; it comes back with `Last-Event-ID` and misses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from pipeline.api.desk import Desk
from pipeline.api.problems import Problem
from pipeline.api.shapes import AlarmOut, EventOut
from pipeline.message import SECOND, Alarm, AlarmEvent
from pipeline.ports import NotConnected, Retryable

logger = logging.getLogger(__name__)

POLL_S = 0.05
PAGE = 500
DEPTH = 2000
HEARTBEAT_S = 10.0
NUMBER_MAX = 2**62
"""A database's column and one more step from there hold it."""
BLIND_S = 3.0


@dataclass(frozen=True, slots=True)
class News:
    """One event, the alarm as it stood when the event was read, and both as a frame of the stream."""

    event: AlarmEvent
    alarm: Alarm | None
    frame: bytes


@dataclass(eq=False)
class Listener:
    """A bounded queue. `lost` once it overflowed: from then on it gets nothing more."""

    depth: int
    lost: bool = False
    _queue: asyncio.Queue[News | None] = field(default_factory=asyncio.Queue)

    def offer(self, news: News) -> None:
        """Add without waiting, or give this listener up."""
        if self.lost:
            return
        if self._queue.qsize() >= self.depth:
            self.lost = True
        self._queue.put_nowait(None if self.lost else news)

    async def next(self, patience: float) -> News | None:
        """The next piece of news; None when there was none for `patience` seconds, or when the listener is lost."""
        try:
            return await asyncio.wait_for(self._queue.get(), patience)
        except TimeoutError:
            return None

    def waiting(self, most: int) -> list[News]:
        """What is already there, up to `most`, without waiting."""
        found: list[News] = []
        while len(found) < most and not self._queue.empty():
            if news := self._queue.get_nowait():
                found.append(news)
        return found


class Tail:
    """Follows the book for all listeners of this process. `run` is started once, with the app."""

    def __init__(self, desk: Desk, *, poll_s: float = POLL_S, depth: int = DEPTH) -> None:
        self._desk = desk
        self._poll_s = poll_s
        self._depth = depth
        self._listeners: set[Listener] = set()
        self.position = 0
        self.cut_off = 0
        self.read_at = 0
        self.trouble = "has not read the alarm book yet"
        self.stopping: Callable[[], bool] = lambda: False

    async def run(self) -> None:
        """Until cancelled. The book out of reach is told to the listeners, and tried again."""
        started = False
        while True:
            try:
                if not started:
                    self.position, started = await self._newest(), True
                await self._read()
                self.read_at, self.trouble = self._desk.clock(), ""
            except (NotConnected, Retryable) as error:
                self.trouble = f"cannot read the alarm book: {error}"
                logger.warning("%s", self.trouble)
                await asyncio.sleep(1.0)
            await asyncio.sleep(self._poll_s)

    @contextlib.contextmanager
    def listening(self) -> Iterator[Listener]:
        """A listener that hears of every event after `position`, for as long as the block runs."""
        listener = Listener(self._depth)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    @property
    def blindness(self) -> str:
        """Why nothing new can be seen now; empty when all is well."""
        if self.trouble:
            return self.trouble
        age = self._desk.clock() - self.read_at
        return f"has not read the alarm book for {age / SECOND:.0f} s" if age > BLIND_S * SECOND else ""

    async def after(self, number: int) -> list[News]:
        """The next page of events after `number`."""
        events = await self._desk.call(self._desk.book.events_after, number, limit=PAGE)
        alarms = await self._desk.each(self._desk.book.alarm, dict.fromkeys(event.alarm for event in events))
        return [_news(event, alarms[event.alarm]) for event in events]

    async def knows(self, number: int) -> bool:
        """Whether the book has come as far as `number`; a client may bring one from a book that is no more."""
        if number <= self.position:
            return True
        return bool(await self._desk.call(self._desk.book.events_after, number - 1, limit=1))

    async def _read(self) -> None:
        for news in await self.after(self.position):
            self.position = news.event.number
            for listener in list(self._listeners):
                was_lost = listener.lost
                listener.offer(news)
                self.cut_off += listener.lost and not was_lost

    async def _newest(self) -> int:
        """Number of the newest event, by doubling and halving: about two reads of one row for each binary digit."""
        low, step = 0, 1
        while await self._desk.call(self._desk.book.events_after, low + step, limit=1):
            low, step = low + step, step * 2
        while step > 1:
            step //= 2
            if await self._desk.call(self._desk.book.events_after, low + step, limit=1):
                low += step
        found = await self._desk.call(self._desk.book.events_after, low, limit=PAGE)
        return found[-1].number if found else low


def _news(event: AlarmEvent, alarm: Alarm | None) -> News:
    body = EventOut.of(event).model_dump() | {"current": AlarmOut.of(alarm).model_dump() if alarm else None}
    frame = b"id: %d\nevent: alarm\ndata: %s\n\n" % (event.number, msgspec.json.encode(body))
    return News(event, alarm, frame)


async def frames(tail: Tail, after: int | None, *, heartbeat_s: float = HEARTBEAT_S) -> AsyncIterator[bytes]:
    """The bytes of one client's stream: where it stands, what it missed, then what comes."""
    while not tail.read_at:
        yield _sign_of_life(tail)
        await asyncio.sleep(min(heartbeat_s, 1.0))
    sent = after if after is not None and await tail.knows(after) else tail.position
    about = {} if after in (None, sent) else {"unknown": after}
    yield b"retry: 1000\nid: %d\nevent: ready\ndata: %s\n\n" % (sent, msgspec.json.encode(about))
    while missed := await tail.after(sent) if sent < tail.position else []:
        for news in missed:
            yield news.frame
        sent = missed[-1].event.number
    with tail.listening() as listener:  # nothing is awaited since the tail's position was seen, so there is no gap
        async for frame in _live(tail, listener, sent, heartbeat_s):
            yield frame


async def _live(tail: Tail, listener: Listener, sent: int, heartbeat_s: float) -> AsyncIterator[bytes]:
    quiet = 0.0
    while not tail.stopping():
        patience = min(heartbeat_s, 1.0)
        news = await listener.next(patience)
        if news is None and listener.lost:
            return
        quiet = quiet + patience if news is None else 0.0
        if news is not None and news.event.number > sent:
            yield news.frame
        elif quiet >= heartbeat_s:
            quiet = 0.0
            yield _sign_of_life(tail)


def _sign_of_life(tail: Tail) -> bytes:
    """A comment when all is well; an event when this server cannot see, so that nobody takes silence for peace."""
    why = tail.blindness
    return b"event: blind\ndata: %s\n\n" % msgspec.json.encode({"why": why}) if why else b": well\n\n"


def routes(tail: Tail) -> APIRouter:
    """The stream over `tail`."""
    router = APIRouter(prefix="/alarms", tags=["alarms"])

    @router.get(
        "/stream", summary="Alarm changes as they happen (server-sent events)", response_class=StreamingResponse
    )
    async def stream(
        after: Annotated[
            int | None, Query(ge=0, le=NUMBER_MAX, description="Begin after this event number; 0 for all there is.")
        ] = None,
        last_event_id: Annotated[str | None, Header(description="Sent by a client that comes back.")] = None,
    ) -> StreamingResponse:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        since = after if last_event_id is None else _number(last_event_id)
        return StreamingResponse(frames(tail, since), media_type="text/event-stream", headers=headers)

    return router


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise Problem(422, f"Last-Event-ID: {text[:40]!r} is not an event number")
    if len(text) > 19 or int(text) > NUMBER_MAX:
        raise Problem(422, f"Last-Event-ID: {text[:40]} is beyond every event number")
    return int(text)
