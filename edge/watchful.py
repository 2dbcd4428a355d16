"""`vedette-edge status --watch`: the same place on the screen, once a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from edge.status import sentence

COLOURS = {"ok": "green", "finished": "green"}
EVERY_S = 1.0


def watch(read: Callable[[], dict[str, Any]], console: Console) -> None:
    """Until Ctrl-C. Where there is no terminal, a line a second."""
    if not console.is_terminal:
        while True:
            console.print(sentence(read()), soft_wrap=True, highlight=False)
            time.sleep(EVERY_S)
    before = read()
    with Live(picture(before, before), console=console, auto_refresh=False) as live:
        while True:
            row = read()
            live.update(picture(row, before), refresh=True)
            before = row
            time.sleep(EVERY_S)


def picture(row: dict[str, Any], before: dict[str, Any]) -> Table:
    """The numbers large enough to be read with the screen at arm's length."""
    colour = COLOURS.get(row["verdict"], "red") if row["connected"] or row["verdict"] != "ok" else "yellow"
    table = Table(title=row["device"], title_style="bold", show_header=False, min_width=50)
    table.add_column(style="dim")
    table.add_column(style="bold")
    for name in ("sent", "confirmed", "waiting", "dropped"):
        table.add_row(name, f"{row[name]:,}{_change(row[name] - before[name])}")
    age = row["oldest_age_s"]
    table.add_row("oldest waiting", "-" if age is None else f"{age:.0f} s")
    table.add_row("broker", "connected" if row["connected"] else "not connected")
    table.add_row("state", f"[{colour}]{state(row)}[/]")
    return table


def state(row: dict[str, Any]) -> str:
    """In words, with what is wrong."""
    words = {"ok": "running", "finished": "finished", "down": "not running", "stale": "says nothing"}
    return ": ".join(filter(None, (words.get(row["verdict"], "running"), row["detail"])))


def _change(number: int) -> str:
    return f"  [dim](+{number})[/]" if number > 0 else ""
