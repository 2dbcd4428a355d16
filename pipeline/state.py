"""State of the workers in SQL: snapshots with their offsets, and the pulse of every part."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, Table, Text, delete, select

from pipeline.database import Database, put
from pipeline.message import SECOND
from pipeline.settings import Settings

VERSION = 1
GONE = 24 * 3600 * SECOND
"""An instance that has not beaten for so long is taken off the board: every restart is a new instance."""

SNAPSHOTS = MetaData()
snapshot = Table(
    "snapshot",
    SNAPSHOTS,
    Column("app", Text, primary_key=True),
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("log_offset", BigInteger, nullable=False),
    Column("state", LargeBinary, nullable=False),
)
PULSES = MetaData()
pulse = Table(
    "pulse",
    PULSES,
    Column("part", Text, primary_key=True),
    Column("instance", Text, primary_key=True),
    Column("beaten", BigInteger, nullable=False),
    Column("row", Text, nullable=False),
)


def open_state(settings: Settings) -> State:
    """Snapshots and pulse of `settings.state`; connects at the first use."""
    return State(settings.state.url)


class State:
    """`ports.Snapshots` and `ports.Pulse` in one database; several processes may use it."""

    def __init__(self, url: str, *, clock: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        self._snapshots = Database(url, SNAPSHOTS, part="snapshots", version=VERSION)
        self._pulse = Database(url, PULSES, part="pulse", version=VERSION, durable=False)
        self._clock = clock

    def load(self, app: str, topic: str, partition: int) -> tuple[int, bytes] | None:
        query = select(snapshot.c.log_offset, snapshot.c.state).where(_key(app, topic, partition))
        with self._snapshots.reading() as db:
            row = db.execute(query).one_or_none()
        return None if row is None else (int(row[0]), bytes(row[1]))

    def drop(self, app: str, topic: str, partition: int) -> None:
        with self._snapshots.writing() as db:
            db.execute(delete(snapshot).where(_key(app, topic, partition)))

    def save(self, app: str, topic: str, partition: int, offset: int, state: bytes) -> None:
        row = {"app": app, "topic": topic, "partition": partition, "log_offset": offset, "state": state}
        with self._snapshots.writing() as db:
            db.execute(put(db, snapshot, row, grows="log_offset"))

    def beat(self, part: str, instance: str, row: dict[str, Any]) -> None:
        now = self._clock()
        said = {"part": part, "instance": instance, "beaten": now, "row": msgspec.json.encode(row).decode()}
        with self._pulse.writing() as db:
            db.execute(put(db, pulse, said))
            db.execute(delete(pulse).where(pulse.c.beaten < now - GONE))

    def beats(self) -> list[dict[str, Any]]:
        with self._pulse.reading() as db:
            found = db.execute(select(pulse).order_by(pulse.c.part, pulse.c.instance)).all()
        return [
            msgspec.json.decode(row.row, type=dict[str, Any])
            | {"part": row.part, "instance": row.instance, "beaten": row.beaten}
            for row in found
        ]

    def close(self) -> None:
        self._snapshots.close()
        self._pulse.close()


def _key(app: str, topic: str, partition: int) -> Any:
    return (snapshot.c.app == app) & (snapshot.c.topic == topic) & (snapshot.c.partition == partition)
