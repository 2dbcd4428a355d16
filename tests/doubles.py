"""Small real implementations of the ports, in memory, for tests of whoever uses a port.

They run through the contract suites of the adapters (tests/contract), so they promise nothing that those do not.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec
import numpy as np

from pipeline.alarms import late
from pipeline.alarms.episode import ACTIONS, EXPECTED, Step, act, settle
from pipeline.message import (
    Alarm,
    AlarmEvent,
    Change,
    Floats,
    HeldBack,
    Ints,
    PositionBatch,
    ReadingRecord,
    Refusal,
    ScoredFrame,
    Signal,
)
from pipeline.ports import Position, Track, UserError

TRACK = ("lat", "lon", "speed", "course", "alt", "accuracy")


class MemoryStore:
    """`ports.Store` in dictionaries."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[int, tuple[float, ...]]] = {}
        self.scored: dict[tuple[str, int], ScoredFrame] = {}
        self.values: dict[tuple[str, str, int], float] = {}

    def write_positions(self, batches: Sequence[PositionBatch]) -> None:
        for batch in batches:
            columns = [getattr(batch, name).tolist() for name in TRACK]
            for unit, at, *row in zip(batch.unit.tolist(), batch.at.tolist(), *columns, strict=True):
                self.rows.setdefault(batch.units[unit], {})[at] = tuple(row)

    def write_frames(self, frames: Sequence[ScoredFrame]) -> None:
        self.scored |= {(frame.camera, frame.at): frame for frame in frames}

    def write_readings(self, records: Sequence[ReadingRecord]) -> None:
        for record in records:
            for r in record.readings:
                if r.value == r.value:
                    self.values[record.device, r.channel, r.at] = r.value

    def track(self, unit: str, start: int, end: int, *, limit: int = 1_000_000) -> Track:
        rows = self.rows.get(unit, {})
        at = sorted(at for at in rows if start <= at < end)[:limit]
        columns = np.array([rows[t] for t in at], np.float64).reshape(-1, len(TRACK))
        named = {name: columns[:, i] for i, name in enumerate(TRACK)}
        return Track(unit=unit, at=np.array(at, np.int64), **named)

    def latest(self) -> list[Position]:
        newest = ((unit, max(rows), rows[max(rows)]) for unit, rows in sorted(self.rows.items()) if rows)
        return [Position(unit, at, row[0], row[1], _known(row[2]), _known(row[3])) for unit, at, row in newest]

    def frames(self, camera: str, start: int, end: int, *, limit: int = 10_000) -> list[ScoredFrame]:
        mine = sorted(key for key in self.scored if key[0] == camera and start <= key[1] < end)
        return [self.scored[key] for key in mine[:limit]]

    def series(self, device: str, channel: str, start: int, end: int) -> tuple[Ints, Floats]:
        mine = sorted(k for k in self.values if k[:2] == (device, channel) and start <= k[2] < end)
        return np.array([k[2] for k in mine], np.int64), np.array([self.values[k] for k in mine], np.float64)

    def forget(self, before: int) -> int:
        kept = {unit: {at: row for at, row in rows.items() if at >= before} for unit, rows in self.rows.items()}
        gone = sum(map(len, self.rows.values())) - sum(map(len, kept.values()))
        gone += sum(key[1] < before for key in self.scored) + sum(key[2] < before for key in self.values)
        self.rows = kept
        self.scored = {key: frame for key, frame in self.scored.items() if key[1] >= before}
        self.values = {key: value for key, value in self.values.items() if key[2] >= before}
        return gone

    def close(self) -> None:
        """Nothing to close."""


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


class MemoryBook:
    """`ports.AlarmBook` in lists. `clock` gives `recorded`; by default it counts calls from 1."""

    def __init__(self, *, clock: Callable[[], int] | None = None) -> None:
        self._clock = clock or itertools.count(1).__next__
        self.entries: dict[str, Alarm] = {}
        self.events: list[AlarmEvent] = []
        self.seen: dict[str, int] = {}
        self.log: list[dict[str, Any]] = []
        self.refused: dict[str, Refusal] = {}
        self.held: dict[str, tuple[HeldBack, int]] = {}
        self.refused_at: dict[str, int] = {}
        self.released: dict[str, tuple[str, int]] = {}
        self.refused_rows: Counter[str] = Counter()
        self.board: dict[str, dict[str, Any]] = {}

    def apply(self, signals: Sequence[Signal]) -> list[AlarmEvent]:
        before = len(self.events)
        for signal in signals:
            if signal.id not in self.seen:
                self.seen[signal.id] = self._clock()
                if signal.change is Change.HOLDS:
                    told = late.settled(self.entries, signal)
                else:
                    key, steps = settle(self.entries, signal)
                    told = [(key, step) for step in steps]
                for key, step in told:
                    self._record(key, step)
        return self.events[before:]

    def act(self, alarm_id: str, action: str, *, by: str, note: str = "") -> AlarmEvent:
        if self.alarm(alarm_id) is None:
            raise UserError(f"no alarm {alarm_id}")
        alarm, step = act(self.entries[alarm_id], action, by=by, at=self._clock(), note=note)
        if step is None:
            return next(e for e in self.history(alarm_id) if e.change == ACTIONS[action])
        self.entries[alarm_id] = alarm
        return self._record(alarm_id, step)

    def _record(self, alarm_id: str, step: Step) -> AlarmEvent:
        about = msgspec.structs.asdict(step)
        self.events.append(AlarmEvent(len(self.events) + 1, alarm_id, recorded=self._clock(), **about))
        return self.events[-1]

    def alarms(
        self,
        *,
        state: str | None = None,
        subject: str | None = None,
        kind: str | None = None,
        prefix: str = "",
        limit: int = 1000,
    ) -> list[Alarm]:
        found = [
            alarm
            for alarm in self.entries.values()
            if alarm.state != EXPECTED
            and state in (None, alarm.state)
            and subject in (None, alarm.subject)
            and kind in (None, alarm.kind)
            and alarm.id.startswith(prefix)
        ]
        return sorted(found, key=lambda alarm: (-alarm.raised_at, alarm.id))[:limit]

    def alarm(self, alarm_id: str) -> Alarm | None:
        alarm = self.entries.get(alarm_id)
        return None if alarm is None or alarm.state == EXPECTED else alarm

    def history(self, alarm_id: str) -> list[AlarmEvent]:
        return [event for event in self.events if event.alarm == alarm_id]

    def events_after(self, number: int, *, limit: int = 500) -> list[AlarmEvent]:
        return self.events[max(number, 0) :][:limit]

    def audit(self, *, who: str, what: str, subject: str, purpose: str, detail: str = "") -> None:
        said = {"who": who, "what": what, "subject": subject, "purpose": purpose, "detail": detail}
        self.log.append({"number": len(self.log) + 1, "at": self._clock(), **said})

    def audits(self, *, limit: int = 1000) -> list[dict[str, Any]]:
        return self.log[::-1][:limit]

    def refuse(self, refusals: Sequence[Refusal]) -> None:
        for refusal in refusals:
            if refusal.id not in self.refused:
                self.refused[refusal.id], self.refused_at[refusal.id] = refusal, self._clock()
                self.refused_rows[refusal.reason] += refusal.count

    def refusals(self, *, reason: str | None = None, limit: int = 1000) -> list[Refusal]:
        return [r for r in reversed(self.refused.values()) if reason in (None, r.reason)][:limit]

    def refusal_counts(self) -> dict[str, int]:
        return dict(sorted(self.refused_rows.items()))

    def release(self, ids: Collection[str], *, by: str) -> None:
        for key in ids:
            self.released.setdefault(key, (by, self._clock()))

    def releases(self) -> dict[str, str]:
        return {key: by for key, (by, _at) in self.released.items()}

    def forget_refusals(self, before: int) -> int:
        self.released = {key: (by, at) for key, (by, at) in self.released.items() if at >= before}
        old = [key for key, at in self.refused_at.items() if at < before]
        for key in old:
            del self.refused[key], self.refused_at[key]
        return len(old)

    def forget_signals(self, before: int) -> int:
        old = [key for key, at in self.seen.items() if at < before]
        for key in old:
            del self.seen[key]
        return len(old)

    def hold_back(self, held: Sequence[HeldBack]) -> None:
        for one in held:
            known = self.held.get(one.id)
            if known is None or known[0].last <= one.last:
                self.held[one.id] = one, self._clock()

    def held_back(self, camera: str, start: int, end: int, *, limit: int = 1000) -> list[HeldBack]:
        found = [h for h, _at in self.held.values() if h.camera == camera and h.first <= end and h.last >= start]
        return sorted(found, key=lambda h: -h.last)[:limit]

    def forget_held_back(self, before: int) -> int:
        old = [key for key, (_held, at) in self.held.items() if at < before]
        for key in old:
            del self.held[key]
        return len(old)

    def report_devices(self, devices: Sequence[dict[str, Any]]) -> None:
        for row in devices:
            known = self.board.setdefault(row["device"], {})
            times = {
                n: max(row[n], known.get(n) or 0) for n in ("received", "frame_scored") if row.get(n) is not None
            }
            known |= row | times

    def devices(self) -> list[dict[str, Any]]:
        return [dict(self.board[name]) for name in sorted(self.board)]

    def close(self) -> None:
        """Nothing to close."""


class MemoryState:
    """`ports.Snapshots` and `ports.Pulse` in dictionaries."""

    def __init__(self, *, clock: Callable[[], int] | None = None) -> None:
        self._clock = clock or itertools.count(1).__next__
        self.saved: dict[tuple[str, str, int], tuple[int, bytes]] = {}
        self.rows: dict[tuple[str, str], dict[str, Any]] = {}

    def load(self, app: str, topic: str, partition: int) -> tuple[int, bytes] | None:
        return self.saved.get((app, topic, partition))

    def save(self, app: str, topic: str, partition: int, offset: int, state: bytes) -> None:
        known = self.saved.get((app, topic, partition))
        if known is None or known[0] <= offset:
            self.saved[app, topic, partition] = (offset, state)

    def drop(self, app: str, topic: str, partition: int) -> None:
        self.saved.pop((app, topic, partition), None)

    def beat(self, part: str, instance: str, row: dict[str, Any]) -> None:
        self.rows[part, instance] = {**row, "part": part, "instance": instance, "beaten": self._clock()}

    def beats(self) -> list[dict[str, Any]]:
        return [dict(self.rows[key]) for key in sorted(self.rows)]

    def close(self) -> None:
        """Nothing to close."""


class MemoryBlobs:
    """`ports.Blobs` in a dictionary. `clock` stamps what is put; by default it counts calls from 1."""

    def __init__(self, *, clock: Callable[[], int] | None = None) -> None:
        self._clock = clock or itertools.count(1).__next__
        self.kept: dict[str, bytes] = {}
        self.put_at: dict[str, int] = {}

    def put(self, data: bytes) -> str:
        key = hashlib.sha256(data).hexdigest()
        self.kept[key], self.put_at[key] = data, self._clock()
        return key

    def forget(self, before: int) -> int:
        old = [key for key, at in self.put_at.items() if at < before]
        for key in old:
            del self.kept[key], self.put_at[key]
        return len(old)

    def get(self, key: str) -> bytes:
        return self.kept[key]
