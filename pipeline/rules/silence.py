"""Silence: a unit without a fix, a device without a sign of life, for longer than the limit.

Each gap longer than the limit is an episode of its own, from `last + limit` to the next sign. It begins when a tick
tells that time has passed, or at the latest when the next sign shows how long the gap was; the word is the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from pipeline.message import SECOND, Change, DeviceRecord, DeviceReport, Signal
from pipeline.rules.head import Head, spell_s
from pipeline.rules.moves import NEVER, Moves, grown
from pipeline.wire import rfc3339

NOT_DUE = 1 << 62
PAUSE = 10 * SECOND
"""Ticks come every second. After a longer pause nobody listened, so no device is judged until a limit later."""

FINISHED = "finished"
"""What a device says that has sent everything and ended as it should: it is not missed until it speaks again."""

NOBODY = -1
"""Device code of a slot that never had a fix."""


class UnitState(msgspec.Struct):
    """By slot: the newest fix, the device it came by, and whether its silence has begun.

    By device: `look`, a time before which no silence of its units can fall due, so that most ticks cost nothing.
    """

    names: list[str]
    devices: dict[str, int]
    device: np.ndarray
    last: np.ndarray
    lat: np.ndarray
    lon: np.ndarray
    open: np.ndarray
    look: np.ndarray


@dataclass(frozen=True, slots=True)
class Last:
    """A unit's fix before a gap."""

    unit: str
    at: int
    lat: float
    lon: float


class UnitSilence:
    """Satisfies `pipeline.ports.Rule` for `Moves`; a watermark is `(device, until)`: see `Fixes.until`."""

    def __init__(self, head: Head, limit: int) -> None:
        self.name = head.name
        self._head, self._limit = head, limit

    def initial(self) -> UnitState:
        ints, floats = np.empty(0, np.int64), np.empty(0, np.float64)
        return UnitState([], {}, ints, ints, floats, floats, np.empty(0, np.bool_), ints)

    def step(self, state: UnitState, batch: Moves) -> tuple[UnitState, list[Signal]]:
        _grow(state, batch.slots)
        gaps = np.flatnonzero((batch.at - batch.prev_at > self._limit) & (batch.prev_at != NEVER))
        signals: list[Signal] = []
        for row in gaps.tolist():
            if self._head.scope.covers(batch.unit(row)):
                signals += self._gap(state, batch, row)
        self._remember(state, batch)
        return state, signals

    def tick(self, state: UnitState, watermark: tuple[str, int]) -> tuple[UnitState, list[Signal]]:
        device, until = watermark
        code = state.devices.get(device)
        if code is None or until <= state.look[code]:
            return state, []
        hers = np.flatnonzero((state.device == code) & ~state.open)
        late = until - state.last[hers] > self._limit
        state.look[code] = (state.last[hers[~late]] + self._limit).min(initial=NOT_DUE)
        signals: list[Signal] = []
        for slot in hers[late].tolist():
            state.open[slot] = True
            if self._head.scope.covers(state.names[slot]):
                signals.append(self._began(_last(state, slot)))
        return state, signals

    def _remember(self, state: UnitState, moves: Moves) -> None:
        """The last row of each unit is its newest fix, and nothing is open after a fix."""
        row, slot, batch = moves.row[moves.ends - 1], moves.slot[moves.ends - 1], moves.batch
        if moves.fresh:
            for s, r in zip(slot.tolist(), row.tolist(), strict=True):
                state.names[s] = batch.units[int(batch.unit[r])]
        state.last[slot], state.lat[slot], state.lon[slot] = batch.at[row], batch.lat[row], batch.lon[row]
        state.open[slot] = False
        codes = [state.devices.setdefault(source.device, len(state.devices)) for source in batch.sources]
        device = np.array(codes, np.int64)[batch.source[row]]
        state.device[slot] = device
        state.look = grown(state.look, len(state.devices), NOT_DUE)
        np.minimum.at(state.look, device, batch.at[row] + self._limit)

    # -------------------------------------------------------------- words

    def _gap(self, state: UnitState, moves: Moves, row: int) -> list[Signal]:
        """The gap before `row`: told in full, or only its end if a tick has told of its beginning."""
        slot, unit = int(moves.slot[row]), moves.unit(row)
        if row and moves.slot[row - 1] == slot:
            before = moves.where(row - 1)
            last, begun = Last(unit, before["at"], before["lat"], before["lon"]), False
        else:
            last, begun = _last(state, slot), bool(state.open[slot])
        fix = moves.where(row)
        ended = self._head.signal(
            Change.ENDED,
            unit,
            at=fix["at"],
            start=last.at + self._limit,
            reason=f"{self._head.scope.title(unit)} sent a fix again after {spell_s(fix['at'] - last.at)}, "
            f"at {fix['lat']:.5f}, {fix['lon']:.5f}",
            fix=fix,
            limit_s=self._limit / 1e6,
        )
        return [ended] if begun else [self._began(last), ended]

    def _began(self, last: Last) -> Signal:
        at = last.at + self._limit
        return self._head.signal(
            Change.BEGAN,
            last.unit,
            at=at,
            start=at,
            reason=f"{self._head.scope.title(last.unit)} has sent no fix for {spell_s(self._limit)} since "
            f"{rfc3339(last.at)} at {last.lat:.5f}, {last.lon:.5f}",
            fix={"at": last.at, "lat": last.lat, "lon": last.lon},
            limit_s=self._limit / 1e6,
        )


def _grow(state: UnitState, slots: int) -> None:
    state.device = grown(state.device, slots, NOBODY)
    state.last = grown(state.last, slots, NEVER)
    state.lat, state.lon = grown(state.lat, slots, np.nan), grown(state.lon, slots, np.nan)
    state.open = grown(state.open, slots, False)
    state.names += [""] * (slots - len(state.names))


def _last(state: UnitState, slot: int) -> Last:
    return Last(state.names[slot], int(state.last[slot]), float(state.lat[slot]), float(state.lon[slot]))


# ---------------------------------------------------------------- devices


class DeviceState(msgspec.Struct):
    """The last sign of life by device, what state it named, and which silences have begun.

    `now` is the newest tick, `since` the tick from which the bridge has listened without a pause.
    """

    last: dict[str, int]
    said: dict[str, str]
    open: dict[str, int]
    now: int = 0
    since: int = 0


class DeviceSilence:
    """Satisfies `pipeline.ports.Rule` for `DeviceRecord`, whose `now` is the tick."""

    def __init__(self, head: Head, limit: int) -> None:
        self.name = head.name
        self._head, self._limit = head, limit

    def initial(self) -> DeviceState:
        return DeviceState({}, {}, {})

    def step(self, state: DeviceState, batch: DeviceRecord) -> tuple[DeviceState, list[Signal]]:
        signals: list[Signal] = []
        if abs(batch.now - state.now) > PAUSE:
            state.since = batch.now
        state.now = batch.now
        for report in sorted(batch.reports, key=lambda r: (r.received, r.device)):
            if self._head.scope.covers(report.device):
                signals += self._hear(state, report)
        state, due = self.tick(state, batch.now)
        return state, signals + due

    def tick(self, state: DeviceState, watermark: int) -> tuple[DeviceState, list[Signal]]:
        signals: list[Signal] = []
        for device, last in sorted(state.last.items()):
            heard = max(last, state.since)
            if watermark - heard > self._limit and self._awaited(state, device):
                state.open[device] = heard + self._limit
                signals.append(self._began(state, device))
        return state, signals

    def _hear(self, state: DeviceState, report: DeviceReport) -> list[Signal]:
        device, at = report.device, report.received
        state, signals = self._quiet_before(state, device, at)
        start = state.open.pop(device, None)
        if start is not None:
            reason = f"device {device} gave a sign of life again after {spell_s(at - start + self._limit)}"
            signals.append(self._head.signal(Change.ENDED, device, at=at, start=start, reason=reason))
        state.last[device] = max(at, state.last.get(device, at))
        if report.status is not None:
            state.said[device] = report.status.state
        elif state.said.get(device) == FINISHED:
            del state.said[device]
        return signals

    def _awaited(self, state: DeviceState, device: str) -> bool:
        """Whether its silence would be news."""
        return device not in state.open and state.said.get(device) != FINISHED

    def _quiet_before(self, state: DeviceState, device: str, at: int) -> tuple[DeviceState, list[Signal]]:
        """A gap that no tick has told of yet."""
        heard = max(state.last.get(device, at), state.since)
        if at - heard <= self._limit or not self._awaited(state, device):
            return state, []
        state.open[device] = heard + self._limit
        return state, [self._began(state, device)]

    def _began(self, state: DeviceState, device: str) -> Signal:
        last = state.last[device]
        said = f'; its last word was "{state.said[device]}"' if device in state.said else ""
        return self._head.signal(
            Change.BEGAN,
            device,
            at=state.open[device],
            start=state.open[device],
            reason=f"device {device} has given no sign of life for {spell_s(self._limit)} "
            f"since {rfc3339(last)}{said}",
            last=last,
            limit_s=self._limit / 1e6,
        )
