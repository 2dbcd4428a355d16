"""`vedette trips`"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from pipeline.cli.common import Moment, settings_options
from pipeline.cli.fences import believable
from pipeline.cli.ledgers import alarm_book, print_table, series_store, whoami
from pipeline.cli.replay import TRACKS, read
from pipeline.cli.tracks import FIRST, LAST, LIMIT, ordered, permit
from pipeline.message import SECOND, PositionBatch
from pipeline.ports import Track, UserError
from pipeline.rules.moves import arrange, no_slots
from pipeline.settings import Settings
from pipeline.telemetry.overspeed import Limit, Overspeed, speeding
from pipeline.telemetry.trips import PARAMETERS, Segment, points, segments
from pipeline.wire import rfc3339

HEADER = ("UNIT", "KIND", "START", "END", "MINUTES", "KM", "MEAN KM/H", "TOP KM/H", "FROM", "TO")


@click.command("trips")
@click.argument("sources", nargs=-1, required=True, metavar="TRACK.csv|UNIT...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a trip, stop or gap, a line each.")
@click.option(
    "--parameters",
    "name",
    type=click.Choice(list(PARAMETERS)),
    default="default",
    show_default=True,
    help="By which rules: ours, or Traccar's, for comparison.",
)
@click.option("--kind", type=click.Choice(["trip", "stop", "gap", "overspeed"]), help="Only these.")
@click.option("--limit-kmh", type=click.FloatRange(0), default=0.0, help="Tell runs above this speed too.")
@click.option("--limit-s", type=click.FloatRange(0), default=0.0, help="... that last so many seconds.")
@click.option("--purpose", default="", help="Why units' tracks are read from the store; goes on the audit log.")
@click.option("--from", "start", type=Moment(), default=FIRST, help="Of units: first moment.")
@click.option("--to", "end", type=Moment(), default=LAST, help="Of units: the moment before which to end.")
@click.option("--skip-bad", is_flag=True, help="Leave bad lines of track files out, and count them.")
@settings_options
def command(
    *, sources: tuple[str, ...], settings: Settings, as_json: bool, name: Any, kind: str | None, **options: Any
) -> None:
    """Trips and stops, of track files (CSV, CSV.GZ) or of enrolled units in the store.

    \b
    default      a stop is staying within 75 m for 3 minutes, from the first fix there to the last; a trip goes
                 200 m away at least; an hour without a fix, then elsewhere, is a gap
    traccar      Traccar's rules as it comes (200 m, 3 minutes, 1 hour)
    traccar-old  Traccar's rules before 2026 (500 m, 5 minutes, 1 hour); for sources that send speeds

    The newest segment of each unit is open: it may go on. Distances are metres along the fixes. With --limit-kmh
    each run of speeding is told after its unit's segments, at the fix that settles it: kind overspeed.
    """
    limit = Limit(options.pop("limit_kmh") / 3.6, hold=round(options.pop("limit_s") * SECOND))
    parameters = PARAMETERS[name]
    told: list[Told] = []
    for unit, track in _tracks(sources, settings, **options):
        fixes = list(points(parameters, track))
        found: list[Segment | Overspeed] = [*segments(parameters, fixes), *speeding(fixes, limit)]
        told += [(unit, item) for item in found if kind in (None, item.kind)]
    if as_json:
        for unit, item in told:
            click.echo(json.dumps(row(unit, item)))
    else:
        print_table(HEADER, [words(unit, item) for unit, item in told])


Told = tuple[str, Segment | Overspeed]


def _tracks(
    sources: tuple[str, ...], settings: Settings, *, skip_bad: bool, **period: Any
) -> Iterator[tuple[str, Any]]:
    """(unit, columns of its fixes) of all files, then of the units in the store."""
    files = [Path(source) for source in sources if source.lower().endswith(TRACKS)]
    if files:
        yield from tracks_of(believable(read(files, skip_bad)))
    for unit in sources:
        if not unit.lower().endswith(TRACKS):
            if Path(unit).is_file():
                raise UserError(f"{unit}: no track file ({', '.join(TRACKS)}), and no name of a unit")
            yield unit, stored(settings, unit, **period)


def tracks_of(batch: PositionBatch) -> Iterator[tuple[str, PositionBatch]]:
    """Unit by unit, in the order of their first rows; each ascending in time."""
    moves = arrange(no_slots(), batch)
    for start, end in zip(moves.starts.tolist(), moves.ends.tolist(), strict=True):
        yield moves.unit(start), batch.select(moves.row[start:end])


def stored(settings: Settings, unit: str, *, purpose: str, start: int, end: int) -> Track:
    """A unit's track; the reading is on the audit log before it is looked at."""
    permit(settings, unit, purpose)
    ordered(start, end)
    with series_store(settings) as store, alarm_book(settings) as book:
        book.audit(
            who=whoami(), what="trips", subject=unit, purpose=purpose.strip(), detail=f"at most {LIMIT} fixes"
        )
        track = store.track(unit, start, end, limit=LIMIT)
    if len(track) == LIMIT:
        raise UserError(f"unit {unit} has more than {LIMIT} fixes in this time: ask for less with --from and --to")
    return track


# ---------------------------------------------------------------- what a person sees


def row(unit: str, segment: Segment | Overspeed) -> dict[str, Any]:
    if isinstance(segment, Overspeed):
        told = {"at": rfc3339(segment.at), "speed": round(segment.speed, 3), "limit": round(segment.limit, 3)}
        return {"unit": unit, "kind": segment.kind, **told}
    start, end = segment.start, segment.end
    return {
        "unit": unit,
        "kind": segment.kind,
        "start": rfc3339(start.at),
        "end": rfc3339(end.at),
        "open": segment.open,
        "duration_s": round(segment.duration, 6),
        "distance_m": round(segment.distance, 1),
        "mean_speed": round(segment.pace, 3),
        "top_speed": round(segment.top, 3),
        "from": {"lat": start.lat, "lon": start.lon},
        "to": {"lat": end.lat, "lon": end.lon},
    }


def words(unit: str, segment: Segment | Overspeed) -> tuple[str, ...]:
    if isinstance(segment, Overspeed):
        at, speed = rfc3339(segment.at), f"{segment.speed * 3.6:.0f}"
        return (unit, segment.kind, at, "", "", "", "", speed, "", "")
    start, end = segment.start, segment.end
    return (
        unit,
        segment.kind,
        rfc3339(start.at),
        "goes on" if segment.open else rfc3339(end.at),
        f"{segment.duration / 60:.1f}",
        f"{segment.distance / 1000:.2f}",
        f"{segment.pace * 3.6:.0f}",
        f"{segment.top * 3.6:.0f}",
        f"{start.lat:.5f}, {start.lon:.5f}",
        f"{end.lat:.5f}, {end.lon:.5f}",
    )
