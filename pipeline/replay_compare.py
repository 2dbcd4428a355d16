"""What two sets of rules make of one recording: alarms added, gone, moved; and how much work each makes. Pure.

added    the new rules raise it, and the old ones nothing like it
gone     the other way round
moved    the same rule about the same subject and place, begun, raised or ended at another time: the same id, or
         episodes that overlap or begin within `NEAR` of each other
same     neither its times nor how grave it is differ
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from pipeline.message import SECOND, Alarm
from pipeline.wire import rfc3339

NEAR = 600 * SECOND
TEN_MINUTES = 600 * SECOND
"""What operators' work is counted in: ISA-18.2 and EEMUA 191 count alarms for an operator and 10 minutes."""

FOREVER = 1 << 62


class Told(msgspec.Struct, frozen=True):
    """One alarm as it stood at the end of the run; times are RFC 3339, `ended` None while it goes on."""

    alarm: str
    rule: str
    subject: str
    place: str
    severity: str
    start: str
    raised: str
    ended: str | None
    reason: str


class Moved(msgspec.Struct, frozen=True):
    """The same, as the old and as the new rules tell it; `later_s` is how much later it is raised."""

    old: Told
    new: Told
    later_s: float


class Load(msgspec.Struct, frozen=True):
    """How much work a set of rules makes. `per_operator` alarms come to one of them in 10 minutes, on average;
    `worst` in the worst 10 minutes, which begin at `worst_from`. `rules` and `subjects`: the noisiest first."""

    alarms: int
    per_operator: float
    worst: float
    worst_from: str | None
    rules: list[tuple[str, int]]
    subjects: list[tuple[str, int]]


class Comparison(msgspec.Struct, frozen=True):
    """`operators` share the alarms of `span_s` seconds."""

    span_s: float
    operators: int
    old: Load
    new: Load
    added: list[Told]
    gone: list[Told]
    moved: list[Moved]
    same: int


def compare(
    old: Iterable[Alarm], new: Iterable[Alarm], *, span: int, operators: int = 1, top: int = 5
) -> Comparison:
    """`span` is the microseconds that both ran over, `top` how many noisy rules and subjects are named."""
    before, after = _in_order(old), _in_order(new)
    pairs = list(_pairs(before, after))
    moved = [_moved(one, other) for one, other in pairs if _differs(one, other)]
    paired_old, paired_new = (
        ({alarm.id for alarm in side} for side in zip(*pairs, strict=True)) if pairs else ((), ())
    )
    return Comparison(
        span_s=span / SECOND,
        operators=operators,
        old=load_of(before, span=span, operators=operators, top=top),
        new=load_of(after, span=span, operators=operators, top=top),
        added=[told(alarm) for alarm in after if alarm.id not in paired_new],
        gone=[told(alarm) for alarm in before if alarm.id not in paired_old],
        moved=moved,
        same=len(pairs) - len(moved),
    )


def load_of(alarms: Iterable[Alarm], *, span: int, operators: int, top: int) -> Load:
    raised = _in_order(alarms)
    count, first = _worst([alarm.raised_at for alarm in raised])
    windows = max(1.0, span / TEN_MINUTES)
    return Load(
        alarms=len(raised),
        per_operator=len(raised) / windows / operators,
        worst=count / operators,
        worst_from=None if first is None else rfc3339(first),
        rules=Counter(alarm.rule for alarm in raised).most_common(top),
        subjects=Counter(alarm.subject for alarm in raised).most_common(top),
    )


def told(alarm: Alarm) -> Told:
    return Told(
        alarm=alarm.id,
        rule=alarm.rule,
        subject=alarm.subject,
        place=alarm.place,
        severity=alarm.severity,
        start=rfc3339(alarm.start),
        raised=rfc3339(alarm.raised_at),
        ended=None if alarm.ended_at is None else rfc3339(alarm.ended_at),
        reason=alarm.reason,
    )


def _in_order(alarms: Iterable[Alarm]) -> list[Alarm]:
    return sorted(alarms, key=lambda alarm: (alarm.raised_at, alarm.rule, alarm.subject, alarm.id))


def _worst(raised: list[int]) -> tuple[int, int | None]:
    """Most alarms in any 10 minutes, and when those begin. `raised` ascends."""
    most, since, first = 0, None, 0
    for last, at in enumerate(raised):
        while at - raised[first] >= TEN_MINUTES:
            first += 1
        if last - first + 1 > most:
            most, since = last - first + 1, raised[first]
    return most, since


# ---------------------------------------------------------------- which alarm is which


def _pairs(old: list[Alarm], new: list[Alarm]) -> Iterator[tuple[Alarm, Alarm]]:
    """First the same ids; then, of one rule, subject and place, in order of time whatever lies near."""
    by_id = {alarm.id: alarm for alarm in old}
    shared = {alarm.id for alarm in new if alarm.id in by_id}
    yield from ((by_id[alarm.id], alarm) for alarm in new if alarm.id in shared)
    waiting = _by_place(alarm for alarm in old if alarm.id not in shared)
    for key, ones in _by_place(alarm for alarm in new if alarm.id not in shared).items():
        left = waiting.get(key, [])
        for alarm in ones:
            found = next((other for other in left if _near(other, alarm)), None)
            if found is not None:
                left.remove(found)
                yield found, alarm


def _by_place(alarms: Iterable[Alarm]) -> Mapping[tuple[str, str, str], list[Alarm]]:
    found: dict[tuple[str, str, str], list[Alarm]] = defaultdict(list)
    for alarm in alarms:
        found[alarm.rule, alarm.subject, alarm.place].append(alarm)
    return found


def _near(one: Alarm, other: Alarm) -> bool:
    if abs(one.start - other.start) <= NEAR:
        return True
    return one.start < (other.ended_at or FOREVER) and other.start < (one.ended_at or FOREVER)


def _differs(one: Alarm, other: Alarm) -> bool:
    def facts(alarm: Alarm) -> tuple[object, ...]:
        return alarm.start, alarm.raised_at, alarm.ended_at, alarm.severity

    return facts(one) != facts(other)


def _moved(one: Alarm, other: Alarm) -> Moved:
    return Moved(told(one), told(other), (other.raised_at - one.raised_at) / SECOND)
