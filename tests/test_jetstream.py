"""The Faust transport over JetStream, on a real nats-server: nothing lost, order kept, places found again."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import faust
import nats
import pytest
from faust.exceptions import ProducerSendError
from faust.types import TP
from nats.js import api

from pipeline import faustapp, topics, wire
from pipeline.jetstream import lane as lane_module
from pipeline.jetstream.connection import Connection
from pipeline.jetstream.lane import Lane
from pipeline.log import Log
from pipeline.ports import NotConnected
from pipeline.record import Record
from pipeline.settings import Settings, load
from tests.live.servers import Nats

SINGLE = TP(wire.SIGNALS, 0)


@pytest.fixture
def server() -> Iterator[Nats]:
    """A server of one test: it gets killed, filled and trimmed."""
    with Nats(max_file=40 << 30) as server:
        yield server


@pytest.fixture
def settings(server: Nats, tmp_path: Path) -> Settings:
    (tmp_path / "faust").mkdir()
    settings = load(environ={"VEDETTE_LOG_URL": server.url, "VEDETTE_DATA_DIR": str(tmp_path)})
    asyncio.run(topics.ensure(settings))
    return settings


class Reader:
    """A worker that takes records, remembers them, and acknowledges them unless told otherwise."""

    def __init__(self, settings: Settings, topic: str, *, ack: bool = True) -> None:
        self.app = faustapp.create(settings, "reader", buffer=64)
        self.got: list[tuple[int, int, bytes]] = []
        self.held: list[Any] = []
        self.ready = asyncio.Event()
        self.app.on_rebalance_complete.connect(self._on_ready, weak=False)

        async def take(stream: Any) -> None:
            async for event in stream.noack().events():
                self.got.append((event.message.partition, event.message.offset, event.value))
                if ack:
                    event.ack()
                else:
                    self.held.append(event)

        channel = self.app.topic(topic, value_type=bytes, key_type=bytes)
        self.app.agent(channel, concurrency=1)(take)

    async def _on_ready(self, *_: Any, **__: Any) -> None:
        self.ready.set()

    async def until(self, count: int, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while len(self.got) < count:
            assert time.monotonic() < deadline, f"{len(self.got)} of {count} records after {seconds} s"
            await asyncio.sleep(0.01)


@asynccontextmanager
async def working(settings: Settings, topic: str, *, ack: bool = True) -> AsyncIterator[Reader]:
    reader = Reader(settings, topic, ack=ack)
    await reader.app.start()
    await asyncio.wait_for(reader.ready.wait(), 10)
    try:
        yield reader
    finally:
        await reader.app.stop()


@asynccontextmanager
async def writing(settings: Settings) -> AsyncIterator[Log]:
    log = Log(faustapp.create(settings, "writer"))
    await log.open()
    try:
        yield log
    finally:
        await log.close()


def signals(first: int, count: int, size: int = 10) -> list[Record]:
    return [Record(wire.SIGNALS, 0, "key", b"%d".ljust(size) % n) for n in range(first, first + count)]


def numbers(reader: Reader) -> list[int]:
    return [int(value) for _, _, value in reader.got]


async def append(log: Log, records: list[Record]) -> None:
    """As the engine does: the same again until it goes through."""
    while True:
        try:
            return await log.append(records)
        except NotConnected:
            await asyncio.sleep(0.05)


def test_every_partition_is_read_in_order_with_offsets_from_zero(settings: Settings) -> None:
    async def run() -> None:
        async with writing(settings) as log, working(settings, wire.POSITIONS) as reader:
            records = [Record(wire.POSITIONS, n % 4, "unit", b"%d" % n) for n in range(400)]
            await log.append(records)
            await reader.until(400)
        for partition in range(4):
            mine = [(offset, int(value)) for p, offset, value in reader.got if p == partition]
            assert mine == [(n, 4 * n + partition) for n in range(100)]

    asyncio.run(run())


def test_a_second_worker_goes_on_after_what_was_acknowledged(settings: Settings) -> None:
    async def run() -> None:
        async with writing(settings) as log:
            await log.append(signals(0, 50))
            async with working(settings, wire.SIGNALS) as first:
                await first.until(50)
            async with working(settings, wire.SIGNALS, ack=False) as unsure:
                await log.append(signals(50, 10))
                await unsure.until(10)
            async with working(settings, wire.SIGNALS) as second:
                await second.until(10)
                await asyncio.sleep(0.3)
        assert numbers(first) == list(range(50))
        assert numbers(unsure) == numbers(second) == list(range(50, 60))

    asyncio.run(run())


def test_a_send_answers_with_the_offset_and_refuses_what_has_no_place(settings: Settings) -> None:
    async def run() -> None:
        async with writing(settings) as log:
            producer: Any = log._app.producer
            for offset in range(3):
                data = await producer.send_and_wait(wire.SIGNALS, b"k", b"v", 0, None, None)
                assert (data.topic, data.partition, data.offset) == (wire.SIGNALS, 0, offset)
            later = [await producer.send(wire.SIGNALS, None, b"v", 0, None, None) for _ in range(300)]
            await producer.flush()
            assert [future.result().offset for future in later] == list(range(3, 303))
            with pytest.raises(ProducerSendError, match="no stream nowhere-0"):
                await producer.send_and_wait("nowhere", None, b"v", 0, None, None)
            with pytest.raises(ProducerSendError, match="partition"):
                await producer.send_and_wait(wire.SIGNALS, None, b"v", None, None, None)
            with pytest.raises(ProducerSendError):
                await producer.send_and_wait(wire.SIGNALS, None, b"v" * 3_000_000, 0, None, None)

    asyncio.run(run())


def test_killed_server_loses_nothing_and_the_worker_goes_on(server: Nats, settings: Settings) -> None:
    """kill -9 of nats-server in the middle of writing and reading, twice: every record, in order, none missing."""

    async def run() -> None:
        async with writing(settings) as log, working(settings, wire.SIGNALS) as reader:

            async def write() -> None:
                for first in range(0, 4000, 20):
                    await append(log, signals(first, 20, size=2000))
                    await asyncio.sleep(0.003)

            task = asyncio.create_task(write())
            for goal in (800, 2400):
                await reader.until(goal)
                await asyncio.to_thread(server.kill)
                await asyncio.sleep(0.3)
                await asyncio.to_thread(server.spawn)
            await asyncio.wait_for(task, 40)
            await reader.until(4000)
            await asyncio.sleep(0.5)
        offsets = [offset for _, offset, _ in reader.got]
        assert offsets == list(range(len(offsets)))
        seen = numbers(reader)
        assert list(dict.fromkeys(seen)) == list(range(4000)), "a repetition is harmless, a hole or disorder is not"
        assert len(seen) < 4100

    asyncio.run(run())


def test_frozen_server_is_waited_for(server: Nats, settings: Settings) -> None:
    """SIGSTOP: connections stay open and nobody answers; a send gives up, reading goes on by itself afterwards."""

    async def run() -> None:
        async with writing(settings) as log, working(settings, wire.SIGNALS) as reader:
            await log.append(signals(0, 10))
            await reader.until(10)
            server.signal(signal.SIGSTOP)
            before = time.monotonic()
            with pytest.raises(NotConnected):
                await log.append(signals(10, 1))
            assert time.monotonic() - before < 8
            server.signal(signal.SIGCONT)
            await append(log, signals(11, 10))
            deadline = time.monotonic() + 15
            while 20 not in numbers(reader):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
        assert list(dict.fromkeys(numbers(reader)))[:10] == list(range(10))

    asyncio.run(run())


def test_trimmed_records_are_skipped_counted_and_do_not_stall_commits(
    server: Nats, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async def trim(keep_from: int) -> None:
        client = await nats.connect(server.url)
        await client.jetstream().purge_stream("signals-0", seq=keep_from + 1)
        await client.close()

    async def run() -> None:
        async with writing(settings) as log:
            async with working(settings, wire.SIGNALS) as first:
                await log.append(signals(0, 20))
                await first.until(20)
            await log.append(signals(20, 80))
            await trim(60)
            async with working(settings, wire.SIGNALS) as second:
                await second.until(40)
                await log.append(signals(100, 5))
                await second.until(45)
                assert dict(await second.app.consumer.earliest_offsets(SINGLE)) == {SINGLE: 60}
                assert dict(await second.app.consumer.highwaters(SINGLE)) == {SINGLE: 105}
            async with working(settings, wire.SIGNALS) as third:
                await log.append(signals(105, 1))
                await third.until(1)
        assert numbers(second) == list(range(60, 105))
        assert numbers(third) == [105]

    asyncio.run(run())
    assert "signals-0: 40 records were trimmed unread, from 20" in caplog.text


def test_a_seek_back_is_exact_even_while_records_are_read_ahead(settings: Settings) -> None:
    async def run() -> None:
        async with writing(settings) as log, working(settings, wire.SIGNALS, ack=False) as reader:
            await log.append(signals(0, 1000))
            await reader.until(300)
            await reader.app.consumer.seek(SINGLE, 100)
            mark = len(reader.got)
            await reader.until(mark + 900)
            await asyncio.sleep(0.3)
        after = [offset for _, offset, _ in reader.got]
        again = len(after) - 1 - after[::-1].index(100)
        assert after[again:] == list(range(100, 1000))
        assert after[:again] == list(range(again)), "before it: what had been handed over, in order"

    asyncio.run(run())


def test_a_worker_waits_for_a_server_and_topics_that_come_later(tmp_path: Path) -> None:
    async def run() -> None:
        server = Nats(max_file=40 << 30)
        (tmp_path / "faust").mkdir()
        settings = load(environ={"VEDETTE_LOG_URL": server.url, "VEDETTE_DATA_DIR": str(tmp_path)})
        reader = Reader(settings, wire.SIGNALS)
        starting = asyncio.create_task(reader.app.start())
        await asyncio.sleep(0.5)
        try:
            await asyncio.to_thread(server.start)
            await asyncio.sleep(0.5)
            await topics.ensure(settings)
            await asyncio.wait_for(reader.ready.wait(), 15)
            async with writing(settings) as log:
                await log.append(signals(0, 3))
                await reader.until(3)
        finally:
            starting.cancel()
            await reader.app.stop()
            await asyncio.to_thread(server.close)

    asyncio.run(run())


def test_frames_are_read_ahead_within_bounds(settings: Settings) -> None:
    """A backlog of 200 pictures of 1 MB: what waits in the reader is some of them, not all."""

    async def run() -> None:
        async with writing(settings) as log:
            await log.append([Record(wire.FRAMES, 0, "cam", b"x" * 1_000_000) for _ in range(60)])
            async with working(settings, wire.FRAMES, ack=False) as reader:
                consumer: Any = reader.app.consumer
                lane = consumer._lanes[TP(wire.FRAMES, 0)]
                most = 0
                while len(reader.got) < 60:
                    most = max(most, len(lane.entries))
                    await asyncio.sleep(0)
                assert most <= 8

    asyncio.run(run())


@asynccontextmanager
async def lane_alone(settings: Settings, tp: TP) -> AsyncIterator[Lane]:
    """A lane that nobody takes from: a worker that is busy for long."""
    connection = Connection([settings.log.url], "alone")
    await connection.acquire()
    lane = Lane(connection, tp, asyncio.Event())
    task = asyncio.create_task(lane.run())
    try:
        yield lane
    finally:
        lane.take()  # what wakes the lane in the same moment must not swallow the cancellation
        task.cancel()
        assert (await asyncio.wait([task], timeout=5))[0]
        await connection.release()


async def filled(lane: Lane) -> None:
    """Wait until nothing more comes."""
    before = -1
    while len(lane.entries) > before:
        before = len(lane.entries)
        await asyncio.sleep(1.0)


def test_a_full_lane_is_bounded_in_bytes_and_waits_in_silence(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than a heartbeat may stay away, and longer than the server keeps a consumer that asks nothing."""
    monkeypatch.setattr(lane_module, "IDLE_CONSUMER_S", 5.0)
    frames = TP(wire.FRAMES, 0)

    async def run() -> None:
        async with writing(settings) as log:
            await log.append([Record(wire.FRAMES, 0, "cam", b"%d".ljust(1_000_000) % n) for n in range(40)])
        async with lane_alone(settings, frames) as lane:
            await filled(lane)
            assert lane_module.BATCH_BYTES < sum(len(entry.value) for entry in lane.entries) <= 16 << 20
            consumer = lane._consumer
            await asyncio.sleep(lane_module.SILENCE_S + 0.5)
            assert lane._consumer == consumer, "the same one, not another every few seconds"
            await asyncio.sleep(5.0)
            got = lane.take()
            deadline = time.monotonic() + 20
            while len(got) < 40:
                assert time.monotonic() < deadline, f"{len(got)} of 40 after the pause"
                await asyncio.sleep(0.05)
                got += lane.take()
        assert [(entry.offset, int(entry.value)) for entry in got] == [(n, n) for n in range(40)]

    asyncio.run(run())
    assert "cannot read" not in caplog.text


def test_a_server_that_says_nothing_while_it_is_asked_is_noticed(
    server: Nats, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with lane_alone(settings, SINGLE) as lane:
            await asyncio.sleep(0.5)
            server.signal(signal.SIGSTOP)
            deadline = time.monotonic() + 3 * lane_module.SILENCE_S
            while "cannot read" not in caplog.text:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            server.signal(signal.SIGCONT)
            async with writing(settings) as log:
                await append(log, signals(0, 3))
            while len(lane.entries) < 3:
                assert time.monotonic() < deadline + 15
                await asyncio.sleep(0.05)

    asyncio.run(run())


def test_a_log_that_lost_its_tail_is_read_on_from_its_end(server: Nats, settings: Settings) -> None:
    """Power failed: what was committed may be beyond what the disk kept. New records have those offsets now."""

    async def lose_tail() -> None:
        client = await nats.connect(server.url)
        await client.jetstream().delete_stream("signals-0")
        await client.close()
        await topics.ensure(settings)

    async def run() -> None:
        async with writing(settings) as log:
            await log.append(signals(0, 20))
            async with working(settings, wire.SIGNALS) as first:
                await first.until(20)
                await asyncio.sleep(1.5)
            await lose_tail()
            await log.append(signals(100, 5))
            async with working(settings, wire.SIGNALS) as second:
                await log.append(signals(105, 5))
                await second.until(5)
        assert numbers(second)[-5:] == list(range(105, 110))

    asyncio.run(run())


def test_the_transport_is_found_by_its_scheme(settings: Settings) -> None:
    app = faustapp.create(settings, "found")
    assert isinstance(app, faust.App)
    assert app.transport.driver_version.startswith("nats-py=2")


def test_one_stream_config_per_partition(server: Nats, settings: Settings) -> None:
    async def run() -> api.StreamConfig:
        client = await nats.connect(server.url)
        info = await client.jetstream().stream_info("positions-3")
        await client.close()
        return info.config

    config = asyncio.run(run())
    assert config.subjects == ["log.positions.3"]
    assert config.max_bytes == settings.log.max_bytes // 4
    assert config.max_age == 168 * 3600
