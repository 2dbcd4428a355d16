"""Which unit a tracker is of, and what of its messages is passed on. Strangers are refused and counted."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from edge.clock import EARLIEST, DeviceClock
from edge.decode import Message, Position
from edge.errors import SetupError
from edge.settings import Gateway
from pipeline import wire
from pipeline.message import SECOND, Clock, Fix, Reading

log = logging.getLogger(__name__)
FAR_AHEAD = 600 * SECOND
"""A tracker's stamp may be old, it keeps fixes where there is no network; it cannot be of the future."""

MOST_STRANGERS = 100
LONGEST_NAME = 40
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Kept:
    """What one message brings that must be on the disk before it is answered."""

    fixes: list[Fix] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.fixes or self.readings)


def together(parts: Iterable[Kept]) -> Kept:
    several = list(parts)
    return Kept([fix for part in several for fix in part.fixes], [one for part in several for one in part.readings])


class Desk:
    """The list of units, and what was seen. Used by one thread; `trouble` and `counts` may be read by others."""

    def __init__(self, settings: Gateway, clock: DeviceClock | None = None) -> None:
        self.secret = settings.auth_secret
        self.counts: Counter[str] = Counter()
        self._clock = clock or DeviceClock()
        self._pass = settings.unknown == "pass"
        self._alarms = settings.alarms
        self._units = _table(settings.units)
        self._strangers: OrderedDict[str, int] = OrderedDict()
        self._raised: dict[str, bool] = {}

    # ------------------------------------------------------------ who

    def unit(self, device: str, *others: str | None) -> str:
        """The unit of a tracker known by any of these names; empty for a stranger, who is counted."""
        for name in (device, *others):
            if name and (unit := self._units.get(_plain(name))):
                return unit
        if self._pass and wire.NAME.fullmatch(device):
            return device
        self._stranger("".join(sign if sign.isprintable() else "?" for sign in device[:LONGEST_NAME]))
        return ""

    def _stranger(self, device: str) -> None:
        """What names itself so may be anybody: its name is cut, and logged once."""
        if device not in self._strangers:
            log.warning("%r is not in [source] units: refused", device)
        self._strangers[device] = self._strangers.pop(device, 0) + 1
        if len(self._strangers) > MOST_STRANGERS:
            self._strangers.popitem(last=False)
        self.counts["unknown"] += 1

    def code(self, device: str) -> str:
        """What a terminal is told at its registration: the same after a restart, another for each."""
        return hmac.new(self.secret.encode(), _plain(device).encode(), hashlib.sha256).hexdigest()[:16]

    def refused(self, reason: str) -> None:
        """A message could not be read, or a connection was closed."""
        self.counts[reason] += 1

    @property
    def trouble(self) -> str:
        """Strangers in words; empty when there were none."""
        strangers = list(self._strangers.items())[-SHOWN:]
        if not strangers:
            return ""
        named = ", ".join(f"{name} ({count})" for name, count in reversed(strangers))
        more = f" and {len(self._strangers) - SHOWN} more" if len(self._strangers) > SHOWN else ""
        return f"refused, not in [source] units: {named}{more}"

    # ------------------------------------------------------------ what

    def kept(self, unit: str, message: Message, *, arrival: bool = False) -> Kept:
        """Fixes with a place and a time, and changes of the alarms that are listened to.

        With `arrival` a position without a time is of now. A position without a fix is counted and left out.
        """
        fixes = [fix for place in message.positions if (fix := self._fix(unit, place, arrival)) is not None]
        readings = [reading for told, at in _alarms(message) for reading in self._changes(unit, told, at)]
        self.counts["fixes"] += len(fixes)
        return Kept(fixes, readings)

    def _fix(self, unit: str, place: Position, arrival: bool) -> Fix | None:
        if not (place.valid and abs(place.lat) <= 90 and abs(place.lon) <= 180):
            self.counts["no_fix"] += 1
            return None
        now, state = self._clock.now()
        at = now if place.at is None and arrival else place.at
        if at is None:
            self.counts["no_time"] += 1
            return None
        clock = state if place.at is None else judged(at, now, state)
        numbers = place.speed, place.course, place.alt, place.accuracy
        return Fix(unit, at, place.lat, place.lon, *numbers, clock=clock)

    def _changes(self, unit: str, told: Sequence[str], at: int | None) -> Iterator[Reading]:
        """A reading when an alarm begins or ends, and at its first word after a start. Value 1 or 0."""
        for name in self._alarms:
            channel, now = f"{unit}.{name}", name in told
            if self._raised.get(channel) is not now:
                self._raised[channel] = now
                clock_at, clock = self._clock.now()
                yield Reading(channel, clock_at if at is None else at, float(now), clock=clock)


def _alarms(message: Message) -> Iterator[tuple[Sequence[str], int | None]]:
    """What was said of alarms, in order, and when; what says nothing of them ends none."""
    for place in message.positions:
        if "alarms" in place.fields:
            yield place.fields["alarms"], place.at
    if "alarms" in message.fields:
        yield message.fields["alarms"], None


def judged(at: int, now: int, state: Clock) -> Clock:
    """How far a tracker's stamp, taken from satellites, can be believed."""
    wrong = at < EARLIEST or (state == Clock.SYNCED and at - now > FAR_AHEAD)
    return Clock.IMPLAUSIBLE if wrong else Clock.SYNCED


def _table(units: dict[str, str]) -> dict[str, str]:
    """By name without leading zeros: phone numbers are filled up to 12 or 20 digits. SetupError."""
    table: dict[str, str] = {}
    for device, unit in units.items():
        if not wire.NAME.fullmatch(unit):
            raise SetupError(f"[source] units: unit {unit!r}: use letters, digits and _ . : - only")
        if table.setdefault(_plain(device), unit) != unit:
            raise SetupError(f"[source] units: {device!r} stands twice, with and without leading zeros")
    return table


def _plain(device: str) -> str:
    return device.lstrip("0").lower()
