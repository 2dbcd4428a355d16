"""What tables of rules.toml name in other files: fences and calendars, and the version of a rule with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pipeline.message import digest
from pipeline.rules.calendars import Hours, read_events, weekly, zone_of
from pipeline.rules.fences import Fence, load_fences
from pipeline.rules.shapes import FenceError, Reading
from pipeline.rules.spec import Common, Fenced, GeofenceSpec, SpeedSpec, Timed, Trouble
from pipeline.rules.tables import near


def files_of(folder: Path, spec: Common) -> list[Path]:
    """All that a rule reads beside its table."""
    names = list(spec.files) if isinstance(spec, Fenced) else []
    names += [spec.calendar] if isinstance(spec, Timed) and spec.calendar else []
    return [folder / name for name in names]


def version_of(folder: Path, spec: Common) -> str:
    """Changes with the rule's table and with the content of its files, not with where they lie."""
    contents = [_content(file) for file in files_of(folder, spec)]
    return digest(msgspec.json.encode(spec, order="deterministic").decode(), *contents)[:8]


def _content(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def fences_of(folder: Path, spec: Fenced) -> tuple[tuple[Fence, ...], list[Trouble]]:
    """The fences of a rule, and (key, reason, fix) of what is wrong with them."""
    fences: list[Fence] = []
    how = Reading(
        repair=spec.repair,
        datum=spec.datum,
        corridor=spec.corridor_m,
        radius=spec.radius_m,
        name_field=spec.name_field,
        floor=spec.floor_m,
        ceiling=spec.ceiling_m,
    )
    for name in spec.files:
        try:
            fences += load_fences(folder / name, source=name, how=how)
        except FenceError as error:
            return (), [("fences", f"{error.where}: {error.reason}", error.fix)]
    ids = {fence.id for fence in fences}
    unknown = [
        ("only", f"no fence {name!r} in {spec.fences}", near(name, ids)) for name in spec.only if name not in ids
    ]
    found = tuple(f for f in fences if not spec.only or f.id in spec.only)
    return found, unknown + list(_unfit(spec, found))


def _unfit(spec: Fenced, fences: tuple[Fence, ...]) -> Iterator[Trouble]:
    """Fences that cannot be what the rule wants of them; the first stands for all."""
    if isinstance(spec, SpeedSpec) and not spec.metres_a_second:
        for fence in [f for f in fences if not f.traits.limit][:1]:
            fix = "set properties.speed_limit_kmh there, or limit_kmh here for all that say none"
            yield "fences", f"fence {fence.id} names no speed limit, nor does the rule", fix
    if isinstance(spec, GeofenceSpec) and spec.direction != "any":
        for fence in [f for f in fences if f.traits.line is None][:1]:
            fix = 'draw it as a line with a width, or set direction = "any"'
            yield "direction", f"fence {fence.id} is no line, so it has no left and right", fix


def hours_of(folder: Path, spec: Timed) -> tuple[Hours | None, list[Trouble]]:
    """When a rule is active (None: always), and what is wrong with its calendar file."""
    if spec.hours:
        return weekly(spec.hours, spec.time_zone), []
    if not spec.calendar:
        return None, []
    try:
        return read_events(folder / spec.calendar, zone_of(spec.time_zone)), []
    except ValueError as error:
        return None, [("calendar", f"{spec.calendar}: {error}", "name an iCalendar file (.ics) with events")]
