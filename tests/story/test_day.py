"""A recorded day of 300 buses: replay and the live system tell the same alarms, whatever is killed meanwhile."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.alarms.book import open_book
from pipeline.replay import changes, replay
from pipeline.rules.config import load
from pipeline.settings import Settings
from pipeline.store import open_store
from pipeline.trackfile import read_fixes
from tests.live.process import Server, wait_until
from tests.story.stack import Agent, Stack

DAY = "vehicles/tracks/capmetro_austin_bus_20161124.csv.gz"
PARTS = ("bridge", "worker-telemetry", "worker-alarms")
TIME = 2**60
RULES = """
[[rule]]
name = "downtown"
kind = "geofence"
fences = "{fences}"
on = "enter"

[[rule]]
name = "lingers"
kind = "geofence"
fences = "{fences}"
on = "dwell"
dwell_s = 1800

[[rule]]
name = "fast"
kind = "speed"
limit_kmh = 100
min_duration_s = 0

[[rule]]
name = "quiet"
kind = "silence"
limit_s = 1800
"""


@dataclass(frozen=True)
class Day:
    """What the recording says, worked out by the pure functions alone."""

    tracks: Path
    rules: Path
    fleet: Path
    positions: frozenset[tuple[str, int]]
    raised: frozenset[str]
    cleared: frozenset[str]


@pytest.fixture(scope="module")
def day(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Day:
    folder = tmp_path_factory.mktemp("day")
    rules, fleet = folder / "rules.toml", folder / "fleet.csv"
    rules.write_text(RULES.format(fences=data_dir / "vehicles/fences/us_austin_neighborhoods.geojson"))
    fixes = list(read_fixes([data_dir / DAY]))
    units = sorted({fix.unit for fix in fixes})
    fleet.write_text("unit,group,operator,purpose\n" + "".join(f"{unit},bus,capmetro,test\n" for unit in units))
    told = list(changes(replay(fixes, load(rules))))
    return Day(
        tracks=data_dir / DAY,
        rules=rules,
        fleet=fleet,
        positions=frozenset((fix.unit, fix.at) for fix in fixes),
        raised=frozenset(c.alarm for c in told if c.change == "raised"),
        cleared=frozenset(c.alarm for c in told if c.change == "cleared"),
    )


@pytest.fixture
def stack(day: Day, tmp_path: Path) -> Iterator[Stack]:
    with Stack(tmp_path, rules=day.rules, fleet=day.fleet, parts=PARTS) as running:
        yield running


def stored(settings: Settings, day: Day) -> list[tuple[str, int]]:
    store = open_store(settings)
    units = sorted({unit for unit, _at in day.positions})
    found = [(unit, at) for unit in units for at in store.track(unit, 0, TIME).at.tolist()]
    store.close()
    return found


def alarms(settings: Settings) -> dict[str, str]:
    """State by id, of the alarms about units (an agent that was killed may have been silent for a while)."""
    book = open_book(settings)
    found = {alarm.id: alarm.state for alarm in book.alarms(limit=100_000)}
    book.close()
    return found


def assert_same(settings: Settings, day: Day) -> None:
    """Nothing missing, nothing doubled, the same alarms in the same states."""
    wait_until(lambda: len(stored(settings, day)) >= len(day.positions), 60, "every position stored")
    wait_until(lambda: set(alarms(settings)) >= day.raised, 60, "every alarm raised")
    time.sleep(2)
    found = stored(settings, day)
    assert len(found) == len(set(found))
    assert set(found) == day.positions
    states = alarms(settings)
    assert set(states) == day.raised
    assert {alarm for alarm, state in states.items() if state == "cleared"} == day.cleared


def test_the_live_system_tells_the_alarms_of_the_replay(stack: Stack, day: Day) -> None:
    assert len(day.raised) > 100
    with Agent("buses", stack.nats, day.tracks) as agent:
        agent.wait_done(120)
    assert_same(stack.settings, day)


@pytest.mark.timeout(400, func_only=True)
@pytest.mark.parametrize("seed", [1, 2])
def test_any_part_may_be_killed_at_any_moment(stack: Stack, day: Day, seed: int) -> None:
    """Each part dies by kill -9 in the middle, some twice, in an order and at moments that the seed gives."""
    chance = random.Random(seed)
    with Agent("buses", stack.nats, day.tracks, speed=2000) as agent:
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
