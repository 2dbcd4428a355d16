"""A campaign of kill -9: whatever dies, and however often, the history is that of an undisturbed run.

VEDETTE_KILLS       how many kills (default 100, some three minutes)
VEDETTE_KILLS_SEED  which of the campaigns (default 1); a failure names it
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.message import SECOND, PositionBatch
from pipeline.rules.config import load
from pipeline.rules.fleet import load_fleet
from pipeline.trackfile import read_columns
from tests.live.process import Server
from tests.story.day import DAY, Day, make_day
from tests.story.history import History, assert_history, differences, undisturbed
from tests.story.kills import Toll, settle, storm
from tests.story.stack import Agent, Stack, embedded, played

KILLS = int(os.environ.get("VEDETTE_KILLS", "100"))
SEED = int(os.environ.get("VEDETTE_KILLS_SEED", "1"))
PARTS = ("bridge", "worker-telemetry", "worker-alarms")
LONGEST = 4.0
"""Seconds that one kill and what follows it may take on a busy machine: the recording plays all that time."""


@pytest.fixture(scope="module")
def day(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Day:
    return make_day(data_dir, tmp_path_factory.mktemp("day"))


def weather(stack: Stack, tracks: PositionBatch, day: Day, *, kills: int, rare: dict[str, float]) -> Toll:
    """Play the day so that it lasts longer than the kills, and then send the rest at once."""
    speed = (int(tracks.at[-1]) - int(tracks.at[0])) / SECOND / (kills * LONGEST)
    with Agent("buses", stack.settings.mqtt.port, played(day.tracks, speed=speed)) as agent:
        victims: dict[str, Server] = {**stack.killable(), "edge": agent}
        toll = storm(victims, rare, kills=kills, seed=SEED)
        assert agent.child is not None
        assert agent.child.poll() is None, "the recording was over before the last kill"
        agent.kill()
        agent.config.write_text(agent.config.read_text().replace(f"speed = {speed}", "speed = 0"))
        agent.begin()
        settle(stack.killable(), toll, 90)
        agent.wait_done(150)
    return toll


@pytest.mark.timeout(120 + 5 * KILLS, func_only=True)
def test_random_kills_on_the_embedded_engine(
    day: Day, data_dir: Path, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    tracks = read_columns([data_dir / DAY])
    wanted = undisturbed(tracks, load(day.rules), load_fleet(day.fleet))
    assert len(wanted.changes) > 200
    with embedded(tmp_path, rules=day.rules, fleet=day.fleet, parts=PARTS) as stack:
        toll = weather(stack, tracks, day, kills=KILLS, rare={})
        print(f"seed {SEED}: {toll}")
        record_property("toll", str(toll))
        assert_history(stack.settings, wanted)


def test_the_checker_sees_what_is_wrong(day: Day, data_dir: Path) -> None:
    """A fix too few, another value, an alarm twice, one missing, one in another state: each is told."""
    tracks = read_columns([data_dir / DAY])
    wanted = undisturbed(tracks, load(day.rules), load_fleet(day.fleet))
    assert not list(differences(wanted, wanted))
    unit, (first, second, *_rest) = next(iter(wanted.tracks)), list(wanted.changes)
    less = {**wanted.tracks, unit: wanted.tracks[unit][:, 1:]}
    other = {**wanted.tracks, unit: wanted.tracks[unit] + 1e-9}
    twice, missing = wanted.changes.copy(), wanted.changes.copy()
    twice[first] += 1
    del missing[second]
    states = {**wanted.states, first.alarm: "acknowledged"}
    for wrong, word in (
        (History(less, wanted.changes, wanted.states), f"track of {unit}"),
        (History(other, wanted.changes, wanted.states), f"track of {unit}"),
        (History(wanted.tracks, twice, wanted.states), "too many (1 times)"),
        (History(wanted.tracks, missing, wanted.states), "missing (1 times)"),
        (History(wanted.tracks, wanted.changes, states), f"alarm {first.alarm} is acknowledged"),
    ):
        (line,) = differences(wanted, wrong)
        assert line.startswith(word)
