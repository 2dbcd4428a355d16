"""Track files: recorded positions of many units as CSV, plain or gzipped, read into event-time order.

    unit,at,lat,lon[,speed,course,alt,accuracy]        RFC 3339 times, WGS-84 degrees, m/s, degrees true, metres

Columns may come in any order and under the aliases below; other columns are ignored. An empty cell of an optional
column means that the source did not say. Whether a position is plausible (95° north, the year 2099) is not judged
here but by `telemetry.clean`, as for any live device.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np

from pipeline import wire
from pipeline.message import POSITION_DTYPES, Clock, Fix, PositionBatch, Source

REQUIRED = ("unit", "at", "lat", "lon")
OPTIONAL = ("speed", "course", "alt", "accuracy")
ALIASES = {
    "unit": ("unit", "vehicle_id", "unit_id", "device_id"),
    "at": ("at", "time_utc", "time", "timestamp"),
    "lat": ("lat", "latitude"),
    "lon": ("lon", "longitude", "lng"),
    "speed": ("speed", "speed_mps"),
    "course": ("course", "heading", "bearing"),
    "alt": ("alt", "altitude", "alt_m"),
    "accuracy": ("accuracy", "accuracy_m"),
}
FIXES = {
    "unit": "use 1 to 63 letters, digits or _ . : - and begin with a letter or digit",
    "at": "write it like 2026-01-31T12:00:00Z",
    "lat": "write degrees as a number, like 30.20585",
    "lon": "write degrees as a number, like -97.774315",
    "speed": "write metres a second as a number, or leave it empty",
    "course": "write degrees from true north as a number, or leave it empty",
    "alt": "write metres as a number, or leave it empty",
    "accuracy": "write metres as a number, or leave it empty",
}
OnBad = Literal["raise", "skip"]


@dataclass(frozen=True, slots=True)
class BadLine:
    """Where a track file is wrong: `line` counts from 1 (the header), `column` is named as in the file.

    Line 0 is the file as a whole, when it cannot be read at all.
    """

    path: str
    line: int
    column: str
    value: str
    fix: str

    def __str__(self) -> str:
        what = f"column {self.column!r}: {self.value!r} cannot be read" if self.column else self.value
        where = f"{self.path}, line {self.line}" if self.line else self.path
        return f"{where}: {what}; {self.fix}"


class TrackError(ValueError):
    """A track file that cannot be read; the text names the file, the line, the column, the value and the fix."""

    def __init__(self, bad: BadLine) -> None:
        super().__init__(str(bad))
        self.bad = bad


@dataclass(slots=True)
class _Columns:
    """Rows of all files so far; about 60 bytes each."""

    units: dict[str, int] = field(default_factory=dict)
    unit: array[int] = field(default_factory=lambda: array("I"))
    at: array[int] = field(default_factory=lambda: array("q"))
    floats: dict[str, array[float]] = field(
        default_factory=lambda: {name: array("d") for name in ("lat", "lon", *OPTIONAL)}
    )

    def add(self, row: _Row) -> None:
        self.unit.append(self.units.setdefault(row.unit, len(self.units)))
        self.at.append(row.at)
        for column, value in zip(self.floats.values(), row.floats, strict=True):
            column.append(value)


@dataclass(frozen=True, slots=True)
class _Row:
    unit: str
    at: int
    floats: tuple[float, ...]


@dataclass(slots=True)
class Progress:
    """What reading has met so far: `lines` read, and with `on_bad="skip"` the lines left out."""

    lines: int = 0
    skipped: list[BadLine] = field(default_factory=list)


def read_fixes(
    paths: Iterable[Path | str], *, on_bad: OnBad = "raise", progress: Progress | None = None
) -> Iterator[Fix]:
    """Fixes of all files merged in event-time order; equal times keep the order of the files and their lines.

    Everything is read before the first fix comes (about 60 bytes a row: 10 million rows take 600 MB). Raises
    TrackError at a bad line, or with `on_bad="skip"` leaves it out and lists it in `progress.skipped`; a file that
    cannot be opened or has no usable header raises TrackError always.
    """
    yield from fixes_of(read_columns(paths, on_bad=on_bad, progress=progress))


def read_columns(
    paths: Iterable[Path | str],
    *,
    device: str = "tracks",
    on_bad: OnBad = "raise",
    progress: Progress | None = None,
) -> PositionBatch:
    """All rows of the files as one batch in event-time order; `received` is `at`, `seq` counts rows from 1.

    The sort is stable. Errors and memory as in `read_fixes`.
    """
    columns, progress = _Columns(), progress if progress is not None else Progress()
    for path in paths:
        _read_file(Path(path), columns, on_bad, progress)
    return _batch(columns, device)


def fixes_of(batch: PositionBatch) -> Iterator[Fix]:
    """The rows of a batch as fixes."""
    optional = zip(*(getattr(batch, name).tolist() for name in OPTIONAL), strict=True)
    places = zip(batch.unit.tolist(), batch.at.tolist(), batch.lat.tolist(), batch.lon.tolist(), strict=True)
    for (unit, at, lat, lon), rest in zip(places, optional, strict=True):
        speed, course, alt, accuracy = (None if math.isnan(value) else value for value in rest)
        yield Fix(batch.units[unit], at, lat, lon, speed, course, alt, accuracy)


def _batch(columns: _Columns, device: str) -> PositionBatch:
    at = np.array(columns.at, np.int64)
    order = np.argsort(at, kind="stable")
    floats: dict[str, Any] = {
        name: np.array(column, np.float64)[order].astype(POSITION_DTYPES[name])
        for name, column in columns.floats.items()
    }
    return PositionBatch(
        units=tuple(columns.units),
        sources=(Source(device, 1),),
        unit=np.array(columns.unit, np.uint32)[order],
        source=np.zeros(len(at), np.uint32),
        seq=np.arange(1, len(at) + 1, dtype=np.int64),
        at=at[order],
        received=at[order],
        clock=np.full(len(at), Clock.UNKNOWN, np.uint8),
        **floats,
    )


def _read_file(path: Path, columns: _Columns, on_bad: OnBad, progress: Progress) -> None:
    try:
        with _open(path) as text:
            _read_rows(path, text, columns, on_bad, progress)
    except FileNotFoundError:
        raise TrackError(_unreadable(path, "there is no such file", "check the path")) from None
    except (OSError, EOFError, zlib.error) as error:
        raise TrackError(_unreadable(path, f"cannot be read: {error}", "check the file")) from None
    except UnicodeDecodeError:
        raise TrackError(_unreadable(path, "is not text in UTF-8", "export it as CSV in UTF-8")) from None
    except csv.Error as error:
        raise TrackError(_unreadable(path, f"is not CSV: {error}", "export it as CSV in UTF-8")) from None


def _unreadable(path: Path, what: str, fix: str) -> BadLine:
    return BadLine(str(path), 0, "", what, fix)


def _bad_header(path: Path, what: str, fix: str) -> TrackError:
    return TrackError(BadLine(str(path), 1, "", what, fix))


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path), "utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _read_rows(path: Path, text: TextIO, columns: _Columns, on_bad: OnBad, progress: Progress) -> None:
    reader = csv.reader(text)
    header = next(reader, [])
    parse = _parser(path, header)
    for row in reader:
        progress.lines += 1
        if not row:
            continue
        try:
            columns.add(parse(row, reader.line_num))
        except TrackError as error:
            if on_bad == "raise":
                raise
            progress.skipped.append(error.bad)


def _parser(path: Path, header: Sequence[str]) -> Callable[[Sequence[str], int], _Row]:
    """A function from cells and line number to a row. TrackError if the header lacks or doubles a column."""
    index = _locate(path, header)
    width = max(index.values()) + 1
    unit_cell, at_cell = index["unit"], index["at"]
    floats = tuple((name, index.get(name)) for name in ("lat", "lon", *OPTIONAL))

    def parse(row: Sequence[str], line: int) -> _Row:
        if len(row) < width:
            raise TrackError(
                BadLine(
                    str(path),
                    line,
                    "",
                    f"{len(row)} cell" + "s" * (len(row) != 1),
                    f"the header names {len(header)}",
                )
            )
        name = ""
        try:
            name = "unit"
            unit = _unit(row[unit_cell])
            name = "at"
            at = wire.parse_rfc3339(row[at_cell].strip())
            values = []
            for name, cell in floats:
                values.append(_number(row[cell] if cell is not None else "", name in OPTIONAL))
        except ValueError:
            column = index[name]
            bad = BadLine(str(path), line, header[column].strip(), row[column], FIXES[name])
            raise TrackError(bad) from None
        return _Row(unit, at, tuple(values))

    return parse


def _locate(path: Path, header: Sequence[str]) -> dict[str, int]:
    names = [name.strip().lower() for name in header]
    index: dict[str, int] = {}
    for column, aliases in ALIASES.items():
        found = [i for i, name in enumerate(names) if name in aliases]
        if len(found) > 1:
            doubled = " and ".join(repr(header[i]) for i in found)
            raise _bad_header(path, f"both {doubled} mean {column!r}", "leave one out")
        if found:
            index[column] = found[0]
    missing = [column for column in REQUIRED if column not in index]
    if missing:
        need = "the first line must name unit,at,lat,lon and may name " + ",".join(OPTIONAL)
        raise _bad_header(path, f"no column {', '.join(missing)}", need)
    return index


def _unit(text: str) -> str:
    name = text.strip()
    if not wire.NAME.fullmatch(name):
        raise ValueError(name)
    return name


def _number(text: str, optional: bool) -> float:
    """A finite number; NaN for an empty optional cell."""
    if optional and not text.strip():
        return math.nan
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def summary(batch: PositionBatch) -> dict[str, Any]:
    """How many rows and units a batch has, and the event times it spans: for a one-line summary."""
    if not len(batch):
        return {"rows": 0, "units": 0, "first": None, "last": None}
    first, last = wire.rfc3339(int(batch.at[0])), wire.rfc3339(int(batch.at[-1]))
    return {"rows": len(batch), "units": len(np.unique(batch.unit)), "first": first, "last": last}
