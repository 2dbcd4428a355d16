"""How much a run of the benches does, and what else it may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.settings import StoreTable

BATCH = 200
"""Positions in a record, as in the design's numbers."""
FENCES, VERTICES = 100, 60
UNITS = 10_000


@dataclass(frozen=True, slots=True)
class Scale:
    """Counts of one run. `stored` are positions that lie in the store before it is timed, `soak` the frames over
    which the vision worker is watched."""

    fold_records: int
    records: int
    stored: int
    messages: int
    paced_s: float
    frames: int
    soak: int
    probes: int


SCALES = {
    "small": Scale(
        fold_records=1_500, records=4_000, stored=0, messages=20_000, paced_s=5.0, frames=48, soak=400, probes=40
    ),
    "full": Scale(
        fold_records=10_000,
        records=20_000,
        stored=10_000_000,
        messages=200_000,
        paced_s=30.0,
        frames=240,
        soak=10_000,
        probes=300,
    ),
}
"""`small` takes some four minutes for everything, `full` half an hour."""


def silent(_text: str) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a bench is given. `influx`: a bucket of InfluxDB 2 to write to as well; `kafka`: bootstrap servers."""

    scale: Scale
    influx: StoreTable | None = None
    kafka: str = ""
    say: Callable[[str], None] = silent
