"""One SQLite file: its connection, its schema version, and what its errors ask of the caller.

WAL lets any number of processes read while one writes; `synchronous=FULL` makes a commit survive a power cut,
which is what a receipt promises.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.ports import UserError
from pipeline.sqlitefault import judgement

BUSY_MS = 10_000
"""How long a call waits for another process's commit before it gives up for now."""

CACHE_KIB = 32_768
CHECKPOINT_PAGES = 8_192
"""WAL pages between checkpoints: more than the default of 1,000, so that a page written often is copied once."""


class SqliteFile:
    """A database file, opened at the first use; calls from several threads take turns.

    `schema` creates the tables of `version`; a file of another version is refused, never altered.
    """

    def __init__(self, path: Path, *, schema: str, version: int) -> None:
        self.path = path
        self._schema = schema
        self._version = version
        self._connection: sqlite3.Connection | None = None
        self._turn = threading.RLock()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock from its start; durable when the block ends without an error.

        Raises Retryable (disk full, locked) and UserError (damaged, not ours, not writable).
        """
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction in which every query sees the same moment. Raises as `writing` does."""
        with self._transaction("BEGIN") as connection:
            yield connection

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        with self._turn:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._turn, judged(self.path):
            connection = self._connection = self._connection or self._open()
            connection.execute(begin)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.path.parent}: cannot make this folder: {error.strerror}") from None
        connection = sqlite3.connect(
            self.path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        if self._found(connection) == 0:
            self._create(connection)
        if self._found(connection) != self._version:
            raise UserError(
                f"{self.path}: written by another version of Vedette (schema {self._found(connection)}, "
                f"this one reads {self._version}): start with another data folder, or use that version"
            )

    def _found(self, connection: sqlite3.Connection) -> int:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])

    def _create(self, connection: sqlite3.Connection) -> None:
        """Several processes may open a new file at once: the first one that gets the lock makes the tables."""
        connection.execute("BEGIN IMMEDIATE")
        if self._found(connection) == 0:
            for statement in self._schema.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {self._version}")
        connection.execute("COMMIT")


@contextmanager
def judged(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into what the caller can act on; those that say "bug" stay as they are."""
    try:
        yield
    except sqlite3.Error as error:
        known = judgement(str(path), error)
        if known is None:
            raise
        raise known from error
