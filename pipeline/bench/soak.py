"""The vision worker in the real stack, fed below saturation: time to the store, and memory over many frames.

cameras (a process) ─► MQTT ─► bridge ─► log ─► vision worker ─► store ◄─ read by the bench, every POLL_S

A frame's time begins when it is handed to MQTT and ends when a reader of the store first finds its row.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline import wire
from pipeline.bench.figure import Figure, NotMeasured, percentile
from pipeline.bench.frames import Cameras, camera_name
from pipeline.bench.options import Options
from pipeline.bench.rig import Rig, rig
from pipeline.bench.world import World
from pipeline.ports import Store
from pipeline.store import open_store

PART = "worker-vision"
CAMERAS = "pipeline.bench.frames"
LOAD = 0.5
"""Of the frames/s that the stage alone has just done: bridge, log, store and the cameras need cores as well."""
EARLY = 0.1
"""Part of the frames after which memory is read for the first time."""
POLL_S, PULSE_S = 0.02, 1.0
PATIENCE_S = 60.0
FAR = 1 << 60
TARGET_MS, GROWTH = 1000.0, 1.05
RULES = """
[[rule]]
name = "fire"
kind = "sighting"
label = "fire"

[[rule]]
name = "smoke"
kind = "sighting"
label = "smoke"
"""


def write_world(folder: Path) -> None:
    """One unit, and rules that look for fire and smoke."""
    World(start=0, units=1).write(folder)
    with (folder / "rules.toml").open("a", encoding="utf-8") as rules:
        rules.write(RULES)


@dataclass(slots=True)
class Watched:
    """What a reader of the store has seen so far: milliseconds of each frame, newest `at` of each camera."""

    cameras: tuple[str, ...]
    waits: list[float] = field(default_factory=list)
    newest: dict[str, int] = field(default_factory=dict)

    def look(self, store: Store) -> None:
        for camera in self.cameras:
            rows = store.frames(camera, self.newest.get(camera, 0) + 1, FAR)
            now = time.time_ns() // 1000
            self.waits += [(now - row.at) / 1000 for row in rows]
            if rows:
                self.newest[camera] = rows[-1].at


def run(options: Options, stage_rate: float) -> Iterator[Figure]:
    """`stage_rate`: frames/s of the stage alone, from which the load is taken."""
    frames, rate = options.scale.soak, stage_rate * LOAD
    options.say(f"vision: {frames} frames through the stack at {rate:.1f} a second")
    with rig(write_world, say=options.say) as system:
        system.start("bridge")
        system.start("worker", "vision")
        watched = Watched(tuple(camera_name(n) for n in range(Cameras(0, 0, 0.0).cameras)))
        begun = time.monotonic()
        about = {"port": system.settings.mqtt.port, "frames": frames, "rate": rate}
        system.spawn("cameras", CAMERAS, about)
        memory = _follow(system, watched, frames, begun + frames / rate + PATIENCE_S)
        shed = _given_way(system, frames)
    words = (
        f"memory (RSS) of the vision worker after {frames:,} frames against after {round(frames * EARLY):,}; "
        f"flat: at most {GROWTH:g} times"
    )
    yield Figure("vision_memory", memory[1], "MB", memory[0], words)
    if shed:
        raise NotMeasured(
            f"time to the store: {shed} of {frames} frames gave way at {rate:.1f}/s: it was saturated"
        )
    how = f"{frames:,} frames of {len(watched.cameras)} cameras at {rate:.1f}/s, half of what the stage alone does"
    for part, share in (("p50", 0.5), ("p95", 0.95)):
        words = f"the target; frame handed to MQTT to row in the store, {how}; lower is better"
        yield Figure(f"vision_stored_{part}", percentile(watched.waits, share), "ms", TARGET_MS, words)


def _follow(system: Rig, watched: Watched, frames: int, until: float) -> tuple[float, float]:
    """RSS in MB after an early part of the frames and after all of them, stored or given way."""
    store, early, shed, asked = open_store(system.settings), 0.0, 0, 0.0
    try:
        while len(watched.waits) + shed < frames:
            watched.look(store)
            if time.monotonic() - asked > PULSE_S:
                shed, asked = _shed(system), time.monotonic()
            if not early and len(watched.waits) >= frames * EARLY:
                early = rss_mb(system)
            if time.monotonic() > until:
                raise NotMeasured(f"{len(watched.waits)} of {frames} frames were stored, {shed} gave way")
            time.sleep(POLL_S)
    finally:
        store.close()
    if not early:
        raise NotMeasured(f"only {len(watched.waits)} of {frames} frames were scored, the others gave way")
    return early, rss_mb(system)


def _given_way(system: Rig, frames: int) -> int:
    """Frames that were not scored, by the worker's account of them all: with any it was not below saturation."""
    system.wait(lambda: system.handled(PART, wire.FRAMES)[0] >= frames, PATIENCE_S, "a pulse after the last frame")
    return _shed(system)


def _shed(system: Rig) -> int:
    return sum(system.pulse(PART).get(wire.FRAMES, {}).get("shed", {}).values())


def rss_mb(system: Rig) -> float:
    """Memory that the vision worker holds now, by the kernel's account, in MB of 1,000,000 bytes."""
    status = Path(f"/proc/{system.supervisor.children[PART].process.pid}/status").read_text("utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6
