"""A reading that rises or falls too fast: by more than so much within a window of event time.

The change is from the lowest (highest) reading of the window to the newest one. The alarm stands until the change
within the window is smaller by a deadband.
"""

from __future__ import annotations

import msgspec
import numpy as np

from pipeline.message import SECOND, Change, Floats, Signal
from pipeline.rules.head import Head, spell_s
from pipeline.rules.hold import Held, Hold, Looks, Turn, held_turns, none_held
from pipeline.rules.limit import measured, sample, split
from pipeline.rules.moves import Moves
from pipeline.rules.samples import Series
from pipeline.rules.spec import NotNegative, Positive, Readings, Trouble

RISE, FALL = "rise", "fall"
WINDOW = 4096
"""Readings of a window that are kept of one series at the most; of more the oldest are forgotten."""


class Spec(Readings, frozen=True, kw_only=True):
    """`rise`, `fall`: in the unit of the readings, within `per_s`."""

    rise: Positive | None = None
    fall: Positive | None = None
    per_s: Positive
    deadband: NotNegative = 0.0
    min_duration_s: NotNegative = 0.0
    unit: str = ""

    def trouble(self) -> Trouble | None:
        if self.rise is None and self.fall is None:
            return "rise", "no limit is given", "set rise, fall or both"
        return None


class State(msgspec.Struct):
    """By way and series the readings of the window that can still be the lowest (highest), and what goes on."""

    windows: dict[str, dict[str, list[tuple[int, float]]]]
    held: dict[str, Held]


class Rate:
    """Satisfies `pipeline.ports.Rule` for `Moves` of a `SampleBatch`. `window` in microseconds."""

    def __init__(
        self, head: Head, series: Series, limits: dict[str, float], hold: Hold, *, window: int, unit: str = ""
    ) -> None:
        self.name = head.name
        self._head, self._series, self._limits, self._hold = head, series, limits, hold
        self._window, self._unit = window, unit

    def initial(self) -> State:
        return State({way: {} for way in self._limits}, {way: none_held() for way in self._limits})

    def step(self, state: State, batch: Moves) -> tuple[State, list[Signal]]:
        value = measured(batch, self._unit)
        signals: list[Signal] = []
        for way, limit in self._limits.items():
            change = self._changes(state.windows.setdefault(way, {}), batch, value, 1.0 if way == RISE else -1.0)
            looks, held = Looks(batch.at, change, change - limit), state.held.setdefault(way, none_held())
            turns = held_turns(held, batch, looks, self._hold, covers=self._series.covers)
            signals += [self._say(way, turn, batch) for turn in turns]
        return state, signals

    def tick(self, state: State, watermark: object) -> tuple[State, list[Signal]]:
        """Nothing: only a reading says what it is."""
        return state, []

    def _changes(
        self, windows: dict[str, list[tuple[int, float]]], moves: Moves, value: Floats, sign: float
    ) -> Floats:
        """For each row how far it is above the lowest of its window (below the highest, with sign -1)."""
        change = np.full(len(moves), np.nan)
        for start, end in zip(moves.starts.tolist(), moves.ends.tolist(), strict=True):
            series = moves.unit(start)
            if not self._series.covers(series):
                continue
            window = windows.setdefault(series, [])
            rows = zip(moves.at[start:end].tolist(), (value[start:end] * sign).tolist(), strict=True)
            change[start:end] = [_rise(window, at, height, at - self._window) for at, height in rows]
        return change

    def _say(self, way: str, turn: Turn, moves: Moves) -> Signal:
        (device, channel), (value, unit) = split(moves, turn.row), sample(moves, turn.row)
        at, limit, per = int(moves.at[turn.row]), self._limits[way], spell_s(self._window)
        if turn.change is Change.BEGAN:
            verb = "rose" if way == RISE else "fell"
            what = f"{verb} by {turn.run.peak:g}{unit} within {per}, to {value:g}, {limit:g} are allowed"
        else:
            what = f"changes slowly again, at {value:g}{unit}, after {spell_s(at - turn.run.since)}"
        return self._head.signal(
            turn.change,
            device,
            at=at,
            start=turn.run.since,
            place=channel,
            reason=f"{channel} of {device} {what}",
            way=way,
            limit=limit,
            per_s=self._window / SECOND,
            deadband=self._hold.band,
            value=value,
            changed=turn.run.peak,
            unit=unit.strip(),
            min_duration_s=self._hold.lasting / SECOND,
        )


def _rise(window: list[tuple[int, float]], at: int, height: float, oldest: int) -> float:
    """How far `height` is above the lowest of the window. `window` ascends in time and height."""
    if height != height:
        return height
    while window and window[-1][1] >= height:
        window.pop()
    window.append((at, height))
    gone = next((i for i, (time, _height) in enumerate(window) if time >= oldest), 0)
    del window[: max(gone, len(window) - WINDOW)]
    return height - window[0][1]


def build(spec: Spec, head: Head) -> tuple[Rate, type[State]]:
    limits = {way: limit for way, limit in ((RISE, spec.rise), (FALL, spec.fall)) if limit is not None}
    window = round(spec.per_s * SECOND)
    hold = Hold(round(spec.min_duration_s * SECOND), window, spec.deadband)
    series = Series(spec.devices, spec.channels)
    return Rate(head, series, limits, hold, window=window, unit=spec.unit), State
