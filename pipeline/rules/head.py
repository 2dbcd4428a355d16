"""What every rule carries: its name and version, how grave it is, and whom it is about."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import Any

from pipeline.message import Change, Signal
from pipeline.rules.fleet import Fleet


class Scope:
    """Which subjects a rule is about: names by pattern (`bus-*`), units by group; both empty means everyone.

    With a fleet, nobody outside it: a unit that was taken out may still be in the state of a rule.
    """

    def __init__(self, names: Sequence[str] = (), groups: Sequence[str] = (), fleet: Fleet | None = None) -> None:
        self._names, self._groups = tuple(names), frozenset(groups)
        self._enrolled = None if fleet is None else fleet.units
        self._fleet = fleet or Fleet()
        self._known: dict[str, bool] = {}

    def covers(self, name: str) -> bool:
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._decide(name)
        return known

    def title(self, unit: str) -> str:
        """`bus 2228`, or `unit 2228` where no group is known."""
        return f"{self._fleet.group(unit) or 'unit'} {unit}"

    def _decide(self, name: str) -> bool:
        if self._enrolled is not None and name not in self._enrolled:
            return False
        if not self._names and not self._groups:
            return True
        if self._fleet.group(name) in self._groups:
            return True
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self._names)


class Head:
    """`version` is a short hash of the rule's table and fences, so that an alarm says which rule it was."""

    def __init__(self, name: str, kind: str, *, severity: str, version: str, scope: Scope | None = None) -> None:
        self.name, self.kind, self.severity, self.version = name, kind, severity, version
        self.scope = scope or Scope()

    def signal(
        self, change: Change, subject: str, *, at: int, start: int, reason: str, place: str = "", **evidence: Any
    ) -> Signal:
        return Signal(
            rule=self.name,
            kind=self.kind,
            version=self.version,
            subject=subject,
            place=place,
            change=change,
            at=at,
            start=start,
            reason=reason,
            severity=self.severity,
            evidence=evidence,
        )


def in_order(signals: list[Signal]) -> list[Signal]:
    """By event time, then by name: the order in which signals are said does not depend on how input was cut."""
    return sorted(signals, key=lambda s: (s.at, s.rule, s.subject, s.place, s.start, s.change))


def pace(speed: float | None) -> str:
    """`4 m/s (14 km/h)`; says so when the source gave none."""
    return "speed unknown" if speed is None else f"{speed:.3g} m/s ({speed * 3.6:.0f} km/h)"


def spell(fix: dict[str, Any]) -> str:
    """A fix of evidence in a sentence: `30.20585, -97.77432, 4 m/s (14 km/h)`."""
    return f"{fix['lat']:.5f}, {fix['lon']:.5f}, {pace(fix.get('speed'))}"


def spell_s(micros: int) -> str:
    """A span of time to a tenth of a second: `90 s`, `1.5 s`."""
    return f"{round(micros / 1_000_000, 1):.10g} s"
