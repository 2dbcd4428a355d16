"""`vedette quarantine`"""

from __future__ import annotations

import base64
import json
from typing import Any

import click

from pipeline.cli.common import settings_options
from pipeline.cli.ledgers import alarm_book, print_table
from pipeline.message import Refusal
from pipeline.settings import Settings
from pipeline.wire import rfc3339


@click.group("quarantine")
def command() -> None:
    """List what was refused, with the reason and the bytes."""


@command.command("list")
@click.option("--reason", help="Only what was refused for this reason, e.g. latitude_range.")
@click.option(
    "--limit", default=1000, show_default=True, type=click.IntRange(1), help="At most so many, newest first."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, the bytes in base64.")
@settings_options
def list_refusals(settings: Settings, reason: str | None, limit: int, as_json: bool) -> None:
    """List refusals, newest first."""
    with alarm_book(settings) as book:
        found = book.refusals(reason=reason, limit=limit)
    if as_json:
        for refusal in found:
            click.echo(json.dumps(row(refusal)))
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


def row(refusal: Refusal) -> dict[str, Any]:
    """A refusal as it leaves the program."""
    return {
        "id": refusal.id,
        "received": rfc3339(refusal.received),
        "device": refusal.device,
        "topic": refusal.topic,
        "reason": refusal.reason,
        "detail": refusal.detail,
        "raw_base64": base64.b64encode(refusal.raw).decode(),
    }
