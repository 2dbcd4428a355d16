"""The one loop that repeats a call when the far side is away or busy."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pipeline.ports import NotConnected, Retryable

logger = logging.getLogger(__name__)
T = TypeVar("T")
LONGEST = 15.0
"""Seconds between two tries at the most."""


class Patience:
    """Repeats calls for one owner and remembers what it is waiting for, for the owner's pulse."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.trouble = ""
        self.retries = 0

    async def insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat `call` until it goes through: back off with jitter, or wait as long as the far side asks."""
        attempt = 0
        while True:
            try:
                result = await call()
            except (NotConnected, Retryable) as error:
                attempt += 1
                self.retries += 1
                self.trouble = str(error)
                logger.warning("%s: %s", self.name, error)
                await asyncio.sleep(wait_before(error, attempt))
            else:
                self.trouble = ""
                return result


def wait_before(error: NotConnected | Retryable, attempt: int) -> float:
    """Seconds to wait before try `attempt + 1`."""
    longest = error.after if isinstance(error, Retryable) else min(LONGEST, 0.1 * 2**attempt)
    return longest * random.uniform(0.5, 1.0)
