"""Reading one partition: a pull consumer that is made anew, at the next offset, whenever anything looks wrong.

JetStream keeps no state for us here: the place in the stream is `next`, ours alone. Each incarnation listens on an
inbox of its own, so that nothing from an earlier one can slip in.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import deque
from typing import NamedTuple

import msgspec
from faust.types import TP
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import api

from pipeline.jetstream.connection import TROUBLE, Connection, stream_name

logger = logging.getLogger(__name__)

BATCH = 256
"""Records asked for at a time; at most twice as many wait here."""
BATCH_BYTES = 4 * 1024 * 1024
"""Bytes asked for at a time: more than any one record has."""
LANE_BYTES = 4 * BATCH_BYTES
"""What waits here, and what has been asked for, together."""
HEARTBEAT_S = 1.0
SILENCE_S = 3.5
"""Without a record or heartbeat for so long, the consumer is taken for dead."""
ASK_S = 30.0
RETRY_S = 0.2
IDLE_CONSUMER_S = 60.0
ASK_SUBJECT = "$JS.API.CONSUMER.MSG.NEXT"
NANO = 1_000_000_000
REQUEST_ENDS = ("Message Size Exceeds MaxBytes", "Batch Completed")


class Entry(NamedTuple):
    """A record as it came: `at` in seconds, the log's clock; `life` counts the seeks of its lane before it."""

    life: int
    offset: int
    at: float
    key: bytes | None
    value: bytes


class Lane:
    """One partition. `take` gives what has arrived; `run` keeps it arriving; `seek` starts again elsewhere.

    `next` is the offset to come from the server, `wanted` the one to be handed over, `end` one past the last known.
    """

    def __init__(self, connection: Connection, tp: TP, arrived: asyncio.Event) -> None:
        self.tp = tp
        self.next = 0
        self.wanted = 0
        self.end = 0
        self.life = 0
        self.sought = False
        self.entries: deque[Entry] = deque()
        self.bytes = 0
        self._connection = connection
        self._stream = stream_name(tp.topic, tp.partition)
        self._arrived = arrived
        self._wake = asyncio.Event()
        self._inbox: Subscription | None = None
        self._subject = ""
        self._consumer = ""
        self._asked = 0
        self._stale = True

    def seek(self, offset: int) -> None:
        """Go on from `offset`; what was read ahead is dropped."""
        self.next = self.wanted = offset
        self.life += 1
        self.sought = True
        self.entries.clear()
        self.bytes = 0
        self.renew()

    def renew(self) -> None:
        """Make the consumer anew: after a seek, and when the server has come back."""
        self._stale = True
        self._wake.set()

    def take(self) -> list[Entry]:
        """All that has arrived, in order."""
        taken = list(self.entries)
        self.entries.clear()
        self.bytes = 0
        self._wake.set()
        return taken

    async def run(self) -> None:
        """Until cancelled: a server that is away is waited for."""
        troubled = False
        while True:
            try:
                await self._open()
                await self._pump()
                troubled = False
            except TROUBLE as error:
                if not troubled:
                    logger.warning("%s: cannot read: %s", self._stream, error or type(error).__name__)
                troubled = True
                await asyncio.sleep(RETRY_S)

    # -------------------------------------------------------------- one incarnation

    async def _open(self) -> None:
        client = self._connection.client
        if self._inbox is not None:
            await self._inbox.unsubscribe()
        self._stale = False
        self._asked = 0
        self._subject = client.new_inbox()
        self._inbox = await client.subscribe(self._subject, cb=functools.partial(self._on_message, self._subject))
        config = api.ConsumerConfig(
            ack_policy=api.AckPolicy.NONE,
            deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self.next + 1,
            inactive_threshold=IDLE_CONSUMER_S,
            mem_storage=True,
            num_replicas=1,
        )
        info = await self._connection.log.add_consumer(self._stream, config)
        self._consumer = info.name

    async def _pump(self) -> None:
        """Ask whenever there is room; return when made stale, TimeoutError when the server owes an answer.

        While nothing is asked the server has nothing to say, not even a heartbeat: then only a `take` matters.
        """
        while not self._stale:
            self._wake.clear()
            if self._asked <= 0 and self._has_room():
                await self._ask()
            # Not `wait_for`: in Python 3.11 it loses a cancellation that comes together with the event.
            async with asyncio.timeout(SILENCE_S if self._asked > 0 else None):
                await self._wake.wait()

    def _has_room(self) -> bool:
        return len(self.entries) < BATCH and self.bytes + BATCH_BYTES <= LANE_BYTES

    async def _ask(self) -> None:
        request = {
            "batch": BATCH,
            "max_bytes": BATCH_BYTES,
            "expires": int(ASK_S * NANO),
            "idle_heartbeat": int(HEARTBEAT_S * NANO),
        }
        self._asked = BATCH
        subject = f"{ASK_SUBJECT}.{self._stream}.{self._consumer}"
        await self._connection.client.publish(subject, msgspec.json.encode(request), reply=self._subject)

    async def _on_message(self, inbox: str, message: Msg) -> None:
        if self._stale or inbox != self._subject:
            return
        if message.header and "Status" in message.header:
            self._on_status(message.header["Status"], message.header.get("Description", ""))
        else:
            self._on_record(message)
        self._wake.set()

    def _on_status(self, status: str, description: str) -> None:
        """100 is a heartbeat; 404, 408 and a full request end that request; anything else ends the consumer.

        503 says that it is gone: the server forgets one that was not asked for a minute.
        """
        if status == "100":
            return
        self._asked = 0
        if status == "503" or (status == "409" and not description.startswith(REQUEST_ENDS)):
            logger.info("%s: %s", self._stream, "the consumer is gone" if status == "503" else description)
            self._stale = True

    def _on_record(self, message: Msg) -> None:
        """`$JS.ACK.<stream>.<consumer>.<times>.<stream seq>.<consumer seq>.<ns>.<pending>`; ours have no domain."""
        words = message.reply.split(".")
        offset, at, pending = int(words[5]) - 1, int(words[7]) / NANO, int(words[8])
        if offset > self.next:
            logger.warning(
                "%s: %d records were trimmed unread, from %d", self._stream, offset - self.next, self.next
            )
        self.next = offset + 1
        self.end = offset + 1 + pending
        self._asked -= 1
        key = message.header.get("Key") if message.header else None
        self.entries.append(Entry(self.life, offset, at, key.encode() if key else None, message.data))
        self.bytes += len(message.data)
        self._arrived.set()
