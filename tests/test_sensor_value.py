"""From JSON and text to a number; what is none is said in words."""

import math

import pytest

from edge.errors import SourceError
from edge.rows import FileRow
from edge.sensor.value import calibrated, number_at, number_in, parsed, pointed, time_at
from pipeline import wire

STATION = {
    "temp": {"now": "21.5"},
    "list": [1, [2, 3]],
    "a/b": 4,
    "m~n": 5,
    "state": "ON",
    "lit": True,
    "none": None,
}


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [("/temp/now", 21.5), ("/list/0", 1), ("/list/1/1", 3), ("/a~1b", 4), ("/m~0n", 5), ("/state", 1), ("/lit", 1)],
)
def test_a_pointer_finds_a_number(pointer: str, expected: float) -> None:
    assert number_at(STATION, pointer, {"ON": 1, "OFF": 0}) == expected


@pytest.mark.parametrize(
    ("pointer", "words"),
    [
        ("/wind", "no /wind in"),
        ("/list/7", "no /list/7 in"),
        ("/temp/now/x", "no /temp/now/x"),
        ("/none", "/none is 'null': not a number"),
        ("/state", "not a number; name it in `values`"),
        ("/temp", "not a number"),
    ],
)
def test_what_is_no_number_is_said(pointer: str, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        number_at(STATION, pointer)


def test_a_boolean_can_be_given_another_number() -> None:
    assert number_at({"ok": False}, "/ok", {"false": 7}) == 7
    assert pointed([5], "") == [5]


@pytest.mark.parametrize(
    ("text", "how", "expected"),
    [
        (" 21.5\n", {}, 21.5),
        ("-3e2", {}, -300),
        ('{"t": [1, {"x": -4}]}', {"pointer": "/t/1/x"}, -4),
        ("temp=48.3'C", {"pattern": r"temp=([\d.]+)"}, 48.3),
    ],
)
def test_text_becomes_a_number(text: str, how: dict[str, str], expected: float) -> None:
    assert number_in(text, **how) == expected


@pytest.mark.parametrize(
    ("text", "how", "words"),
    [
        ("", {}, "'': not a number"),
        ("nan", {}, "'nan': not a number"),
        ("1_000", {}, "not a number"),
        ("12 degrees", {}, "'12 degrees': not a number"),
        ("{", {"pointer": "/x"}, "'{': not JSON"),
        ("[" * 100_000, {"pointer": "/x"}, "not JSON"),
        ("x" * 1000, {"pattern": "(y)"}, r"'x{57}\.\.\.': nothing matches"),
    ],
)
def test_text_that_is_none_is_said_in_a_line(text: str, how: dict[str, str], words: str) -> None:
    with pytest.raises(SourceError, match=words):
        number_in(text, **how)


def test_a_value_is_scaled_and_what_means_none_is_refused() -> None:
    row = FileRow(channel="t", path="x", scale=0.5, offset=10, invalid=[-999])
    assert calibrated(row, 8) == 14
    for raw in (-999, math.nan, math.inf):
        with pytest.raises(SourceError, match="the sensor has no value"):
            calibrated(row, raw)


def test_times_are_rfc_3339_seconds_or_milliseconds() -> None:
    at = wire.parse_rfc3339("2026-01-31T12:00:00Z")
    for told in ("2026-01-31T13:00:00+01:00", at // 10**6, at // 1000, str(at // 10**6)):
        assert time_at({"t": told}, "/t") == at
    for told in ("2026-01-31T12:00:00", "noon", None, 1e400):
        with pytest.raises(SourceError):
            time_at({"t": told}, "/t")


def test_json_of_json_numbers_that_are_too_large_is_no_crash() -> None:
    with pytest.raises(SourceError):
        calibrated(FileRow(channel="t", path="x"), number_at(parsed('{"x": 1e999}'), "/x"))
