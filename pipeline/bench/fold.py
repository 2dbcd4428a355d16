"""`fold`: records of positions through decode, clean and rules, with no log and no store."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from pipeline.bench.figure import Figure
from pipeline.bench.options import BATCH, FENCES, UNITS, VERTICES, Options
from pipeline.bench.rig import settings_in
from pipeline.bench.world import World

TARGET = 400_000


def run(options: Options) -> list[Figure]:
    """One partition, as the worker handles it: as many records at once as it takes from the log."""
    from pipeline.app import telemetry_stages

    world = World(start=time.time_ns() // 1000 - 3_600_000_000)
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder:
        world.write(Path(folder))
        stage, *_others = telemetry_stages(settings_in(Path(folder)))
        values = [record.value for record in world.records(options.scale.fold_records, partitions=1)]
        options.say(f"fold: {len(values) * BATCH:,} positions")
        state = stage.initial()
        begun, used = time.perf_counter(), time.thread_time()
        for i in range(0, len(values), stage.max_records):
            state, _outcome = stage.handle(state, values[i : i + stage.max_records])
        took, worked = time.perf_counter() - begun, time.thread_time() - used
    rows = len(values) * BATCH
    words = (
        f"the target; decode, clean, {FENCES} fences of {VERTICES} vertices, speed and silence of "
        f"{UNITS:,} units, {BATCH} a record, one thread, no log and no store"
    )
    core = "the same by the thread's CPU seconds: other load on the machine weighs less"
    return [
        Figure("fold", rows / took, "positions/s", TARGET, words),
        Figure("fold_per_core", rows / worked, "positions/s", TARGET, core),
    ]
