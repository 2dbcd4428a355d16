"""MQTT → log, and receipts back. One flush is on its way to the log at a time; what comes meanwhile is the next.

So batches grow with the load by themselves, and order on the log is the order of arrival.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgspec

from pipeline import wire
from pipeline.devices.gate import Gate
from pipeline.intake import Flush, Intake
from pipeline.log import Log
from pipeline.message import Receipt, Source
from pipeline.mqtt import Subscriber
from pipeline.ports import NotConnected
from pipeline.retry import Patience
from pipeline.settings import Settings

logger = logging.getLogger(__name__)
MOST = 5000
"""Messages in one flush."""


class Bridge:
    """Runs until cancelled. `log` must be open; topics must exist."""

    def __init__(self, settings: Settings, log: Log) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._log = log
        self._delay = settings.log.receipt_delay_s
        self._patience = Patience("bridge")
        self._due: deque[tuple[float, dict[Source, Receipt]]] = deque()
        devices = settings.devices
        self._gate = Gate(Path(devices.path), require_enrolled=devices.require_enrolled, clock=time.monotonic)
        self._intake = Intake(
            partitions=settings.log.partitions,
            batch_rows=settings.log.batch_rows,
            max_payload=settings.mqtt.max_payload,
            refusal=self._gate.refusal,
        )
        self._subscriber = Subscriber(settings.mqtt, self._wake)
        self._flushed = 0

    async def run(self) -> None:
        """Carry messages until cancelled, or until paho's thread has ended (then raises NotConnected)."""
        self._subscriber.start()
        try:
            await asyncio.gather(self._carry(), self._give_receipts())
        finally:
            await asyncio.to_thread(self._subscriber.stop)

    def figures(self) -> dict[str, Any]:
        """The row for the pulse."""
        intake, subscriber = self._intake, self._subscriber
        return {
            "ready": subscriber.connected and not self._patience.trouble,
            "trouble": self._patience.trouble or subscriber.trouble or self._gate.trouble,
            "accepted": intake.accepted,
            "duplicates": intake.duplicates,
            "beyond_hole": intake.beyond_hole,
            "refused": intake.refused,
            "let_go": subscriber.let_go,
            "waiting": len(subscriber.inbox),
            "handled": self._flushed,
        }

    # -------------------------------------------------------------- to the log

    async def _carry(self) -> None:
        while True:
            await self._wait_for_news()
            for topic, payload, received in self._subscriber.drain(MOST):
                self._intake.take(topic, payload, received)
            flush = self._intake.flush(time.time_ns() // 1000, listening=self._subscriber.connected)
            await self._patience.insist(lambda records=flush.records: self._log.append(records))  # type: ignore[misc]
            self._promise(flush)

    async def _wait_for_news(self) -> None:
        """Until a message comes, at most a second: the tick for the device rules goes out all the same."""
        if not self._subscriber.alive:
            raise NotConnected("the MQTT client's thread has ended")
        if not self._subscriber.inbox:
            try:
                async with asyncio.timeout(1.0):  # `wait_for` can lose a cancellation in Python 3.11
                    await self._news.wait()
            except TimeoutError:
                return
        self._news.clear()

    def _wake(self) -> None:
        """Called in paho's thread."""
        if not self._news.is_set():
            self._loop.call_soon_threadsafe(self._news.set)

    # -------------------------------------------------------------- receipts

    def _promise(self, flush: Flush) -> None:
        """The log has acknowledged; receipts go out when its next fsync is certain (`log.receipt_delay_s`)."""
        self._flushed = time.time_ns() // 1000
        if flush.receipts:
            self._due.append((time.monotonic() + self._delay, flush.receipts))

    async def _give_receipts(self) -> None:
        while True:
            await asyncio.sleep(0.02)
            self._send({source: receipt for due in self._ripe() for source, receipt in due.items()})

    def _ripe(self) -> list[dict[Source, Receipt]]:
        now, ripe = time.monotonic(), []
        while self._due and self._due[0][0] <= now:
            ripe.append(self._due.popleft()[1])
        return ripe

    def _send(self, receipts: dict[Source, Receipt]) -> None:
        """A receipt that cannot be sent is not kept: the device asks again by sending again."""
        try:
            for source, receipt in receipts.items():
                self._subscriber.publish(wire.topic(source.device, "receipt"), msgspec.json.encode(receipt))
        except NotConnected as error:
            logger.warning("%d receipts not sent: %s", len(receipts), error)
