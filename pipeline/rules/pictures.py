"""A camera that gives signs of life and no pictures: it is blind, and nobody would miss the device.

A device that says nothing at all is the concern of `device_silence`, so that one fault is one alarm. What counts as
too long is learned: three times the longest usual pause between two pictures, and at least the limit.
"""

from __future__ import annotations

import msgspec

from pipeline.message import SECOND, Change, DeviceRecord, DeviceReport, Signal
from pipeline.rules.head import Head, spell_s
from pipeline.rules.silence import FINISHED, PAUSE
from pipeline.wire import rfc3339

ALIVE = 30 * SECOND
"""A device heard within this long gives signs of life: its agent says how it is more often than that."""

UNKNOWN_PACE = 900 * SECOND
"""The least limit while only one picture has ever come."""

PAUSES, FADE = 3, 0.9
"""Pauses that make a limit, and how fast a long one is forgotten, by picture."""


class Pace(msgspec.Struct):
    """One camera by the bridge's clock: its last picture, its longest usual pause (0: unknown), its last sign.

    `start` is when its blindness began, 0 while it sees.
    """

    last: int
    heard: int
    pause: int = 0
    start: int = 0
    said: str = ""


class PictureState(msgspec.Struct):
    """By camera: every device that has ever sent a picture. `since`: listening without a pause."""

    cameras: dict[str, Pace]
    now: int = 0
    since: int = 0


class NoPictures:
    """Satisfies `pipeline.ports.Rule` for `DeviceRecord`, whose `now` is the tick."""

    def __init__(self, head: Head, limit: int) -> None:
        self.name = head.name
        self._head, self._limit = head, limit

    def initial(self) -> PictureState:
        return PictureState({})

    def step(self, state: PictureState, batch: DeviceRecord) -> tuple[PictureState, list[Signal]]:
        if abs(batch.now - state.now) > PAUSE:
            state.since = batch.now
        state.now = batch.now
        signals: list[Signal] = []
        for report in sorted(batch.reports, key=lambda r: (r.received, r.device)):
            if self._head.scope.covers(report.device):
                signals += self._hear(state, report)
        state, due = self.tick(state, batch.now)
        return state, signals + due

    def tick(self, state: PictureState, watermark: int) -> tuple[PictureState, list[Signal]]:
        signals: list[Signal] = []
        for name, pace in sorted(state.cameras.items()):
            due = max(pace.last, state.since) + self._allowed(pace)
            awaited = not pace.start and pace.said != FINISHED and watermark - pace.heard <= ALIVE
            if awaited and watermark > due:
                pace.start = due
                signals.append(self._began(name, pace))
        return state, signals

    def _allowed(self, pace: Pace) -> int:
        return max(self._limit, PAUSES * pace.pause if pace.pause else UNKNOWN_PACE)

    def _hear(self, state: PictureState, report: DeviceReport) -> list[Signal]:
        pace = state.cameras.get(report.device)
        if pace is None:
            if report.frames:
                state.cameras[report.device] = Pace(report.received, report.received)
            return []
        pace.heard = report.received
        if report.status is not None:
            pace.said = report.status.state
        return self._picture(pace, report) if report.frames else []

    def _picture(self, pace: Pace, report: DeviceReport) -> list[Signal]:
        """A pause that was an alarm, or in which the device was away, is no measure of its pace."""
        pause = max(report.received - pace.last, 1)
        began, pace.start, pace.last = pace.start, 0, report.received
        if began:
            return [self._ended(report, pause, began)]
        if pause <= max(self._allowed(pace), self._limit):
            pace.pause = max(pause, int(FADE * pace.pause))
        return []

    # -------------------------------------------------------------- words

    def _began(self, camera: str, pace: Pace) -> Signal:
        reason = (
            f"{camera} is blind, silent: it gives signs of life, but has sent no picture since {rfc3339(pace.last)}"
        )
        usual = f"; the longest usual pause is {spell_s(pace.pause)}" if pace.pause else ""
        return self._head.signal(
            Change.BEGAN,
            camera,
            at=pace.start,
            start=pace.start,
            reason=reason + usual,
            camera=camera,
            cause="silent",
            last=pace.last,
            limit_s=self._allowed(pace) / SECOND,
        )

    def _ended(self, report: DeviceReport, pause: int, start: int) -> Signal:
        reason = f"{report.device} sends pictures again after {spell_s(pause)}"
        at = max(report.received, start)
        return self._head.signal(Change.ENDED, report.device, at=at, start=start, reason=reason, cause="silent")
