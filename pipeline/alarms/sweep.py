"""Alarms whose rule is gone: nobody would ever say that they are over, so the book is told.

    alarms that stand ─► rules.toml as it is now ─► the end of each that no rule there could end

In this order: a rule that began an alarm was in the file before, so one that is not there afterwards is gone. A
file with mistakes ends nothing, as the rules before go on. Alarms of rules that remain end by their rules.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from pipeline.alarms.episode import ACKNOWLEDGED, RAISED
from pipeline.message import Alarm, AlarmEvent, Change, Signal
from pipeline.ports import AlarmBook, UserError
from pipeline.reload import RuleFiles
from pipeline.retry import Patience
from pipeline.rules.config import RuleSet
from pipeline.rules.spec import GeofenceSpec

logger = logging.getLogger(__name__)
EVERY = 10.0
"""Seconds between two looks."""

ALL = 1_000_000


class Sweep:
    """Ends what is left over of rules that are gone, at the start of the alarms worker and from then on."""

    def __init__(self, book: AlarmBook, rules: RuleSet) -> None:
        self._book, self._files = book, RuleFiles(rules)
        self._rules: RuleSet | None = rules
        self._patience = Patience("sweep")

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._patience.insist(lambda: asyncio.to_thread(self.once))
            await asyncio.sleep(EVERY)

    def once(self) -> list[AlarmEvent]:
        """Look once; what has been ended. Raises NotConnected and Retryable of the book."""
        standing = [
            alarm for state in (RAISED, ACKNOWLEDGED) for alarm in self._book.alarms(state=state, limit=ALL)
        ]
        rules = self._now()
        return [] if rules is None else self._book.apply(list(endings(standing, rules)))

    def _now(self) -> RuleSet | None:
        """The rules as the file has them now; None while it has mistakes."""
        if self._files.changed():
            try:
                self._rules = self._files.load()
            except UserError as error:
                self._rules = None
                logger.warning("no alarm is ended for its rule while rules.toml has mistakes: %s", error)
        return self._rules


def endings(alarms: Iterable[Alarm], rules: RuleSet) -> Iterator[Signal]:
    """The end of each alarm that no rule could end any more, at the last thing known of it.

    A fire goes on as long as a rule that is there sees it. Asked again, the same signals come, with the same ids.
    """
    for alarm in alarms:
        reasons = [_gone(rules, *said) for said in _sayings(alarm)]
        if all(reasons):
            yield _end(alarm, reasons[0])


def _sayings(alarm: Alarm) -> list[tuple[str, str, str]]:
    """(rule, kind, place) of what keeps the alarm open: of a fire, every member that goes on."""
    members: list[dict[str, Any]] = alarm.evidence.get("fire", {}).get("members", [])
    open_ = [(str(member["rule"]), alarm.kind, "") for member in members if member.get("ended") is None]
    return open_ or [(alarm.rule, alarm.kind, alarm.place)]


def _gone(rules: RuleSet, name: str, kind: str, place: str) -> str:
    """Why nothing more can be heard of it; empty if it can."""
    spec = next((spec for spec in rules.specs if spec.name == name), None)
    if spec is None:
        return f"rule {name} was {'disabled in' if name in rules.versions else 'removed from'} rules.toml"
    if spec.kind != kind:
        return f"rule {name} is of another kind in rules.toml: {spec.kind}"
    fenced = isinstance(spec, GeofenceSpec) and place
    if fenced and place not in {fence.id for fence in rules.fences.get(name, ())}:
        return f"fence {place} was taken out of rule {name}"
    return ""


def _end(alarm: Alarm, reason: str) -> Signal:
    """An event time, not the time of the change: a replayed past is ended in the past."""
    return Signal(
        rule=alarm.rule,
        kind=alarm.kind,
        version=str(alarm.evidence.get("version", "")),
        subject=alarm.subject,
        place=alarm.place,
        change=Change.ENDED,
        at=alarm.updated_at,
        start=alarm.start,
        reason=reason,
        severity=alarm.severity,
    )
