"""Writing to the log through Faust's producer, which is the same call on JetStream and on Kafka."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import faust
from aiokafka.errors import KafkaError
from faust.exceptions import FaustError

from pipeline import wire
from pipeline.message import Refusal
from pipeline.ports import NotConnected
from pipeline.record import RAW_KEPT, Record, refusal_record

logger = logging.getLogger(__name__)


def fitting(record: Record) -> Record:
    """The record, or a refusal in its place if no log will ever take it: repeating would block all behind it."""
    if len(record.value) <= wire.MAX_RECORD:
        return record
    detail = f"a record of {len(record.value)} bytes does not fit the log, which takes {wire.MAX_RECORD}"
    logger.error("%s-%d: %s", record.topic, record.partition, detail)
    return refusal_record(Refusal(record.key, record.topic, "too_large", detail, 0, record.value[:RAW_KEPT]))


class Log:
    """Appends records and waits until the log has acknowledged each of them.

    Within a partition one record is sent after the other: a later record is never on the log while an earlier one
    is not, so a repetition after an error cannot leave a hole. Partitions go side by side.
    """

    def __init__(self, app: faust.App) -> None:
        self._app = app

    async def open(self) -> None:
        """Connect now instead of at the first append. Raises NotConnected."""
        try:
            await self._app.maybe_start_producer()
        except (FaustError, KafkaError, OSError, TimeoutError) as error:
            raise NotConnected(f"log: {self._app.conf.broker}: {error or type(error).__name__}") from error

    async def close(self) -> None:
        """Send what is under way and disconnect."""
        await self._app.producer.stop()

    async def append(self, records: Iterable[Record]) -> None:
        """Returns when every record is acknowledged. Raises NotConnected; then call again with the same records."""
        lanes: dict[tuple[str, int], list[Record]] = defaultdict(list)
        for record in records:
            lanes[record.topic, record.partition].append(record)
        done = await asyncio.gather(*(self._lane(lane) for lane in lanes.values()), return_exceptions=True)
        for outcome in done:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _lane(self, records: list[Record]) -> None:
        producer: Any = await self._app.maybe_start_producer()
        for record in map(fitting, records):
            try:
                await producer.send_and_wait(
                    record.topic, record.key.encode(), record.value, record.partition, None, None
                )
            except (FaustError, KafkaError, OSError, TimeoutError) as error:
                raise NotConnected(
                    f"log: {record.topic}-{record.partition}: {error or type(error).__name__}"
                ) from error
