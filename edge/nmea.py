"""NMEA 0183 sentences to fixes: RMC, GGA, GLL, GNS, VTG, GST and ZDA of one epoch become one fix.

A receiver tells one moment in several sentences. Those with the same time of day belong together; VTG and GST,
which the time does not separate, belong to the epoch they come in. The last position told counts.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pynmeagps import NMEAReader
from pynmeagps.exceptions import NMEAMessageError, NMEAParseError, NMEAStreamError, NMEATypeError

from pipeline.message import SECOND, Clock, Fix

Said = dict[str, Any]
KNOT = 1852 / 3600
RANGE_ERROR = 4.0
"""Metres of 1-sigma user range error taken for a civil receiver; times HDOP it is the accuracy without GST."""

DAY = 86_400 * SECOND
HALF_DAY = DAY // 2
READ = ("RMC", "GGA", "GLL", "GNS", "VTG", "GST", "ZDA")
TIMELESS = ("VTG", "GST", "ZDA")
"""Sentences that begin no epoch: VTG has no time; GST's and ZDA's may be a little off the fix's."""
MALFORMED = (NMEAParseError, NMEAMessageError, NMEATypeError, NMEAStreamError, ValueError, TypeError, KeyError)


@dataclass(slots=True)
class Epoch:
    """What the sentences of one moment have said so far."""

    time: int | None = None
    date: dt.date | None = None
    lat: float | None = None
    lon: float | None = None
    speed: float | None = None
    course: float | None = None
    alt: float | None = None
    accuracy: float | None = None
    hdop: float | None = None
    valid: bool | None = None


@dataclass(slots=True)
class Counts:
    """Lines by fate: for the status, and for a technician who wonders."""

    read: int = 0
    checksum: int = 0
    malformed: int = 0
    no_fix: int = 0
    no_date: int = 0


@dataclass(slots=True)
class Merger:
    """Feed lines; a fix comes back when its epoch is over. `judge` says how far a stamp can be believed.

    `date` is the day of the first sentence, for logs that never tell it.
    """

    unit: str
    judge: Callable[[int], Clock]
    date: dt.date | None = None
    counts: Counts = field(default_factory=Counts)
    _epoch: Epoch = field(default_factory=Epoch)
    _last: int | None = None

    def feed(self, line: str) -> Fix | None:
        """One line, with or without its line end. A line that is no sentence, or a damaged one, is counted."""
        kind, said = self._parse(line)
        if kind not in FOLD:
            return None
        done = None
        if kind not in TIMELESS:
            time = _microseconds(said)
            if time is None:
                return None  # the receiver has lost the time: this says nothing of any moment
            if self._epoch.time is not None and time != self._epoch.time:
                done = self.flush()
            self._epoch.time = time
        FOLD[kind](self._epoch, said)
        return done

    def flush(self) -> Fix | None:
        """The epoch is over: the receiver is silent, or the input has ended."""
        epoch, self._epoch = self._epoch, Epoch()
        if epoch.date is not None:
            self.date, self._last = epoch.date, None
        if epoch.time is None or epoch.lat is None or epoch.lon is None or not epoch.valid:
            self.counts.no_fix += epoch.time is not None
            return None
        at = self._stamp(epoch.time)
        if at is None:
            self.counts.no_date += 1
            return None
        return self._fix(epoch, at, epoch.lat, epoch.lon)

    def _parse(self, line: str) -> tuple[str, Said]:
        """Kind and fields of a sentence of those we read; one without a checksum, or with a wrong one, is refused.

        A field may be missing, when the sentence is short, or of any type, when it is damaged.
        """
        text = line.strip()
        start = text.rfind("$")
        if start < 0 or text[start + 3 : start + 6] not in READ:
            return "", {}
        self.counts.read += 1
        try:
            sentence = NMEAReader.parse(text[start:] + "\r\n")
        except MALFORMED as error:
            damaged = "checksum" in str(error)
            self.counts.checksum += damaged
            self.counts.malformed += not damaged
            return "", {}
        self.counts.malformed += sentence is None
        return ("", {}) if sentence is None else (sentence.msgID, vars(sentence))

    def _stamp(self, time: int) -> int | None:
        """Event time: the day last told, or the next when the time of day has passed midnight since."""
        if self.date is None:
            return None
        if self._last is not None and time < self._last - HALF_DAY and self.date < dt.date.max:
            self.date += dt.timedelta(days=1)
        self._last = time
        return (self.date - dt.date(1970, 1, 1)).days * DAY + time

    def _fix(self, epoch: Epoch, at: int, lat: float, lon: float) -> Fix:
        accuracy = epoch.accuracy if epoch.accuracy is not None else epoch.hdop and epoch.hdop * RANGE_ERROR
        return Fix(
            unit=self.unit,
            at=at,
            lat=lat,
            lon=lon,
            speed=epoch.speed,
            course=epoch.course,
            alt=epoch.alt,
            accuracy=accuracy,
            clock=self.judge(at),
        )


def _microseconds(said: Said) -> int | None:
    """Time of day of a sentence, None if it has none."""
    time = said.get("time")
    if not isinstance(time, dt.time):
        return None
    return ((time.hour * 60 + time.minute) * 60 + time.second) * SECOND + time.microsecond


def _place(epoch: Epoch, said: Said) -> None:
    lat, lon = _number(said.get("lat")), _number(said.get("lon"))
    if lat is not None and lon is not None:
        epoch.lat, epoch.lon = lat, lon


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _judge(epoch: Epoch, valid: bool) -> None:
    """One sentence that calls the epoch void is enough."""
    epoch.valid = valid if epoch.valid is None else epoch.valid and valid


def _rmc(epoch: Epoch, said: Said) -> None:
    _judge(epoch, said.get("status") == "A")
    _place(epoch, said)
    if isinstance(date := said.get("date"), dt.date):
        epoch.date = date
    speed = _number(said.get("spd"))
    epoch.speed = epoch.speed if speed is None else speed * KNOT
    epoch.course = _course(epoch, said.get("cog"))


def _vtg(epoch: Epoch, said: Said) -> None:
    speed = _number(said.get("sogn"))
    epoch.speed = epoch.speed if speed is None else speed * KNOT
    epoch.course = _course(epoch, said.get("cogt"))


def _course(epoch: Epoch, value: Any) -> float | None:
    course = _number(value)
    return epoch.course if course is None else course % 360


def _gga(epoch: Epoch, said: Said) -> None:
    _judge(epoch, bool(said.get("quality")))
    _place(epoch, said)
    alt, hdop = _number(said.get("alt")), _number(said.get("HDOP"))
    epoch.alt = epoch.alt if alt is None else alt
    epoch.hdop = epoch.hdop if not hdop or hdop >= 50 else hdop  # 99.99 means that there is none


def _gns(epoch: Epoch, said: Said) -> None:
    _judge(epoch, any(mode != "N" for mode in str(said.get("posMode", "N"))))
    _place(epoch, said)
    alt, hdop = _number(said.get("alt")), _number(said.get("HDOP"))
    epoch.alt = epoch.alt if alt is None else alt
    epoch.hdop = epoch.hdop if not hdop or hdop >= 50 else hdop


def _gll(epoch: Epoch, said: Said) -> None:
    _judge(epoch, said.get("status") == "A")
    _place(epoch, said)


def _gst(epoch: Epoch, said: Said) -> None:
    """Standard deviations in latitude and longitude, metres: their root mean square is the 1-sigma radius."""
    lat, lon = _number(said.get("stdLat")), _number(said.get("stdLong"))
    if lat is not None and lon is not None:
        epoch.accuracy = ((lat * lat + lon * lon) / 2) ** 0.5


def _zda(epoch: Epoch, said: Said) -> None:
    parts = [_number(said.get(name)) for name in ("year", "month", "day")]
    with contextlib.suppress(TypeError, ValueError, OverflowError):  # fields absent, or no such day
        epoch.date = dt.date(*(int(part) for part in parts if part is not None))


FOLD: dict[str, Callable[[Epoch, Said], None]] = {
    "RMC": _rmc,
    "GGA": _gga,
    "GNS": _gns,
    "GLL": _gll,
    "VTG": _vtg,
    "GST": _gst,
    "ZDA": _zda,
}
