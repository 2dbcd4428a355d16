"""One fire is one alarm, however many cameras and rules see it. Pure: signals in, signals with their alarm out.

    signal of a camera with a pose ─► bearing ─► is a fire that goes on seen in that line? ─► joins it
                                                 └─ no ─► a fire of its own

A sighting joins a fire that goes on when

    from another mast   its line meets the lines of the fire at one place (`bearing.locate`)
    from the same mast  it lies beside one of the fire's lines: boxes that overlap, or azimuths within their errors

and no more than `within` has passed since a camera last began to see it. Smoke and fire are one family. What a
camera sees by one rule at two places of its picture are two fires. Signals without a bearing pass as they are.

The alarm is that of the first signal on the log; its id never changes. Each signal of a fire carries what the fire
then comes to, as `fire` in its evidence (see `told`): members, place, and `going_on`, how many still see it. The
alarm ends with the last of them (`alarms.episode`). State and offset move together, so a crash changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pipeline.alarms.episode import PICTURE
from pipeline.alarms.fire import Fire, Member, lines, told, why
from pipeline.message import SECOND, Change, Signal
from pipeline.rules.bearing import LIMITS, Bearing, Limits, Place, Unplaced, locate, same_mast, sight, turn
from pipeline.rules.cameras import Camera, Pose, load_cameras
from pipeline.settings import Settings

FAMILIES = {"smoke": "fire", "fire": "fire"}
"""Labels that mean one thing; any other label is its own family."""
WITHIN = 2 * 3600 * SECOND
BESIDE = 1.0
"""Degrees between two boxes of one camera that may still be one fire: smoke drifts."""
KEPT = 86_400 * SECOND
"""Event time for which a fire that has ended is remembered, so that a second delivery is recognised."""
LARGEST, MEMBERS = 2000, 200
"""Fires in the state, and episodes of one fire; beyond them the oldest are forgotten."""


class State(msgspec.Struct):
    """Fires by the id of their alarm, and the fire of each member. `newest` is the latest event time."""

    fires: dict[str, Fire] = {}
    of: dict[str, str] = {}
    newest: int = 0


class Merge:
    """`cameras` by name; those without a pose say nothing here. Order of signals: as on the log."""

    def __init__(
        self, cameras: Mapping[str, Camera] | None = None, *, limits: Limits = LIMITS, within: int = WITHIN
    ) -> None:
        self._poses = {name: camera.pose for name, camera in (cameras or {}).items() if camera.pose is not None}
        self._limits, self._within = limits, within

    def initial(self) -> State:
        return State()

    def step(self, state: State, signal: Signal) -> tuple[State, Signal]:
        """The signal as it goes into the alarm book."""
        pose = self._poses.get(signal.subject)
        bearing = None
        if pose is not None and "box" in signal.evidence and "size" in signal.evidence:
            bearing = sight(pose, signal.evidence["size"], signal.evidence["box"], camera=signal.subject)
            signal = msgspec.structs.replace(signal, evidence=signal.evidence | _said(pose, bearing))
        fire = self._fire(state, signal, bearing)
        return (state, signal) if fire is None else (state, self._annotated(fire, signal))

    # -------------------------------------------------------------- which fire

    def _fire(self, state: State, signal: Signal, bearing: Bearing | None) -> Fire | None:
        """The fire the signal is about, brought up to date; None if it is about none that is known."""
        if signal.episode in state.of:
            fire = state.fires[state.of[signal.episode]]
            self._follow(fire, signal, bearing)
            return fire
        if bearing is None or signal.change is not Change.BEGAN:
            return None
        state.newest = max(state.newest, signal.at)
        found = self._candidates(state, signal, bearing)
        fire = found[0] if found else Fire([])
        fire.members.append(_member(signal, bearing))
        state.fires[fire.id], state.of[signal.episode] = fire, fire.id
        _trim(state, fire)
        self._place(fire)
        _forget(state)
        return fire

    def _follow(self, fire: Fire, signal: Signal, bearing: Bearing | None) -> None:
        """A later word of a member. Its end counts even if its camera has lost its pose meanwhile."""
        member = next(m for m in fire.members if m.alarm == signal.episode)
        if signal.change is Change.ENDED:
            member.ended = max(signal.at, member.ended or signal.at)
        elif signal.change is Change.STILL and member.ended is None and bearing is not None:
            member.bearing = bearing
            member.picture = _picture(signal) or member.picture
            self._place(fire)
        fire.revision += 1

    def _candidates(self, state: State, signal: Signal, bearing: Bearing) -> list[Fire]:
        """Fires that go on and may be what was sighted: those with most lines first, then the nearest in time."""
        near = [
            fire
            for fire in state.fires.values()
            if fire.going_on
            and abs(signal.at - max(m.began for m in fire.members)) <= self._within
            and self._fits(fire, signal, bearing)
        ]
        return sorted(near, key=lambda f: (-len(f.members), abs(signal.at - f.members[0].began), f.id))

    def _fits(self, fire: Fire, signal: Signal, bearing: Bearing) -> bool:
        label = str(signal.evidence.get("label", ""))
        if _family(label) != _family(fire.members[0].label):
            return False
        same_rule = (m for m in fire.members if (m.camera, m.rule) == (signal.subject, signal.rule))
        if any(m.ended is None for m in same_rule):
            return False
        here = [m for m in fire.members if same_mast(m.bearing, bearing, self._limits.least_baseline_m)]
        if here and not any(_beside(m, signal.subject, bearing) for m in here):
            return False
        if len(here) == len(fire.members):
            return True
        return isinstance(locate([*lines(fire), bearing], self._limits), Place)

    # -------------------------------------------------------------- what it comes to

    def _place(self, fire: Fire) -> None:
        found = locate(lines(fire), self._limits)
        fire.place = found if isinstance(found, Place) else None
        fire.unplaced = found.detail if isinstance(found, Unplaced) else ""
        fire.revision += 1

    def _annotated(self, fire: Fire, signal: Signal) -> Signal:
        joins = fire.id if fire.id != signal.episode else ""
        reason = signal.reason
        if joins and signal.change is Change.BEGAN:
            reason = f"{reason}; {why(fire)}"
        elif signal.change is Change.ENDED and fire.going_on:
            others = sorted({m.camera for m in fire.members if m.ended is None})
            reason = f"{reason}; {', '.join(others)} still {'sees' if len(others) == 1 else 'see'} it"
        evidence = {**signal.evidence, "fire": told(fire, self._limits)}
        return msgspec.structs.replace(signal, reason=reason, joins=joins, evidence=evidence)


def open_merge(settings: Settings) -> Merge:
    """By the cameras and the limits of `settings.cameras`. UserError for a file that cannot be read."""
    table = settings.cameras
    limits = Limits(table.range_m, table.least_baseline_m, table.least_crossing)
    return Merge(load_cameras(Path(table.file)), limits=limits, within=round(table.join_s * SECOND))


def _said(pose: Pose, bearing: Bearing) -> dict[str, Any]:
    """What a bearing adds to a signal's evidence."""
    return {
        "bearing": round(bearing.azimuth, 2),
        "bearing_error": round(bearing.error, 2),
        "elevation": round(bearing.elevation, 2),
        "pose": {k: v for k, v in msgspec.to_builtins(pose).items() if v is not None and v == v and v != ""},
    }


def _member(signal: Signal, bearing: Bearing) -> Member:
    evidence = signal.evidence
    return Member(
        signal.episode,
        signal.rule,
        signal.subject,
        str(evidence.get("label", "")),
        signal.start,
        signal.at,
        bearing,
        _picture(signal),
    )


def _picture(signal: Signal) -> dict[str, Any]:
    """What the console needs to show the frame; empty where there is none."""
    evidence = signal.evidence
    return {name: evidence[name] for name in PICTURE if name in evidence} if "frame" in evidence else {}


def _family(label: str) -> str:
    return FAMILIES.get(label, label)


def _beside(member: Member, camera: str, bearing: Bearing) -> bool:
    """Whether two lines from one mast are near enough to be one fire."""
    off = abs(turn(member.bearing.azimuth - bearing.azimuth))
    touching = (member.bearing.width + bearing.width) / 2 + BESIDE
    if member.camera == camera:
        return off <= touching
    return off <= max(touching, 2 * math.hypot(member.bearing.error, bearing.error))


def _trim(state: State, fire: Fire) -> None:
    """A fire that flickers for weeks keeps its first and its newest episodes."""
    while len(fire.members) > MEMBERS:
        old = next((m for m in fire.members[1:] if m.ended is not None), fire.members[1])
        fire.members.remove(old)
        del state.of[old.alarm]


def _forget(state: State) -> None:
    """What ended long ago, and beyond the largest number the oldest."""
    for fire in list(_past(state)):
        del state.fires[fire.id]
        for member in fire.members:
            del state.of[member.alarm]


def _past(state: State) -> Iterator[Fire]:
    kept = []
    for fire in state.fires.values():
        last = max(m.ended or m.began for m in fire.members)
        if not fire.going_on and last < state.newest - KEPT:
            yield fire
        else:
            kept.append((last, fire.id))
    for _last, key in sorted(kept)[: max(0, len(kept) - LARGEST)]:
        yield state.fires[key]
