"""NMEA sentences for `decode`: a row for each epoch and each damaged sentence, by the reader that `gps` uses."""

from __future__ import annotations

import dataclasses
import datetime as dt

from edge.decode.base import DecodeError, Message, Position
from edge.nmea import Merger
from pipeline.message import Clock, Fix

REASONS = {"checksum": "its check code is wrong", "malformed": "it is no sentence, or has no check code"}
EPOCHS = {"no_date": "a fix before any date; name the day with --date"}


class Session:
    """One recording or line: sentences that belong together become one position."""

    def __init__(self, date: dt.date | None = None) -> None:
        self._merger = Merger("", _unjudged, date)

    def decode(self, raw: bytes) -> list[Message]:
        """Messages that this line completes. DecodeError: checksum, malformed, no_date."""
        before = dataclasses.replace(self._merger.counts)
        fix = self._merger.feed(raw.decode("latin-1"))
        return self._told(before, fix, raw)

    def finish(self) -> list[Message]:
        """What the end of the input completes."""
        before = dataclasses.replace(self._merger.counts)
        return self._told(before, self._merger.flush(), b"")

    def _told(self, before: object, fix: Fix | None, raw: bytes) -> list[Message]:
        counts = self._merger.counts
        grown = [name for name in ("checksum", "malformed", "no_date", "no_fix") if _more(counts, before, name)]
        for name, words in (REASONS | EPOCHS).items():
            if name in grown:
                said = "" if name in EPOCHS else f": {raw[:90].decode('latin-1').strip()}"
                raise DecodeError(name, words + said)
        if fix is not None:
            return [Message("position", None, (_position(fix),))]
        return [Message("no_fix")] if "no_fix" in grown else []


def _more(counts: object, before: object, name: str) -> bool:
    return bool(getattr(counts, name) > getattr(before, name))


def _unjudged(_at: int) -> Clock:
    return Clock.UNKNOWN


def _position(fix: Fix) -> Position:
    return Position(fix.at, fix.lat, fix.lon, fix.speed, fix.course, fix.alt, fix.accuracy)
