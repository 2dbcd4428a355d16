"""Fixes that came late correct history: the unit's rules are run again over its stored track.

    late fixes ─► stored, the unit marked ─► `settle` later: track from the store ─► the rules over it alone
                                                   │
                                                   ├─► episodes nobody knew of: BEGAN, ENDED, marked late
                                                   ├─► HOLDS: the alarm book corrects what the track refutes
                                                   └─► the rules' state of the unit takes the place of the live one

The run begins `lookback` before the earliest late fix, or earlier if an alarm of the unit, or anything a rule
remembers, goes back further: what a run says of a condition that it did not see begin is not used. At `reach` the
looking back ends; a rule whose condition is older still is left as it is.

A correction says all that is so, not what has changed. It may come twice, or be cut off and begin again with more
of the track in the store: the last one on the log is right. It is settled by the bridge's clock on the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from pipeline.message import SECOND, Alarm, Change, Signal, digest
from pipeline.ports import Store, Track
from pipeline.settings import Clean
from pipeline.telemetry.fold import Fold, Late, State
from pipeline.telemetry.history import Run, adopt, ends, fits, rerun
from pipeline.wire import rfc3339

logger = logging.getLogger(__name__)
RULE = "late-fixes"
LONGEST = 60 * SECOND
"""A unit whose fixes go on coming late is corrected at least that often."""

MOST = 16
"""Units corrected in one turn; the others wait, the longest waiting first."""

ROWS = 200_000
"""Fixes that one correction reads at the most."""

Known = Callable[[str], Sequence[Alarm]]
"""The alarms that are known of a unit, the newest first."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Microseconds; see the module."""

    settle: int = 5 * SECOND
    lookback: int = 1800 * SECOND
    reach: int = 86_400 * SECOND

    @staticmethod
    def of(clean: Clean) -> Patience:
        return Patience(*(round(s * SECOND) for s in (clean.settle_s, clean.lookback_s, clean.reach_s)))


@dataclass(frozen=True, slots=True)
class Again:
    """Runs over the track from `start`. What began before `since` is not told of."""

    runs: list[Run]
    start: int
    since: int


class Corrector:
    """Reads the store and the alarm book. NotConnected and Retryable leave everything as it was."""

    def __init__(self, store: Store, known: Known, patience: Patience | None = None) -> None:
        self._store, self._known, self._patience = store, known, patience or Patience()
        self.corrected = 0

    def due(self, state: State) -> list[str]:
        """Units to correct now, by the bridge's clock. Pure."""
        now, waiting = state.heard, state.late.items()
        due = [(mark.since, unit) for unit, mark in waiting if self._settled(mark, now)]
        return [unit for _, unit in sorted(due)[:MOST]]

    def _settled(self, mark: Late, now: int) -> bool:
        return now < mark.seen or now - mark.seen >= self._patience.settle or now - mark.since >= LONGEST

    def correct(self, fold: Fold, state: State, unit: str) -> list[Signal]:
        """Set the unit's live state right, take its mark away, and say what is so. Changes `state`."""
        mark = state.late[unit]
        slot = state.slots.index[unit]
        newest = int(state.slots.newest[slot])
        known = [alarm for alarm in self._known(unit) if alarm.kind != RULE]
        again = self._again(fold, unit, mark, newest, known)
        del state.late[unit]
        if again is None:
            return []
        runs = [run for run in again.runs if fits(state.rules[run.index], run.state, slot)]
        for run in runs:
            adopt(state.rules[run.index], run.state, unit, slot)
        self.corrected += 1
        said = [signal for run in runs for signal in run.signals if signal.start >= again.since]
        versions = {name: fold.versions.get(name, "") for run in runs for name in run.names}
        return [*_news(said, mark, known), _holds(said, versions, mark, (unit, again.since, newest))]

    # -------------------------------------------------------------- how far back

    def _again(self, fold: Fold, unit: str, mark: Late, newest: int, known: Sequence[Alarm]) -> Again | None:
        """Runs from far enough back; without the rules for which it is not. None if the track is not there."""
        farthest = mark.first - self._patience.reach
        start = max(farthest, self._first_look(mark, known))
        while True:
            track = self._store.track(unit, start, newest + 1, limit=ROWS)
            if not len(track) or int(track.at[-1]) != newest:
                logger.error("unit %s: its track up to %s cannot be read whole", unit, rfc3339(newest))
                return None
            runs, seam = rerun(fold.named, track), int(track.at[0])
            unsettled = [run for run in runs if run.unsettled(seam, mark.first)]
            if self._is_whole(unit, track, unsettled):
                return Again(runs, start, seam)
            if not unsettled or start == farthest:
                settled = [run for run in runs if run not in unsettled]
                return Again(settled, start, start + self._patience.lookback // 2)
            start = max(farthest, mark.first - 2 * (mark.first - start))

    def _first_look(self, mark: Late, known: Sequence[Alarm]) -> int:
        """Before the beginning of every alarm that the late fixes may concern."""
        concerned = [a.start for a in known if a.ended_at is None or a.ended_at >= mark.first]
        return min([mark.first, *concerned]) - self._patience.lookback

    def _is_whole(self, unit: str, track: Track, unsettled: Sequence[Run]) -> bool:
        """Whether nothing of the unit is older than the track. Asked only where it makes a difference."""
        return bool(unsettled) and not len(self._store.track(unit, 0, int(track.at[0]), limit=1))


# ---------------------------------------------------------------- words


def _news(said: Sequence[Signal], mark: Late, known: Sequence[Alarm]) -> list[Signal]:
    """Signals of episodes that the book does not have, as far as the late fixes may have made them."""
    there = {alarm.id for alarm in known}
    over = ends(said)
    fresh = {key for key, end in over.items() if key not in there and (end is None or end >= mark.first)}
    return [_marked(signal, mark) for signal in said if signal.alarm in fresh and signal.change is not Change.STILL]


def _marked(signal: Signal, mark: Late) -> Signal:
    late = {"first": mark.first, "known_at": mark.seen}
    reason = f"{signal.reason}; late: known at {rfc3339(mark.seen)}"
    return msgspec.structs.replace(signal, reason=reason, evidence=signal.evidence | {"late": late})


def _holds(said: Sequence[Signal], versions: dict[str, str], mark: Late, span: tuple[str, int, int]) -> Signal:
    unit, since, newest = span
    holds = ends(said)
    return Signal(
        rule=RULE,
        kind=RULE,
        version="",
        subject=unit,
        place=digest(*sorted(holds.items(), key=str), *sorted(versions.items())),
        change=Change.HOLDS,
        at=newest,
        start=since,
        reason=f"fixes from {rfc3339(mark.first)} on came late, until {rfc3339(mark.seen)}",
        severity="info",
        evidence={"holds": holds, "versions": versions, "first": mark.first, "known_at": mark.seen},
    )
