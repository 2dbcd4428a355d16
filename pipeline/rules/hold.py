"""A condition that must last: it begins once it has held for long enough, and ends when it is surely over.

Each look at a subject has an `excess`: above 0 is beyond the limit, at or below `-band` is surely within it,
between is neither, NaN is no news. What has not begun is forgotten at the first look that is not beyond.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.message import Change, Floats, Ints
from pipeline.rules.moves import Moves, grown


@dataclass(frozen=True, slots=True)
class Hold:
    """`lasting` and `max_gap` in microseconds: two looks beyond the limit further apart are not one run."""

    lasting: int
    max_gap: int
    band: float = 0.0


class Run(msgspec.Struct):
    """Beyond the limit since `since`, newest such look `last`, the worst of them `peak`."""

    since: int
    last: int
    peak: float
    excess: float
    began: bool = False


class Turn(NamedTuple):
    """At look `row` the run began to count, or ended; `run` is as it stood then."""

    change: Change
    row: int
    run: Run


class Looks(NamedTuple):
    """Of one subject, ascending in time: when, what was seen, and how far beyond the limit it is."""

    at: Ints
    value: Floats
    excess: Floats


def sweep(run: Run | None, looks: Looks, hold: Hold) -> tuple[Run | None, list[Turn]]:
    """The run after the looks, and its turns. The same however the looks are cut."""
    turns: list[Turn] = []
    i, end = 0, len(looks.at)
    while i < end:
        if run is None:
            i += _first(looks.excess[i:] > 0)
            if i < end:
                run = Run(int(looks.at[i]), int(looks.at[i]), float(looks.value[i]), float(looks.excess[i]))
        elif run.began:
            stop = i + _first(looks.excess[i:] <= -hold.band)
            _worsen(run, looks, i, stop)
            if stop < end:
                turns.append(Turn(Change.ENDED, stop, run))
                run = None
            i = stop + 1
            continue
        if run is not None and i < end:
            run = _confirm(run, looks, i, hold)
            if run is not None and run.began:
                turns.append(Turn(Change.BEGAN, i, msgspec.structs.replace(run)))
            i += 1
    return run, turns


def _confirm(run: Run, looks: Looks, i: int, hold: Hold) -> Run | None:
    """One look at a run that has not begun; None if it came to nothing."""
    at, value, excess = int(looks.at[i]), float(looks.value[i]), float(looks.excess[i])
    if not excess > 0:
        return None if excess <= 0 else run
    if at - run.last > hold.max_gap:
        run = Run(at, at, value, excess)
    run.last = at
    if excess > run.excess:
        run.peak, run.excess = value, excess
    run.began = at - run.since >= hold.lasting
    return run


def _first(rows: NDArray[np.bool_]) -> int:
    """Index of the first True, the length if there is none."""
    return int(rows.argmax()) if rows.any() else len(rows)


def _worsen(run: Run, looks: Looks, start: int, stop: int) -> None:
    beyond = start + np.flatnonzero(looks.excess[start:stop] > 0)
    if len(beyond):
        run.last = int(looks.at[beyond[-1]])
        worst = int(beyond[looks.excess[beyond].argmax()])
        if looks.excess[worst] > run.excess:
            run.peak, run.excess = float(looks.value[worst]), float(looks.excess[worst])


# ---------------------------------------------------------------- many subjects


class Held(msgspec.Struct):
    """State: `running[slot]` says that `runs` has an entry for that subject."""

    running: np.ndarray
    runs: dict[str, Run]


def none_held() -> Held:
    return Held(np.empty(0, np.bool_), {})


def held_turns(
    state: Held, moves: Moves, looks: Looks, hold: Hold, *, covers: Callable[[str], bool]
) -> Iterator[Turn]:
    """Turns of all subjects of a batch, rows counted in `moves`. Python looks only at those that are beyond."""
    state.running = grown(state.running, moves.slots, False)
    if not len(moves):
        return
    beyond = np.logical_or.reduceat(looks.excess > 0, moves.starts) | state.running[moves.slot[moves.starts]]
    for i in np.flatnonzero(beyond).tolist():
        start, end = int(moves.starts[i]), int(moves.ends[i])
        subject = moves.unit(start)
        if not covers(subject):
            continue
        part = Looks(looks.at[start:end], looks.value[start:end], looks.excess[start:end])
        run, turns = sweep(state.runs.get(subject), part, hold)
        _keep(state, subject, int(moves.slot[start]), run)
        for turn in turns:
            yield turn._replace(row=start + turn.row)


def _keep(state: Held, subject: str, slot: int, run: Run | None) -> None:
    state.running[slot] = run is not None
    if run is not None:
        state.runs[subject] = run
    else:
        state.runs.pop(subject, None)
