"""From what a sensor says to a number."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from edge.errors import SourceError
from edge.rows import Row
from pipeline import wire
from pipeline.message import SECOND

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
WORDS = 60


def calibrated(row: Row, raw: float) -> float:
    """The channel's value. SourceError for NaN, infinity, and what the row calls invalid."""
    if not math.isfinite(raw) or raw in row.invalid:
        raise SourceError(f"the sensor has no value: it says {raw:g}")
    return raw * row.scale + row.offset


def number_in(text: str, *, pointer: str = "", pattern: str = "") -> float:
    """The number at a JSON pointer, in a pattern's first group, or the text as a whole. SourceError."""
    if pointer:
        return number_at(parsed(text), pointer)
    if pattern:
        found = re.search(pattern, text)
        if found is None:
            raise SourceError(f"{short(text)}: nothing matches {pattern}")
        text = found[1] or ""
    if not NUMBER.fullmatch(text.strip()):
        raise SourceError(f"{short(text)}: not a number")
    return float(text)


def number_at(document: Any, pointer: str, values: Mapping[str, float] | None = None) -> float:
    """The number at `pointer`; words by `values`, booleans as 1 and 0. SourceError."""
    found = pointed(document, pointer)
    if isinstance(found, bool | str) and (known := (values or {}).get(_word(found))) is not None:
        return known
    if isinstance(found, bool | int | float):
        return float(found)
    if isinstance(found, str) and NUMBER.fullmatch(found.strip()):
        return float(found)
    raise SourceError(
        f"{pointer or 'the message'} is {short(json.dumps(found))}: not a number; name it in `values`"
    )


def _word(found: bool | str) -> str:
    return str(found).lower() if isinstance(found, bool) else found


def parsed(text: str) -> Any:
    """JSON. SourceError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise SourceError(f"{short(text)}: not JSON") from None


def pointed(document: Any, pointer: str) -> Any:
    """What a JSON pointer (RFC 6901) names. SourceError when there is nothing."""
    found = document
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
            found = found[int(key)]
        else:
            raise SourceError(f"no {pointer} in {short(json.dumps(document))}")
    return found


def time_at(document: Any, pointer: str) -> int:
    """Microseconds: an RFC 3339 time, or seconds or milliseconds since 1970. SourceError."""
    found = pointed(document, pointer)
    try:
        if isinstance(found, str) and not NUMBER.fullmatch(found):
            return wire.parse_rfc3339(found)
        number = float(found)
        return round(number * (SECOND if abs(number) < 1e11 else 1000))
    except (ValueError, TypeError, OverflowError) as error:
        raise SourceError(f"{pointer}: no time: {error}") from None


def short(text: str) -> str:
    """For one line of the status."""
    line = " ".join(text.split())
    return repr(line if len(line) <= WORDS else line[: WORDS - 3] + "...")
