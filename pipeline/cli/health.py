"""`vedette health PART`"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click
from sqlalchemy import make_url

from pipeline.cli.common import settings_options
from pipeline.cli.ledgers import HINT
from pipeline.settings import Settings

PARTS = ("bridge", "worker-telemetry", "worker-vision", "worker-alarms", "api")


@click.command("health")
@click.argument("part", type=click.Choice(PARTS))
@click.option("--json", "as_json", is_flag=True, help="Print what the part last said, as one JSON object.")
@settings_options
def command(settings: Settings, part: str, as_json: bool) -> None:
    """Exit 0 when PART has said within the last seconds that it is well, else 1 with the reason.

    For health checks of containers and services: it reads the pulses that every part leaves in the state database.
    """
    from pipeline.pulse import verdict

    missing = _missing(settings)
    rows = [] if missing else _pulses(settings, part)
    reason = missing or verdict(rows, time.time_ns() // 1000)
    click.echo(_json(part, rows, reason) if as_json else f"{part}: {reason or 'well'}")
    sys.exit(1 if reason else 0)


def _missing(settings: Settings) -> str:
    """Why there can be no pulses; asking must not leave an empty database behind."""
    url = make_url(settings.state.url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        return f"no state database {url.database}: {HINT}"
    return ""


def _pulses(settings: Settings, part: str) -> list[dict[str, Any]]:
    from pipeline.state import open_state

    state = open_state(settings)
    rows = [row for row in state.beats() if row["part"] == part]
    state.close()
    return rows


def _json(part: str, rows: list[dict[str, Any]], reason: str) -> str:
    return json.dumps({"part": part, "well": not reason, "reason": reason, "instances": rows})
