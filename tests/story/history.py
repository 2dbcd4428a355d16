"""Whether a system that was disturbed tells the same history as one that was not: every fix and every change."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.alarms.book import open_book
from pipeline.message import PositionBatch
from pipeline.replay import AlarmChange, changes, replay_batch
from pipeline.rules.config import RuleSet
from pipeline.rules.fleet import Fleet
from pipeline.settings import Settings
from pipeline.store import open_store
from pipeline.wire import rfc3339

TIME = 2**60
COLUMNS = ("at", "lat", "lon", "speed", "course", "alt", "accuracy")
SHOWN = 5
"""Differences of a kind that a failure names."""

Rows = dict[str, Any]
"""By unit, an array of `COLUMNS`."""


@dataclass
class History:
    """What is stored of each unit, and each change of an alarm as often as it is recorded."""

    tracks: Rows = field(default_factory=dict)
    changes: Counter[AlarmChange] = field(default_factory=Counter)
    states: dict[str, str] = field(default_factory=dict)
    """By alarm: its last change."""


def undisturbed(batch: PositionBatch, rules: RuleSet, fleet: Fleet) -> History:
    """What the pure functions make of a recording: of two fixes of a unit and time the last counts."""
    told = list(changes(replay_batch(batch, rules, fleet=fleet)))
    tracks = {name: _track(batch, unit) for unit, name in enumerate(batch.units)}
    return History(tracks, Counter(told), {change.alarm: change.change for change in told})


def _track(batch: PositionBatch, unit: int) -> Any:
    rows = np.flatnonzero(batch.unit == unit)
    rows = rows[np.argsort(batch.at[rows], kind="stable")]
    last = np.append(batch.at[rows][1:] != batch.at[rows][:-1], True)
    return np.stack([getattr(batch, name)[rows[last]].astype(np.float64) for name in COLUMNS])


def recorded(settings: Settings, units: Iterable[str]) -> History:
    """What a live system has stored and written into its alarm book."""
    store, book = open_store(settings), open_book(settings)
    try:
        tracks = {}
        for unit in units:
            track = store.track(unit, 0, TIME)
            tracks[unit] = np.stack([getattr(track, name).astype(np.float64) for name in COLUMNS])
        alarms = {alarm.id: alarm for alarm in book.alarms(limit=100_000)}
        told = Counter[AlarmChange]()
        for alarm in alarms.values():
            for event in book.history(alarm.id):
                at = rfc3339(event.at)
                told[AlarmChange(alarm.id, alarm.rule, alarm.subject, event.change, at, event.reason)] += 1
        return History(tracks, told, {alarm.id: alarm.state for alarm in alarms.values()})
    finally:
        store.close()
        book.close()


def differences(wanted: History, found: History) -> Iterator[str]:
    """One line for each thing that is missing, is there too often, or is otherwise than it should be."""
    for unit, track in wanted.tracks.items():
        if not np.array_equal(track, found.tracks[unit], equal_nan=True):
            yield f"track of {unit}: {found.tracks[unit].shape[1]} fixes, {track.shape[1]} wanted, or other values"
    for name, ones in (("missing", wanted.changes - found.changes), ("too many", found.changes - wanted.changes)):
        for change, times in sorted(ones.items(), key=str)[:SHOWN]:
            yield f"{name} ({times} times): {change}"
    for alarm in sorted(wanted.states.keys() | found.states.keys()):
        if wanted.states.get(alarm) != found.states.get(alarm):
            yield f"alarm {alarm} is {found.states.get(alarm)}, {wanted.states.get(alarm)} wanted"


def assert_history(settings: Settings, wanted: History, *, seconds: float = 90) -> None:
    """The same history within `seconds`, and still the same when whatever was on its way has come."""
    end = time.monotonic() + seconds
    while list(differences(wanted, recorded(settings, wanted.tracks))) and time.monotonic() < end:
        time.sleep(1)
    time.sleep(2)
    wrong = list(differences(wanted, recorded(settings, wanted.tracks)))
    assert not wrong, f"{len(wrong)} differences:\n" + "\n".join(wrong[: 4 * SHOWN])
