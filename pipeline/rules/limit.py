"""A reading above or below its limit for long enough, until it is back by a deadband."""

from __future__ import annotations

import msgspec
import numpy as np

from pipeline.message import SECOND, Change, Floats, Signal
from pipeline.rules.head import Head, spell_s
from pipeline.rules.hold import Held, Hold, Looks, Turn, held_turns, none_held
from pipeline.rules.moves import Moves
from pipeline.rules.samples import Series
from pipeline.rules.spec import NotNegative, Positive, Readings, Trouble

ABOVE, BELOW = "above", "below"


class Spec(Readings, frozen=True, kw_only=True):
    """`unit`: of the limits; a reading that names another is not judged."""

    above: float | None = None
    below: float | None = None
    deadband: NotNegative = 0.0
    min_duration_s: NotNegative = 0.0
    max_gap_s: Positive = 3600.0
    unit: str = ""

    def trouble(self) -> Trouble | None:
        if self.above is None and self.below is None:
            return "above", "no limit is given", "set above, below or both"
        if self.above is not None and self.below is not None and self.below > self.above:
            return "below", f"{self.below:g} is more than above: every reading is an alarm", "make it smaller"
        return None


class State(msgspec.Struct):
    """By side of the limit, what goes on."""

    held: dict[str, Held]


class Limit:
    """Satisfies `pipeline.ports.Rule` for `Moves` of a `SampleBatch`. `limits` by side: ABOVE, BELOW."""

    def __init__(self, head: Head, series: Series, limits: dict[str, float], hold: Hold, unit: str = "") -> None:
        self.name = head.name
        self._head, self._series, self._limits, self._hold, self._unit = head, series, limits, hold, unit

    def initial(self) -> State:
        return State({side: none_held() for side in self._limits})

    def step(self, state: State, batch: Moves) -> tuple[State, list[Signal]]:
        value = measured(batch, self._unit)
        signals: list[Signal] = []
        for side, limit in self._limits.items():
            looks = Looks(batch.at, value, value - limit if side == ABOVE else limit - value)
            held = state.held.setdefault(side, none_held())
            turns = held_turns(held, batch, looks, self._hold, covers=self._series.covers)
            signals += [self._say(side, turn, batch) for turn in turns]
        return state, signals

    def tick(self, state: State, watermark: object) -> tuple[State, list[Signal]]:
        """Nothing: only a reading says what it is."""
        return state, []

    def _say(self, side: str, turn: Turn, moves: Moves) -> Signal:
        (device, channel), (value, unit) = split(moves, turn.row), sample(moves, turn.row)
        at, limit, band = int(moves.at[turn.row]), self._limits[side], self._hold.band
        lasted, worst = spell_s(at - turn.run.since), "highest" if side == ABOVE else "lowest"
        if turn.change is Change.BEGAN:
            what = f"has been {side} {limit:g}{unit} for {lasted}, now {value:g}, {worst} {turn.run.peak:g}"
        else:
            back = limit - band if side == ABOVE else limit + band
            what = f"is back at {value:g}{unit}, {'at most' if side == ABOVE else 'at least'} {back:g}, "
            what += f"after {lasted}, {worst} {turn.run.peak:g}"
        return self._head.signal(
            turn.change,
            device,
            at=at,
            start=turn.run.since,
            place=channel,
            reason=f"{channel} of {device} {what}",
            side=side,
            limit=limit,
            deadband=band,
            value=value,
            peak=turn.run.peak,
            unit=unit.strip(),
            min_duration_s=self._hold.lasting / SECOND,
        )


def measured(moves: Moves, unit: str) -> Floats:
    """The values; NaN for readings in another unit of measure than `unit`, if the rule and they name one."""
    value = moves.column("value")
    if not unit or not len(moves):
        return value
    other = [bool(name) and name != unit for name in moves.batch.measures]
    return np.where(np.array(other, np.bool_)[moves.column("measure")], np.nan, value)


def split(moves: Moves, row: int) -> tuple[str, str]:
    """(device, channel) of a row."""
    device, _, channel = moves.unit(row).partition("/")
    return device, channel


def sample(moves: Moves, row: int) -> tuple[float, str]:
    """(value, unit of measure to stand behind a number) of a row."""
    batch, i = moves.batch, int(moves.row[row])
    measure = batch.measures[int(batch.measure[i])]
    return float(batch.value[i]), f" {measure}" if measure else ""


def build(spec: Spec, head: Head) -> tuple[Limit, type[State]]:
    limits = {side: limit for side, limit in ((ABOVE, spec.above), (BELOW, spec.below)) if limit is not None}
    hold = Hold(round(spec.min_duration_s * SECOND), round(spec.max_gap_s * SECOND), spec.deadband)
    return Limit(head, Series(spec.devices, spec.channels), limits, hold, spec.unit), State
