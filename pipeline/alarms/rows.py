"""Rows of the alarm book's tables, to and from the nouns."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, Table, bindparam, insert, select, update

from pipeline.alarms import schema
from pipeline.message import Alarm, AlarmEvent, Signal

CHUNK = 500
"""Values in one IN (...)."""

_EVIDENCE = msgspec.json.Decoder(dict[str, Any])


def alarm_of(row: RowMapping) -> Alarm:
    return Alarm(**{**row, "evidence": _EVIDENCE.decode(row["evidence"])})


def event_of(row: RowMapping) -> AlarmEvent:
    return AlarmEvent(**{**row, "evidence": _EVIDENCE.decode(row["evidence"])})


def row_of(noun: Alarm | AlarmEvent) -> dict[str, Any]:
    return msgspec.structs.asdict(noun) | {"evidence": msgspec.json.encode(noun.evidence).decode()}


def load(db: Connection, ids: Collection[str]) -> dict[str, Alarm]:
    """Alarms by id, those expected included; unknown ids are left out."""
    found = (
        row
        for chunk in chunks(ids)
        for row in db.execute(select(schema.alarm).where(schema.alarm.c.id.in_(chunk))).mappings()
    )
    return {row["id"]: alarm_of(row) for row in found}


def concerned(db: Connection, signal: Signal, ids: Collection[str]) -> dict[str, Alarm]:
    """The subject's alarms that began in the signal's time, and those of `ids`."""
    columns = schema.alarm.c
    of_time = (columns.subject == signal.subject) & columns.start.between(signal.start, signal.at)
    found = db.execute(select(schema.alarm).where(of_time)).mappings()
    return load(db, ids) | {row["id"]: alarm_of(row) for row in found}


def save(db: Connection, before: Mapping[str, Alarm], after: Mapping[str, Alarm]) -> None:
    """Insert what is new, update what was there."""
    add(db, schema.alarm, [row_of(alarm) for key, alarm in after.items() if key not in before])
    changed = [
        row_of(alarm) | {"key": key} for key, alarm in after.items() if key in before and alarm != before[key]
    ]
    if changed:
        values: dict[str, Any] = {
            column.name: bindparam(column.name) for column in schema.alarm.c if column.name != "id"
        }
        db.execute(update(schema.alarm).where(schema.alarm.c.id == bindparam("key")).values(values), changed)


def add(db: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; nothing for none."""
    if rows:
        db.execute(insert(table), list(rows))


def unseen(db: Connection, signals: Sequence[Signal]) -> list[Signal]:
    """Signals not folded in before, each once, in order."""
    known = among(db, schema.signal_seen, [signal.id for signal in signals])
    return [
        signal for key, signal in {signal.id: signal for signal in reversed(signals)}.items() if key not in known
    ][::-1]


def among(db: Connection, table: Table, ids: Collection[str]) -> set[str]:
    """Those of `ids` that the table has."""
    found = (db.execute(select(table.c.id).where(table.c.id.in_(chunk))).scalars() for chunk in chunks(ids))
    return {key for keys in found for key in keys}


def chunks(values: Collection[str]) -> Iterator[list[str]]:
    rest = iter(values)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk
