"""What Faust reads with. See `faust.transport.consumer` for who calls what.

Seeks are exact here: a record that was read ahead of a seek is never handed over after it. Faust's own loop drops
whatever lies before the newest offset it saw, so without that care a seek back would lose what it went back for.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from faust.transport.consumer import Consumer as BaseConsumer
from faust.types import TP, ConsumerMessage, Message
from nats.js import api
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue

from pipeline.jetstream.connection import TROUBLE, Connection, patiently, stream_name
from pipeline.jetstream.lane import Entry, Lane
from pipeline.wire import partition_of

logger = logging.getLogger(__name__)

GENERATION = 1
"""Of the only assignment there ever is."""
COMMIT_PATIENCE_S = 2.0
COMMITS_MAX_BYTES = 4 * 1024 * 1024


class Consumer(BaseConsumer):
    """Reads every partition of the topics subscribed to; this worker is the only one of its app."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connection: Connection = self.transport.connection  # type: ignore[attr-defined]
        self._connected = False
        self._lanes: dict[TP, Lane] = {}
        self._reading: set[TP] = set()
        self._arrived = asyncio.Event()
        self._last = Entry(0, 0, 0.0, None, b"")
        self._connection.on_return.append(self._renew)

    async def on_start(self) -> None:
        await super().on_start()
        await self._connection.acquire()
        self._connected = True

    async def on_shutdown(self) -> None:
        """The commit of `on_stop` is made and the lanes' tasks are cancelled."""
        if self._connected:
            await self._connection.release()
        await super().on_shutdown()

    def _renew(self) -> None:
        for lane in self._lanes.values():
            lane.renew()

    # -------------------------------------------------------------- assignment

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Find the partitions (waiting for topics not made yet) and assign them all.

        Faust's rebalance callbacks wait for its subscriber, which is our caller: they run in a task of their own.
        """
        assigned = {TP(topic, n) for topic in topics for n in range(await self._partitions(topic))}
        if assigned == set(self._lanes):
            return
        for tp in assigned - set(self._lanes):
            self._lanes[tp] = Lane(self._connection, tp, self._arrived)
        self.app.on_rebalance_start()
        self.app.consumer_generation_id = GENERATION
        self.add_future(self.on_partitions_assigned(assigned, GENERATION))

    async def _partitions(self, topic: str) -> int:
        while not (count := await patiently(topic, lambda: self._connection.partitions(topic))):
            logger.warning("topic %s is not there yet: waiting", topic)
            await asyncio.sleep(1.0)
        return count

    def assignment(self) -> set[TP]:
        return set(self._lanes)

    def topic_partitions(self, topic: str) -> int | None:
        return sum(tp.topic == topic for tp in self._lanes) or None

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        count = self.topic_partitions(topic)
        return partition_of((key or b"").decode(), count) if partition is None and count else partition

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    # -------------------------------------------------------------- reading

    async def _getmany(
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109 - Faust's signature
    ) -> dict[TP, list[Entry]]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while self.flow_active:
            self._arrived.clear()
            wanted = self._lanes.keys() if active_partitions is None else active_partitions & self._lanes.keys()
            found = {tp: self._lanes[tp].take() for tp in wanted if self._lanes[tp].entries}
            if found or loop.time() >= deadline:
                return found
            try:
                async with asyncio.timeout_at(deadline):
                    await self._arrived.wait()
            except TimeoutError:
                return {}
        return {}

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:  # noqa: ASYNC109
        """As Faust's, less what was fetched before a seek."""
        async for tp, message in super().getmany(timeout):
            lane = self._lanes[tp]
            if self._last.life != lane.life:
                continue
            if lane.sought:
                lane.sought = False
                self._read_offset[tp] = None
            if message.offset > lane.wanted:
                self._committed_offset[tp] = message.offset  # nothing before it will ever come to be acknowledged
            lane.wanted = message.offset + 1
            yield tp, message

    def _to_message(self, tp: TP, record: Entry) -> ConsumerMessage:
        self._last = record
        return ConsumerMessage(
            *(tp.topic, tp.partition, record.offset, record.at, 0, None, record.key, record.value, None),
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    # -------------------------------------------------------------- places

    async def seek_to_committed(self) -> Mapping[TP, int]:
        bucket = await self._bucket()
        offsets = {tp: await self._place(bucket, tp) for tp in self._lanes}
        for tp, offset in offsets.items():
            await self._seek(tp, offset)
        return offsets

    async def _place(self, bucket: KeyValue, tp: TP) -> int:
        """Where to begin. After a power failure the log can end before what was committed: then at its end."""
        offset = await patiently("commits", functools.partial(_committed, bucket, tp))
        end = (await self._state(tp)).last_seq
        if offset > end:
            logger.error("%s: committed %d, but the log ends at %d: it has lost its tail", tp, offset, end)
        return min(offset, end)

    async def _seek(self, partition: TP, offset: int) -> None:
        self._lanes[partition].seek(offset)
        if partition not in self._reading:
            self._reading.add(partition)
            self.add_future(self._lanes[partition].run())

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        for tp, offset in partitions.items():
            await self.seek(tp, offset)

    async def position(self, tp: TP) -> int | None:
        return self._lanes[tp].wanted

    def highwater(self, tp: TP) -> int:
        """One past the newest offset, as far as the log has told."""
        return self._lanes[tp].end

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        states = {tp: await self._state(tp) for tp in partitions}
        return {tp: max(state.first_seq, 1) - 1 for tp, state in states.items()}

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        return {tp: (await self._state(tp)).last_seq for tp in partitions}

    async def _state(self, tp: TP) -> api.StreamState:
        name = stream_name(tp.topic, tp.partition)
        return (await patiently(name, lambda: self._connection.log.stream_info(name))).state

    # -------------------------------------------------------------- commits

    async def _bucket(self) -> KeyValue:
        name = f"commits-{self.app.conf.id}"
        config = api.KeyValueConfig(bucket=name, history=1, max_bytes=COMMITS_MAX_BYTES)
        return await patiently(name, lambda: self._connection.log.create_key_value(config))

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """False when the server is away: the next commit includes this one."""
        bucket = f"commits-{self.app.conf.id}"
        puts = [
            self._connection.log.publish(f"$KV.{bucket}.{_key(tp)}", b"%d" % offset, timeout=COMMIT_PATIENCE_S)
            for tp, offset in offsets.items()
        ]
        try:
            await asyncio.gather(*puts)
        except TROUBLE as error:
            logger.warning("%s: not committed: %s", bucket, error or type(error).__name__)
            return False
        return True

    async def create_topic(self, topic: str, *_args: Any, **_options: Any) -> None:
        logger.debug("topic %s: topics are made by pipeline.topics", topic)


async def _committed(bucket: KeyValue, tp: TP) -> int:
    try:
        return int((await bucket.get(_key(tp))).value or b"0")
    except KeyNotFoundError:
        return 0


def _key(tp: TP) -> str:
    return f"{tp.topic}.{tp.partition}"
