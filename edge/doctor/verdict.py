"""What a check says, what it is given, and how the list is gone through."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from edge.errors import EdgeError
from edge.settings import Settings

State = Literal["ok", "warn", "fail", "skip"]
SIGNS: dict[str, str] = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL", "skip": "skip"}


class Verdict(NamedTuple):
    """`what` was seen; `fix` is what to do, empty when nothing is."""

    state: State
    what: str
    fix: str = ""


def ok(what: str) -> Verdict:
    return Verdict("ok", what)


def warn(what: str, fix: str) -> Verdict:
    return Verdict("warn", what, fix)


def fail(what: str, fix: str) -> Verdict:
    return Verdict("fail", what, fix)


def skip(what: str) -> Verdict:
    return Verdict("skip", what)


@dataclass(slots=True)
class Patient:
    """What the checks look at. `status` is the agent's row, empty where none has run; `found` is for later ones."""

    config: Path
    settings: Settings
    status: dict[str, Any]
    root: Path = Path("/")
    now: Callable[[], int] = lambda: time.time_ns() // 1000
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return Path(self.settings.data)

    @property
    def running(self) -> bool:
        return bool(self.status.get("running"))


class Check(NamedTuple):
    """One line of the list. Where one of the checks named in `after` failed, this one is left out."""

    name: str
    look: Callable[[Patient], Verdict]
    after: tuple[str, ...] = ()


def go_through(checks: Iterable[Check], patient: Patient) -> Iterator[tuple[str, Verdict]]:
    """(name, verdict) of each check, as it is done."""
    hopeless: set[str] = set()
    for check in checks:
        verdict = _look(check, patient, hopeless)
        if verdict.state in ("fail", "skip"):
            hopeless.add(check.name)
        yield check.name, verdict


def _look(check: Check, patient: Patient, hopeless: set[str]) -> Verdict:
    missing = [name for name in check.after if name in hopeless]
    if missing:
        return skip(f"only after: {missing[0]}")
    try:
        return check.look(patient)
    except EdgeError as error:
        return fail(str(error), "")
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        return fail(f"{name}{error.strerror or error}", "run this with sudo")
