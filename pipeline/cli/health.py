"""`vedette health PART`"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from pipeline.cli.common import settings_options
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
    from pipeline.state import open_state

    state = open_state(settings)
    rows = [row for row in state.beats() if row["part"] == part]
    state.close()
    reason = verdict(rows, time.time_ns() // 1000)
    click.echo(_json(part, rows, reason) if as_json else f"{part}: {reason or 'well'}")
    sys.exit(1 if reason else 0)


def _json(part: str, rows: list[dict[str, Any]], reason: str) -> str:
    return json.dumps({"part": part, "well": not reason, "reason": reason, "instances": rows})
