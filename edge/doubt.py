"""Stamps made while the device's clock was wrong, mended when it is right and they still wait in the spool.

A stamp of a doubtful clock is noted with how far that clock then was from the machine's running time, which no step
changes. When the kernel says that the clock is synchronised, in the same boot, the difference is what the stamp was
wrong by. A mended stamp has the clock state CORRECTED. What has been confirmed before stays as it was told.

Receivers' own stamps (positions), and readings with a time of their own, are not the device's clock's: left alone.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from edge.clock import EARLIEST, kernel_state
from edge.errors import SpoolError
from edge.spool import Spool
from pipeline import wire
from pipeline.message import SECOND, Clock, Frame, Reading, Readings

log = logging.getLogger(__name__)
DOUBTFUL = (Clock.UNSYNCED, Clock.STEPPED, Clock.IMPLAUSIBLE)
BODIES: dict[str, type[Frame | Readings]] = {"frame": Frame, "reading": Readings}
SCHEMA = """CREATE TABLE IF NOT EXISTS doubt (epoch INTEGER NOT NULL, seq INTEGER NOT NULL, boot TEXT NOT NULL,
                                              apart INTEGER NOT NULL, PRIMARY KEY (epoch, seq))"""
T = TypeVar("T")
S = TypeVar("S", Frame, Reading)
AT_ONCE = 50
STEP = SECOND
"""Between two turns: a stamp from before a step must not be judged by the clock after it."""


def boot_id() -> str:
    """The kernel's name for this boot; a new one each time where it has none, so that nothing is mended wrongly."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return str(time.time_ns())


def running() -> float:
    """Seconds since boot, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Doubts:
    """`note` what is spooled with a doubtful stamp, and `correct` it some day."""

    def __init__(
        self,
        *,
        wall: Callable[[], float] = time.time,
        running: Callable[[], float] = running,
        kernel: Callable[[], Clock] = kernel_state,
        boot: str = "",
    ) -> None:
        self._wall, self._running, self._kernel = wall, running, kernel
        self._boot = boot or boot_id()
        self._seen = self._apart()

    def note(self, spool: Spool, last: int, bodies: Sequence[msgspec.Struct]) -> None:
        """The bodies just spooled, the last of them as number `last`."""
        first, apart = last + 1 - len(bodies), self._apart()
        seqs = [first + i for i, body in enumerate(bodies) if is_doubtful(body)]
        if seqs and abs(apart - self._seen) < STEP:
            rows = [(spool.epoch, seq, self._boot, apart) for seq in seqs]
            _in_spite_of_the_disk(lambda: spool.also(lambda db: _note(db, rows)))

    def correct(self, spool: Spool) -> int:
        """Mend some stamps, if the clock is right now; how many messages. To be called about twice a second."""
        apart = self._seen = self._apart()
        if self._kernel() != Clock.SYNCED or self._wall() * SECOND < EARLIEST:
            return 0
        done = _in_spite_of_the_disk(lambda: spool.also(lambda db: self._mend(spool.epoch, db, apart)))
        count, grown = done or (0, 0)
        spool.bytes += grown
        if count:
            log.info("the clock is right now: %d messages have better stamps", count)
        return count

    def _apart(self) -> int:
        """Microseconds of the wall clock before the running time."""
        return round((self._wall() - self._running()) * SECOND)

    def _mend(self, epoch: int, db: sqlite3.Connection, apart: int) -> tuple[int, int]:
        """(messages mended, bytes by which they have grown)."""
        db.execute(SCHEMA)
        grown = 0
        query = """SELECT seq, kind, body, apart FROM doubt JOIN message USING (seq)
                   WHERE epoch = ? AND boot = ? ORDER BY seq LIMIT ?"""
        rows = db.execute(query, (epoch, self._boot, AT_ONCE)).fetchall()
        for seq, kind, body, then in rows:
            if kind in BODIES:  # else it has given way
                better = mended(body, BODIES[kind], apart - then)
                db.execute("UPDATE message SET body = ?, size = ? WHERE seq = ?", (better, len(better), seq))
                grown += len(better) - len(body)
        if rows:
            db.execute("DELETE FROM doubt WHERE epoch = ? AND seq <= ?", (epoch, rows[-1][0]))
        return len(rows), grown


def _in_spite_of_the_disk(work: Callable[[], T]) -> T | None:
    """A stamp that is not mended is still marked as doubtful: nothing else may stop for it."""
    try:
        return work()
    except SpoolError as error:
        log.warning("stamps cannot be mended now: %s", error)
        return None


def _note(db: sqlite3.Connection, rows: Sequence[tuple[int, int, str, int]]) -> None:
    """What is confirmed, of another life of the spool or of another boot needs no note any more."""
    db.execute(SCHEMA)
    db.executemany("INSERT OR REPLACE INTO doubt VALUES (?, ?, ?, ?)", rows)
    epoch, _seq, boot, _apart = rows[0]
    gone = "DELETE FROM doubt WHERE epoch != ? OR boot != ? OR seq < (SELECT min(seq) FROM message)"
    db.execute(gone, (epoch, boot))


def is_doubtful(body: msgspec.Struct) -> bool:
    match body:
        case Frame(clock=clock):
            return clock in DOUBTFUL
        case Readings(readings=readings):
            return any(reading.clock in DOUBTFUL for reading in readings)
    return False


def mended(body: bytes, kind: type[Frame | Readings], change: int) -> bytes:
    """The body as spooled, its doubtful stamps `change` microseconds later."""
    decoded = wire.decode(body, kind)
    better = _later(decoded, change)
    return wire.encode_body(better, binary=isinstance(better, Frame))


def _later(body: Frame | Readings, change: int) -> Frame | Readings:
    if isinstance(body, Readings):
        return Readings([_moved(reading, change) for reading in body.readings])
    return _moved(body, change)


def _moved(said: S, change: int) -> S:
    if said.clock not in DOUBTFUL:
        return said
    return msgspec.structs.replace(said, at=said.at + change, clock=Clock.CORRECTED)
