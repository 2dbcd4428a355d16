"""What a rule saw, step by step: the rule that raised an alarm is run again over what is stored, one fix at a time.

    stored fixes of the unit ─► the one rule, its state before and after each ─► the steps around begin and end

The rule is the one in use now, by its name; where the alarm was raised under another version, or by a state that
began before the history read here, the result may differ, and `doubt` says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import BaseModel

from pipeline.api.fires import distance
from pipeline.message import SECOND, Alarm, Change, PositionBatch, Signal
from pipeline.rules.config import RuleSet
from pipeline.rules.fleet import Fleet
from pipeline.rules.head import spell_s
from pipeline.rules.margin import Margins
from pipeline.rules.moves import NEVER, arrange, no_slots
from pipeline.rules.spec import Common, Fenced, SpeedSpec
from pipeline.wire import optional, rfc3339

LEAD = 6 * 3600 * SECOND
"""History before the episode that settles the rule."""

TAIL = 900 * SECOND
AROUND = 3
"""Steps shown before and after each turn of the alarm."""

FAR = 50_000.0
"""Metres beyond which a fence is simply far."""


class StepOut(BaseModel):
    """One fix, frame or silence: what it showed, and how the rule stood before and after. `skipped` came before
    it and are not shown; `turn` says what happened to the alarm there."""

    at: str
    saw: str
    before: str
    after: str
    turn: str = ""
    skipped: int = 0


class StepsOut(BaseModel):
    """`same` says whether running the rule again gives the very alarm; if not, `doubt` says why."""

    looked_at: int
    same: bool
    doubt: str
    steps: list[StepOut]


def window(alarm: Alarm) -> tuple[int, int]:
    """What has to be read to explain an alarm about a unit: first moment, and the one before which to end."""
    return min(alarm.start, alarm.raised_at) - LEAD, max(alarm.raised_at, alarm.ended_at or 0) + TAIL


def unit_steps(alarm: Alarm, rules: RuleSet, fleet: Fleet | None, fixes: PositionBatch) -> StepsOut | None:
    """The steps of an alarm about one unit; `fixes` are its own, by time. None for rules over other things."""
    spec = next((spec for spec in rules.specs if spec.name == alarm.rule), None)
    only = None if spec is None else replace(rules, specs=(spec,)).telemetry(fleet)
    if spec is None or not only:
        return None
    found = list(_run(alarm, only[0][0], _Scene(alarm, spec, rules), fixes))
    same = any(step.began for step in found)
    return StepsOut(looked_at=len(fixes), same=same, doubt=doubt(alarm, rules, same), steps=shown(found))


def doubt(alarm: Alarm, rules: RuleSet, same: bool) -> str:
    """Why the steps may not be those that the alarm came by; empty if they are."""
    then, now = alarm.evidence.get("version"), rules.versions.get(alarm.rule)
    changed = f"the rule was changed since: version {then} raised it, {now} is in use" if then != now else ""
    if same:
        return changed
    return changed or "run again over what is stored, the rule does not raise this very alarm: history is missing"


@dataclass(frozen=True, slots=True)
class Step:
    """A step before it is known whether it is shown."""

    at: int
    saw: str
    before: str
    after: str
    turns: tuple[str, ...] = ()
    began: bool = False
    first: bool = False
    """Where the episode starts."""

    @property
    def told(self) -> bool:
        return bool(self.turns) or self.first


def shown(steps: Sequence[Step]) -> list[StepOut]:
    """Those near a turn of the alarm; the others are counted."""
    near = {k for i, step in enumerate(steps) if step.told for k in range(i - AROUND, i + AROUND + 1)}
    found, skipped = list[StepOut](), 0
    for i, step in enumerate(steps):
        if i not in near:
            skipped += 1
            continue
        turn = "; ".join(step.turns)
        row = StepOut(at=rfc3339(step.at), saw=step.saw, before=step.before, after=step.after, turn=turn)
        found.append(row.model_copy(update={"skipped": skipped}))
        skipped = 0
    return found


# ---------------------------------------------------------------- fixes


class _Scene:
    """What a fix means to the rule of an alarm, in words."""

    def __init__(self, alarm: Alarm, spec: Common, rules: RuleSet) -> None:
        self.alarm = alarm
        self._spec = spec
        fences = rules.fences.get(spec.name, ()) if isinstance(spec, Fenced) else ()
        mine = [fence for fence in fences if fence.id == alarm.place] or list(fences)
        self._margins = Margins(mine) if mine else None
        self._accuracy = bool(getattr(spec, "accuracy", False))

    def words(self, fixes: PositionBatch, row: int, before: int) -> str:
        lat, lon = float(fixes.lat[row]), float(fixes.lon[row])
        gap = f"{spell_s(int(fixes.at[row]) - before)} after the fix before" if before != NEVER else "first fix"
        parts = [f"at {lat:.5f}, {lon:.5f}", *self._place(lat, lon, optional(float(fixes.accuracy[row])))]
        return ", ".join([*parts, *self._speed(optional(float(fixes.speed[row]))), gap])

    def _place(self, lat: float, lon: float, accuracy: float | None) -> Iterator[str]:
        """Inside, outside or unknown, and how far it is to the edge of the nearest fence that counts."""
        if self._margins is None:
            return
        near = self._margins.near(np.array([lat]), np.array([lon]), np.array([FAR]))
        if not len(near.margin):
            yield f"farther than {distance(FAR)} from every fence"
            return
        best = int(np.argmax(near.margin))
        margin, name = float(near.margin[best]), self._margins.fences[int(near.fences[best])].id
        side = "inside" if margin >= 0 else "outside"
        if self._accuracy and accuracy is not None and abs(margin) < accuracy:
            side = f"not known whether inside (accuracy {distance(accuracy)}),"
        yield f"{side} {name} by {distance(abs(margin))}"

    def _speed(self, speed: float | None) -> Iterator[str]:
        if speed is None:
            return
        limit = self.alarm.evidence.get("limit") if isinstance(self._spec, SpeedSpec) else None
        held = (
            "" if limit is None else f", {'above' if speed > limit else 'not above'} the limit of {limit:.3g} m/s"
        )
        yield f"{speed:.3g} m/s{held}"


def _run(alarm: Alarm, rule: Any, scene: _Scene, fixes: PositionBatch) -> Iterator[Step]:
    """One step a fix; one more where time alone turned the alarm, until the next fix or the end."""
    slots, state, stands, last = no_slots(), rule.initial(), False, NEVER
    device = fixes.sources[0].device if fixes.sources else ""
    ends = [*(fixes.at[1:] - 1).tolist(), window(alarm)[1]]
    for row, until in enumerate(ends[: len(fixes)]):
        at, before = int(fixes.at[row]), _standing(state, alarm, stands)
        state, signals = rule.step(state, arrange(slots, fixes.select(np.array([row]))))
        turns, stands = _turns(alarm, signals, stands)
        after = _standing(state, alarm, stands)
        began = _began(alarm, signals)
        yield Step(at, scene.words(fixes, row, last), before, after, turns, began, at == alarm.start)
        last = at
        state, signals = rule.tick(state, (device, until))
        before = after
        turns, stands = _turns(alarm, signals, stands)
        if turns:
            quiet = f"no fix for {spell_s(signals[-1].at - at)}"
            yield Step(
                signals[-1].at, quiet, before, _standing(state, alarm, stands), turns, _began(alarm, signals)
            )


def _mine(alarm: Alarm, signals: Sequence[Signal]) -> list[Signal]:
    return [s for s in signals if s.subject == alarm.subject and s.place == alarm.place and s.rule == alarm.rule]


def _began(alarm: Alarm, signals: Sequence[Signal]) -> bool:
    return any(s.change is Change.BEGAN and s.episode == alarm.id for s in signals)


def _turns(alarm: Alarm, signals: Sequence[Signal], stands: bool) -> tuple[tuple[str, ...], bool]:
    """What happened to this alarm, or to another of the same rule, unit and place; whether one stands now."""
    words = []
    for signal in _mine(alarm, signals):
        whose = "this alarm" if signal.episode == alarm.id else f"alarm {signal.episode}"
        if signal.change is not Change.STILL:
            stands = signal.change is Change.BEGAN
            words.append(f"{whose} {'raised' if stands else 'ended'}")
    return tuple(words), stands


def _standing(state: Any, alarm: Alarm, stands: bool) -> str:
    """How the rule stands to the unit: from its own state where that says more than the alarm does."""
    if stands:
        return "stands"
    unit, place = alarm.subject, alarm.place
    due = _at_place(getattr(state, "waiting", {}), unit, place)
    if due is not None:
        return f"inside, allowed until {rfc3339(due)}"
    places = getattr(state, "places", None)
    since = _at_place(getattr(places, "pending", {}), unit, place)
    if since is not None:
        return f"crossing not sure since {rfc3339(since)}"
    run = getattr(state, "runs", {}).get(unit)
    if run is not None and hasattr(run, "since"):
        return f"above since {rfc3339(run.since)}"
    since = _at_place(getattr(places, "inside", {}), unit, place)
    return "nothing" if since is None else f"inside since {rfc3339(since)}"


def _at_place(book: Mapping[str, Mapping[str, int]], unit: str, place: str) -> int | None:
    """What a rule's state has noted of a unit under a key that ends in the place's id."""
    noted = book.get(unit, {})
    return next((value for key, value in noted.items() if key.rpartition("#")[2] == place), None)
