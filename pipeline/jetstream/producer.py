"""What Faust writes with. See `faust.transport.producer` for who calls what."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

from faust.exceptions import ProducerSendError
from faust.transport.producer import Producer as BaseProducer
from faust.types import TP, HeadersArg, RecordMetadata
from nats.js.errors import NoStreamResponseError

from pipeline.jetstream.connection import TROUBLE, Connection, stream_name, subject_name

logger = logging.getLogger(__name__)

SEND_PATIENCE_S = 5.0


class Producer(BaseProducer):
    """Appends, and answers when JetStream has: its acknowledgement carries the sequence, and so the offset."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connection: Connection = self.transport.connection  # type: ignore[attr-defined]
        self._connected = False
        self._in_flight: set[asyncio.Task[RecordMetadata]] = set()

    async def on_start(self) -> None:
        await super().on_start()
        await self._connection.acquire()
        self._connected = True

    async def on_shutdown(self) -> None:
        await self.flush()
        if self._connected:
            await self._connection.release()
        await super().on_shutdown()

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: HeadersArg | None,
        *,
        transactional_id: str | None = None,
    ) -> Awaitable[RecordMetadata]:
        """Start sending; await the result for the acknowledgement. Several at once arrive in this order."""
        task = asyncio.create_task(self._publish(topic, key, value or b"", partition))
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)
        return task

    async def send_and_wait(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: HeadersArg | None,
        *,
        transactional_id: str | None = None,
    ) -> RecordMetadata:
        """Raises ProducerSendError: perhaps appended, perhaps not; sending it again is up to the caller."""
        return await self._publish(topic, key, value or b"", partition)

    async def _publish(self, topic: str, key: bytes | None, value: bytes, partition: int | None) -> RecordMetadata:
        if partition is None:
            raise ProducerSendError(f"{topic}: name the partition")
        log = self._connection.log
        headers = {"Key": key.decode()} if key else None
        try:
            await self._connection.wait_up(SEND_PATIENCE_S)
            future = await log.publish_async(subject_name(topic, partition), value, headers=headers)
            ack = await asyncio.wait_for(future, SEND_PATIENCE_S)
        except NoStreamResponseError:
            raise ProducerSendError(f"no stream {stream_name(topic, partition)} (yet)") from None
        except TROUBLE as error:
            raise ProducerSendError(f"{topic}-{partition}: {error or type(error).__name__}") from error
        return RecordMetadata(topic, partition, TP(topic, partition), ack.seq - 1, None, None)

    async def flush(self) -> None:
        """Wait for what is in flight now; each of them ends, well or not, within its patience."""
        await self.buffer.flush()
        if self._in_flight:
            await asyncio.wait(set(self._in_flight))

    async def create_topic(self, topic: str, *_args: Any, **_options: Any) -> None:
        logger.debug("topic %s: topics are made by pipeline.topics", topic)
