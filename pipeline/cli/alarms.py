"""`vedette alarms`"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.common import Moment, settings_options
from pipeline.cli.ledgers import alarm_book, has_positions, print_table, series_store, whoami
from pipeline.message import Alarm, AlarmEvent
from pipeline.ports import AlarmBook, UserError
from pipeline.rules.fleet import load_fleet
from pipeline.settings import Settings
from pipeline.wire import rfc3339

if TYPE_CHECKING:
    from pipeline.api.fires import Nearby

STATES = ("raised", "acknowledged", "cleared", "resolved", "corrected")
EVERY = 0.25
"""Seconds between two looks at the book while watching."""

PREFIX = 4
"""So many characters of an id are enough, if no other alarm's id begins with them."""

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line, times in RFC 3339.")
by_option = click.option("--by", default=None, help="Who does it (default: your login name).")
note_option = click.option("--note", default="", help="Why, or what was done; stands in the history.")


@click.group("alarms")
def command() -> None:
    """List, explain, acknowledge and resolve alarms.

    \b
    raised        the condition holds, nobody has said that they have seen it
    acknowledged  somebody has
    cleared       the condition has ended; it stays until somebody has acknowledged and resolved it
    resolved      put away
    corrected     taken back: with fixes that came late, the rules no longer say it
    """


@command.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only alarms in this state.")
@click.option("--subject", help="Only alarms about this unit, camera or device.")
@click.option(
    "--limit", default=1000, show_default=True, type=click.IntRange(1), help="At most so many, newest first."
)
@json_option
@settings_options
def list_alarms(settings: Settings, state: str | None, subject: str | None, limit: int, as_json: bool) -> None:
    """List alarms, newest first."""
    with alarm_book(settings) as book:
        found = book.alarms(state=state, subject=subject, limit=limit)
    if as_json:
        print_json([alarm_row(alarm) for alarm in found])
    elif found:
        header = ("RAISED", "STATE", "SEVERITY", "RULE", "SUBJECT", "ID", "REASON")
        print_table(header, [_cells(alarm) for alarm in found])
    else:
        click.echo("no alarms" + (f" in state {state}" if state else ""), err=True)


@command.command("show")
@click.argument("alarm")
@json_option
@settings_options
def show(settings: Settings, alarm: str, as_json: bool) -> None:
    """Show one alarm with everything it carries."""
    from pipeline.api.explain import readable

    with alarm_book(settings) as book:
        row = alarm_row(_one(book, alarm))
    if as_json:
        print_json([row])
        return
    evidence = readable(row.pop("evidence"))
    print_pairs(row)
    click.echo("evidence")
    print_pairs(evidence, indent=2)


@command.command("explain")
@click.argument("alarm")
@json_option
@settings_options
def explain(settings: Settings, alarm: str, as_json: bool) -> None:
    """Say why an alarm was raised: rule, model, scores, thresholds, evidence, clock, and what happened since.

    Step by step: the rule is run again over what is stored, and told is what each fix or frame near the turns of
    the alarm showed, and how the rule stood before and after it. Reading a track for that is on the audit log.
    """
    from pipeline.api.explain import DOUBTFUL, spelled_units
    from pipeline.api.explain import explain as explained
    from pipeline.cli.explained import show_steps, steps_of

    with alarm_book(settings) as book:
        found = _one(book, alarm)
        history = book.history(found.id)
        near = _units_near(settings, book, found)
        steps = steps_of(settings, book, found)
    explanation = explained(found, history)
    if as_json:
        units = None if near is None else near.model_dump()
        told_steps = None if steps is None else steps.model_dump()
        click.echo(json.dumps(explanation.model_dump() | {"units": units, "steps": told_steps}))
        return
    for sentence in explanation.sentences:
        click.echo(sentence)
    if explanation.clock not in DOUBTFUL:
        click.echo(f"Clock of the source: {explanation.clock or 'not said'}.")
    if near is not None:
        click.echo("\nUnits near it (this reading is on the audit log)")
        for name, unit in spelled_units(near):
            click.echo(f"  {name:10}  {unit}")
    show_steps(steps)
    click.echo("\nEvidence")
    print_pairs(explanation.evidence, indent=2)
    click.echo("\nHistory")
    for event in history:
        click.echo(f"  {told(event)}")


def _units_near(settings: Settings, book: AlarmBook, alarm: Alarm) -> Nearby | None:
    """Who is near a fire; nothing for other alarms, and where no position was ever stored."""
    from pipeline.alarms.fire import area_of
    from pipeline.api.fires import read_nearby

    if area_of(alarm.evidence) is None or not has_positions(settings):
        return None
    groups = load_fleet(Path(settings.fleet.file)).groups
    now = time.time_ns() // 1000
    with series_store(settings) as store:
        return read_nearby(book, store, groups, alarm, who=whoami(), now=now)


@command.command("why-not")
@click.argument("camera")
@click.option("--at", type=Moment(), required=True, help="When, by the camera's stamps: 2026-01-31T12:00:00Z.")
@click.option("--within", default=60.0, show_default=True, help="Seconds before and after that are looked at.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, times in RFC 3339.")
@settings_options
def why_not(settings: Settings, camera: str, at: int, within: float, as_json: bool) -> None:
    """Say why a camera raised no alarm at a time: what it showed, what was held back and why, whether it saw."""
    from pipeline.api.whynot import Asked, answer, gather, shown, watches

    asked = Asked.of(camera, at, within)
    with alarm_book(settings) as book, series_store(settings, "frames") as store:
        found = answer(gather(book, shown(store, asked), watches(settings), asked))
    if as_json:
        click.echo(found.model_dump_json())
        return
    click.echo(f"{found.camera} at {found.at}, {found.frames} frames within {found.within_s:g} s")
    for sentence in found.sentences:
        click.echo(f"  {sentence}")


@command.command("ack")
@click.argument("alarms", nargs=-1, required=True, metavar="ALARM...")
@by_option
@note_option
@settings_options
def ack(settings: Settings, alarms: Sequence[str], by: str | None, note: str) -> None:
    """Acknowledge alarms: say that you have seen them and take care."""
    _act(settings, alarms, "acknowledge", by or whoami(), note)


@command.command("resolve")
@click.argument("alarms", nargs=-1, required=True, metavar="ALARM...")
@by_option
@note_option
@settings_options
def resolve(settings: Settings, alarms: Sequence[str], by: str | None, note: str) -> None:
    """Resolve acknowledged alarms: put them away, with a note for whoever asks later."""
    _act(settings, alarms, "resolve", by or whoami(), note)


@command.command("watch")
@click.option("--after", type=click.IntRange(0), help="Begin after this event number (default: only what is new).")
@json_option
@settings_options
def watch(settings: Settings, after: int | None, as_json: bool) -> None:
    """Print each change of an alarm as it happens, until Ctrl-C."""
    with alarm_book(settings) as book:
        number = _last(book) if after is None else after
        while True:
            events = book.events_after(number)
            for event in events:
                click.echo(json.dumps(event_row(event)) if as_json else f"{event.alarm}  {told(event)}")
                number = event.number
            if not events:
                time.sleep(EVERY)


def _act(settings: Settings, alarms: Sequence[str], action: str, by: str, note: str) -> None:
    with alarm_book(settings) as book:
        for before in [_one(book, alarm) for alarm in alarms]:
            event = book.act(before.id, action, by=by, note=note)
            done = before.acknowledged_by if action == "acknowledge" else before.resolved_by
            already = "already " if done is not None or event.by != by else ""
            click.echo(f"{before.id}: {already}{event.change} by {event.by} at {rfc3339(event.recorded)}")


def _one(book: AlarmBook, alarm_id: str) -> Alarm:
    """The alarm with this id, or the only one whose id begins so. UserError names the candidates of several."""
    alarm = book.alarm(alarm_id)
    found = [alarm] if alarm else book.alarms(prefix=alarm_id.lower(), limit=9) if len(alarm_id) >= PREFIX else []
    if len(found) > 1:
        ids = ", ".join(sorted(a.id for a in found[:8])) + (", ..." if len(found) > 8 else "")
        raise UserError(f"alarm {alarm_id} may be any of {ids}: write more of the one you mean")
    if not found:
        raise UserError(f"no alarm {alarm_id}: `vedette alarms list` shows those there are")
    return found[0]


def _last(book: AlarmBook) -> int:
    """Number of the newest event."""
    number = 0
    while events := book.events_after(number, limit=5000):
        number = events[-1].number
    return number


def alarm_row(alarm: Alarm) -> dict[str, Any]:
    """An alarm as it leaves the program, as the api gives it too."""
    from pipeline.api.shapes import AlarmOut

    return AlarmOut.of(alarm).model_dump()


def event_row(event: AlarmEvent) -> dict[str, Any]:
    from pipeline.api.shapes import EventOut

    return EventOut.of(event).model_dump()


def told(event: AlarmEvent) -> str:
    """One change in one line."""
    note = f": {event.reason}" if event.reason else ""
    return f"{rfc3339(event.at)}  {event.change} by {event.by}{note}"


def print_json(rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        click.echo(json.dumps(row))


def print_pairs(pairs: dict[str, Any], *, indent: int = 0) -> None:
    """`name  value` a line; what is nested as JSON."""
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        text = value if isinstance(value, str) else json.dumps(value)
        click.echo(f"{'':{indent}}{name:{width}}  {text}".rstrip())


def _cells(alarm: Alarm) -> tuple[str, ...]:
    seen = alarm.state if alarm.state != "cleared" or alarm.acknowledged_by else "cleared, not seen"
    return (
        rfc3339(alarm.raised_at),
        seen,
        alarm.severity,
        alarm.rule,
        f"{alarm.subject} @ {alarm.place}" if alarm.place else alarm.subject,
        alarm.id,
        alarm.reason,
    )
