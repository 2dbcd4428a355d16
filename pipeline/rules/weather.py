"""The Canadian Fire Weather Index of a station, day by day, from its readings.

    readings ─► conditions at noon (temperature, humidity, wind; rain of the 24 hours before)
             ─► FFMC, DMC, DC of the day, from those of the day before ─► ISI, BUI ─► FWI ─► class

Noon is that of the standard time of the place. A day is settled once every channel has been heard after its noon,
or one of them so much later that nobody waits any more. A day that lacks a value has no index, and the codes are
carried on; after `max_days` without one they start anew, as at the end of the winter. Classes are those of EFFIS.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Literal, get_args

import msgspec

from pipeline.message import SECOND
from pipeline.rules.calendars import zone_of
from pipeline.rules.fwi import Codes, Noon, indices, library
from pipeline.rules.head import Head
from pipeline.rules.limit import sample, split
from pipeline.rules.moves import Moves
from pipeline.rules.spec import Common, Positive, Share, Trouble

Class = Literal["very_low", "low", "moderate", "high", "very_high", "extreme"]
CLASSES: tuple[Class, ...] = get_args(Class)
BOUNDS = (5.2, 11.2, 21.3, 38.0, 50.0)
"""FWI from which the next class begins (EFFIS)."""

DAY = 24 * 3600 * SECOND
CHANNELS = ("temperature", "humidity", "wind", "rain")
FACTORS: dict[str, dict[str, tuple[float, float]]] = {
    "temperature": {
        "": (1, 0),
        "degC": (1, 0),
        "°C": (1, 0),
        "C": (1, 0),
        "K": (1, -273.15),
        "degF": (5 / 9, -160 / 9),
    },
    "humidity": {"": (1, 0), "%": (1, 0), "%RH": (1, 0), "1": (100, 0)},
    "wind": {"": (3.6, 0), "m/s": (3.6, 0), "km/h": (1, 0), "kn": (1.852, 0), "mph": (1.609344, 0)},
    "rain": {"": (1, 0), "mm": (1, 0), "cm": (10, 0), "in": (25.4, 0)},
}
"""By unit of measure: factor and offset to °C, %, km/h and mm."""

RANGES = {"temperature": (-60.0, 60.0), "humidity": (0.0, 100.0), "wind": (0.0, 300.0), "rain": (0.0, 2000.0)}


class Spec(Common, frozen=True, kw_only=True):
    """`temperature`, `humidity`, `wind`, `rain` are channels of the device `station`."""

    station: str
    temperature: str = "temperature"
    humidity: str = "humidity"
    wind: str = "wind"
    rain: str = "rain"
    rain_is: Literal["interval", "counter", "day"] = "interval"
    time_zone: str = ""
    lat: float | None = None
    max_age_s: Positive = 3600.0
    max_days: Positive = 3
    ffmc: float = 85.0
    dmc: float = 6.0
    dc: float = 15.0
    factors: dict[Class, Share] = msgspec.field(default_factory=dict)
    cameras: tuple[str, ...] = ()

    def trouble(self) -> Trouble | None:
        try:
            zone_of(self.time_zone)
        except ValueError as error:
            return "time_zone", str(error), "name a place of the time zone database"
        if len({self.temperature, self.humidity, self.wind, self.rain}) < len(CHANNELS):
            return "temperature", "two quantities have the same channel", "name a channel for each"
        if self.lat is not None and not -90 <= self.lat <= 90:
            return "lat", f"{self.lat:g} is no latitude", "use -90 to 90 degrees"
        for key, most in (("ffmc", 101.0), ("dmc", 1000.0), ("dc", 2000.0)):
            if not 0 <= getattr(self, key) <= most:
                return key, f"{getattr(self, key):g} is out of range", f"use 0 to {most:g}"
        return None


class Danger(msgspec.Struct, frozen=True):
    """The fire weather of a day, valid from `at`, its noon; its codes are carried from the day `started` on."""

    station: str
    date: str
    at: int
    fwi: float
    level: Class
    isi: float
    bui: float
    codes: Codes
    noon: Noon
    started: str

    def evidence(self) -> dict[str, Any]:
        """As it stands in an alarm."""
        codes = {name: round(value, 1) for name, value in msgspec.structs.asdict(self.codes).items()}
        indices = {"index": round(self.fwi, 1), "isi": round(self.isi, 1), "bui": round(self.bui, 1)}
        inputs = {name: round(value, 2) for name, value in msgspec.structs.asdict(self.noon).items()}
        head = {"station": self.station, "date": self.date, "class": self.level}
        return {**head, **indices, **codes, "inputs": inputs, "started": self.started}


class State(msgspec.Struct):
    """`noon` is the one awaited, 0: none yet. By quantity `held`, the newest of the day before it (of rain the
    sum), and `ahead`, what was read after it. `counter`: what a rain counter showed last.
    """

    codes: Codes
    held: dict[str, tuple[int, float]]
    ahead: dict[str, list[tuple[int, float]]]
    newest: dict[str, int]
    noon: int = 0
    counter: float | None = None
    started: str = ""
    missed: int = 0


class FireWeather:
    """`step` over `Moves` of a `SampleBatch`, like a rule that says days and not signals."""

    def __init__(self, head: Head, spec: Spec) -> None:
        self.name = head.name
        self._spec, self._zone = spec, zone_of(spec.time_zone)
        self._channels = {getattr(spec, quantity): quantity for quantity in CHANNELS}
        self._wait = round(spec.max_age_s * SECOND)
        library()

    def initial(self) -> State:
        spec = self._spec
        return State(Codes(spec.ffmc, spec.dmc, spec.dc), {}, {}, {})

    def step(self, state: State, moves: Moves) -> tuple[State, list[Danger]]:
        """The days that are settled, in order."""
        mine: list[tuple[str, range]] = []
        for start, end in zip(moves.starts.tolist(), moves.ends.tolist(), strict=True):
            device, channel = split(moves, start)
            if device == self._spec.station and channel in self._channels:
                mine.append((self._channels[channel], range(start, end)))
        if mine and not state.noon:
            state.noon = self._noon_after(min(int(moves.at[rows.start]) for _quantity, rows in mine))
        for quantity, rows in mine:
            self._read(state, quantity, moves, rows)
        days: list[Danger] = []
        while state.noon and self._settled(state):
            days += self._day(state)
        return state, days

    # -------------------------------------------------------------- readings

    def _read(self, state: State, quantity: str, moves: Moves, rows: range) -> None:
        for row in rows:
            value, unit = sample(moves, row)
            known, at = _converted(quantity, value, unit.strip()), int(moves.at[row])
            if known is None:
                continue
            state.newest[quantity] = at
            if at <= state.noon:
                self._hold(state, quantity, at, known)
            else:
                state.ahead.setdefault(quantity, []).append((at, known))

    def _hold(self, state: State, quantity: str, at: int, value: float) -> None:
        """A reading up to the noon awaited. A rain counter that fell has begun at 0 again."""
        if quantity == "rain" and self._spec.rain_is != "day":
            if self._spec.rain_is == "counter":
                before, state.counter = state.counter, value
                value = 0.0 if before is None else value - before if value >= before else value
            value += state.held.get(quantity, (0, 0.0))[1]
        if at > state.noon - DAY:
            state.held[quantity] = at, value

    def _settled(self, state: State) -> bool:
        newest = [state.newest.get(quantity, 0) for quantity in CHANNELS]
        return min(newest) > state.noon or max(newest) > state.noon + self._wait

    def _noon_after(self, at: int) -> int:
        """The first noon, standard time of the place, at or after a time."""
        day = datetime.fromtimestamp(at // SECOND, self._zone).date() - timedelta(days=1)
        while _noon(day.isoformat(), self._zone) < at:
            day += timedelta(days=1)
        return _noon(day.isoformat(), self._zone)

    # -------------------------------------------------------------- a day

    def _day(self, state: State) -> list[Danger]:
        noon, at = self._conditions(state), state.noon
        date = datetime.fromtimestamp(at // SECOND, self._zone).date()
        state.noon = _noon((date + timedelta(days=1)).isoformat(), self._zone)
        self._go_on(state)
        if noon is None:
            state.missed += 1
            return []
        if not state.started or state.missed >= self._spec.max_days:
            state.codes, state.started = self.initial().codes, date.isoformat()
        state.missed = 0
        state.codes, isi, bui, fwi = indices(state.codes, noon, date.month, self._spec.lat)
        level = CLASSES[bisect.bisect_right(BOUNDS, fwi)]
        spec = self._spec
        day = Danger(spec.station, date.isoformat(), at, fwi, level, isi, bui, state.codes, noon, state.started)
        return [day]

    def _go_on(self, state: State) -> None:
        """To the next day: its rain begins at nothing, and what was read ahead may belong to it."""
        state.held.pop("rain", None)
        for quantity, ahead in state.ahead.items():
            split_at = bisect.bisect_right(ahead, state.noon, key=lambda entry: entry[0])
            for at, value in ahead[:split_at]:
                self._hold(state, quantity, at, value)
            del ahead[:split_at]

    def _conditions(self, state: State) -> Noon | None:
        """None if something was not read in time."""
        oldest = dict.fromkeys(CHANNELS, state.noon - self._wait) | {"rain": state.noon - DAY}
        known = {q: value for q, (at, value) in state.held.items() if at >= oldest[q]}
        return Noon(**known) if len(known) == len(CHANNELS) else None


def _converted(quantity: str, value: float, unit: str) -> float | None:
    """In °C, %, km/h, mm; None for a unit that is not known and a value that cannot be."""
    if unit not in FACTORS[quantity]:
        return None
    factor, offset = FACTORS[quantity][unit]
    known, (low, high) = value * factor + offset, RANGES[quantity]
    return known if low <= known <= high else None


def _noon(date: str, zone: tzinfo) -> int:
    """12:00 of the standard time of a zone, in microseconds."""
    noon = datetime.fromisoformat(f"{date}T12:00:00").replace(tzinfo=zone)
    moment = noon.astimezone(UTC) + (noon.dst() or timedelta())
    return round(moment.timestamp()) * SECOND


# ---------------------------------------------------------------- what it does to a sighting


@dataclass(frozen=True, slots=True)
class Lowered:
    """What a day does to the open score of a camera: `factor` is at most 1."""

    factor: float
    evidence: dict[str, Any]


OfCamera = Callable[[str, int], Lowered | None]
"""(camera, event time) to what the fire weather does there then."""

VALID = 36 * 3600 * SECOND
"""How long after its noon a day's index is used: until the next one, and half a day for one that is late."""


def lowered(specs: Sequence[Spec], days: Sequence[Danger], covers: Sequence[bool], at: int) -> Lowered | None:
    """Of the stations that cover a camera, the day that lowers most at an event time; None if none is known."""
    found = []
    for spec, covered in zip(specs, covers, strict=True):
        mine = [d for d in days if d.station == spec.station and d.at <= at < d.at + VALID] if covered else []
        if mine:
            day = max(mine, key=lambda d: d.at)
            factor = min(1.0, spec.factors.get(day.level, 1.0))
            found.append(Lowered(factor, {**day.evidence(), "factor": factor}))
    return min(found, key=lambda one: one.factor, default=None)


def build(spec: Spec, head: Head) -> tuple[FireWeather, type[State]]:
    """Raises UserError where the library is not installed."""
    return FireWeather(head, spec), State
