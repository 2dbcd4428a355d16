"""`telemetry`: positions/s of the real worker, from a log filled beforehand to committed store writes.

Time runs between two of the worker's own pulses: the first after it has begun and the last. Each says how many
records were committed and when the last of them was, so neither start nor the pulse's period is in the figure.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from pipeline import faustapp, wire
from pipeline.bench.figure import Figure, NotMeasured
from pipeline.bench.kafka import borrowed
from pipeline.bench.options import BATCH, FENCES, UNITS, VERTICES, Options
from pipeline.bench.rig import LOG_BYTES, Rig, rig
from pipeline.bench.world import World, unit_name
from pipeline.log import Log
from pipeline.message import SECOND
from pipeline.ports import Store
from pipeline.record import Record
from pipeline.settings import Log as LogTable
from pipeline.settings import Settings
from pipeline.store import open_store
from pipeline.telemetry.stage import PositionStage

SQLITE, INFLUX, KAFKA = 50_000, 100_000, 200_000
PART = "worker-telemetry"
APPENDED = 400
"""Records given to the log at a time."""
CHECKED = 20
"""Units whose whole track is read back afterwards."""
SECONDS_AT_THE_MOST = 600.0


@dataclass(frozen=True, slots=True)
class Case:
    """One pair of log and store, and the design's target for it. `tables` are settings that differ."""

    name: str
    aim: str
    target: float
    tables: dict[str, Any] = field(default_factory=dict)


class Speed(NamedTuple):
    """Positions by second of the clock, and by second of the worker's CPU time."""

    by_clock: float
    by_cpu: float


def run(options: Options) -> Iterator[Figure]:
    """The embedded pair; then InfluxDB and Kafka where the options name them."""
    yield from _measure(Case("telemetry", "the target into SQLite", SQLITE), options)
    if options.influx:
        yield from _measure(
            Case("telemetry_influxdb", "the target into InfluxDB 2", INFLUX, {"store": options.influx}), options
        )
    if options.kafka:
        with borrowed(options.kafka):
            log = LogTable(engine="kafka", url=f"kafka://{options.kafka}", max_bytes=LOG_BYTES, receipt_delay_s=0)
            yield from _measure(
                Case(
                    "telemetry_kafka",
                    "the target on Kafka without a store, while ours stores in SQLite",
                    KAFKA,
                    {"log": log},
                ),
                options,
            )


def _measure(case: Case, options: Options) -> list[Figure]:
    scale = options.scale
    world = World(start=time.time_ns() // 1000 - 3_600 * SECOND)
    with rig(world.write, say=options.say, **case.tables) as system:
        parts = system.settings.log.partitions
        before, turns = -(-scale.stored // BATCH // parts), -(-scale.records // parts)
        with _store(system.settings) as store:
            options.say(f"{case.name}: {(before + turns) * parts * BATCH:,} positions straight into the store")
            _write(store, world.records(before, partitions=parts))
            bare = _write(store, world.records(turns, partitions=parts, first=before))
        options.say(f"{case.name}: {turns * parts * BATCH:,} positions onto the log")
        fill(system.settings, world.records(turns, partitions=parts, first=before + turns))
        speed = _timed(system, turns * parts)
        system.supervisor.stop()
        check(system.settings, world, turns=before + 2 * turns)
    words = f"{case.aim}{_with(scale.stored)}; {_what()}"
    beside = f"the bare store: the worker's commits of {PositionStage.max_records} records, written by a plain loop"
    core = f"{case.aim}; by CPU seconds of the worker, all its threads: other load on the machine weighs less"
    unit = "positions/s"
    return [
        Figure(case.name, speed.by_clock, unit, case.target, words),
        Figure(f"{case.name}_per_core", speed.by_cpu, unit, case.target, core),
        Figure(f"{case.name}_vs_store", speed.by_clock, unit, bare, beside),
    ]


def _with(stored: int) -> str:
    return f" with {stored / 1e6:.0f} million positions in it already" if stored else ""


def _what() -> str:
    return (
        f"log to commit, {BATCH} a record, {FENCES} fences of {VERTICES} vertices, speed and silence of "
        f"{UNITS:,} units, one worker process"
    )


@contextmanager
def _store(settings: Settings) -> Iterator[Store]:
    store = open_store(settings)
    try:
        yield store
    finally:
        store.close()


def _write(store: Store, records: Iterator[Record]) -> float:
    """Positions/s of write_positions alone, committed as the worker does; making and decoding is not timed."""
    rows, took = 0, 0.0
    while some := list(itertools.islice(records, PositionStage.max_records)):
        batches = [wire.decode_positions(record.value) for record in some]
        rows += sum(len(batch) for batch in batches)
        begun = time.perf_counter()
        store.write_positions(batches)
        took += time.perf_counter() - begun
    return rows / took if rows else 0.0


def fill(settings: Settings, records: Iterator[Record]) -> None:
    """Append records to the log and wait until it has acknowledged them."""

    async def append() -> None:
        log = Log(faustapp.create(settings, "bench"))
        await log.open()
        try:
            while some := list(itertools.islice(records, APPENDED)):
                await log.append(some)
        finally:
            await log.close()

    asyncio.run(append())


def _timed(system: Rig, records: int) -> Speed:
    """Start the worker and let it handle `records`."""
    system.start("worker", "telemetry")
    begun: list[tuple[int, int, float]] = []

    def done() -> bool:
        now = system.handled(PART, wire.POSITIONS)
        if not begun and now[0]:
            begun.append((*now, system.cpu_seconds(PART)))
        return now[0] >= records

    system.wait(done, SECONDS_AT_THE_MOST, f"the worker to handle {records} records")
    cpu = system.cpu_seconds(PART)
    (count, since, used), (last, until) = begun[0], system.handled(PART, wire.POSITIONS)
    if last - count < records / 4:
        raise NotMeasured("the worker was done before it could be timed: take a larger --scale")
    rows = (last - count) * BATCH
    return Speed(rows * SECOND / (until - since), rows / (cpu - used))


def check(settings: Settings, world: World, *, turns: int) -> None:
    """The whole tracks of a few units must be in the store: a fast worker that loses something is not fast."""
    end = world.start + turns * BATCH * SECOND
    with _store(settings) as store:
        for number in range(0, world.units, max(1, world.units // CHECKED)):
            found = store.track(unit_name(number), world.start, end).at
            wanted = world.fixes_of(number, turns, partitions=settings.log.partitions)
            if not np.array_equal(found, world.start + np.arange(wanted) * SECOND):
                raise NotMeasured(f"{unit_name(number)}: {len(found)} of {wanted} positions are in the store")
