"""The alarm book in SQL: alarms and their history, with the audit log, the quarantine and the device board.

Every transaction that gives out event numbers first updates the counter's row. So writers take turns, in one
process or several, and whoever has read up to number n has missed nothing at or below it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, Select, select, update

from pipeline.alarms import heldback, late, ledger, rows, schema
from pipeline.alarms.episode import ACTIONS, EXPECTED, Step, act, settle
from pipeline.database import Database
from pipeline.message import Alarm, AlarmEvent, Change, HeldBack, Refusal, Signal
from pipeline.ports import UserError
from pipeline.settings import Settings


def open_book(settings: Settings) -> SqlAlarmBook:
    """The alarm book of `settings.alarms`; connects at its first use."""
    return SqlAlarmBook(settings.alarms.url)


class SqlAlarmBook:
    """`ports.AlarmBook` on SQLite or PostgreSQL. From `clock` come `recorded` and the audit log's `at`."""

    def __init__(self, url: str, *, clock: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        self._db = Database(url, schema.METADATA, part="alarms", version=schema.VERSION)
        self._clock = clock

    # -------------------------------------------------------------- the life of alarms

    def apply(self, signals: Sequence[Signal]) -> list[AlarmEvent]:
        if not signals:
            return []
        with self._turn() as (db, last):
            fresh = rows.unseen(db, signals)
            before = rows.load(db, {key for signal in fresh for key in (signal.alarm, signal.episode)})
            after = dict(before)
            events: list[AlarmEvent] = []
            for signal in fresh:
                for key, step in _settled(db, before, after, signal):
                    events.append(self._event(last + len(events) + 1, key, step))
            seen = self._clock()
            rows.add(db, schema.signal_seen, [{"id": signal.id, "recorded": seen} for signal in fresh])
            self._record(db, before, after, events)
        return events

    def act(self, alarm_id: str, action: str, *, by: str, note: str = "") -> AlarmEvent:
        with self._turn() as (db, last):
            before = rows.load(db, [alarm_id])
            if alarm_id not in before or before[alarm_id].state == EXPECTED:
                raise UserError(f"no alarm {alarm_id}: `vedette alarms list` shows those there are")
            alarm, step = act(before[alarm_id], action, by=by, at=self._clock(), note=note)
            if step is None:
                return _first(db, alarm_id, ACTIONS[action])
            event = self._event(last + 1, alarm_id, step)
            self._record(db, before, {alarm_id: alarm}, [event])
        return event

    @contextmanager
    def _turn(self) -> Iterator[tuple[Connection, int]]:
        """Hold the counter's row, and so every other writer off, until the transaction ends. Gives its value."""
        with self._db.writing() as db:
            table = schema.counter
            value = db.execute(update(table).values(value=table.c.value + 0).returning(table.c.value)).scalar_one()
            yield db, value

    def _event(self, number: int, alarm_id: str, step: Step) -> AlarmEvent:
        return AlarmEvent(number=number, alarm=alarm_id, recorded=self._clock(), **msgspec.structs.asdict(step))

    def _record(
        self, db: Connection, before: dict[str, Alarm], after: dict[str, Alarm], events: Sequence[AlarmEvent]
    ) -> None:
        rows.save(db, before, after)
        rows.add(db, schema.alarm_event, [rows.row_of(event) for event in events])
        if events:
            db.execute(update(schema.counter).values(value=events[-1].number))

    # -------------------------------------------------------------- reading alarms

    def alarms(
        self,
        *,
        state: str | None = None,
        subject: str | None = None,
        kind: str | None = None,
        prefix: str = "",
        limit: int = 1000,
    ) -> list[Alarm]:
        columns = schema.alarm.c
        query = select(schema.alarm).where(columns.state != EXPECTED)
        query = query.where(columns.state == state) if state else query
        query = query.where(columns.subject == subject) if subject else query
        query = query.where(columns.kind == kind) if kind else query
        query = query.where(columns.id.startswith(prefix, autoescape=True)) if prefix else query
        found = self._rows(query.order_by(columns.raised_at.desc(), columns.id).limit(limit))
        return [rows.alarm_of(row) for row in found]

    def alarm(self, alarm_id: str) -> Alarm | None:
        query = select(schema.alarm).where(schema.alarm.c.id == alarm_id, schema.alarm.c.state != EXPECTED)
        return next((rows.alarm_of(row) for row in self._rows(query)), None)

    def history(self, alarm_id: str) -> list[AlarmEvent]:
        events = schema.alarm_event
        query = select(events).where(events.c.alarm == alarm_id).order_by(events.c.number)
        return [rows.event_of(row) for row in self._rows(query)]

    def events_after(self, number: int, *, limit: int = 500) -> list[AlarmEvent]:
        events = schema.alarm_event
        query = select(events).where(events.c.number > number).order_by(events.c.number).limit(limit)
        return [rows.event_of(row) for row in self._rows(query)]

    def _rows(self, query: Select[Any]) -> Sequence[RowMapping]:
        with self._db.reading() as db:
            return db.execute(query).mappings().all()

    # -------------------------------------------------------------- audit, quarantine, devices

    def audit(self, *, who: str, what: str, subject: str, purpose: str, detail: str = "") -> None:
        said = {"who": who, "what": what, "subject": subject, "purpose": purpose, "detail": detail}
        with self._db.writing() as db:
            ledger.audit(db, {"at": self._clock(), **said})

    def audits(self, *, limit: int = 1000) -> list[dict[str, Any]]:
        with self._db.reading() as db:
            return ledger.audits(db, limit)

    def refuse(self, refusals: Sequence[Refusal]) -> None:
        if refusals:
            with self._turn() as (db, _):
                ledger.refuse(db, refusals, self._clock())

    def refusals(self, *, reason: str | None = None, limit: int = 1000) -> list[Refusal]:
        with self._db.reading() as db:
            return ledger.refusals(db, reason, limit)

    def refusal_counts(self) -> dict[str, int]:
        with self._db.reading() as db:
            return ledger.counts(db)

    def release(self, ids: Collection[str], *, by: str) -> None:
        with self._turn() as (db, _):
            ledger.release(db, ids, by, self._clock())

    def releases(self) -> dict[str, str]:
        with self._db.reading() as db:
            return ledger.releases(db)

    def forget_refusals(self, before: int) -> int:
        with self._db.writing() as db:
            ledger.forget(db, schema.release, before)
            return ledger.forget(db, schema.refusal, before)

    def forget_signals(self, before: int) -> int:
        with self._db.writing() as db:
            return ledger.forget(db, schema.signal_seen, before)

    def hold_back(self, held: Sequence[HeldBack]) -> None:
        if held:
            with self._turn() as (db, _):
                heldback.record(db, held, self._clock())

    def held_back(self, camera: str, start: int, end: int, *, limit: int = 1000) -> list[HeldBack]:
        with self._db.reading() as db:
            return heldback.during(db, camera, start, end, limit)

    def forget_held_back(self, before: int) -> int:
        with self._db.writing() as db:
            return heldback.forget(db, before)

    def report_devices(self, devices: Sequence[dict[str, Any]]) -> None:
        if devices:
            with self._turn() as (db, _):
                ledger.report(db, devices)

    def devices(self) -> list[dict[str, Any]]:
        with self._db.reading() as db:
            return ledger.devices(db)

    def close(self) -> None:
        self._db.close()


def _settled(
    db: Connection, before: dict[str, Alarm], after: dict[str, Alarm], signal: Signal
) -> list[tuple[str, Step]]:
    if signal.change is Change.HOLDS:
        found = rows.concerned(db, signal, signal.evidence["holds"])
        fresh = {key: alarm for key, alarm in found.items() if key not in after}
        before.update(fresh)
        after.update(fresh)
        return late.settled(after, signal)
    key, steps = settle(after, signal)
    return [(key, step) for step in steps]


def _first(db: Connection, alarm_id: str, change: str) -> AlarmEvent:
    """The event by which the alarm was first acknowledged or resolved."""
    events = schema.alarm_event
    query = select(events).where(events.c.alarm == alarm_id, events.c.change == change).order_by(events.c.number)
    return rows.event_of(db.execute(query.limit(1)).mappings().one())
