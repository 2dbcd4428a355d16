"""`crowd`: what the telemetry fold keeps of 100,000 units, as memory of the process and as a snapshot."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.bench.figure import Figure
from pipeline.bench.options import BATCH, FENCES, Options
from pipeline.bench.rig import settings_in
from pipeline.bench.world import World
from pipeline.message import SECOND

CROWD = 100_000
ROUNDS = 3
"""Fixes of each unit; memory is compared after the first and the last."""

MEMORY_MB, SNAPSHOT_MB = 500.0, 100.0


def run(options: Options) -> Iterator[Figure]:
    """One partition with every unit in it; no log and no store."""
    from pipeline.app import telemetry_stages

    world = World(start=time.time_ns() // 1000 - 3_600 * SECOND, units=CROWD)
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder:
        world.write(Path(folder))
        stage, *_others = telemetry_stages(settings_in(Path(folder)))
        before, state, seen = _resident(), stage.initial(), list[float]()
        turns = CROWD // BATCH
        for number in range(ROUNDS):
            options.say(f"crowd: fix {number + 1} of each of {CROWD:,} units")
            for record in world.records(turns, partitions=1, first=number * turns):
                state, _outcome = stage.handle(state, [record.value])
            seen.append(_resident() - before)
        snapshot = len(stage.dump(state)) / 1e6
    words = f"at most; {CROWD:,} units, {FENCES} fences, speed and silence, one partition; lower is better"
    yield Figure("crowd_memory", seen[-1], "MB", MEMORY_MB, words)
    yield Figure(
        "crowd_growth", max(seen[-1] - seen[0], 0.001), "MB", seen[0], "the first fix of each unit; later ones"
    )
    yield Figure("crowd_snapshot", snapshot, "MB", SNAPSHOT_MB, "at most; the state as it is saved")


def _resident() -> float:
    """MB of this process, now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
