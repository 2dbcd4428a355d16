"""One connection to nats-server for the consumer and the producer of an app; it comes back by itself, for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import nats
import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

logger = logging.getLogger(__name__)

T = TypeVar("T")

API_TIMEOUT_S = 5.0
RECONNECT_WAIT_S = 0.2
PING_INTERVAL_S = 5
RETRY_S = 0.2
IN_FLIGHT = 256
"""Publishes that wait for their acknowledgement at the same time."""

TROUBLE = (nats.errors.Error, OSError, TimeoutError)
"""What a call may raise while the server is away, starting, or refuses."""


def stream_name(topic: str, partition: int) -> str:
    """Name of the stream that holds one partition."""
    return f"{topic}-{partition}"


def subject_name(topic: str, partition: int) -> str:
    """Subject that a partition's records are published to."""
    return f"log.{topic}.{partition}"


class Connection:
    """Opened by the first user, closed by the last. `on_return` callbacks run after each reconnection."""

    def __init__(self, servers: list[str], name: str) -> None:
        self._servers = servers
        self._name = name
        self._users = 0
        self._lock = asyncio.Lock()
        self._client: Client | None = None
        self._up = asyncio.Event()
        self._trouble = ""
        self.on_return: list[Callable[[], None]] = []

    @property
    def client(self) -> Client:
        """The NATS client; only between `acquire` and `release`."""
        if self._client is None:
            raise nats.errors.ConnectionClosedError
        return self._client

    @property
    def log(self) -> JetStreamContext:
        """JetStream over this connection."""
        return self._log

    async def acquire(self) -> None:
        """Wait for the server, however long it takes."""
        async with self._lock:
            self._users += 1
            if self._client is None:
                await self._open()

    async def release(self) -> None:
        async with self._lock:
            self._users -= 1
            if self._users == 0 and self._client is not None:
                client, self._client = self._client, None
                self._up.clear()
                await client.close()

    async def wait_up(self, patience: float) -> None:
        """Return when connected; TimeoutError after `patience` seconds without."""
        await asyncio.wait_for(self._up.wait(), patience)

    async def partitions(self, topic: str) -> int:
        """How many partitions `topic` has; 0 if it does not exist."""
        count = 0
        while True:
            try:
                await self.log.stream_info(stream_name(topic, count))
            except NotFoundError:
                return count
            count += 1

    async def _open(self) -> None:
        self._client = await nats.connect(
            self._servers,
            name=self._name,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT_S,
            connect_timeout=2,
            ping_interval=PING_INTERVAL_S,
            max_outstanding_pings=2,
            pending_size=0,  # nothing is buffered while away, to be sent long after its sender gave up
            error_cb=self._on_error,
            disconnected_cb=self._on_down,
            reconnected_cb=self._on_up,
        )
        self._log = self._client.jetstream(timeout=API_TIMEOUT_S, publish_async_max_pending=IN_FLIGHT)
        self._up.set()

    async def _on_error(self, error: Exception) -> None:
        """Called at each attempt, five times a second: said once a trouble."""
        trouble = str(error) or type(error).__name__
        if trouble != self._trouble:
            logger.warning("%s: %s", self._name, trouble)
        self._trouble = trouble

    async def _on_down(self) -> None:
        if self._client is not None:
            self._up.clear()
            logger.warning("%s: lost %s, connecting again", self._name, ", ".join(self._servers))

    async def _on_up(self) -> None:
        self._up.set()
        self._trouble = ""
        logger.warning("%s: connected again", self._name)
        for call in self.on_return:
            call()


async def patiently(what: str, call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a question to the server until it is there to answer."""
    told = False
    while True:
        try:
            return await call()
        except TROUBLE as error:
            if not told:
                logger.warning("%s: %s: waiting", what, error or type(error).__name__)
            told = True
            await asyncio.sleep(RETRY_S)
