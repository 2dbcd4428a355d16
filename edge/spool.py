"""The on-disk spool: every message waits here from before it is sent until a receipt covers it.

One SQLite file in WAL mode. `append` returns after fsync (`synchronous=FULL`), so what it numbered survives a power
cut; many messages in one call share one fsync. `confirm` deletes without fsync: a deletion that is lost only means
that something is sent twice, and `(device, epoch, seq)` makes that harmless.

The spool is bounded. When it is full the oldest frames give way, then readings, then positions. A message that
gives way leaves its number behind with an empty body (`Fixes` without fixes), because the far side takes numbers
only in order and a hole would stop it for good. Empty messages at the head are deleted: `base` passes over them.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from edge.errors import SpoolError, TooLarge
from edge.reserve import Reserve
from pipeline import wire
from pipeline.message import Fixes

log = logging.getLogger(__name__)

EMPTY_KIND, EMPTY_BODY = "position", wire.encode_body(Fixes())
OVERHEAD: Final = 48
"""Bytes that a row costs beside its body."""
ENVELOPE: Final = 256
"""Bytes that the envelope may add to a body."""
GIVES_WAY: Final = ("frame", "reading", "position")
SCHEMA = """
CREATE TABLE IF NOT EXISTS message (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, at INTEGER NOT NULL,
                                    size INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS message_by_kind ON message (kind, seq) WHERE size > 2;
CREATE TABLE IF NOT EXISTS meta (one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL,
                                 last INTEGER NOT NULL, dropped INTEGER NOT NULL, cursor TEXT NOT NULL);
"""

T = TypeVar("T")


class Message(NamedTuple):
    """One numbered message as it lies in the spool."""

    seq: int
    kind: str
    body: bytes


class Summary(NamedTuple):
    """What `status` tells: the highest number given, how many wait, when the oldest of them was spooled (us)."""

    epoch: int
    last: int
    base: int
    waiting: int
    oldest: int | None
    bytes: int
    dropped: int


class Spool:
    """Messages of one device, safe to use from several threads.

    `epoch` (ms when the file was made) and the numbers from 1 up name a message for good. A damaged file is moved
    aside and a new one begun, with a new epoch. Errors: TooLarge, SpoolError.
    """

    def __init__(self, path: Path, *, max_bytes: int = 256 << 20, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.clock = clock
        self.epoch = self.last = self.bytes = self.dropped = 0
        self._lock = threading.RLock()
        self._reserve = Reserve(path.with_name(path.name + ".reserve"))
        self._open_or_replace()
        self._reserve.keep()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # ------------------------------------------------------------ writing

    def append(self, kind: str, *bodies: bytes, cursor: str | None = None) -> int:
        """Number and keep the bodies, all or none; durable on return. Returns the last number given.

        `cursor` is where the source stands after them, kept in the same transaction: see the property.
        TooLarge: nothing was kept. SpoolError: the disk refused, or all that could give way has; the messages are
        counted as dropped.
        """
        for body in bodies:
            if len(body) + ENVELOPE > wire.MAX_PAYLOAD:
                limit = wire.MAX_PAYLOAD - ENVELOPE
                raise TooLarge(f"a {kind} of {len(body):,} bytes; one message may have {limit:,}: send it smaller")
        with self._lock:
            try:
                return self._guarded(lambda: self._append(kind, bodies, cursor))
            except SpoolError:
                self.dropped += len(bodies)
                raise

    def _append(self, kind: str, bodies: Sequence[bytes], cursor: str | None) -> int:
        at, first = int(self.clock() * 1e6), self.last + 1
        rows = [(first + i, kind, at, len(body), body) for i, body in enumerate(bodies)]
        size = sum(len(body) + OVERHEAD for body in bodies)
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            freed, gone = self._make_room(size)
            self._db.executemany("INSERT INTO message VALUES (?, ?, ?, ?, ?)", rows)
            last, dropped = first + len(rows) - 1, self.dropped + gone
            change = "UPDATE meta SET last = ?, dropped = ?, cursor = coalesce(?, cursor)"
            self._db.execute(change, (last, dropped, cursor))
        if gone:
            log.warning("spool full: %d older messages gave way (%d in all)", gone, dropped)
        self.last, self.dropped, self.bytes = last, dropped, self.bytes + size - freed
        return last

    def _make_room(self, size: int) -> tuple[int, int]:
        """Let messages give way until `size` bytes fit; (bytes freed, messages given up)."""
        freed = gone = 0
        for kind in GIVES_WAY:
            while (lack := self.bytes - freed + size - self.max_bytes) > 0:
                oldest = "SELECT seq, size FROM message WHERE kind = ? AND size > 2 ORDER BY seq LIMIT 100"
                rows = self._db.execute(oldest, (kind,)).fetchall()
                if not rows:
                    break
                emptied, count = self._empty(rows, lack)
                freed, gone = freed + emptied + self._behead(), gone + count
        if self.bytes - freed + size > self.max_bytes:
            raise SpoolError(f"spool full: {self.max_bytes:,} bytes, and nothing left that could give way")
        return freed, gone

    def _empty(self, rows: Sequence[tuple[int, int]], lack: int) -> tuple[int, int]:
        """Empty messages (seq, size) until `lack` bytes are free; (bytes freed, messages emptied)."""
        change = "UPDATE message SET kind = ?, size = ?, body = ? WHERE seq = ?"
        freed = count = 0
        for seq, size in rows:
            self._db.execute(change, (EMPTY_KIND, len(EMPTY_BODY), EMPTY_BODY, seq))
            freed, count = freed + size - len(EMPTY_BODY), count + 1
            if freed >= lack:
                break
        return freed, count

    def _behead(self) -> int:
        """Delete the empty messages before the first full one; bytes freed."""
        head = "SELECT coalesce((SELECT min(seq) FROM message WHERE size > 2), ?)"
        (first,) = self._db.execute(head, (self.last + 1,)).fetchone()
        size = "SELECT coalesce(sum(size + ?), 0) FROM message WHERE seq < ?"
        (freed,) = self._db.execute(size, (OVERHEAD, first)).fetchone()
        self._db.execute("DELETE FROM message WHERE seq < ?", (first,))
        return int(freed)

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
        epoch = max(int(self.clock() * 1000), self.epoch + 1)
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

    def pending(self, after: int, limit: int) -> list[Message]:
        """Up to `limit` messages with a number above `after`, in order."""
        query = "SELECT seq, kind, body FROM message WHERE seq > ? ORDER BY seq LIMIT ?"
        with self._lock:
            rows = self._guarded(lambda: self._db.execute(query, (after, limit)).fetchall())
        return [Message(*row) for row in rows]

    def summary(self) -> Summary:
        """Numbers for `status`."""
        with self._lock:
            query = "SELECT count(*), min(seq), (SELECT at FROM message ORDER BY seq LIMIT 1) FROM message"
            waiting, base, oldest = self._guarded(lambda: self._one(query))
            base = self.last + 1 if base is None else base
            return Summary(self.epoch, self.last, base, waiting, oldest, self.bytes, self.dropped)

    def _one(self, query: str) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self._db.execute(query).fetchone()
        return row

    # ------------------------------------------------------------ the file

    def _guarded(self, work: Callable[[], T]) -> T:
        """Do `work`; a damaged file is replaced and the work done on the new one, once."""
        try:
            return work()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise SpoolError(f"{self.path}: {error}") from error
            self._replace(error)
        try:
            return work()
        except sqlite3.DatabaseError as error:
            raise SpoolError(f"{self.path}: {error}") from error

    def _open_or_replace(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            raise SpoolError(f"{self.path}: cannot make the spool: {error.strerror}") from error
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise SpoolError(f"{self.path}: cannot open the spool: {error}") from error
            self._replace(error)

    def _open(self) -> None:
        self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=10)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA secure_delete = OFF")  # it would write every deleted page once more
        self._db.execute(f"PRAGMA journal_size_limit = {8 << 20}")
        (health,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise sqlite3.DatabaseError(f"malformed: {health}")
        self._db.executescript(SCHEMA)
        self._db.execute("INSERT OR IGNORE INTO meta VALUES (1, ?, 0, 0, '')", (int(self.clock() * 1000),))
        self.epoch, self.last, self.dropped = self._db.execute("SELECT epoch, last, dropped FROM meta").fetchone()
        size = "SELECT coalesce(sum(size + ?), 0) FROM message"
        (self.bytes,) = self._db.execute(size, (OVERHEAD,)).fetchone()

    def _replace(self, error: sqlite3.DatabaseError) -> None:
        """Move a damaged file aside and begin anew; what it held is lost to the far side, and the log says so."""
        self._db.close()
        stamp, former = int(self.clock()), self.epoch
        for suffix in ("", "-wal", "-shm"):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.rename(part.with_name(f"{part.name}.damaged-{stamp}"))
        log.error("%s is damaged (%s): moved aside as *.damaged-%d, starting a new epoch", self.path, error, stamp)
        self._open()
        if self.epoch <= former:
            self._db.execute("UPDATE meta SET epoch = ?", (former + 1,))
            self.epoch = former + 1


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    text = str(error)
    return any(word in text for word in ("malformed", "not a database", "no such table", "no such column"))
