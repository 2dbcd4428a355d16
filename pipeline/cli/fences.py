"""`vedette fences`: try a fence before trusting it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import shapely  # type: ignore[import-untyped]

from pipeline.cli.check import check_fences
from pipeline.cli.replay import read
from pipeline.message import SECOND, PositionBatch
from pipeline.ports import UserError
from pipeline.rules.config import load as load_rules
from pipeline.rules.datum import DATUMS
from pipeline.rules.fences import Fence, datum_doubt, load_fences
from pipeline.rules.firm import Edge
from pipeline.rules.fleet import load_fleet
from pipeline.rules.head import Head
from pipeline.rules.shapes import Reading
from pipeline.rules.transitions import transitions
from pipeline.telemetry.clean import Limits, clean, tally
from pipeline.wire import rfc3339

Command = Callable[..., None]


def reading_options(command: Command) -> Command:
    """How fence files are to be understood; the command gets them as the argument `how`."""

    def with_reading(*, repair: bool, datum: Any, corridor_m: float, radius_m: float, **options: Any) -> None:
        flags = {name: options.pop(name) for name in ("lat_first", "numbered", "name_field")}
        command(how=Reading(repair, datum, corridor_m, radius_m, **flags), **options)

    with_reading.__doc__ = command.__doc__
    for option in (
        click.option("--name-field", default="", help="The property or column that names fences."),
        click.option("--numbered", is_flag=True, help="Call a fence without a name by its number."),
        click.option("--lat-first", is_flag=True, help="WKT as Traccar writes it: latitude first, and CIRCLE."),
        click.option(
            "--corridor-m",
            type=click.FloatRange(0),
            default=0.0,
            help="Metres to either side of lines that name no width.",
        ),
        click.option(
            "--radius-m", type=click.FloatRange(0), default=0.0, help="Metres around points that name no radius."
        ),
        click.option("--datum", type=click.Choice(DATUMS), help="Datum of the fence files (default: WGS-84)."),
        click.option("--repair", is_flag=True, help="Take a fence that crosses itself as its odd-even area."),
    ):
        option(with_reading)
    return with_reading


@click.group("fences")
def command() -> None:
    """Try fences before trusting them: GeoJSON, KML, KMZ, GPX, WKT, and CSV with a column wkt."""


# ---------------------------------------------------------------- transitions


@command.command("transitions")
@click.argument("tracks", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--fences",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Fence file(s).",
)
@click.option(
    "--rules", type=click.Path(path_type=Path), help="Instead: the fences of a rules file, as configured."
)
@click.option("--fleet", type=click.Path(path_type=Path), help="Fleet file, for rules about groups.")
@click.option("--plain", is_flag=True, help="Plain difference of sets: nothing below, and no fix is refused.")
@click.option(
    "--hysteresis-m", type=click.FloatRange(0), default=0.0, help="Metres outside at which a unit has left."
)
@click.option(
    "--hysteresis-s", type=click.FloatRange(0), default=0.0, help="Seconds before a crossing is believed."
)
@click.option("--accuracy", is_flag=True, help="Believe a fix only if its circle of accuracy is on one side.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a transition, a line each.")
@click.option("--skip-bad", is_flag=True, help="Leave bad lines of track files out, and count them.")
@reading_options
def print_transitions(
    tracks: tuple[Path, ...], files: tuple[Path, ...], how: Reading, as_json: bool, skip_bad: bool, **options: Any
) -> None:
    """Every enter and exit of recorded tracks (CSV, CSV.GZ), by time, unit and fence.

    A unit whose first fix lies inside enters with it; on the edge is inside. Fixes are taken in order of event
    time, with equal times in order of their lines. Units that are inside at the end stay there. Without --plain,
    fixes that no receiver could mean (0/0, latitude 95, the year 1970) are left out, and of several fixes of a unit
    with the same time only the first counts, as in the rules.

    \b
    Example:
      vedette fences transitions day.csv.gz --fences depots.kml --plain --json
    """
    places = list(configured(options.pop("rules"), options.pop("fleet"), files, how))
    plain = options.pop("plain")
    batch = read(tracks, skip_bad)
    batch = batch if plain else believable(batch)
    found = []
    for head, fences, edge in places:
        edge = Edge() if plain else edge or edge_of(**options)
        found += [
            (*t, head.name) for t in transitions(fences, [batch], edge=edge, ties=plain) if head.scope.covers(t[0])
        ]
    write(sorted(found, key=lambda t: (t[3], t[0], t[1], t[4])), as_json)


Place = tuple[Head, Sequence[Fence], Edge | None]


def configured(rules: Path | None, fleet: Path | None, files: tuple[Path, ...], how: Reading) -> Iterator[Place]:
    """What to look at: the geofences of a rules file, or fence files, whose edges the options are about."""
    if (rules is None) == (not files):
        raise UserError("name either --fences or --rules: the places to look at")
    if rules is not None:
        yield from load_rules(rules).places(load_fleet(fleet) if fleet else None)
    else:
        yield Head("", "geofence", severity="", version=""), load(files, how), None


def edge_of(*, hysteresis_m: float, hysteresis_s: float, accuracy: bool) -> Edge:
    return Edge(hysteresis_m, round(hysteresis_s * SECOND), accuracy)


def believable(batch: PositionBatch) -> PositionBatch:
    good, refusals, _mended = clean(batch, enrolled=None, limits=Limits())
    for reason, count in tally(refusals).items():
        click.echo(f"refused, {reason}: {count}", err=True)
    return good


def load(files: tuple[Path, ...], how: Reading) -> list[Fence]:
    """The fences of all files. FenceError for the first mistake, UserError for a name in two files."""
    fences: list[Fence] = []
    for file in files:
        fences += load_fences(file, source=str(file), how=how)
    doubled = [name for name, count in Counter(fence.id for fence in fences).items() if count > 1]
    if doubled:
        raise UserError(f"fence {doubled[0]} is in two files: give each fence its own id")
    doubt = None if how.datum else datum_doubt(fences)
    if doubt:
        click.echo(f"doubt: {doubt[0]}: --datum {' | '.join(DATUMS)} says which", err=True)
    return fences


def write(found: list[tuple[str, str, str, int, str]], as_json: bool) -> None:
    """(unit, fence, event, at, rule); the rule is told where there is one."""
    for unit, fence, event, at, rule in found:
        if as_json:
            row = {"unit": unit, "fence": fence, "event": event, "at": rfc3339(at)}
            click.echo(json.dumps({**row, "rule": rule} if rule else row, ensure_ascii=False))
        else:
            click.echo(f"{rfc3339(at):<24}  {unit:<16}  {event:<5}  {fence}  {rule}".rstrip())
    counts = Counter(event for _unit, _fence, event, _at, _rule in found)
    click.echo(f"{counts['enter']} enters, {counts['exit']} exits", err=True)


# ---------------------------------------------------------------- check, convert


@command.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@reading_options
def check(file: Path, how: Reading) -> None:
    """Tell what a fence file holds and what is wrong with it; exit status 2 if anything is."""
    holds, findings = check_fences(file, how)
    for finding in findings:
        click.echo(f"{'wrong' if finding.level == 'error' else 'doubt'}  {finding}")
    if any(finding.level == "error" for finding in findings):
        sys.exit(2)
    click.echo(f"fine   {holds}")


@command.command("convert")
@click.argument("file", type=click.Path(path_type=Path))
@reading_options
def convert(file: Path, how: Reading) -> None:
    """A fence file as GeoJSON in WGS-84 on standard output: what the rules would see. Circles stay circles."""
    fences = load((file,), how)
    click.echo(
        json.dumps({"type": "FeatureCollection", "features": list(map(feature, fences))}, ensure_ascii=False)
    )


def feature(fence: Fence) -> dict[str, Any]:
    properties: dict[str, Any] = {"id": fence.id}
    geometry = json.loads(shapely.to_geojson(fence.shape))
    if fence.radius:
        properties["radius"] = fence.radius
        geometry = {"type": "Point", "coordinates": [fence.lon, fence.lat]}
    return {"type": "Feature", "properties": properties, "geometry": geometry}
