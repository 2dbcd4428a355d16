"""What the benches run on: a made-up region of fences, a fleet in it, and its positions as records of the log.

Every unit drives straight ahead at a speed of its own and turns round at the region's edge, so that fences are
entered and left all the time: about one crossing in a thousand positions, as in a town.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import wire
from pipeline.bench.options import BATCH, FENCES, UNITS, VERTICES
from pipeline.message import SECOND, Floats, Ints, PositionBatch, Source
from pipeline.record import Record

SOUTH, WEST, HIGH, WIDE = 50.0, 10.0, 1.0, 1.5
"""The region, in degrees."""
METRES_A_DEGREE = 111_320.0
DEVICE, EPOCH = "bench", 1
PROBES = 2_000
"""Units that are enrolled beside the fleet, each to be seen once (latency)."""
RULES = """\
[[rule]]
name = "fence"
kind = "geofence"
fences = "fences.geojson"
on = "enter"

[[rule]]
name = "overspeed"
kind = "speed"
limit_kmh = 110

[[rule]]
name = "unit-silent"
kind = "silence"
limit_s = 900
"""


def unit_name(number: int) -> str:
    return f"unit-{number:05d}"


def probe_name(number: int) -> str:
    return f"probe-{number:04d}"


@dataclass(frozen=True, slots=True)
class World:
    """`units` vehicles and the fences; `start` is the event time of the first position, in microseconds."""

    start: int
    units: int = UNITS
    fences: int = FENCES
    seed: int = 1
    _from: Floats = field(init=False)
    _speed: Floats = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        angle, pace = rng.uniform(0, 2 * np.pi, self.units), rng.uniform(8, 25, self.units) / METRES_A_DEGREE
        aspect = np.cos(np.radians(SOUTH + HIGH / 2))
        object.__setattr__(self, "_from", rng.uniform(0, 1, (self.units, 2)) * (HIGH, WIDE))
        object.__setattr__(self, "_speed", np.stack((pace * np.cos(angle), pace * np.sin(angle) / aspect), axis=1))

    # -------------------------------------------------------------- files

    def write(self, folder: Path) -> None:
        """fences.geojson, rules.toml and fleet.csv."""
        (folder / "fences.geojson").write_text(json.dumps(self.geojson()), "utf-8")
        (folder / "rules.toml").write_text(RULES, "utf-8")
        names = [unit_name(n) for n in range(self.units)] + [probe_name(n) for n in range(PROBES)]
        (folder / "fleet.csv").write_text("unit,group\n" + "".join(f"{name},\n" for name in names), "utf-8")

    def geojson(self) -> dict[str, Any]:
        """Star-shaped fences of 60 vertices, 1.5 to 3 km from their centre."""
        rng = np.random.default_rng(self.seed + 1)
        features = []
        for number in range(self.fences):
            radius = rng.uniform(1_500, 3_000, VERTICES) / METRES_A_DEGREE
            angle = np.linspace(0, 2 * np.pi, VERTICES, endpoint=False)
            lat, lon = self.centre(number)
            ring = np.stack((lon + radius * np.cos(angle) / 0.64, lat + radius * np.sin(angle)), axis=1).tolist()
            shape = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
            features.append({"type": "Feature", "properties": {"id": f"fence-{number}"}, "geometry": shape})
        return {"type": "FeatureCollection", "features": features}

    def centre(self, number: int) -> tuple[float, float]:
        """Latitude and longitude inside fence `number`: they lie in a square grid."""
        side = int(np.ceil(np.sqrt(self.fences)))
        row, column = divmod(number % self.fences, side)
        return SOUTH + HIGH * (row + 0.5) / side, WEST + WIDE * (column + 0.5) / side

    # -------------------------------------------------------------- positions

    def places(self, unit: Ints, seconds: Ints) -> tuple[Floats, Floats]:
        """Latitude and longitude of units, each at its own second after the start."""
        size = np.array((HIGH, WIDE))
        way = self._from[unit] + self._speed[unit] * seconds[:, None]
        folded = size - np.abs(way % (2 * size) - size)
        return SOUTH + folded[:, 0], WEST + folded[:, 1]

    def batch(self, unit: Ints, seconds: Ints, seq: int) -> PositionBatch:
        """One record's rows, message `seq` of the bench's device, received as they were stamped."""
        n = len(unit)
        known, codes = np.unique(unit, return_inverse=True)
        lat, lon = self.places(unit, seconds)
        at = self.start + seconds * SECOND
        pace = np.hypot(self._speed[unit, 0], self._speed[unit, 1] * 0.64) * METRES_A_DEGREE
        return PositionBatch(
            units=tuple(unit_name(int(u)) for u in known),
            sources=(Source(DEVICE, EPOCH),),
            unit=codes.astype(np.uint32),
            source=np.zeros(n, np.uint32),
            seq=np.full(n, seq, np.int64),
            at=at,
            received=at,
            lat=lat,
            lon=lon,
            speed=pace.astype(np.float32),
            course=np.full(n, 90, np.float32),
            alt=np.full(n, np.nan, np.float32),
            accuracy=np.full(n, 5, np.float32),
            clock=np.zeros(n, np.uint8),
        )

    def records(self, turns: int, *, partitions: int, first: int = 0) -> Iterator[Record]:
        """`turns` records of BATCH positions for each partition, which take turns; units move second by second.

        `first` is the number of the first record of each partition: the rows go on where that many left off.
        """
        mine = [self._units_of(partition, partitions) for partition in range(partitions)]
        for number, partition in itertools.product(range(first, first + turns), range(partitions)):
            units = mine[partition]
            row = np.arange(number * BATCH, (number + 1) * BATCH, dtype=np.int64)
            batch = self.batch(units[row % len(units)], row // len(units), number + 1)
            yield Record(wire.POSITIONS, partition, "", wire.encode_positions(batch))

    def fixes_of(self, unit: int, turns: int, *, partitions: int) -> int:
        """How many positions of `unit` are in the first `turns` records of its partition."""
        mine = self._units_of(wire.partition_of(unit_name(unit), partitions), partitions)
        return len(range(int(np.searchsorted(mine, unit)), turns * BATCH, len(mine)))

    def _units_of(self, partition: int, partitions: int) -> Ints:
        names = (wire.partition_of(unit_name(n), partitions) == partition for n in range(self.units))
        return np.flatnonzero(np.fromiter(names, np.bool_, self.units)).astype(np.int64)
