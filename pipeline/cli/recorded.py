"""A time range of the store as the rules want it, for commands that run them over history: for a stated purpose."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from pipeline.cli.common import Moment
from pipeline.cli.ledgers import alarm_book, has_file, series_store, whoami
from pipeline.message import SECOND, PositionBatch, ScoredFrame
from pipeline.ports import UserError
from pipeline.replay import batch_of
from pipeline.replay_store import stored_frames, stored_positions
from pipeline.rules.fleet import Fleet, load_fleet
from pipeline.settings import Settings
from pipeline.wire import rfc3339

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Period:
    """What of the store is asked for. `lead_s` before `since` settles the rules; nothing of it is shown."""

    since: int | None
    until: int | None
    units: tuple[str, ...]
    groups: tuple[str, ...]
    cameras: tuple[str, ...]
    purpose: str
    lead_s: float

    def __bool__(self) -> bool:
        return self.since is not None or self.until is not None

    @property
    def span(self) -> tuple[int, int]:
        """First moment and the one before which to end. UserError unless both are named, in order."""
        if self.since is None or self.until is None:
            raise UserError("of the store both --from and --to are needed")
        if self.since >= self.until:
            raise UserError(f"--to {rfc3339(self.until)} is not after --from {rfc3339(self.since)}")
        return self.since, self.until

    def chosen(self, fleet: Fleet) -> list[str]:
        """The enrolled units that are asked for: by name or group; all of them, unless only cameras are named."""
        for name in self.units:
            if name not in fleet.units:
                raise UserError(f"unit {name} is not enrolled: only tracks of enrolled units can be read")
        known = set(fleet.groups.values())
        for group in self.groups:
            if group not in known:
                raise UserError(f"no unit of group {group} is enrolled")
        if self.units or self.groups:
            return sorted({*self.units, *(u for u, group in fleet.groups.items() if group in self.groups)})
        return [] if self.cameras else sorted(fleet.units)


@dataclass(frozen=True, slots=True)
class Recording:
    """What rules are run over. Changes before `since` only settle them. `thresholds` are the model card's."""

    batch: PositionBatch
    frames: Sequence[ScoredFrame]
    thresholds: dict[str, float]
    fleet: Fleet | None = None
    since: int | None = None


def period_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a click command the options that name a range of the store, and its function the argument `period`."""

    @click.option("--from", "since", type=Moment(), help="Of the store: first moment, RFC 3339.")
    @click.option("--to", "until", type=Moment(), help="Of the store: the moment before which to end.")
    @click.option("--unit", "units", multiple=True, help="Of the store: only this unit; may be repeated.")
    @click.option("--group", "groups", multiple=True, help="Of the store: only units of this group of the fleet.")
    @click.option("--camera", "cameras", multiple=True, help="Of the store: only this camera; may be repeated.")
    @click.option("--purpose", default="", help="Why tracks are read from the store; goes on the audit log.")
    @click.option(
        "--lead",
        "lead_s",
        type=click.FloatRange(0),
        default=3600.0,
        show_default=True,
        help="Of the store: s before --from that settle the rules and are not shown.",
    )
    @functools.wraps(command)
    def with_period(*args: Any, **options: Any) -> R:
        period = Period(**{name: options.pop(name) for name in Period.__dataclass_fields__})
        return command(*args, period=period, **options)

    return with_period


def of_store(settings: Settings, period: Period, *, what: str) -> Recording:
    """Positions and scored frames of the period. Each unit's reading is on the audit log before it is read.

    `what` is the name under which it stands there. UserError for an unknown unit, and without a purpose.
    """
    start, end = period.span
    before = start - round(period.lead_s * SECOND)
    fleet = load_fleet(Path(settings.fleet.file))
    units = period.chosen(fleet)
    batch = _positions(settings, units, (before, end), period.purpose, what) if units else batch_of([])
    cameras = list(period.cameras)
    if not (cameras or period.units or period.groups):
        cameras = _cameras(settings)
    thresholds = _thresholds(settings) if cameras else {}
    return Recording(batch, _frames(settings, cameras, before, end), thresholds, fleet, start)


def _positions(
    settings: Settings, units: Sequence[str], span: tuple[int, int], purpose: str, what: str
) -> PositionBatch:
    if not purpose.strip():
        raise UserError("--purpose is missing: say why the tracks are read; it goes on the audit log")
    detail = f"{rfc3339(span[0])} to {rfc3339(span[1])}"
    with series_store(settings) as store, alarm_book(settings) as book:
        for unit in units:
            book.audit(who=whoami(), what=what, subject=unit, purpose=purpose.strip(), detail=detail)
        return stored_positions(store, units, *span)


def _cameras(settings: Settings) -> list[str]:
    """Those of which frames were ever scored."""
    with alarm_book(settings) as book:
        return sorted(row["device"] for row in book.devices() if row.get("frame_scored") is not None)


def _frames(settings: Settings, cameras: Iterable[str], start: int, end: int) -> list[ScoredFrame]:
    names = list(cameras)
    if not names or not has_file(settings, "frames"):
        return []
    with series_store(settings, "frames") as store:
        return list(stored_frames(store, names, start, end))


def _thresholds(settings: Settings) -> dict[str, float]:
    from pipeline.vision.card import load_card

    return dict(load_card(Path(settings.vision.model)).thresholds)
