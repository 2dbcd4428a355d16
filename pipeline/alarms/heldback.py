"""What rules have held back, in the alarm book's database: so that somebody can ask why there was no alarm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, delete, select

from pipeline.alarms import schema
from pipeline.database import put
from pipeline.message import HeldBack

KEPT = 200_000
"""The newest so many stay, whatever their age."""

_BOX = msgspec.json.Decoder(tuple[float, float, float, float])


def record(db: Connection, held: Sequence[HeldBack], recorded: int) -> None:
    """Add each, or tell more of one that goes on; a second delivery changes nothing, an older one neither."""
    for one in held:
        db.execute(put(db, schema.held_back, _row(one, recorded), grows="last"))


def during(db: Connection, camera: str, start: int, end: int, limit: int) -> list[HeldBack]:
    """Those of a camera that were seen at any time from `start` to `end`, both included; the latest first."""
    table = schema.held_back
    query = select(table).where(table.c.camera == camera, table.c.first <= end, table.c.last >= start)
    return [_held(row) for row in db.execute(query.order_by(table.c.last.desc()).limit(limit)).mappings()]


def forget(db: Connection, before: int) -> int:
    """Delete what was recorded before, and what is more than KEPT; returns how many."""
    table = schema.held_back
    newest = select(table.c.recorded).order_by(table.c.recorded.desc())
    crowded = db.execute(newest.offset(KEPT).limit(1)).scalar()
    limit = before if crowded is None else max(before, crowded + 1)
    return db.execute(delete(table).where(table.c.recorded < limit)).rowcount


def _row(one: HeldBack, recorded: int) -> dict[str, Any]:
    plain = msgspec.structs.asdict(one)
    return plain | {"id": one.id, "box": msgspec.json.encode(one.box).decode(), "recorded": recorded}


def _held(row: RowMapping) -> HeldBack:
    known = {name: row[name] for name in HeldBack.__struct_fields__}
    return HeldBack(**{**known, "box": _BOX.decode(row["box"])})
