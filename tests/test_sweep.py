"""Alarms whose rule is gone are ended, once, and those of rules that remain are left alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline import wire
from pipeline.alarms.merge import Merge
from pipeline.alarms.stage import SignalStage
from pipeline.alarms.sweep import Sweep, endings
from pipeline.message import SECOND, Alarm, Change, Signal
from pipeline.rules.config import load
from tests.doubles import MemoryBook
from tests.test_merge import CAMERAS, seen

T0 = 1_700_000_000 * SECOND
TABLES = {
    "geofence": 'fences = "yard.geojson"',
    "speed": "limit = 30",
    "silence": "limit_s = 60",
    "device_silence": "limit_s = 60",
    "sighting": 'label = "smoke"',
    "blind": "",
}


class Folder:
    """rules.toml with one rule of each kind, named as its kind."""

    def __init__(self, path: Path) -> None:
        self.file, self.changes = path / "rules.toml", 0
        self.fence("yard")
        self.write(TABLES)

    def write(self, tables: dict[str, str]) -> None:
        rows = (f'[[rule]]\nname = "{name}"\nkind = "{name}"\n{keys}\n' for name, keys in tables.items())
        self._put(self.file, "\n".join(rows))

    def fence(self, name: str) -> None:
        ring = [[10, 50], [11, 50], [11, 51], [10, 51], [10, 50]]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        feature = {"type": "Feature", "properties": {"id": name}, "geometry": geometry}
        self._put(self.file.parent / "yard.geojson", json.dumps(feature))

    def _put(self, path: Path, text: str) -> None:
        path.write_text(text)
        self.changes += 1
        os.utime(path, (1_700_000_000 + self.changes,) * 2)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def began(rule: str, **more: Any) -> Signal:
    said = {"kind": rule, "version": "v", "subject": "a", "place": "", "at": T0 + 5 * SECOND, "start": T0}
    return Signal(rule=rule, change=Change.BEGAN, reason="it began", **{**said, **more})


def book_with(*signals: Signal) -> MemoryBook:
    book = MemoryBook()
    book.apply(signals)
    return book


def states(book: MemoryBook) -> dict[str, str]:
    return {alarm.rule: alarm.state for alarm in book.alarms()}


@pytest.mark.parametrize("gone", sorted(TABLES))
def test_an_alarm_of_a_rule_that_was_removed_ends_and_the_others_stand(folder: Folder, gone: str) -> None:
    book = book_with(*(began(name, place="yard" if name == "geofence" else "") for name in TABLES))
    sweep = Sweep(book, load(folder.file))
    assert sweep.once() == []
    folder.write({name: keys for name, keys in TABLES.items() if name != gone})
    (event,) = sweep.once()
    assert (event.change, event.reason) == ("cleared", f"rule {gone} was removed from rules.toml")
    assert (event.at, event.by) == (T0 + 5 * SECOND, f"rule {gone}")
    assert states(book) == {name: "cleared" if name == gone else "raised" for name in TABLES}
    assert sweep.once() == []
    folder.write(TABLES)
    assert sweep.once() == []


def test_what_was_removed_while_nobody_ran_is_ended_at_the_start(folder: Folder) -> None:
    book = book_with(began("speed"), began("of-old"))
    book.act(began("of-old").alarm, "acknowledge", by="ann")
    again = book_with(began("speed"), began("of-old"))
    events = [Sweep(one, load(folder.file)).once() for one in (book, again)]
    assert [[event.reason for event in one] for one in events] == [["rule of-old was removed from rules.toml"]] * 2
    assert Sweep(book, load(folder.file)).once() == [], "as often as it is started"


def test_a_rule_that_is_disabled_or_of_another_kind_or_without_the_fence(folder: Folder) -> None:
    book = book_with(began("speed"), began("silence", kind="geofence"), began("geofence", place="yard"))
    folder.write({**TABLES, "speed": "limit = 30\nenabled = false"})
    folder.fence("field")
    assert {event.reason for event in Sweep(book, load(folder.file)).once()} == {
        "rule speed was disabled in rules.toml",
        "rule silence is of another kind in rules.toml: silence",
        "fence yard was taken out of rule geofence",
    }


def test_a_file_with_a_mistake_ends_nothing(folder: Folder) -> None:
    book = book_with(began("speed"))
    sweep = Sweep(book, load(folder.file))
    folder.write({"silence": "limit_s = -1"})
    assert sweep.once() == sweep.once() == []
    folder.write({"silence": "limit_s = 9"})
    assert [event.reason for event in sweep.once()] == ["rule speed was removed from rules.toml"]


def test_a_rule_that_came_after_the_last_look_keeps_its_alarm(folder: Folder) -> None:
    """Another worker has taken the new file already, and its alarm is in the book."""
    sweep = Sweep(book := book_with(), load(folder.file))
    folder.write({**TABLES, "blind": "", "speed": "limit = 3"})
    folder._put(folder.file, folder.file.read_text() + '[[rule]]\nname = "new"\nkind = "speed"\nlimit = 9\n')
    book.apply([began("new", kind="speed")])
    assert sweep.once() == []


def test_a_late_word_of_a_rule_that_is_gone_is_ended_too(folder: Folder) -> None:
    sweep = Sweep(book := book_with(began("of-old")), load(folder.file))
    assert len(sweep.once()) == 1
    book.apply([began("of-old", subject="b")])
    assert [event.alarm for event in sweep.once()] == [began("of-old", subject="b").alarm]


def test_a_fire_goes_on_while_a_rule_that_is_there_sees_it(folder: Folder) -> None:
    """Two rules see one fire, the first of them is removed; with the end of the other all is over."""
    book = MemoryBook()
    stage = SignalStage(book, Merge(CAMERAS))
    state = stage.initial()

    def say(signal: Signal) -> None:
        nonlocal state
        state, said = stage.handle(state, [wire.pack(signal)])
        stage.commit([said])

    first = msgspec.structs.replace(seen("north"), rule="of-old")
    second = msgspec.structs.replace(seen("south", after=40), rule="sighting")
    say(first)
    say(second)
    sweep = Sweep(book, load(folder.file))
    assert sweep.once() == []
    say(msgspec.structs.replace(second, change=Change.ENDED, at=second.at + SECOND))
    assert [event.change for event in sweep.once()] == ["cleared"]
    (alarm,) = book.alarms()
    assert (alarm.id, alarm.state) == (first.alarm, "cleared")


def test_the_same_alarms_have_the_same_endings_in_any_order(folder: Folder) -> None:
    alarms: list[Alarm] = book_with(began("x"), began("y"), began("z", subject="b")).alarms()
    rules = load(folder.file)
    one, other = ([s.id for s in endings(some, rules)] for some in (alarms, alarms[::-1]))
    assert len(one) == 3 and one == other[::-1]
