"""The recorded day, what the pure functions make of it, and the check that a live system made the same."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.alarms.book import open_book
from pipeline.replay import changes, replay
from pipeline.rules.config import load
from pipeline.settings import Settings
from pipeline.store import open_store
from pipeline.trackfile import read_fixes
from tests.live.process import wait_until

DAY = "vehicles/tracks/capmetro_austin_bus_20161124.csv.gz"
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


def make_day(data_dir: Path, folder: Path) -> Day:
    """Work out the day; rules and fleet are written to `folder`."""
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
