"""A recorded day of 300 buses: replay and the live system tell the same alarms, whatever is killed meanwhile."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.process import Server
from tests.story.day import Day, assert_same, make_day
from tests.story.stack import Agent, Stack, embedded, played

PARTS = ("bridge", "worker-telemetry", "worker-alarms")


@pytest.fixture(scope="module")
def day(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Day:
    return make_day(data_dir, tmp_path_factory.mktemp("day"))


@pytest.fixture
def stack(day: Day, tmp_path: Path) -> Iterator[Stack]:
    with embedded(tmp_path, rules=day.rules, fleet=day.fleet, parts=PARTS) as running:
        yield running


def test_the_live_system_tells_the_alarms_of_the_replay(stack: Stack, day: Day) -> None:
    assert len(day.raised) > 100
    with Agent("buses", stack.settings.mqtt.port, played(day.tracks)) as agent:
        agent.wait_done(120)
    assert_same(stack.settings, day)


@pytest.mark.timeout(400, func_only=True)
@pytest.mark.parametrize("seed", [1, 2])
def test_any_part_may_be_killed_at_any_moment(stack: Stack, day: Day, seed: int) -> None:
    """Each part dies by kill -9 in the middle, some twice, in an order and at moments that the seed gives."""
    chance = random.Random(seed)
    with Agent("buses", stack.settings.mqtt.port, played(day.tracks, speed=2000)) as agent:
        victims: list[tuple[str, Server]] = [*stack.killable().items(), ("edge", agent)]
        victims += chance.sample(victims, 2)
        chance.shuffle(victims)
        for _name, victim in victims:
            time.sleep(chance.uniform(0.2, 3.0))
            victim.kill()
            time.sleep(chance.uniform(0.0, 1.0))
            victim.start()
        agent.wait_done(150)
    assert_same(stack.settings, day)
