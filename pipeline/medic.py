"""When the embedded nats-server should be started again although it runs.

After a full disk it can hold on to its write error when there is room again: the log takes nothing more, the spools
of the devices fill, and only a restart helps. It loses nothing by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.message import SECOND
from pipeline.pulse import STALE

PATIENCE_S = 60.0
"""The bridge's trouble must have lasted so long without a break."""
PAUSE_S = 300.0
"""Between two restarts."""
LEAST_FREE = 256 << 20
"""Bytes on the disk: without room a restart would help nothing."""


@dataclass(slots=True)
class Medic:
    """`since`: when the bridge's trouble began, 0 while there is none. All times in microseconds."""

    since: int = 0
    restarted: int = 0

    def orders_restart(self, beats: Sequence[Mapping[str, Any]], *, now: int, free: int) -> bool:
        """Whether to restart now. `beats` are the pulse's rows, `free` the bytes left on the disk."""
        if not _troubled(beats, now):
            self.since = 0
            return False
        self.since = self.since or now
        if now - self.since < PATIENCE_S * SECOND or now - self.restarted < PAUSE_S * SECOND or free < LEAST_FREE:
            return False
        self.since, self.restarted = 0, now
        return True


def _troubled(beats: Sequence[Mapping[str, Any]], now: int) -> bool:
    """The bridge lives, and says that the log does not take what it brings."""
    fresh = [row for row in beats if row.get("part") == "bridge" and now - int(row["beaten"]) < STALE * SECOND]
    return bool(fresh) and all(row.get("trouble") for row in fresh)
