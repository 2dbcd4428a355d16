"""What the alarm book keeps beside alarms: the audit log, the quarantine, the device board."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, bindparam, delete, func, select, update

from pipeline.alarms import rows, schema
from pipeline.message import Refusal
from pipeline.record import RAW_KEPT

REFUSALS_KEPT = 20_000
"""The newest so many, so that a device gone wrong cannot fill the disk; their counts stay."""

DEVICES_KEPT = 20_000
"""Names on the device board; more were invented, and are not entered."""

NEVER_BACK = ("received", "frame_scored")
"""Times on the device board that only grow: after a crash, old reports come again."""


def audit(db: Connection, row: Mapping[str, Any]) -> None:
    rows.add(db, schema.audit, [row])


def audits(db: Connection, limit: int) -> list[dict[str, Any]]:
    """Newest first."""
    query = select(schema.audit).order_by(schema.audit.c.number.desc()).limit(limit)
    return [dict(row) for row in db.execute(query).mappings()]


def refuse(db: Connection, refusals: Sequence[Refusal], recorded: int) -> None:
    """Add those not there yet, count them, and drop the oldest over the limit. `recorded`: the book's clock."""
    distinct = {refusal.id: refusal for refusal in refusals}
    known = rows.among(db, schema.refusal, list(distinct))
    fresh = {key: refusal for key, refusal in distinct.items() if key not in known}
    rows.add(db, schema.refusal, [_row(key, refusal, recorded) for key, refusal in fresh.items()])
    _count(db, fresh.values())
    newest = db.execute(select(func.max(schema.refusal.c.number))).scalar() or 0
    db.execute(delete(schema.refusal).where(schema.refusal.c.number <= newest - REFUSALS_KEPT))


def _count(db: Connection, fresh: Iterable[Refusal]) -> None:
    table, more = schema.refusal_count, Counter[str]()
    for refusal in fresh:
        more[refusal.reason] += refusal.count
    known = counts(db)
    rows.add(db, table, [{"reason": reason, "count": 0} for reason in more if reason not in known])
    if more:
        bump = (
            update(table).where(table.c.reason == bindparam("key")).values(count=table.c.count + bindparam("more"))
        )
        db.execute(bump, [{"key": reason, "more": count} for reason, count in more.items()])


def _row(key: str, refusal: Refusal, recorded: int) -> dict[str, Any]:
    return msgspec.structs.asdict(refusal) | {"id": key, "raw": refusal.raw[:RAW_KEPT], "recorded": recorded}


def forget(db: Connection, table: Table, before: int) -> int:
    """Delete the rows of a table with recorded < before; returns how many."""
    return db.execute(delete(table).where(table.c.recorded < before)).rowcount


def refusals(db: Connection, reason: str | None, limit: int) -> list[Refusal]:
    """Newest first."""
    table = schema.refusal
    query = (
        select(*(table.c[name] for name in Refusal.__struct_fields__)).order_by(table.c.number.desc()).limit(limit)
    )
    found = db.execute(query.where(table.c.reason == reason) if reason else query).mappings()
    return [Refusal(**{**row, "raw": bytes(row["raw"])}) for row in found]


def release(db: Connection, ids: Collection[str], by: str, recorded: int) -> None:
    """Note who has put the fixes of refusals back; the first one stands."""
    known = rows.among(db, schema.release, ids)
    fresh = [{"id": key, "by": by, "recorded": recorded} for key in sorted(set(ids) - known)]
    rows.add(db, schema.release, fresh)


def releases(db: Connection) -> dict[str, str]:
    """Who has released which refusal, by its id."""
    return {row["id"]: row["by"] for row in db.execute(select(schema.release)).mappings()}


def counts(db: Connection) -> dict[str, int]:
    """By reason, since the beginning."""
    found = db.execute(select(schema.refusal_count).order_by(schema.refusal_count.c.reason))
    return {row.reason: row.count for row in found}  # type: ignore[misc]


def report(db: Connection, said: Sequence[Mapping[str, Any]]) -> None:
    """Lay what devices have said over what they said before; what they left out stays."""
    known = {row["device"]: row for row in devices(db)}
    fresh = {str(row["device"]): {**known.get(str(row["device"]), {}), **_onward(row, known)} for row in said}
    added = [{"device": name, "row": _json(row)} for name, row in fresh.items() if name not in known]
    added = added[: max(0, DEVICES_KEPT - len(known))]
    rows.add(db, schema.device, added)
    changed = [{"key": name, "row": _json(row)} for name, row in fresh.items() if name in known]
    if changed:
        same = schema.device.c.device == bindparam("key")
        db.execute(update(schema.device).where(same).values(row=bindparam("row")), changed)


def _onward(row: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    before = known.get(str(row["device"]), {})
    times = {name: max(row[name], before.get(name) or 0) for name in NEVER_BACK if row.get(name) is not None}
    return {**row, **times}


def _json(row: Mapping[str, Any]) -> str:
    return msgspec.json.encode(row).decode()


def devices(db: Connection) -> list[dict[str, Any]]:
    """By name."""
    found = db.execute(select(schema.device.c.row).order_by(schema.device.c.device)).scalars()
    return [msgspec.json.decode(row, type=dict[str, Any]) for row in found]
