"""The whole list, in the order in which one thing needs the other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge import settings, status
from edge.doctor import agent, broker, machine, network, papers, source
from edge.doctor.verdict import Check, Patient, Verdict, go_through
from edge.errors import SetupError

CHECKS: tuple[Check, ...] = (
    *machine.CHECKS,
    *papers.CHECKS,
    *network.CHECKS,
    *broker.CHECKS,
    *source.CHECKS,
    *agent.CHECKS,
)


def examine(config: Path, *, data: Path | None = None, root: Path = Path("/")) -> Iterator[tuple[str, Verdict]]:
    """(name, verdict) of every check. SetupError for settings that cannot be read."""
    found = settings.load(config, data=data)
    yield from go_through(CHECKS, Patient(config, found, _status(Path(found.data)), root, _now))


def _status(data: Path) -> dict[str, Any]:
    """The agent's row, empty where none has run."""
    try:
        return status.read(data)
    except SetupError:
        return {}


def _now() -> int:
    return time.time_ns() // 1000
