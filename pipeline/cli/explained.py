"""The steps of an alarm from the store, for `vedette alarms explain`; reading a track is on the audit log."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.api import seen, steps
from pipeline.api.steps import StepsOut
from pipeline.cli.ledgers import has_file, series_store, whoami
from pipeline.message import Alarm
from pipeline.ports import AlarmBook
from pipeline.replay_store import stored_frames, stored_positions
from pipeline.rules.cameras import load_cameras
from pipeline.rules.config import load
from pipeline.rules.fleet import load_fleet
from pipeline.settings import Settings


def steps_of(settings: Settings, book: AlarmBook, alarm: Alarm) -> StepsOut | None:
    """None where nothing is stored of its unit or camera, and for alarms about devices and readings."""
    if alarm.kind == "sighting":
        return _of_camera(settings, alarm)
    fleet = load_fleet(Path(settings.fleet.file))
    if alarm.subject not in fleet.units or not has_file(settings, "positions"):
        return None
    with series_store(settings) as store:
        purpose = f"explain alarm {alarm.id}"
        book.audit(who=whoami(), what="track", subject=alarm.subject, purpose=purpose, detail="alarms explain")
        fixes = stored_positions(store, [alarm.subject], *steps.window(alarm))
    if not len(fixes):
        return None
    return steps.unit_steps(alarm, load(Path(settings.rules.file)), fleet, fixes)


def _of_camera(settings: Settings, alarm: Alarm) -> StepsOut | None:
    from pipeline.vision.card import load_card

    if not has_file(settings, "frames"):
        return None
    with series_store(settings, "frames") as store:
        frames = list(stored_frames(store, [alarm.subject], *seen.window(alarm)))
    if not frames:
        return None
    thresholds = dict(load_card(Path(settings.vision.model)).thresholds)
    cameras = load_cameras(Path(settings.cameras.file))
    rules = load(Path(settings.rules.file))
    return seen.frame_steps(alarm, rules, frames, thresholds=thresholds, cameras=cameras)


def show_steps(found: StepsOut | None) -> None:
    """Step by step, or one line that says why not."""
    if found is None:
        click.echo("\nStep by step: nothing is stored of it that the rule could be run over again")
        return
    again = "gives this very alarm" if found.same else "does not give this alarm"
    click.echo(f"\nStep by step (the rule run again over {found.looked_at} stored fixes or frames {again})")
    if found.doubt:
        click.echo(f"  Doubt: {found.doubt}.")
    for step in found.steps:
        if step.skipped:
            click.echo(f"  ... {step.skipped} not shown")
        click.echo(f"  {step.at:<24}  {step.saw}")
        change = step.after if step.before == step.after else f"{step.before} → {step.after}"
        click.echo(f"  {'':<24}  {change}" + (f"   *** {step.turn} ***" if step.turn else ""))
