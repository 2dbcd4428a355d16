"""`vedette tracks UNIT`"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from pipeline.cli.common import Moment, settings_options
from pipeline.cli.ledgers import alarm_book, print_table, series_store, whoami
from pipeline.ports import Track, UserError
from pipeline.rules.fleet import load_fleet
from pipeline.settings import Settings
from pipeline.wire import optional, rfc3339

COLUMNS = ("unit", "at", "lat", "lon", "speed", "course", "alt", "accuracy")
FIRST, LAST = -(2**53), 2**53
"""Microseconds far outside of any track."""

LIMIT = 1_000_000


@click.command("tracks")
@click.argument("unit")
@click.option("--from", "start", type=Moment(), default=FIRST, help="First moment (default: the first fix).")
@click.option(
    "--to", "end", type=Moment(), default=LAST, help="The moment before which to end (default: the last fix)."
)
@click.option("--purpose", required=True, help="Why you read it; it goes on the audit log with your name.")
@click.option("--json", "form", flag_value="json", help="One JSON object a fix.")
@click.option("--geojson", "form", flag_value="geojson", help="One GeoJSON Feature, [lon, lat] in WGS-84.")
@click.option(
    "--csv", "form", flag_value="csv", help="A track file, as `vedette replay` and `up --tracks` read it."
)
@click.option(
    "--limit", default=LIMIT, show_default=True, type=click.IntRange(1, LIMIT), help="At most so many fixes."
)
@settings_options
def command(
    *, settings: Settings, unit: str, start: int, end: int, purpose: str, form: str | None, limit: int
) -> None:
    """Read the track of an enrolled unit, for a stated purpose.

    The reading is on the audit log before the first position is printed. Speeds are m/s, courses degrees true,
    altitudes and accuracies metres; what the source did not say is left empty.
    """
    permit(settings, unit, purpose)
    ordered(start, end)
    with series_store(settings) as store, alarm_book(settings) as book:
        detail = f"{_shown(start, 'first')} to {_shown(end, 'last')}, at most {limit} fixes"
        book.audit(who=whoami(), what="track", subject=unit, purpose=purpose.strip(), detail=detail)
        track = store.track(unit, start, end, limit=limit)
    FORMS[form or "table"](track)
    if len(track) == limit:
        last = rfc3339(int(track.at[-1]))
        click.echo(f"cut after {limit} fixes, the last at {last}: go on with --from {last}", err=True)


def permit(settings: Settings, unit: str, purpose: str) -> None:
    """UserError unless the purpose says something and the unit is enrolled."""
    if not purpose.strip():
        raise UserError("--purpose is empty: say why the track is read; it goes on the audit log")
    path = Path(settings.fleet.file)
    if unit not in load_fleet(path).units:
        raise UserError(f"unit {unit} is not enrolled in {path}: only tracks of enrolled units can be read")


def ordered(start: int, end: int) -> None:
    """UserError unless the period has a length: one that is turned round would look like a unit at rest."""
    if start >= end:
        raise UserError(
            f"--from {_shown(start, 'first')} is not before --to {_shown(end, 'last')}: nothing lies between"
        )


def fixes(track: Track) -> Iterator[dict[str, Any]]:
    """Fixes as they leave the program: NaN as None, times in RFC 3339."""
    columns = zip(*(getattr(track, name).tolist() for name in COLUMNS[1:]), strict=True)
    for at, lat, lon, *rest in columns:
        known = {name: _short(value) for name, value in zip(COLUMNS[4:], rest, strict=True)}
        yield {"unit": track.unit, "at": rfc3339(at), "lat": lat, "lon": lon, **known}


def _short(value: float) -> float | None:
    """These come in single precision: the shortest number that means the same."""
    known = optional(value)
    return None if known is None else float(str(np.float32(known)))


def _shown(at: int, otherwise: str) -> str:
    return otherwise if at in (FIRST, LAST) else rfc3339(at)


def print_json(track: Track) -> None:
    for fix in fixes(track):
        click.echo(json.dumps(fix))


def print_csv(track: Track) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([("" if value is None else value) for value in fix.values()] for fix in fixes(track))


def print_geojson(track: Track) -> None:
    times = [rfc3339(at) for at in track.at.tolist()]
    points = [list(point) for point in zip(track.lon.tolist(), track.lat.tolist(), strict=True)]
    geometry: dict[str, Any] | None = {"type": "LineString", "coordinates": points}
    if len(points) < 2:
        geometry = {"type": "Point", "coordinates": points[0]} if points else None
    rest = {name: [fix[name] for fix in fixes(track)] for name in COLUMNS[4:]}
    properties = {"unit": track.unit, "times": times, **rest}
    click.echo(json.dumps({"type": "Feature", "geometry": geometry, "properties": properties}))


def print_rows(track: Track) -> None:
    rows = [tuple("" if v is None else str(v) for v in fix.values())[1:] for fix in fixes(track)]
    if rows:
        print_table(tuple(name.upper() for name in COLUMNS[1:]), rows)
    else:
        click.echo(f"no positions of {track.unit} in this period", err=True)


FORMS: dict[str, Callable[[Track], None]] = {
    "json": print_json,
    "geojson": print_geojson,
    "csv": print_csv,
    "table": print_rows,
}
