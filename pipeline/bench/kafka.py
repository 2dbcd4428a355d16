"""A Kafka cluster lent for a bench: it must have no topics of ours, and has none afterwards."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from pipeline.ports import NotConnected, UserError
from pipeline.topics import SINGLE, SPREAD

OURS = {*SPREAD, *SINGLE}
GROUP = "vedette-telemetry"
PATIENCE_MS = 5000

T = TypeVar("T")


@contextlib.contextmanager
def borrowed(bootstrap: str) -> Iterator[None]:
    """UserError when the cluster has one of our topics already: a bench must not mix with a system at work."""
    taken = sorted(OURS & asyncio.run(_asked(bootstrap, _topics)))
    if taken:
        raise UserError(
            f"Kafka at {bootstrap} has the topic {taken[0]} already: name a cluster without Vedette on it"
        )
    try:
        yield
    finally:
        asyncio.run(_asked(bootstrap, _clear))


async def _asked(bootstrap: str, question: Callable[[AIOKafkaAdminClient], Awaitable[T]]) -> T:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=PATIENCE_MS)
    try:
        await admin.start()
        return await question(admin)
    except (KafkaError, OSError) as error:
        raise NotConnected(f"Kafka at {bootstrap}: {error or type(error).__name__}") from error
    finally:
        await admin.close()


async def _topics(admin: AIOKafkaAdminClient) -> set[str]:
    return set(await admin.list_topics())


async def _clear(admin: AIOKafkaAdminClient) -> None:
    """Delete the topics made for the bench, and the worker's committed offsets on them."""
    made = sorted(OURS & await _topics(admin))
    if made:
        await admin.delete_topics(made)
