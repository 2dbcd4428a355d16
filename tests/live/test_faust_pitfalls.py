"""What faust-streaming 0.15.3 does behind our back, reproduced: when an upgrade changes one of these, this fails.

The engine (pipeline/engine.py) is built around each of them; a failure here means that it can be made simpler, or
has to be thought through again. The names of the tests say what Faust does, not what we would like.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import faust
import nats as nats_py
import pytest
from faust.types import TP
from nats.js.errors import NotFoundError

from pipeline import faustapp
from pipeline.jetstream.connection import stream_name, subject_name
from pipeline.settings import Settings, load
from tests.live.servers import Nats

TOPIC = "pitfalls"
PART = TP(TOPIC, 0)
Agent = Callable[[Any, asyncio.Event], Awaitable[None]]


@pytest.fixture
def settings(nats: Nats, tmp_path: Path) -> Iterator[Settings]:
    """A log with ten records in one topic of its own."""

    async def make() -> None:
        client = await nats_py.connect(nats.url)
        log = client.jetstream()
        await log.add_stream(name=stream_name(TOPIC, 0), subjects=[subject_name(TOPIC, 0)])
        for n in range(10):
            await log.publish(subject_name(TOPIC, 0), b"%d" % n)
        await client.close()

    async def remove() -> None:
        client = await nats_py.connect(nats.url)
        for name in (stream_name(TOPIC, 0), "KV_commits-vedette-pitfalls"):
            with contextlib.suppress(NotFoundError):
                await client.jetstream().delete_stream(name)
        await client.close()

    (tmp_path / "faust").mkdir()
    asyncio.run(make())
    yield load(environ={"VEDETTE_LOG_URL": nats.url, "VEDETTE_DATA_DIR": str(tmp_path)})
    asyncio.run(remove())


def committed_after(settings: Settings, agent: Agent, **options: Any) -> int | None:
    """Run a worker with `agent` until it says so and the next commit is over: the offset it committed."""

    async def run() -> int | None:
        app = faustapp.create(settings, "pitfalls")
        app.conf.broker_commit_interval = 0.2
        enough = asyncio.Event()

        async def body(stream: Any) -> None:
            await agent(stream, enough)

        app.agent(app.topic(TOPIC, value_type=bytes), concurrency=1, **options)(body)
        await app.start()
        await asyncio.wait_for(enough.wait(), 15)
        await asyncio.sleep(1.0)
        consumer: Any = app.consumer
        offset: int | None = consumer._committed_offset[PART]
        await app.stop()
        return offset

    return asyncio.run(run())


def test_new_offset_commits_past_a_message_in_flight(settings: Settings) -> None:
    """Issue 606: 2585 is the next to be handled and is still being handled; 2586 to 2589 are acknowledged."""

    async def run() -> tuple[int | None, int | None]:
        consumer: Any = faustapp.create(settings, "offsets").consumer
        consumer._committed_offset[PART] = 2585
        consumer._acked[PART] = [2586, 2587, 2588, 2589]
        past = consumer._new_offset(PART)
        consumer._acked[PART] = [2587, 2588, 2589]
        return past, consumer._new_offset(PART)

    past, two_in_flight = asyncio.run(run())
    assert past == 2590, "mended? then concurrency above 1 can be thought of again"
    assert two_in_flight is None


def test_an_exception_in_an_agents_body_acknowledges_the_event(settings: Settings) -> None:
    """It is read as handled, and the agent starts again after it: hence `guarded`, which ends the process first."""
    tried: list[bytes] = []

    async def agent(stream: Any, enough: asyncio.Event) -> None:
        async for value in stream:
            tried.append(value)
            if value == b"3":
                enough.set()
                raise RuntimeError("the database is away")

    assert committed_after(settings, agent) == 10
    assert tried.count(b"3") == 1, "and it is never tried again"


def test_stream_ack_exceptions_has_no_effect(settings: Settings) -> None:
    async def run() -> bool:
        return bool(faustapp.create(settings, "acks").conf.stream_ack_exceptions)

    assert asyncio.run(run()), "the default is True; False was tried and changes nothing (issues 315, 527)"

    async def agent(stream: Any, enough: asyncio.Event) -> None:
        stream.app.conf.stream_ack_exceptions = False
        async for value in stream:
            if value == b"3":
                enough.set()
                raise RuntimeError("the database is away")

    assert committed_after(settings, agent) == 10


def test_take_acknowledges_the_whole_batch_although_its_handling_failed(settings: Settings) -> None:
    async def agent(stream: Any, enough: asyncio.Event) -> None:
        async for _values in stream.take(10, within=5):
            enough.set()
            raise RuntimeError("the database is away")

    assert committed_after(settings, agent) == 10


def test_noack_leaves_acknowledging_to_us(settings: Settings) -> None:
    async def agent(stream: Any, enough: asyncio.Event) -> None:
        async for event in stream.noack().events():
            if int(event.value) < 4:
                event.ack()
            if event.value == b"9":
                enough.set()

    assert committed_after(settings, agent) == 4


@pytest.mark.parametrize(
    ("hole", "offset"),
    [((b"4", b"5"), 4), ((b"4",), 10)],
    ids=["a hole of two stalls commits for good", "a hole of one is committed past: issue 606 again"],
)
def test_a_hole_in_what_is_acknowledged(settings: Settings, hole: tuple[bytes, ...], offset: int) -> None:
    async def agent(stream: Any, enough: asyncio.Event) -> None:
        async for event in stream.noack().events():
            if event.value not in hole:
                event.ack()
            if event.value == b"9":
                enough.set()

    assert committed_after(settings, agent) == offset


def test_the_web_server_and_waiting_for_streams_are_on_unless_turned_off(settings: Settings) -> None:
    async def run() -> tuple[Any, Any]:
        return faust.App("bare", broker="jetstream://").conf, faustapp.create(settings, "ours").conf

    bare, ours = asyncio.run(run())
    assert (bare.web_enabled, bare.stream_wait_empty) == (True, True)
    assert (ours.web_enabled, ours.stream_wait_empty) == (False, False)
