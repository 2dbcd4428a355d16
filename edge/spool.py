"""The on-disk spool: every message waits here from before it is sent until a receipt covers it.

One SQLite file in WAL mode. `append` returns after fsync (`synchronous=FULL`), so what it numbered survives a power
cut; many messages in one call share one fsync. `confirm` deletes without fsync: a deletion that is lost only means
that something is sent twice, and `(device, epoch, seq)` makes that harmless.

The spool is bounded; what gives way when it is full stands in `edge.giveway`. A message that gives way leaves its
number behind with an empty body (`Fixes` without fixes): the far side takes numbers only in order, and a hole would
stop it for good. Empty messages at the head are deleted: `base` passes over them. What gave way is counted by
kind in the same transaction, and `tell_gaps` makes a message of it.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from edge import giveway, spoolfile
from edge.errors import SpoolError, TooLarge
from edge.giveway import EMPTY_BODY, EMPTY_KIND, OVERHEAD
from edge.reserve import Reserve
from edge.spoolfile import Message, Summary
from pipeline import wire
from pipeline.message import Gap

__all__ = ["EMPTY_BODY", "ENVELOPE", "OVERHEAD", "Message", "Spool", "Summary"]
log = logging.getLogger(__name__)
ENVELOPE: Final = 256
"""Bytes that the envelope may add to a body."""
PENDING_BYTES: Final = 16 << 20
"""Bytes of messages read at a time."""

T = TypeVar("T")


class Spool:
    """Messages of one stream of a device, safe to use from several threads.

    `epoch` (`spoolfile.new_epoch`) and the numbers from 1 up name a message for good. A damaged file is moved aside
    and a new one begun, with a new epoch. Errors: TooLarge, SpoolError.
    """

    def __init__(self, path: Path, *, max_bytes: int = 256 << 20, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.clock = clock
        self.epoch = self.last = self.bytes = self.dropped = 0
        self._unkept: list[Gap] = []
        self._db: sqlite3.Connection
        self._lock = threading.RLock()
        self._reserve = Reserve(path.with_name(path.name + ".reserve"))
        self._open_or_replace()
        self._reserve.keep()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # ------------------------------------------------------------ writing

    def append(self, kind: str, *bodies: bytes, cursor: str | None = None, keep: bool = False) -> int:
        """Number and keep the bodies, all or none; durable on return. Returns the last number given.

        `cursor` is where the source stands after them, kept in the same transaction: see the property. With `keep`
        they never give way. TooLarge: nothing was kept. SpoolError: the disk refused, or all that could give way
        has; the messages are counted as dropped.
        """
        _refuse_too_large(kind, bodies)
        with self._lock:
            try:
                return self._guarded(lambda: self._append(kind, bodies, cursor, keep))
            except SpoolError:
                self._give_up(kind, len(bodies))
                raise

    def _append(self, kind: str, bodies: Sequence[bytes], cursor: str | None, keep: bool) -> int:
        size = sum(len(body) + OVERHEAD for body in bodies)
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            freed, gone = self._make_room(size)
            last, dropped = self._number(kind, bodies, keep), self.dropped + gone
            change = "UPDATE meta SET last = ?, dropped = ?, cursor = coalesce(?, cursor)"
            self._db.execute(change, (last, dropped, cursor))
            for gap in self._unkept:
                giveway.note(self._db, gap)
        if gone:
            log.warning("spool full: %d older messages gave way (%d in all)", gone, dropped)
        self.last, self.dropped, self.bytes, self._unkept = last, dropped, self.bytes + size - freed, []
        return last

    def _number(self, kind: str, bodies: Sequence[bytes], keep: bool) -> int:
        """Write the bodies under the next numbers; the last of these."""
        at, first = self._now(), self.last + 1
        rows = [(first + i, kind, at, len(body), body, keep) for i, body in enumerate(bodies)]
        insert = "INSERT INTO message (seq, kind, at, size, body, keep) VALUES (?, ?, ?, ?, ?, ?)"
        self._db.executemany(insert, rows)
        return first + len(rows) - 1

    def _make_room(self, size: int) -> tuple[int, int]:
        """Let messages give way until `size` bytes fit; (bytes freed, messages given up)."""
        lack = self.bytes + size - self.max_bytes
        freed, gone = giveway.make_room(self._db, lack, self.last) if lack > 0 else (0, 0)
        if freed < lack:
            raise SpoolError(f"spool full: {self.max_bytes:,} bytes, and nothing left that could give way")
        return freed, gone

    def _give_up(self, kind: str, count: int) -> None:
        """Remember what could not be kept, until the disk takes the word of it."""
        at = self._now()
        self.dropped += count
        self._unkept = giveway.merged(self._unkept, Gap(kind, count, at, at))

    def tell_gaps(self) -> bool:
        """Make messages of what gave way and is not told yet; whether there was any. They are few."""
        with self._lock:
            return self._guarded(self._tell_gaps)

    def _tell_gaps(self) -> bool:
        if not self._one("SELECT count(*) FROM gap")[0]:
            return False
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            bodies = giveway.take_gaps(self._db)
            last = self._number(EMPTY_KIND, bodies, True)
            self._db.execute("UPDATE meta SET last = ?", (last,))
        self.last, self.bytes = last, self.bytes + sum(len(body) + OVERHEAD for body in bodies)
        return True

    def also(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something else to the file, as one transaction. SpoolError."""
        with self._lock:
            return self._guarded(lambda: self._also(work))

    def _also(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            return work(self._db)

    def confirm(self, epoch: int, seq: int) -> bool:
        """Forget everything up to `seq` of `epoch`; False if that is not this spool's epoch."""
        with self._lock:
            return epoch == self.epoch and self._guarded(lambda: self._confirm_somehow(seq))

    def _confirm_somehow(self, seq: int) -> bool:
        """Even deleting needs room: on a full disk the reserve is given up for it, and kept again afterwards."""
        try:
            return self._confirm(seq)
        except sqlite3.OperationalError as error:
            if "full" not in str(error) or not self._reserve.give_up():
                raise
        done = self._confirm(seq)
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return done

    def _confirm(self, seq: int) -> bool:
        size = "SELECT coalesce(sum(size + ?), 0) FROM message WHERE seq <= ?"
        self._db.execute("PRAGMA synchronous = NORMAL")
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                (freed,) = self._db.execute(size, (OVERHEAD, seq)).fetchone()
                self._db.execute("DELETE FROM message WHERE seq <= ?", (seq,))
        finally:
            self._db.execute("PRAGMA synchronous = FULL")
        self.bytes -= freed
        self._reserve.keep()
        return True

    def renew(self) -> None:
        """Begin a new epoch with what waits, numbered from 1.

        For a spool restored from an old copy: the far side would take its new messages for repetitions.
        """
        with self._lock:
            self._guarded(self._renew)

    def _renew(self) -> None:
        epoch = max(spoolfile.new_epoch(self.clock()), self.epoch + 1)
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            seqs = [seq for (seq,) in self._db.execute("SELECT seq FROM message ORDER BY seq")]
            shift = "UPDATE message SET seq = ? WHERE seq = ?"
            self._db.executemany(shift, ((i, seq) for i, seq in enumerate(seqs, 1) if i != seq))
            self._db.execute("UPDATE meta SET epoch = ?, last = ?", (epoch, len(seqs)))
        self.epoch, self.last = epoch, len(seqs)

    # ------------------------------------------------------------ reading

    @property
    def cursor(self) -> str:
        """Where the source of recorded input stood with the last message kept; empty at first."""
        with self._lock:
            (cursor,) = self._guarded(lambda: self._one("SELECT cursor FROM meta"))
            return str(cursor)

    @property
    def base(self) -> int:
        """The lowest number still held; one past the last when nothing waits."""
        with self._lock:
            (base,) = self._guarded(lambda: self._one("SELECT min(seq) FROM message"))
            return self.last + 1 if base is None else int(base)

    def pending(self, after: int, limit: int, most_bytes: int = PENDING_BYTES) -> list[Message]:
        """Up to `limit` messages with a number above `after`, in order; no more once `most_bytes` are reached."""
        with self._lock:
            return self._guarded(lambda: self._pending(after, limit, most_bytes))

    def _pending(self, after: int, limit: int, most_bytes: int) -> list[Message]:
        query = "SELECT seq, kind, body FROM message WHERE seq > ? ORDER BY seq LIMIT ?"
        messages: list[Message] = []
        for row in self._db.execute(query, (after, limit)):
            messages.append(Message(*row))
            most_bytes -= len(messages[-1].body)
            if most_bytes <= 0:
                break
        return messages

    def oldest(self) -> int | None:
        """When the oldest message that waits was spooled, in microseconds."""
        with self._lock:
            at: int | None = self._guarded(
                lambda: self._one("SELECT (SELECT at FROM message ORDER BY seq LIMIT 1)")
            )[0]
            return at

    def summary(self) -> Summary:
        query = "SELECT count(*), min(seq), (SELECT at FROM message ORDER BY seq LIMIT 1) FROM message"
        with self._lock:
            waiting, base, oldest = self._guarded(lambda: self._one(query))
            base = self.last + 1 if base is None else base
            return Summary(self.epoch, self.last, base, waiting, oldest, self.bytes, self.dropped)

    def _one(self, query: str) -> tuple[Any, ...]:
        return next(self._db.execute(query))

    def _now(self) -> int:
        return int(self.clock() * 1e6)

    # ------------------------------------------------------------ the file

    def _guarded(self, work: Callable[[], T]) -> T:
        """Do `work`; a damaged file is replaced, one that could only be read opened again, and work done then."""
        try:
            return work()
        except sqlite3.DatabaseError as error:
            if spoolfile.is_damage(error):
                self._db.close()
                self._replace(error)
            elif not (spoolfile.is_read_only(error) and self._opened_again()):
                raise SpoolError(f"{self.path}: {error}") from error
        try:
            return work()
        except sqlite3.DatabaseError as error:
            raise SpoolError(f"{self.path}: {error}") from error

    def _opened_again(self) -> bool:
        """SQLite never writes to a file that it had to open for reading only, whatever the disk does since."""
        try:
            fresh = spoolfile.open_file(self.path, self.clock())
        except sqlite3.DatabaseError:
            return False
        self._db.close()
        self._db = fresh
        return True

    def _open_or_replace(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            raise SpoolError(f"{self.path}: cannot make the spool: {error.strerror}") from error
        except sqlite3.DatabaseError as error:
            if not spoolfile.is_damage(error):
                raise SpoolError(f"{self.path}: cannot open the spool: {error}") from error
            self._replace(error)

    def _open(self) -> None:
        self._db = spoolfile.open_file(self.path, self.clock())
        self.epoch, self.last, self.dropped = self._db.execute("SELECT epoch, last, dropped FROM meta").fetchone()
        size = "SELECT coalesce(sum(size + ?), 0) FROM message"
        (self.bytes,) = self._db.execute(size, (OVERHEAD,)).fetchone()

    def _replace(self, error: sqlite3.DatabaseError) -> None:
        """Move a damaged file aside and begin anew; what it held is lost to the far side, and a gap says so."""
        stamp, former = int(self.clock()), self.epoch
        spoolfile.set_aside(self.path, stamp)
        log.error("%s is damaged (%s): moved aside as *.damaged-%d, starting a new epoch", self.path, error, stamp)
        self._open()
        if self.epoch <= former:
            self._db.execute("UPDATE meta SET epoch = ?", (former + 1,))
            self.epoch = former + 1
        giveway.note(self._db, Gap("spool", 1, self._now(), self._now()))


def _refuse_too_large(kind: str, bodies: Sequence[bytes]) -> None:
    for body in bodies:
        if len(body) + ENVELOPE > wire.MAX_PAYLOAD:
            limit = wire.MAX_PAYLOAD - ENVELOPE
            raise TooLarge(f"a {kind} of {len(body):,} bytes; one message may have {limit:,}: send it smaller")
