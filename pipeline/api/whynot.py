"""Why there was no alarm: what a camera showed at a time, and what became of it. Pure; `gather` reads the ports.

    frames, held back, alarms, refusals ─► Facts ─► answer ─► WhyNot

The answer is the first of these that holds: an alarm did open; the camera was blind or silent by an alarm; no frame
came; something was held back, with the reason; detections stayed below what makes a candidate; nothing was seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Protocol

from pydantic import BaseModel

from pipeline.api.explain import duration
from pipeline.api.shapes import Time
from pipeline.message import SECOND, Alarm, HeldBack, Refusal, ScoredFrame
from pipeline.ports import AlarmBook, Store, UserError
from pipeline.rules.cameras import load_cameras
from pipeline.rules.config import load as load_rules
from pipeline.rules.sighted import Confirmation
from pipeline.rules.sighting import Sighting
from pipeline.settings import Settings
from pipeline.vision.card import load_card
from pipeline.wire import rfc3339

WITHIN_S, LONGEST_S = 60.0, 3600.0
FRAMES, ALARMS, REFUSALS = 120_000, 5000, 1000
SIGHTING = "sighting"
DAY = 86_400 * SECOND
LATE = 3.0
"""Times the usual pause between two frames, from which one is missing."""

LEAST_PAUSE = 5 * SECOND
MEANING = {
    "mask": "masked",
    "score": "the score was too low",
    "hits": "too few frames had a score that counts",
    "share": "it was in too few of the frames",
    "persistence": "it did not last",
    "constant": "it does not move, as a lamp",
    "gap": "frames were missing",
    "cool_down": "an alarm at this place had only just ended",
    "crowd": "too much else was seen",
}


class Watch(Protocol):
    """A sighting rule, as far as it is asked here."""

    name: str

    def covers(self, camera: str) -> bool: ...
    def terms(self, camera: str, at: int) -> Confirmation: ...


@dataclass(frozen=True)
class Shown:
    """Frames of a time; `before` and `after` are the nearest outside of it, up to a day away."""

    frames: Sequence[ScoredFrame]
    before: int | None = None
    after: int | None = None


@dataclass(frozen=True)
class Facts:
    """All that is known of a camera around a time."""

    asked: Asked
    seen: Shown
    held: Sequence[HeldBack] = ()
    alarms: Sequence[Alarm] = ()
    refusals: Sequence[Refusal] = ()
    rules: Sequence[Watch] = ()


class HeldOut(BaseModel):
    """Something that was seen and made no alarm: `reason` a code, `meaning` and `detail` in words."""

    rule: str
    label: str
    first: Time
    last: Time
    place: str
    box: tuple[float, float, float, float]
    best: float
    needed: float
    reason: str
    meaning: str
    detail: str


class BestOut(BaseModel):
    """The best score of a label near that time, and what the rule needed then. Score 0: nothing was seen."""

    rule: str
    label: str
    score: float
    at: Time | None
    needed: float
    holds: float


class WhyNot(BaseModel):
    """The answer in a sentence, what it rests on, and all of it in sentences."""

    camera: str
    at: Time
    within_s: float
    answer: str
    alarms: list[str]
    trouble: list[str]
    frames: int
    held_back: list[HeldOut]
    best: list[BestOut]
    sentences: list[str]


# ---------------------------------------------------------------- reading


def watches(settings: Settings) -> list[Watch]:
    """The sighting rules with the model's and the cameras' scores, as the settings name them now. UserError."""
    thresholds = load_card(Path(settings.vision.model)).thresholds
    cameras = load_cameras(Path(settings.cameras.file))
    found = load_rules(Path(settings.rules.file)).sightings(thresholds, cameras)
    return [rule for rule, _kind in found if isinstance(rule, Sighting)]


@dataclass(frozen=True)
class Asked:
    """A camera, a time and how far around it is looked, in microseconds."""

    camera: str
    at: int
    within: int

    @staticmethod
    def of(camera: str, at: int, seconds: float) -> Asked:
        """UserError for a span that is nothing, or too long."""
        if not 0 < seconds <= LONGEST_S:
            raise UserError(f"within {seconds:g} s: ask for more than 0 and at most {LONGEST_S:.0f} s")
        return Asked(camera, at, round(seconds * SECOND))


def shown(store: Store, asked: Asked) -> Shown:
    """What the camera showed around that time."""
    start, end = asked.at - asked.within, asked.at + asked.within + 1
    after = next((frame.at for frame in store.frames(asked.camera, end, end + DAY, limit=1)), None)
    frames = store.frames(asked.camera, start, end, limit=FRAMES)
    return Shown(frames, _last(store, asked.camera, start), after)


def gather(book: AlarmBook, seen: Shown, rules: Sequence[Watch], asked: Asked) -> Facts:
    """What the book has of it. UserError for a camera that nobody knows."""
    camera, at, within = asked.camera, asked.at, asked.within
    known = {str(row["device"]) for row in book.devices()}
    if camera not in known and not seen.frames and seen.before is None and seen.after is None:
        raise UserError(f"no camera {camera}: devices are {', '.join(sorted(known)) or 'none as yet'}")
    alarms = book.alarms(limit=ALARMS)
    return Facts(
        asked=asked,
        seen=seen,
        held=book.held_back(camera, at - within, at + within),
        alarms=[a for a in alarms if _about(a, camera) and _during(a, at - within, at + within)],
        refusals=[
            r for r in book.refusals(limit=REFUSALS) if r.device == camera and abs(r.received - at) <= within
        ],
        rules=[rule for rule in rules if rule.covers(camera)],
    )


def _last(store: Store, camera: str, end: int) -> int | None:
    """When the last frame before `end` was, up to a day away: by halves, as frames come oldest first."""
    low, high = end - DAY, end
    if not store.frames(camera, low, high, limit=1):
        return None
    while high - low > SECOND:
        middle = (low + high) // 2
        low, high = (middle, high) if store.frames(camera, middle, high, limit=1) else (low, middle)
    return store.frames(camera, low, high)[-1].at


def _about(alarm: Alarm, camera: str) -> bool:
    """Its own, or one of several cameras that this one has joined."""
    members = (alarm.evidence.get("fire") or {}).get("members") or ()
    return alarm.subject == camera or any(member.get("camera") == camera for member in members)


def _during(alarm: Alarm, start: int, end: int) -> bool:
    return alarm.start <= end and (alarm.ended_at is None or alarm.ended_at >= start)


# ---------------------------------------------------------------- judging


def answer(facts: Facts) -> WhyNot:
    """Everything that is known, and the first of it that answers the question."""
    opened = [alarm for alarm in facts.alarms if alarm.kind == SIGHTING]
    trouble = [*_blind(facts), *_missing(facts), *_refused(facts)]
    held = sorted(facts.held, key=lambda h: (_away(h, facts.asked.at), -h.best))
    looked_at = facts.rules if facts.seen.frames else ()  # where nothing was looked at, "not seen" is no comfort
    best = [_best(rule, facts) for rule in looked_at]
    said = [_alarm_words(alarm) for alarm in opened]
    words = [*said, *trouble, *(_held_words(h) for h in held), *(_best_words(b) for b in best)]
    if not facts.rules:
        words.append(f"no sighting rule is about {facts.asked.camera}")
    return WhyNot(
        camera=facts.asked.camera,
        at=rfc3339(facts.asked.at),
        within_s=facts.asked.within / SECOND,
        answer=words[0],
        alarms=[alarm.id for alarm in opened],
        trouble=trouble,
        frames=len(facts.seen.frames),
        held_back=[_held_out(h) for h in held],
        best=best,
        sentences=words,
    )


def _alarm_words(alarm: Alarm) -> str:
    return f"an alarm did open: {alarm.id}, rule {alarm.rule}, raised {rfc3339(alarm.raised_at)}: {alarm.reason}"


def _blind(facts: Facts) -> Iterator[str]:
    for alarm in facts.alarms:
        if alarm.kind != SIGHTING:
            until = f"to {rfc3339(alarm.ended_at)}" if alarm.ended_at is not None else "and it goes on"
            yield f"{alarm.rule} from {rfc3339(alarm.start)} {until} (alarm {alarm.id}): {alarm.reason}"


def _missing(facts: Facts) -> Iterator[str]:
    """Frames that did not come at that time."""
    seen, asked = facts.seen, facts.asked
    times = [frame.at for frame in seen.frames]
    if not times:
        last = f"the last one before is of {rfc3339(seen.before)}" if seen.before is not None else "none before"
        following = f"the next one of {rfc3339(seen.after)}" if seen.after is not None else "none since"
        yield f"no frame was scored within {duration(asked.within)} of that time: {last}, {following}"
        return
    usual = median(b - a for a, b in pairwise(times)) if len(times) > 1 else 0
    start = [asked.at - asked.within] if seen.before is not None else []
    end = asked.at + asked.within if seen.after is not None else max(asked.at, times[-1])
    for a, b in pairwise([*start, *times, end]):
        if b - a > max(LEAST_PAUSE, LATE * usual):
            yield f"no frame for {duration(b - a)} from {rfc3339(a)}"


def _refused(facts: Facts) -> Iterator[str]:
    reasons = sorted({refusal.reason for refusal in facts.refusals})
    if reasons:
        yield f"{len(facts.refusals)} messages of the camera were refused: {', '.join(reasons)}"


def _best(rule: Watch, facts: Facts) -> BestOut:
    """The best detection of the rule's label; what it needed at that time of day, by the settings of now."""
    label = rule.terms(facts.asked.camera, facts.asked.at).label
    scores = [(score, f.at) for f in facts.seen.frames for name, score, _box in f.detections if name == label]
    score, at = max(scores, default=(0.0, facts.asked.at))
    terms = rule.terms(facts.asked.camera, at)
    when = rfc3339(at) if scores else None
    needed, holds = terms.open_score, terms.hold_score
    return BestOut(rule=rule.name, label=label, score=round(score, 4), at=when, needed=needed, holds=holds)


def _best_words(best: BestOut) -> str:
    if best.at is None:
        return f"no {best.label} was seen at all, not even faintly"
    least = f"{best.needed:.2f} needed by rule {best.rule}, {best.holds:.2f} to be a candidate"
    return f"the best score of {best.label} was {best.score:.2f} at {best.at}: {least}"


def _held_words(held: HeldBack) -> str:
    meaning = MEANING.get(held.reason, held.reason)
    seen = f"{held.label} at {held.place} of the picture from {rfc3339(held.first)} to {rfc3339(held.last)}"
    return f"{seen} was held back by rule {held.rule}: {meaning}: {held.detail} (best score {held.best:.2f})"


def _held_out(held: HeldBack) -> HeldOut:
    return HeldOut(
        rule=held.rule,
        label=held.label,
        first=rfc3339(held.first),
        last=rfc3339(held.last),
        place=held.place,
        box=held.box,
        best=held.best,
        needed=held.needed,
        reason=held.reason,
        meaning=MEANING.get(held.reason, held.reason),
        detail=held.detail,
    )


def _away(held: HeldBack, at: int) -> int:
    return max(held.first - at, at - held.last, 0)
