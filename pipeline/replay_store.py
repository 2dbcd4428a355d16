"""What is stored, as the rules want it: positions of units in columns, scored frames of cameras, by event time.

Only what was believed is stored, so nothing is refused here. Late fixes lie where they belong: a replay of the
store says what the rules would have said had everything come in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from pipeline.message import POSITION_COLUMNS, POSITION_DTYPES, Clock, PositionBatch, ScoredFrame, Source, codes
from pipeline.ports import Store, Track

DEVICE = "store"
PAGE = 1_000_000
"""Fixes read at a time; the port's own bound."""

FRAME_PAGE = 10_000
SAID = ("at", "lat", "lon", "speed", "course", "alt", "accuracy")


def stored_positions(
    store: Store, units: Iterable[str], start: int, end: int, *, page: int = PAGE
) -> PositionBatch:
    """Fixes of `units` with start <= at < end, some 80 bytes each; of equal times in the order of `units`."""
    tracks = [track for unit in units for track in _tracks(store, unit, start, end, page) if len(track)]
    names, code = codes([track.unit for track in tracks])
    return _batch(names, np.repeat(code, [len(track) for track in tracks]), _joined(tracks))


def _tracks(store: Store, unit: str, start: int, end: int, page: int) -> Iterator[Track]:
    while start < end:
        track = store.track(unit, start, end, limit=page)
        yield track
        if len(track) < page:
            return
        start = int(track.at[-1]) + 1


def _joined(tracks: Sequence[Track]) -> dict[str, Any]:
    empty: list[Any] = [np.empty(0)]
    return {name: np.concatenate([getattr(track, name) for track in tracks] or empty) for name in SAID}


def _batch(units: tuple[str, ...], unit: Any, said: dict[str, Any]) -> PositionBatch:
    """By event time; received when taken, numbered from 1; what a store does not keep is unknown."""
    order = np.argsort(said["at"], kind="stable")
    count = len(order)
    columns: dict[str, Any] = {name: values[order] for name, values in said.items()}
    columns |= {
        "unit": unit[order],
        "source": np.zeros(count),
        "seq": np.arange(1, count + 1),
        "received": columns["at"],
        "clock": np.full(count, int(Clock.UNKNOWN)),
    }
    typed: dict[str, Any] = {
        name: np.asarray(columns[name]).astype(POSITION_DTYPES[name]) for name in POSITION_COLUMNS
    }
    return PositionBatch(units=units, sources=(Source(DEVICE, 1),), **typed)


def stored_frames(
    store: Store, cameras: Iterable[str], start: int, end: int, *, page: int = FRAME_PAGE
) -> Iterator[ScoredFrame]:
    """Scored frames with start <= at < end, camera by camera, each ascending in time."""
    for camera in cameras:
        at = start
        while at < end:
            frames = store.frames(camera, at, end, limit=page)
            yield from frames
            if len(frames) < page:
                break
            at = frames[-1].at + 1
