"""Every part says every two seconds how it is; health checks, metrics and the console read it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.message import SECOND
from pipeline.ports import NotConnected, Pulse, Retryable

logger = logging.getLogger(__name__)
EVERY = 2.0
STALE = 15.0
"""Seconds after which a part that has not beaten counts as gone."""


def instance() -> str:
    """This process among those of its part."""
    return f"{socket.gethostname()}:{os.getpid()}"


async def beating(pulse: Pulse, part: str, row: Callable[[], dict[str, Any]]) -> None:
    """Beat until cancelled. That the state cannot be written now must not stop the part itself."""
    while True:
        try:
            await asyncio.to_thread(pulse.beat, part, instance(), row())
        except (NotConnected, Retryable) as error:
            logger.warning("%s: pulse: %s", part, error)
        await asyncio.sleep(EVERY)


def verdict(rows: Sequence[dict[str, Any]], now: int) -> str:
    """Why a part is not well, empty when it is. `rows` are its instances' beats, `now` in microseconds."""
    fresh = [row for row in rows if now - int(row["beaten"]) < STALE * SECOND]
    if not rows:
        return "it has never said anything"
    if not fresh:
        newest = max(int(row["beaten"]) for row in rows)
        return f"last heard of {(now - newest) / SECOND:.0f} s ago"
    troubles = [
        str(row.get("trouble") or "not ready") for row in fresh if row.get("trouble") or not row.get("ready")
    ]
    return "; ".join(troubles)
