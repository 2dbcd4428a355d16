"""When a rule or a fence is active: weekly hours by the wall clock of a place, or the events of an iCalendar file.

    "Mon-Fri 06:00-20:00"                       days and hours
    "Mon,Wed 22:00-06:00; Sat 08:00-12:00"      over midnight: the days are those on which it begins
    "06:00-20:00"                               every day

Weekly hours are read off the wall clock, so that 06:00 is 06:00 in summer and in winter; an hour that the clock
goes through twice counts twice. The end is not part of them. Everything is decided in event time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import icalendar
import numpy as np
import recurring_ical_events  # type: ignore[import-untyped]
from numpy.typing import NDArray

from pipeline.message import SECOND, Ints

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY = r"(?:mon|tue|wed|thu|fri|sat|sun)"
SPAN = r"\d{1,2}:\d{2}\s*-\s*\d{1,2}:\d{2}"
ENTRY = re.compile(
    rf"(?:({DAY}(?:\s*-\s*{DAY})?(?:\s*,\s*{DAY}(?:\s*-\s*{DAY})?)*)\s+)?({SPAN}(?:\s*,\s*{SPAN})*)", re.IGNORECASE
)
WEEK = 7 * 24 * 60
"""Minutes."""

THURSDAY = 3 * 24 * 60
"""Minutes of the week at which the epoch began: 1 January 1970 was a Thursday."""

QUARTER = 900 * SECOND
"""No place changes its clock at another time than a whole quarter of an hour, UTC."""

HOLD_DAYS = 1_000
"""Days of a calendar kept worked out; a replay of years forgets the first ones."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Hours(Protocol):
    """When something is active."""

    def active(self, at: Ints) -> NDArray[np.bool_]:
        """For each event time (microseconds) whether it is then."""
        ...


class Weekly:
    """Hours of the week by the wall clock of `zone`. ValueError, as a sentence, for a text that says no hours."""

    def __init__(self, text: str, zone: tzinfo = UTC) -> None:
        self.text, self._zone = text, zone
        self._minutes = np.zeros(WEEK, np.bool_)
        for entry in filter(None, (part.strip() for part in text.split(";"))):
            self._add(entry)
        if not self._minutes.any():
            raise ValueError(f"{text!r} names no hours")
        self._offsets: dict[int, int] = {}

    def active(self, at: Ints) -> NDArray[np.bool_]:
        quarters, which = np.unique(at // QUARTER, return_inverse=True)
        offsets = np.array([self._offset(quarter) for quarter in quarters.tolist()], np.int64)
        minute = (at + offsets[which]) // (60 * SECOND)
        return np.asarray(self._minutes[(minute + THURSDAY) % WEEK], np.bool_)

    def _offset(self, quarter: int) -> int:
        """Microseconds that the wall clock is ahead of UTC; none for a time that no calendar has."""
        if quarter not in self._offsets:
            try:
                ahead = (EPOCH + timedelta(microseconds=quarter * QUARTER)).astimezone(self._zone).utcoffset()
            except (OverflowError, ValueError):
                ahead = None
            self._offsets[quarter] = round((ahead or timedelta()).total_seconds()) * SECOND
        return self._offsets[quarter]

    def _add(self, entry: str) -> None:
        match = ENTRY.fullmatch(entry)
        if match is None:
            raise ValueError(f"{entry!r} is not like Mon-Fri 06:00-20:00")
        for span in match[2].split(","):
            start, end = (_minute(time) for time in span.split("-"))
            end += 24 * 60 if end <= start else 0
            for day in _days(match[1]):
                self._minutes[np.arange(day * 1440 + start, day * 1440 + end) % WEEK] = True


def _minute(text: str) -> int:
    hour, minute = (int(part) for part in text.split(":"))
    if minute > 59 or hour * 60 + minute > 24 * 60:
        raise ValueError(f"{text.strip()} is no time of day")
    return hour * 60 + minute


def _days(text: str | None) -> list[int]:
    """Monday is 0; every day where none is named. `Fri-Mon` goes over the weekend."""
    if text is None:
        return list(range(7))
    days: list[int] = []
    for part in text.lower().split(","):
        names = [DAYS.index(name.strip()) for name in part.split("-")]
        first, last = names[0], names[-1]
        days += [(first + i) % 7 for i in range((last - first) % 7 + 1)]
    return days


class Events:
    """The events of an iCalendar file, repeated ones and their exceptions included; cancelled ones are none.

    A time without a zone, and a whole day, are those of `zone`.
    """

    def __init__(self, data: bytes, zone: tzinfo = UTC) -> None:
        """ValueError, as a sentence, for what is no calendar."""
        try:
            self._calendar = icalendar.Calendar.from_ical(data)
            self._query = recurring_ical_events.of(self._calendar, components=["VEVENT"])
        except (ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
            raise ValueError(f"is not iCalendar: {error}") from None
        if not any(True for _ in self._calendar.walk("VEVENT")):
            raise ValueError("holds no event")
        self._zone = zone
        self._known: dict[int, NDArray[np.int64]] = {}

    def active(self, at: Ints) -> NDArray[np.bool_]:
        days, which = np.unique(at // (86_400 * SECOND), return_inverse=True)
        active = np.zeros(len(at), np.bool_)
        for i, day in enumerate(days.tolist()):
            spans = self._spans(day)
            rows = which == i
            started = np.searchsorted(spans[:, 0], at[rows], side="right") - 1
            active[rows] = (started >= 0) & (at[rows] < spans[started, 1]) if len(spans) else False
        return active

    def _spans(self, day: int) -> NDArray[np.int64]:
        """(n, 2): begin and end of what touches a day of UTC, joined so that none overlap."""
        if day not in self._known:
            if len(self._known) >= HOLD_DAYS:
                self._known.clear()
            self._known[day] = _joined(self._found(day))
        return self._known[day]

    def _found(self, day: int) -> list[tuple[int, int]]:
        try:
            begin = EPOCH + timedelta(days=day)
            events = self._query.between(begin - timedelta(days=1), begin + timedelta(days=2))
        except OverflowError:
            return []
        good = [event for event in events if str(event.get("STATUS", "")).upper() != "CANCELLED"]
        return [(self._micros(event["DTSTART"].dt), self._micros(_end(event))) for event in good]

    def _micros(self, when: date) -> int:
        moment = when if isinstance(when, datetime) else datetime(when.year, when.month, when.day)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self._zone)
        return (moment.astimezone(UTC) - EPOCH) // timedelta(microseconds=1)


def _end(event: Any) -> date:
    """DTEND, or the begin and DURATION; a whole day without either lasts a day (RFC 5545, 3.6.1)."""
    start: date = event["DTSTART"].dt
    if "DTEND" in event:
        end: date = event["DTEND"].dt
        return end
    if "DURATION" in event:
        after: date = start + event["DURATION"].dt
        return after
    return start if isinstance(start, datetime) else start + timedelta(days=1)


def _joined(spans: list[tuple[int, int]]) -> NDArray[np.int64]:
    joined: list[list[int]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    return np.array(joined, np.int64).reshape(-1, 2)


class All:
    """Active when every one of `parts` is: the rule's hours and the fence's."""

    def __init__(self, parts: Sequence[Hours]) -> None:
        self._parts = parts

    def active(self, at: Ints) -> NDArray[np.bool_]:
        active = np.ones(len(at), np.bool_)
        for part in self._parts:
            active &= part.active(at)
        return active


def zone_of(name: str) -> tzinfo:
    """ValueError, as a sentence, for a name the time zone database has not."""
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone: write it like Europe/London") from None


def read_events(path: Path, zone: tzinfo = UTC) -> Events:
    """ValueError, as a sentence, for a file that cannot be read or is no calendar."""
    try:
        return Events(path.read_bytes(), zone)
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None


@lru_cache(maxsize=4_096)
def weekly(text: str, zone: str) -> Weekly:
    """One object for the same hours, however many fences have them: they are worked out once. ValueError."""
    return Weekly(text, zone_of(zone))


def both(first: Hours | None, second: Hours | None) -> Hours | None:
    """When both are active; None is always."""
    if first is None or second is None:
        return first or second
    return All((first, second))
