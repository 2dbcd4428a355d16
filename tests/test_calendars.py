"""Weekly hours against the wall clock of a place, and the events of a calendar, read by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.message import SECOND
from pipeline.rules.calendars import Events, Hours, Weekly, both, weekly, zone_of

LONDON = ZoneInfo("Europe/London")


def at(text: str, zone: str = "UTC", fold: int = 0) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()) * SECOND


def active(hours: Hours, *times: int) -> list[bool]:
    answer: list[bool] = hours.active(np.array(times, np.int64)).tolist()
    return answer


@pytest.mark.parametrize(
    ("text", "time", "expected"),
    [
        ("Mon-Fri 06:00-20:00", "2026-01-05T06:00", True),  # a Monday
        ("Mon-Fri 06:00-20:00", "2026-01-05T05:59:59", False),
        ("Mon-Fri 06:00-20:00", "2026-01-05T20:00", False),
        ("Mon-Fri 06:00-20:00", "2026-01-04T12:00", False),
        ("mon,wed 22:00-06:00", "2026-01-06T05:59", True),  # Tuesday early, of Monday's night
        ("mon,wed 22:00-06:00", "2026-01-07T05:00", False),
        ("Fri-Mon 08:00-09:00", "2026-01-04T08:30", True),
        ("Fri-Mon 08:00-09:00", "2026-01-06T08:30", False),
        ("06:00-07:00, 10:00-11:00", "2026-01-06T10:30", True),
        ("Mon 06:00-07:00; Sun 00:00-24:00", "2026-01-04T23:59", True),
        ("Sun 23:00-01:00", "2026-01-05T00:30", True),
        ("00:00-24:00", "2026-01-04T23:59", True),
    ],
)
def test_weekly_hours(text: str, time: str, expected: bool) -> None:
    assert active(Weekly(text), at(time)) == [expected]


def test_six_o_clock_is_six_o_clock_in_summer_and_in_winter() -> None:
    hours = weekly("06:00-20:00", "Europe/London")
    assert active(hours, at("2026-01-05T05:30"), at("2026-01-05T06:30")) == [False, True]
    assert active(hours, at("2026-07-06T05:30"), at("2026-07-06T19:30")) == [True, False]


def test_the_hour_that_comes_twice_counts_twice_and_the_one_left_out_never() -> None:
    hours = Weekly("01:00-01:30", LONDON)
    autumn = [at("2026-10-25T00:15"), at("2026-10-25T00:45"), at("2026-10-25T01:15"), at("2026-10-25T01:45")]
    assert active(hours, *autumn) == [True, False, True, False]
    spring = [at("2026-03-29T00:59"), at("2026-03-29T01:00"), at("2026-03-29T01:15")]
    assert active(hours, *spring) == [False, False, False]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["Europe/London", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC"]),
    st.lists(st.integers(1_500_000_000, 1_900_000_000), min_size=1, max_size=30),
    st.integers(0, 1439),
    st.integers(1, 1440),
)
def test_a_slow_twin_by_the_wall_clock_agrees(zone: str, times: list[int], start: int, end: int) -> None:
    if start >= end:
        start, end = end - 1, start + 1
    text = f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
    hours = weekly(text, zone)
    walls = [datetime.fromtimestamp(t, UTC).astimezone(ZoneInfo(zone)) for t in times]
    expected = [start <= wall.hour * 60 + wall.minute < end for wall in walls]
    assert active(hours, *(t * SECOND for t in times)) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("workdays", "'workdays' is not like Mon-Fri"),
        ("25:00-26:00", "is no time of day"),
        ("06:70-07:00", "is no time of day"),
        ("", "names no hours"),
        ("Mon-Fri", "is not like"),
    ],
)
def test_a_text_that_says_no_hours_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Weekly(text)


def test_a_zone_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="'Mars/Olympus' is no time zone"):
        zone_of("Mars/Olympus")


def ics(*lines: str) -> bytes:
    head = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//x//x//EN",
        "BEGIN:VEVENT",
        "UID:1",
        "DTSTAMP:20260101T000000Z",
    ]
    return "\r\n".join([*head, *lines, "END:VEVENT", "END:VCALENDAR", ""]).encode()


def test_events_repeat_with_their_exceptions_by_their_own_zone() -> None:
    data = ics(
        "DTSTART;TZID=Europe/London:20260302T060000",
        "DTEND;TZID=Europe/London:20260302T070000",
        "RRULE:FREQ=DAILY;COUNT=40",
        "EXDATE;TZID=Europe/London:20260304T060000",
    )
    hours = Events(data)
    days = ["2026-03-03T06:30", "2026-03-04T06:30", "2026-04-01T06:30", "2026-04-01T05:30", "2026-05-01T05:30"]
    assert active(hours, *map(at, days)) == [True, False, False, True, False]


def test_days_and_floating_times_are_those_of_the_place() -> None:
    day = Events(ics("DTSTART;VALUE=DATE:20260706"), LONDON)
    times = ["2026-07-05T22:59", "2026-07-05T23:00", "2026-07-06T22:59", "2026-07-06T23:00"]
    assert active(day, *map(at, times)) == [False, True, True, False]
    floating = Events(ics("DTSTART:20260706T100000", "DURATION:PT1H"), LONDON)
    assert active(floating, at("2026-07-06T09:30"), at("2026-07-06T10:30")) == [True, False]


def test_a_cancelled_event_is_none_and_a_night_goes_over_midnight() -> None:
    event = ("DTSTART:20260706T220000Z", "DTEND:20260707T030000Z")
    times = at("2026-07-06T23:59"), at("2026-07-07T02:00"), at("2026-07-07T03:00")
    assert active(Events(ics(*event)), *times) == [True, True, False]
    assert active(Events(ics(*event, "STATUS:CANCELLED")), *times) == [False] * 3


@pytest.mark.parametrize("data", [b"", b"hello", b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", b"\xff\xfe\x00"])
def test_what_is_no_calendar_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"is not iCalendar|holds no event"):
        Events(data)


def test_times_no_calendar_has_are_not_active() -> None:
    far = 1 << 62
    assert active(Events(ics("DTSTART:20260706T100000Z", "DURATION:PT1H")), -far, far) == [False, False]
    assert len(active(Weekly("06:00-07:00"), -far, far)) == 2


def test_both_means_both() -> None:
    early, late = Weekly("06:00-12:00"), Weekly("10:00-20:00")
    together = both(early, late)
    assert together is not None
    begin = datetime(2026, 1, 5, tzinfo=UTC)
    times = [round((begin + timedelta(hours=h)).timestamp()) * SECOND for h in (7, 11, 15)]
    assert active(together, *times) == [False, True, False]
    assert both(None, None) is None
    assert both(early, None) is early
