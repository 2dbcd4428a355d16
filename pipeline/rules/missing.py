"""A channel that says nothing for longer than its limit, by the bridge's clock.

Ticks are the bridge's clock on every record. Each pause longer than the limit is an episode of its own, from
`last + limit` to the next reading; the word is the same whether a tick told of it or the next reading did.
"""

from __future__ import annotations

import msgspec
import numpy as np

from pipeline.message import SECOND, Change, Signal
from pipeline.rules.head import Head, spell_s
from pipeline.rules.moves import Moves
from pipeline.rules.samples import Series
from pipeline.rules.spec import Positive, Readings
from pipeline.wire import rfc3339

PAUSE = 60 * SECOND
"""Ticks come every few seconds. After a longer pause nobody listened, so nothing is missed until a limit later."""


class Spec(Readings, frozen=True, kw_only=True):
    limit_s: Positive


class State(msgspec.Struct):
    """By series when the newest reading was received, and since when it is missed.

    `now` is the newest tick, `since` the tick from which the bridge has listened without a pause, `look` a time
    before which nothing can fall due.
    """

    last: dict[str, int]
    open: dict[str, int]
    now: int = 0
    since: int = 0
    look: int = 0


class Missing:
    """Satisfies `pipeline.ports.Rule` for `Moves` of a `SampleBatch`; a watermark is the bridge's clock."""

    def __init__(self, head: Head, series: Series, limit: int) -> None:
        self.name = head.name
        self._head, self._series, self._limit = head, series, limit

    def initial(self) -> State:
        return State({}, {})

    def step(self, state: State, batch: Moves) -> tuple[State, list[Signal]]:
        """Readings that came late are signs of life too."""
        samples = batch.batch
        order = np.argsort(samples.record, kind="stable")
        firsts = np.searchsorted(samples.record[order], np.arange(len(samples.heard) + 1)).tolist()
        signals: list[Signal] = []
        for i, heard in enumerate(samples.heard.tolist()):
            now = self._listen(state, heard)
            series = {samples.units[u] for u in samples.unit[order[firsts[i] : firsts[i + 1]]].tolist()}
            for name in sorted(filter(self._series.covers, series)):
                signals += self._hear(state, name, now)
            signals += self._due(state, now)
        return state, signals

    def tick(self, state: State, watermark: int) -> tuple[State, list[Signal]]:
        return state, self._due(state, self._listen(state, watermark))

    def _listen(self, state: State, heard: int) -> int:
        """The bridge's clock, which never goes back."""
        now = max(state.now, heard)
        if now - state.now > PAUSE:
            state.since = now
        state.now = now
        return now

    def _due(self, state: State, now: int) -> list[Signal]:
        if now <= state.look:
            return []
        awaited = {s: max(last, state.since) for s, last in state.last.items() if s not in state.open}
        late = sorted(series for series, heard in awaited.items() if now - heard > self._limit)
        for series in late:
            state.open[series] = awaited.pop(series) + self._limit
        state.look = min(awaited.values(), default=now) + self._limit
        return [self._began(state, series) for series in late]

    def _hear(self, state: State, series: str, at: int) -> list[Signal]:
        signals: list[Signal] = []
        heard = max(state.last.get(series, at), state.since)
        if at - heard > self._limit and series not in state.open:
            state.open[series] = heard + self._limit
            signals.append(self._began(state, series))
        start = state.open.pop(series, None)
        if start is not None:
            what = f"has a reading again after {spell_s(at - start + self._limit)}"
            signals.append(self._say(Change.ENDED, series, at, start, what))
        state.last[series] = at
        state.look = min(state.look, at + self._limit)
        return signals

    def _began(self, state: State, series: str) -> Signal:
        start = state.open[series]
        what = f"has given no reading for {spell_s(self._limit)}, the last came at {rfc3339(state.last[series])}"
        return self._say(Change.BEGAN, series, start, start, what)

    def _say(self, change: Change, series: str, at: int, start: int, what: str) -> Signal:
        device, _, channel = series.partition("/")
        return self._head.signal(
            change,
            device,
            at=at,
            start=start,
            place=channel,
            reason=f"{channel} of {device} {what}",
            limit_s=self._limit / SECOND,
        )


def build(spec: Spec, head: Head) -> tuple[Missing, type[State]]:
    return Missing(head, Series(spec.devices, spec.channels), round(spec.limit_s * SECOND)), State
