"""One SQL database, SQLite or PostgreSQL: transactions, schema version, errors as the ports name them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Engine,
    Executable,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    insert,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError

from pipeline.ports import NotConnected, Retryable, UserError, VedetteError
from pipeline.sqlitefault import judgement

BUSY_S = 10.0
READ_ONLY = "vedette_read_only"
SCHEMA_LOCK = 7_381_204
"""Key of the PostgreSQL advisory lock under which tables are made; any number nobody else uses."""

AGAIN = ("40001", "40P01", "55P03")
"""SQLSTATE of a conflict with another transaction."""


class Database:
    """Connects at the first use; may be used from several threads and processes.

    `metadata` has the tables of `part` in `version`; a database of another version is refused, never altered.
    `durable=False` lets SQLite answer before its commit is synced, for what is said again every few seconds.
    """

    def __init__(self, url: str, metadata: MetaData, *, part: str, version: int, durable: bool = True) -> None:
        self._url = url
        self._metadata = metadata
        self._part = part
        self._version = version
        self._durable = durable
        self._engine: Engine | None = None
        self._turn = threading.Lock()
        self._versions = _versions(metadata)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write; durable when the block ends without an error.

        Raises NotConnected, Retryable (disk full, locked), UserError (damaged, not ours).
        """
        with self._judged(), self._ready().begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads, and never waits for one that writes. Raises as `writing` does."""
        with self._judged(), self._ready().connect() as connection:
            yield connection.execution_options(**{READ_ONLY: True})

    def close(self) -> None:
        """Close all connections; the next use opens them again."""
        if self._engine is not None:
            self._engine.dispose()
        self._engine = None

    # -------------------------------------------------------------- opening

    def _ready(self) -> Engine:
        with self._turn:
            if self._engine is None:
                engine = self._open()
                with engine.begin() as connection:
                    self._prepare(connection)
                self._engine = engine
            return self._engine

    def _open(self) -> Engine:
        try:
            return self._engine_of(make_url(self._url))
        except (ArgumentError, ModuleNotFoundError):
            forms = "sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
            raise UserError(f"{self._shown()!r} is no database address: write {forms}") from None
        except OSError as error:
            raise UserError(f"{self._shown()}: cannot make its folder: {error.strerror}") from None

    def _engine_of(self, url: URL) -> Engine:
        if url.get_backend_name() != "sqlite":
            return create_engine(url, pool_pre_ping=True)
        engine = create_engine(url, connect_args={"timeout": BUSY_S, "check_same_thread": False})
        Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", self._set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _set_up_sqlite(self, connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say so, see _begin_sqlite
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
        connection.execute("PRAGMA foreign_keys = ON")

    def _prepare(self, connection: Connection) -> None:
        """Make the tables, once, whoever comes first; refuse those of another version."""
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SCHEMA_LOCK})
        self._metadata.create_all(connection)
        of_part = self._versions.c.part == self._part
        found = connection.execute(select(self._versions.c.version).where(of_part)).scalar()
        if found is None:
            connection.execute(insert(self._versions).values(part=self._part, version=self._version))
        elif found != self._version:
            raise UserError(
                f"{self._shown()}: written by another version of Vedette ({self._part} schema {found}, this one "
                f"reads {self._version}): start with another database, or use that version"
            )

    # -------------------------------------------------------------- errors

    @contextmanager
    def _judged(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            known = self._judgement(error)
            if known is None:
                raise
            raise known from error

    def _judgement(self, error: DBAPIError) -> VedetteError | None:
        cause: Any = error.orig
        if isinstance(cause, sqlite3.Error):
            return judgement(self._shown(), cause)
        state = str(getattr(cause, "sqlstate", None) or "")
        what = f"{self._shown()}: {str(cause).splitlines()[0] if str(cause) else type(cause).__name__}"
        if error.connection_invalidated or state[:2] in ("08", "57") or (not state and _operational(cause)):
            return NotConnected(what)
        if state in AGAIN:
            return Retryable(0.2, what)
        return Retryable(5, what) if state[:2] == "53" else None

    def _shown(self) -> str:
        """The database as it may be told: the file, or the address without its password."""
        try:
            url = make_url(self._url)
        except ArgumentError:
            return self._url
        return str(url.database) if url.get_backend_name() == "sqlite" else url.render_as_string()


def put(db: Connection, table: Table, row: Mapping[str, Any], *, grows: str = "") -> Executable:
    """Insert `row`, or replace the one with its primary key; with `grows`, only if that column gets no smaller."""
    dialect = postgresql.insert if db.dialect.name == "postgresql" else sqlite.insert
    statement = dialect(table).values(row)
    keys = [column.name for column in table.primary_key]
    rest = {name: statement.excluded[name] for name in row if name not in keys}
    condition = table.c[grows] <= statement.excluded[grows] if grows else None
    return statement.on_conflict_do_update(index_elements=keys, set_=rest, where=condition)


def _versions(metadata: MetaData) -> Table:
    """The table of schema versions; alarms and state may live in one database."""
    columns = (Column("part", String(32), primary_key=True), Column("version", Integer, nullable=False))
    return Table("schema_version", metadata, *columns, extend_existing=True)


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes the lock at once: taking it later, after reading, can fail however long it waits."""
    read_only = connection.get_execution_options().get(READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _operational(cause: Any) -> bool:
    return type(cause).__name__ in ("OperationalError", "ConnectionTimeout")
