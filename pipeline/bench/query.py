"""`query`: one vehicle's day out of a full store, as a traffic team asks for it: 86,400 fixes, one a second."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline import wire
from pipeline.bench.figure import Figure, NotMeasured, median
from pipeline.bench.options import BATCH, Options
from pipeline.bench.rig import settings_in
from pipeline.bench.world import World, unit_name
from pipeline.message import SECOND
from pipeline.ports import Store
from pipeline.store import open_store

DAY = 86_400
LEAST = 1_000_000
"""Positions of other units in the store, at any scale."""

TARGET_MS = 1000.0
TIMES = 5
TOGETHER = 200
"""Records a commit, as the telemetry worker makes them."""


def run(options: Options) -> Iterator[Figure]:
    """The median of TIMES queries through a store that was opened anew; the first one counts too."""
    others = max(LEAST, options.scale.stored)
    world = World(start=time.time_ns() // 1000 - 2 * DAY * SECOND)
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder:
        settings = settings_in(Path(folder))
        options.say(f"query: {others + DAY:,} positions into the store")
        store = open_store(settings)
        _fill(store, world, others)
        store.close()
        store = open_store(settings)
        took = [_ask(store, world) for _ in range(TIMES)]
        store.close()
    words = f"at most; one unit's day of {DAY:,} fixes out of {others / 1e6:g} million in SQLite, lower is better"
    yield Figure("query_day", median(took), "ms", TARGET_MS, words)
    yield Figure("query_day_worst", max(took), "ms", TARGET_MS, f"at most; the slowest of {TIMES} such queries")


def _fill(store: Store, world: World, others: int) -> None:
    """The day of unit 0 first, then the others, who take turns."""
    seconds = np.arange(DAY, dtype=np.int64)
    store.write_positions([world.batch(np.zeros(DAY, np.int64), seconds, 1)])
    rest = (wire.decode_positions(record.value) for record in world.records(-(-others // BATCH), partitions=1))
    while some := list(itertools.islice(rest, TOGETHER)):
        store.write_positions(some)


def _ask(store: Store, world: World) -> float:
    """Milliseconds. NotMeasured if not the whole day comes."""
    begun = time.perf_counter()
    found = store.track(unit_name(0), world.start, world.start + DAY * SECOND)
    took = (time.perf_counter() - begun) * 1000
    if len(found) != DAY:
        raise NotMeasured(f"{len(found)} of {DAY} fixes came")
    return took
