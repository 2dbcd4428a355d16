"""Tables of the alarm book."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    event,
)

VERSION = 2
METADATA = MetaData()
ddl: Any = DDL
Micros = BigInteger
"""Microseconds since the Unix epoch, UTC."""

alarm = Table(
    "alarm",
    METADATA,
    Column("id", String(16), primary_key=True),
    Column("rule", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("start", Micros, nullable=False),
    Column("raised_at", Micros, nullable=False),
    Column("updated_at", Micros, nullable=False),
    Column("ended_at", Micros),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("acknowledged_by", Text),
    Column("resolved_by", Text),
)
Index("alarm_by_time", alarm.c.raised_at.desc(), alarm.c.id)
Index("alarm_by_state", alarm.c.state, alarm.c.raised_at.desc())
Index("alarm_by_subject", alarm.c.subject, alarm.c.raised_at.desc())

alarm_event = Table(
    "alarm_event",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("alarm", String(16), nullable=False),
    Column("change", Text, nullable=False),
    Column("at", Micros, nullable=False),
    Column("recorded", Micros, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
)
Index("alarm_event_by_alarm", alarm_event.c.alarm, alarm_event.c.number)

signal_seen = Table(
    "signal_seen", METADATA, Column("id", String(16), primary_key=True), Column("recorded", Micros, nullable=False)
)
"""Signals already folded in, so that a second delivery changes nothing, and when by the book's clock."""

counter = Table(
    "counter", METADATA, Column("name", String(16), primary_key=True), Column("value", BigInteger, nullable=False)
)
"""Last event number given. A writer updates its row first, so writers take turns and numbers follow commits."""

audit = Table(
    "audit",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("at", Micros, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("detail", Text, nullable=False),
)

refusal = Table(
    "refusal",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(16), nullable=False, unique=True),
    Column("device", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("received", Micros, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("recorded", Micros, nullable=False),
)
Index("refusal_by_reason", refusal.c.reason, refusal.c.number)

refusal_count = Table(
    "refusal_count",
    METADATA,
    Column("reason", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
)
"""Refused since the beginning, by reason; the rows themselves are kept up to a number and an age."""

release = Table(
    "release",
    METADATA,
    Column("id", String(16), primary_key=True),
    Column("by", Text, nullable=False),
    Column("recorded", Micros, nullable=False),
)
"""Refusals whose fixes a person has put back. Made where it is missing: no new version."""

held_back = Table(
    "held_back",
    METADATA,
    Column("id", String(16), primary_key=True),
    Column("camera", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("first", Micros, nullable=False),
    Column("last", Micros, nullable=False),
    Column("place", Text, nullable=False),
    Column("box", Text, nullable=False),
    Column("best", Float(53), nullable=False),
    Column("needed", Float(53), nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("recorded", Micros, nullable=False),
)
"""What a rule saw and made no alarm of. Tables are made where they are missing: no new version."""
Index("held_back_by_camera", held_back.c.camera, held_back.c.last)
Index("held_back_by_age", held_back.c.recorded)

device = Table("device", METADATA, Column("device", Text, primary_key=True), Column("row", Text, nullable=False))

event.listen(counter, "after_create", ddl("INSERT INTO counter (name, value) VALUES ('event', 0)"))

_FORBID_SQLITE = """CREATE TRIGGER audit_{verb} BEFORE {verb} ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append only'); END"""
_FORBID_POSTGRES = "CREATE RULE audit_{verb} AS ON {verb} TO audit DO INSTEAD NOTHING"

for _verb in ("UPDATE", "DELETE"):
    for _dialect, _ddl in (("sqlite", _FORBID_SQLITE), ("postgresql", _FORBID_POSTGRES)):
        event.listen(audit, "after_create", ddl(_ddl.format(verb=_verb)).execute_if(dialect=_dialect))
