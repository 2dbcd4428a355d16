"""Fixes on their way into one position record: rows as they come, columns as they leave."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.message import POSITION_COLUMNS, POSITION_DTYPES, Fix, PositionBatch, Source


@dataclass
class Columns:
    """Rows on their way into one position record."""

    units: dict[str, int] = field(default_factory=dict)
    sources: dict[Source, int] = field(default_factory=dict)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    ticks: dict[str, int] = field(default_factory=dict)

    def add(self, source: Source, seq: int, received: int, fix: Fix) -> None:
        unit = self.units.setdefault(fix.unit, len(self.units))
        origin = self.sources.setdefault(source, len(self.sources))
        place = (unit, origin, seq, fix.at, received, fix.lat, fix.lon)
        self.rows.append((*place, fix.speed, fix.course, fix.alt, fix.accuracy, fix.clock))

    def batch(self) -> PositionBatch:
        transposed: Iterable[tuple[Any, ...]] = (
            zip(*self.rows, strict=True) if self.rows else [()] * len(POSITION_COLUMNS)
        )
        columns: dict[str, Any] = {
            name: np.array(values, POSITION_DTYPES[name])
            for name, values in zip(POSITION_COLUMNS, transposed, strict=True)
        }
        return PositionBatch(
            units=tuple(self.units), sources=tuple(self.sources), ticks=tuple(self.ticks.items()), **columns
        )
