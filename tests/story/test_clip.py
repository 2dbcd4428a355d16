"""A film of a fire through the live system: killed in the middle, it tells the same alarms of the same frames."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.message import SECOND
from pipeline.store import open_store
from pipeline.wire import parse_rfc3339
from tests.live.process import wait_until
from tests.story.day import alarms
from tests.story.stack import Agent, Stack, embedded, filmed

CLIP = "clips/fire_night_pile.mp4"
START = "2026-01-01T00:00:00Z"
PARTS = ("bridge", "worker-vision", "worker-alarms")
RULES = """
[[rule]]
name = "fire"
kind = "sighting"
label = "fire"
persist_s = 1
"""

Seen = tuple[list[tuple[int, int]], dict[str, str]]


def live(data_dir: Path, folder: Path, *, kills: Sequence[str]) -> Seen:
    """Times of the stored frames with what was seen in each, and the alarms; `kills` die one after the other."""
    (folder / "rules.toml").write_text(RULES)
    (folder / "fleet.csv").write_text("unit\n")
    with embedded(folder, rules=folder / "rules.toml", fleet=folder / "fleet.csv", parts=PARTS) as stack:
        source = filmed(data_dir / CLIP, start=START, speed=1.0, interval_s=0.5)
        with Agent("tower", stack.settings.mqtt.port, source) as agent:
            for name in kills:
                time.sleep(2)
                victim = agent if name == "edge" else stack.killable()[name]
                victim.kill()
                victim.start()
            agent.wait_done(150)
        wait_until(lambda: len(frames(stack)) >= 34, 60, "every frame scored")
        wait_until(lambda: bool(alarms(stack.settings)), 20, "an alarm")
        time.sleep(3)
        return frames(stack), alarms(stack.settings)


def frames(stack: Stack) -> list[tuple[int, int]]:
    start = parse_rfc3339(START)
    store = open_store(stack.settings)
    found = store.frames("tower", start, start + 3600 * SECOND)
    store.close()
    return [(frame.at, len(frame.detections)) for frame in found]


@pytest.mark.timeout(500, func_only=True)
def test_a_film_with_every_part_killed_once(
    data_dir: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEDETTE_VISION_MAX_AGE_S", "600")  # on a slow machine no frame gives way, so runs compare
    calm = live(data_dir, tmp_path_factory.mktemp("calm"), kills=[])
    stormy = live(data_dir, tmp_path_factory.mktemp("stormy"), kills=["worker-vision", "edge", "nats", "bridge"])
    assert stormy == calm
    assert set(calm[1].values()) <= {"raised", "cleared"}
