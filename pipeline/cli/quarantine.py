"""`vedette quarantine`"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import click

from pipeline import faustapp
from pipeline.alarms.ledger import REFUSALS_KEPT
from pipeline.cli.common import Moment, settings_options
from pipeline.cli.ledgers import alarm_book, print_table, whoami
from pipeline.log import Log
from pipeline.message import SECOND, Refusal
from pipeline.ports import NotConnected, UserError
from pipeline.record import Record
from pipeline.settings import Settings
from pipeline.telemetry.refused import Row
from pipeline.telemetry.release import Wanted, records, releasable, released
from pipeline.wire import rfc3339


@click.group("quarantine")
def command() -> None:
    """List what was refused, with the reason; look at it, and release it, for a stated purpose."""


@command.command("list")
@click.option("--reason", help="Only what was refused for this reason, e.g. latitude_range.")
@click.option(
    "--limit", default=1000, show_default=True, type=click.IntRange(1), help="At most so many, newest first."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option(
    "--purpose", help="Why you read the bytes, which may say where a unit was: with it --json has them in base64."
)
@settings_options
def list_refusals(settings: Settings, reason: str | None, limit: int, as_json: bool, purpose: str | None) -> None:
    """List refusals, newest first. With --purpose the reading is on the audit log before anything is printed."""
    if purpose is not None and not (as_json and purpose.strip()):
        raise UserError("--purpose goes with --json, and says why the bytes are read; it goes on the audit log")
    with alarm_book(settings) as book:
        found, gone = book.refusals(reason=reason, limit=limit), book.releases()
        if purpose is not None:
            detail = f"the bytes of {len(found)} refusals"
            book.audit(
                who=whoami(), what="quarantine", subject=reason or "all", purpose=purpose.strip(), detail=detail
            )
    if as_json:
        for refusal in found:
            click.echo(json.dumps(row(refusal, gone.get(refusal.id), with_bytes=purpose is not None)))
    elif found:
        header = ("ID", "RECEIVED", "DEVICE", "REASON", "BYTES", "RELEASED", "DETAIL")
        print_table(header, [_cells(r, gone.get(r.id, "")) for r in found])
    else:
        click.echo("nothing has been refused" + (f" for {reason}" if reason else ""), err=True)


@command.command("counts")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@settings_options
def counts(settings: Settings, as_json: bool) -> None:
    """How many were refused since the beginning, by reason."""
    with alarm_book(settings) as book:
        found = book.refusal_counts()
    if as_json:
        for reason, count in found.items():
            click.echo(json.dumps({"reason": reason, "count": count}))
    else:
        print_table(("REASON", "COUNT"), [(reason, str(count)) for reason, count in found.items()])


@command.command("release")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--reason", help="Those refused for this reason, e.g. jump.")
@click.option("--unit", help="Those of this unit.")
@click.option("--from", "start", type=Moment(), help="Fixes taken at this time or later.")
@click.option("--to", "end", type=Moment(), help="Fixes taken before this time.")
@click.option("--shift-s", default=0.0, help="Seconds to add to the stamps, for a clock that was wrong.")
@click.option("--by", required=True, help="Your name, as it is to stand in the history.")
@click.option("--purpose", required=True, help="Why; goes on the audit log.")
@settings_options
def release(settings: Settings, shift_s: float, by: str, purpose: str, **which: Any) -> None:
    """Put refused fixes back through the pipeline, as fixes that came late: nobody doubts them again.

    Name refusals by ID (`vedette quarantine list`), or all that the options fit. What was released stays listed;
    releasing it again changes nothing.
    """
    ids = which.pop("ids")
    if not (ids or which["reason"] or which["unit"]):
        raise UserError(
            "nothing named to release: give IDs, --reason or --unit; `vedette quarantine list` has them"
        )
    if not by.strip() or not purpose.strip():
        raise UserError("--by and --purpose say who releases and why; they go on the audit log")
    with alarm_book(settings) as book:
        found = {refusal.id: refusal for refusal in book.refusals(reason=which["reason"], limit=REFUSALS_KEPT)}
        whole = {key: refusal.count for key, refusal in found.items()}
        chosen = _chosen(found, book.releases(), Wanted(ids=frozenset(ids), **which), shifted=bool(shift_s))
        rows = [row for some in chosen.values() for row in some]
        if not rows:
            click.echo("nothing to release", err=True)
            return
        detail = f"{len(rows)} fixes of {len(chosen)} refusals, stamps shifted by {shift_s:g} s"
        units = ", ".join(sorted({row.unit for row in rows}))
        book.audit(who=by, what="release", subject=units[:500], purpose=purpose.strip(), detail=detail)
        back = released(rows, by, shift=round(shift_s * SECOND))
        asyncio.run(_append(settings, records(back, settings.log.partitions)))
        book.release([key for key, some in chosen.items() if len(some) == whole[key]], by=by)
    click.echo(f"released {len(rows)} fixes of {len(chosen)} refusals: {units}")


def _chosen(
    found: Mapping[str, Refusal], gone: Collection[str], wanted: Wanted, *, shifted: bool
) -> dict[str, list[Row]]:
    """The rows by refusal, those released before left out. UserError for a named one that cannot be released."""
    if missing := wanted.ids - found.keys():
        raise UserError(f"no refusal {', '.join(sorted(missing))}: `vedette quarantine list` shows those there are")
    chosen: dict[str, list[Row]] = {}
    for refusal in found.values():
        why = releasable(refusal, shifted=shifted)
        if why and refusal.id in wanted.ids:
            raise UserError(f"refusal {refusal.id} cannot be released: {why}")
        rows = [] if why or refusal.id in gone else wanted.rows(refusal)
        if rows:
            chosen[refusal.id] = rows
    return chosen


async def _append(settings: Settings, made: Sequence[Record]) -> None:
    """Returns when the log has them all. Raises UserError when it cannot be reached."""
    log = Log(faustapp.create(settings, "release"))
    try:
        await log.open()
        await log.append(made)
    except NotConnected as error:
        raise UserError(f"{error}: nothing was released; check that the system runs, then try again") from None
    await log.close()


def _cells(refusal: Refusal, by: str) -> tuple[str, ...]:
    size = str(len(refusal.raw))
    return refusal.id, rfc3339(refusal.received), refusal.device, refusal.reason, size, by, refusal.detail


def row(refusal: Refusal, released_by: str | None, *, with_bytes: bool) -> dict[str, Any]:
    """A refusal as it leaves the program."""
    said = {
        "id": refusal.id,
        "received": rfc3339(refusal.received),
        "device": refusal.device,
        "topic": refusal.topic,
        "reason": refusal.reason,
        "detail": refusal.detail,
        "count": refusal.count,
        "raw_bytes": len(refusal.raw),
        "released_by": released_by,
    }
    return said | ({"raw_base64": base64.b64encode(refusal.raw).decode()} if with_bytes else {})
