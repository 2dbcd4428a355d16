"""The live stream: against the tail itself, and over a real server with a slow, a lost and a returning client."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from pipeline.api.app import create
from pipeline.api.stream import Tail, frames
from pipeline.message import SECOND, AlarmEvent, Signal
from pipeline.ports import NotConnected
from tests.desk import BEARER, NOON, Office, signal
from tests.doubles import MemoryBook

STREAM = "/api/v1/alarms/stream"


def many(count: int, *, first: int = 0) -> list[Signal]:
    """Signals of different episodes."""
    return [signal(f"bus-{first + n}", at=NOON + n, start=NOON + n) for n in range(count)]


async def until(true: Callable[[], bool], *, seconds: float = 5.0) -> None:
    """Wait for it, or fail."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.005)


# ---------------------------------------------------------------- the tail


def run_with_tail(office: Office, test: Callable[[Tail], Any], **options: Any) -> None:
    """Run the coroutine `test(tail)` beside a running tail."""

    async def both() -> None:
        tail = Tail(office.desk, poll_s=0.005, **options)
        task = asyncio.create_task(tail.run())
        try:
            await until(lambda: not tail.trouble)
            await asyncio.wait_for(test(tail), 20)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            office.desk.close()

    asyncio.run(both())


@pytest.mark.parametrize("count", [0, 1, 2, 7, 500, 1203])
def test_the_tail_begins_at_the_newest_event_whatever_their_number(count: int) -> None:
    office = Office()
    office.book.apply(many(count))

    async def test(tail: Tail) -> None:
        assert tail.position == count

    run_with_tail(office, test)


def test_every_listener_hears_every_event_once_and_in_order() -> None:
    office = Office()

    async def test(tail: Tail) -> None:
        with tail.listening() as one, tail.listening() as two:
            office.book.apply(many(1200))
            for listener in (one, two):
                numbers = [(await listener.next(5)).event.number for _ in range(1200)]  # type: ignore[union-attr]
                assert numbers == list(range(1, 1201))
        assert tail.listeners == 0

    run_with_tail(office, test)


def test_a_listener_that_does_not_keep_up_is_cut_off_and_the_others_are_not() -> None:
    office = Office()

    async def test(tail: Tail) -> None:
        with tail.listening() as slow, tail.listening() as quick:
            heard = 0
            for batch in range(3):
                office.book.apply(many(20, first=20 * batch))
                while heard < 20 * (batch + 1):
                    heard += await quick.next(5) is not None
            assert slow.lost and tail.cut_off == 1 and not quick.lost
            assert len(slow.waiting(1000)) == 50, "what it had got before stays readable"

    run_with_tail(office, test, depth=50)


class Shaky(MemoryBook):
    """A book that can go away."""

    away = False

    def events_after(self, number: int, *, limit: int = 500) -> list[AlarmEvent]:
        if self.away:
            raise NotConnected("database is away")
        return super().events_after(number, limit=limit)


def test_the_tail_says_it_is_blind_while_the_book_is_away_and_goes_on_after() -> None:
    office = Office()
    book = Shaky()
    object.__setattr__(office.desk, "book", book)

    async def test(tail: Tail) -> None:
        with tail.listening() as listener:
            book.away = True
            await until(lambda: "database is away" in tail.blindness)
            book.apply(many(1))
            book.away = False
            news = await listener.next(5)
            assert news is not None and news.event.number == 1
            await until(lambda: not tail.blindness)

    run_with_tail(office, test)


def test_silence_is_filled_with_signs_of_life_but_never_by_a_blind_server() -> None:
    office = Office()
    book = Shaky()
    object.__setattr__(office.desk, "book", book)

    async def test(tail: Tail) -> None:
        stream: AsyncIterator[bytes] = frames(tail, None, heartbeat_s=0.05)
        assert (await anext(stream)).endswith(b"event: ready\ndata: {}\n\n")
        assert await anext(stream) == b": well\n\n"
        book.away = True
        await until(lambda: bool(tail.blindness))
        while (frame := await anext(stream)) == b": well\n\n":
            pass
        assert frame.startswith(b"event: blind\n") and b"database is away" in frame

    run_with_tail(office, test)


def test_a_tail_that_has_stopped_reading_counts_as_blind() -> None:
    office = Office()
    tail = Tail(office.desk)
    assert tail.blindness
    tail.trouble, tail.read_at = "", office.now
    assert not tail.blindness
    office.now += 5 * SECOND
    assert "has not read the alarm book for 5 s" in tail.blindness


# ---------------------------------------------------------------- over HTTP


@contextmanager
def running(office: Office, **options: Any) -> Iterator[tuple[str, uvicorn.Server]]:
    """The app on a real port: its address, and the server."""
    app = create(office.desk, tail=Tail(office.desk, **options))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    app.state.tail.stopping = lambda: server.should_exit
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", server
        finally:
            server.should_exit = True
            thread.join()
            office.desk.close()


@contextmanager
def served(office: Office, **options: Any) -> Iterator[str]:
    """The app on a real port: its address."""
    with running(office, **options) as (address, _server):
        yield address


Event = tuple[str, str, Any]


def events(lines: Iterator[str]) -> Iterator[Event]:
    """(id, event, data) of a stream of server-sent events."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        elif "event" in fields:
            yield fields.get("id", ""), fields["event"], json.loads(fields["data"])
            fields = {}


@contextmanager
def listening(address: str, headers: dict[str, str] | None = None, **query: Any) -> Iterator[Iterator[Event]]:
    asked = httpx.stream("GET", address + STREAM, headers=BEARER | (headers or {}), params=query, timeout=10)
    with asked as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield events(answer.iter_lines())


def test_an_event_arrives_with_its_number_and_the_alarm_it_changed() -> None:
    office = Office()
    with served(office) as address, listening(address) as stream:
        assert next(stream)[:2] == ("0", "ready")
        office.book.apply([signal()])
        number, kind, data = next(stream)
        assert (number, kind, data["change"]) == ("1", "alarm", "raised")
        assert data["current"]["subject"] == "bus-1" and data["at"] == "2026-01-01T12:00:00Z"
        office.book.act(signal().alarm, "acknowledge", by="anna")
        assert next(stream)[2]["current"]["acknowledged_by"] == "anna"


def test_a_client_that_comes_back_gets_what_it_missed_and_nothing_twice() -> None:
    office = Office()
    office.book.apply(many(700))
    with served(office) as address:
        with listening(address, {"Last-Event-ID": "3"}) as stream:
            assert next(stream)[0] == "3"
            assert [int(next(stream)[0]) for _ in range(697)] == list(range(4, 701))
            office.book.apply(many(2, first=900))
            assert [next(stream)[0] for _ in range(2)] == ["701", "702"]
        with listening(address, after=700) as stream:
            assert [next(stream)[0] for _ in range(3)] == ["700", "701", "702"]


def test_without_a_number_the_stream_begins_now() -> None:
    office = Office()
    office.book.apply(many(5))
    with served(office) as address, listening(address) as stream:
        assert next(stream)[0] == "5"
        office.book.apply(many(1, first=50))
        assert next(stream)[0] == "6"


def test_a_number_from_a_book_that_is_no_more_is_said_and_does_not_make_the_client_deaf() -> None:
    office = Office()
    office.book.apply(many(5))
    with served(office) as address, listening(address, {"Last-Event-ID": "7000"}) as stream:
        assert next(stream) == ("5", "ready", {"unknown": 7000})
        office.book.apply(many(1, first=50))
        assert next(stream)[0] == "6"


def test_a_client_that_comes_before_the_book_can_be_read_hears_so_and_then_begins_where_it_asked() -> None:
    office = Office()
    book = Shaky()
    book.apply(many(5))
    book.away = True
    object.__setattr__(office.desk, "book", book)
    with served(office) as address, listening(address, {"Last-Event-ID": "3"}) as stream:
        assert next(stream)[1] == "blind"
        book.away = False
        ready = next(event for event in stream if event[1] != "blind")
        assert ready[:2] == ("3", "ready")
        assert [next(stream)[0] for _ in range(2)] == ["4", "5"]


@pytest.mark.parametrize("number", ["x", "-1", "1e3", "٣", str(2**63), "9" * 5000])
def test_a_last_event_id_that_is_no_number_is_refused(number: str) -> None:
    office = Office()
    with served(office) as address:
        headers = [(b"Authorization", BEARER["Authorization"].encode()), (b"Last-Event-ID", number.encode())]
        answer = httpx.get(address + STREAM, headers=headers)
        assert answer.status_code == 422 and "Last-Event-ID" in answer.json()["detail"]


def test_a_number_to_begin_after_that_no_book_can_hold_is_refused() -> None:
    with served(Office()) as address:
        answer = httpx.get(address + STREAM, headers=BEARER, params={"after": str(2**63)})
        assert answer.status_code == 422 and "after" in answer.json()["detail"]


def test_a_client_that_stops_reading_is_dropped_and_misses_nothing_when_it_returns() -> None:
    office = Office()
    with served(office, depth=600) as address:
        heard: list[int] = []
        with listening(address) as stream:
            next(stream)
            for batch in range(60):  # much more than the buffers between the two hold
                office.book.apply(many(500, first=500 * batch))
            deadline = time.monotonic() + 20
            while cut_off(address) < 1 and time.monotonic() < deadline:
                time.sleep(0.05)
            assert cut_off(address) == 1
            heard += [int(number) for number, kind, _ in stream if kind == "alarm"]
        assert 0 < len(heard) < 30_000, "it was dropped in the middle"
        while heard[-1] < 30_000:  # on a busy machine it may be cut off again on its way
            with listening(address, {"Last-Event-ID": str(heard[-1])}) as stream:
                for number, kind, _ in stream:
                    heard += [int(number)] if kind == "alarm" else []
                    if heard[-1] == 30_000:
                        break
        assert heard == list(range(1, 30_001))


def cut_off(address: str) -> int:
    text = httpx.get(f"{address}/metrics", headers=BEARER).text
    return int(float(text.split("\nvedette_stream_cut_off_total ")[1].split("\n")[0]))


def test_the_server_stops_at_once_although_somebody_listens() -> None:
    office = Office()
    with running(office) as (address, server), listening(address) as stream:
        next(stream)
        started = time.monotonic()
        server.should_exit = True
        assert list(stream) == [] and time.monotonic() - started < 4
