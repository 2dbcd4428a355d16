"""`vedette quarantine`"""

from __future__ import annotations

import base64
import json
from typing import Any

import click

from pipeline.cli.common import settings_options
from pipeline.cli.ledgers import alarm_book, print_table, whoami
from pipeline.message import Refusal
from pipeline.ports import UserError
from pipeline.settings import Settings
from pipeline.wire import rfc3339


@click.group("quarantine")
def command() -> None:
    """List what was refused, with the reason; the bytes for a stated purpose."""


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
        found = book.refusals(reason=reason, limit=limit)
        if purpose is not None:
            detail = f"the bytes of {len(found)} refusals"
            book.audit(
                who=whoami(), what="quarantine", subject=reason or "all", purpose=purpose.strip(), detail=detail
            )
    if as_json:
        for refusal in found:
            click.echo(json.dumps(row(refusal, with_bytes=purpose is not None)))
    elif found:
        header = ("RECEIVED", "DEVICE", "REASON", "BYTES", "DETAIL")
        print_table(header, [(rfc3339(r.received), r.device, r.reason, str(len(r.raw)), r.detail) for r in found])
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


def row(refusal: Refusal, *, with_bytes: bool) -> dict[str, Any]:
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
    }
    return said | ({"raw_base64": base64.b64encode(refusal.raw).decode()} if with_bytes else {})
