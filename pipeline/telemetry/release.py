"""Refused fixes put back through the pipeline: as records of the log, in the name of the person who released them.

They are late fixes like others (`correct`), but nobody doubts them again. What no judgement can change stays
refused: a place that is none, a unit that is not enrolled, a stamp that is still outside the bounds of the clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec

from pipeline import wire
from pipeline.message import Clock, Refusal
from pipeline.record import Record
from pipeline.telemetry.clean import RELEASED
from pipeline.telemetry.refused import Row, batch_of, kept

DOUBTS = ("accuracy", "clock_step", "frozen", "jump")
"""Reasons that a person can overrule as they are."""

CLOCKS = ("clock_early", "clock_future")
"""Reasons that can be overruled by a shift of the stamps."""

ROWS = 1000
"""Fixes in one record of the log."""


class Wanted(msgspec.Struct, frozen=True):
    """Which of the refused fixes: everything that is not None narrows. Times in microseconds, start <= at < end."""

    ids: frozenset[str] = frozenset()
    reason: str | None = None
    unit: str | None = None
    start: int | None = None
    end: int | None = None

    def rows(self, refusal: Refusal) -> list[Row]:
        """The rows of a refusal that are meant; of one named by its id all."""
        content = kept(refusal)
        if content is None or (self.ids and refusal.id not in self.ids):
            return []
        if self.reason not in (None, refusal.reason) or self.unit not in (None, content.unit):
            return []
        return [row for row in content.fixes if self._during(row.at)]

    def _during(self, at: int) -> bool:
        return (self.start is None or at >= self.start) and (self.end is None or at < self.end)


def releasable(refusal: Refusal, *, shifted: bool) -> str:
    """Why it cannot be released; empty if it can."""
    if kept(refusal) is None:
        return "no fix was kept of it"
    if refusal.reason in DOUBTS or (shifted and refusal.reason in CLOCKS):
        return ""
    if refusal.reason in CLOCKS:
        return "its stamps are outside the bounds of the clock: set them right with --shift-s"
    return f"nothing can be done about {refusal.reason}"


def released(rows: Iterable[Row], by: str, *, shift: int = 0) -> list[Row]:
    """The rows as they go onto the log again: under `by`, not numbered; shifted stamps are marked."""
    device = RELEASED + re.sub(r"[^A-Za-z0-9_-]+", "-", by)[:48]
    clock = {"clock": int(Clock.IMPLAUSIBLE)} if shift else {}
    return [msgspec.structs.replace(row, at=row.at + shift, device=device, epoch=0, seq=0, **clock) for row in rows]


def records(rows: Sequence[Row], partitions: int) -> list[Record]:
    """Of each partition in order of time."""

    def partition(row: Row) -> int:
        return wire.partition_of(row.unit, partitions)

    made = []
    for n, group in groupby(sorted(rows, key=lambda row: (partition(row), row.at)), key=partition):
        some = list(group)
        for i in range(0, len(some), ROWS):
            made.append(Record(wire.POSITIONS, n, "", wire.encode_positions(batch_of(some[i : i + ROWS]))))
    return made
