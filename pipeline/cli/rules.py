"""`vedette rules`"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from pipeline.alarms.merge import open_merge
from pipeline.cli import replay
from pipeline.cli.common import settings_options
from pipeline.cli.ledgers import print_table
from pipeline.cli.recorded import Period, Recording, of_store, period_options
from pipeline.message import Alarm
from pipeline.ports import UserError
from pipeline.replay import changes
from pipeline.replay_compare import Comparison, Load, Moved, Told, compare
from pipeline.rules.config import RuleSet, load
from pipeline.settings import Settings

FILE = click.Path(path_type=Path)
HEADER = ("", "RULE", "SUBJECT", "PLACE", "RAISED", "ENDED", "REASON")


@click.group("rules")
def command() -> None:
    """Try changed rules on history before they are used.

    `vedette check --rules FILE` says whether a file can be used at all.
    """


@command.command("backtest")
@click.argument("new", type=FILE)
@click.argument("files", nargs=-1, type=FILE, metavar="[TRACK.csv|VIDEO.mp4]...")
@click.option("--old", type=FILE, help="The rules to compare with (default: those in use, from the settings).")
@click.option(
    "--operators",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="How many share the alarms: for the expected number of each in 10 minutes.",
)
@click.option("--fleet", type=FILE, help="Of files: fleet file (unit,group). Default: every unit of the files.")
@click.option("--model", type=FILE, help="Of videos: model folder (default: from the settings).")
@click.option("--start", help="Of videos: when they begin, RFC 3339 (default: with the tracks).")
@click.option(
    "--every",
    type=click.FloatRange(0.0),
    default=0.2,
    show_default=True,
    help="Of videos: s between frames scored.",
)
@click.option(
    "--pace",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    help="Of time lapses: s of event time in a second of film.",
)
@click.option("--skip-bad", is_flag=True, help="Leave bad lines of track files out, and count them.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(0), help="Rows shown of each kind.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with everything.")
@period_options
@settings_options
def backtest(
    *,
    new: Path,
    files: tuple[Path, ...],
    old: Path | None,
    operators: int,
    limit: int,
    as_json: bool,
    settings: Settings,
    period: Period,
    **options: Any,
) -> None:
    """Run the rules in NEW and the old ones over stored history, or over files, and show what differs.

    \b
    +  added: only the new rules raise it
    -  gone: only the old ones did
    ~  moved: the same rule, subject and place, begun, raised or ended at another time

    Nothing is changed: neither the alarm book nor the rules in use.

    \b
    Examples:
      vedette rules backtest new.toml --from 2026-11-15T00:00:00Z --to 2026-11-22T00:00:00Z --purpose "new limits"
      vedette rules backtest new.toml --old old.toml day.csv.gz --operators 2
    """
    sets = load(old or Path(settings.rules.file)), load(new)
    recording = _recording(files, period, settings, replay.Options(**options))
    told = [_alarms(recording, rules, settings) for rules in sets]
    found = compare(*told, span=_span(recording, period), operators=operators)
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        _show(found, limit)


def _recording(files: Sequence[Path], period: Period, settings: Settings, chosen: replay.Options) -> Recording:
    if not period:
        return replay.of_files(files, settings, chosen)
    if files or chosen.fleet:
        raise UserError("--from and --to read the store: name them, or files and --fleet, not both")
    return of_store(settings, period, what="rules backtest")


def _alarms(recording: Recording, rules: RuleSet, settings: Settings) -> list[Alarm]:
    """Those raised in the period itself."""
    alarms: dict[str, Alarm] = {}
    for _change in changes(replay.said(recording, rules, settings), open_merge(settings), alarms):
        pass
    since = recording.since
    return [alarm for alarm in alarms.values() if since is None or alarm.raised_at >= since]


def _span(recording: Recording, period: Period) -> int:
    """Microseconds: of the period asked for, else from the first event of the files to the last."""
    if period:
        start, end = period.span
        return end - start
    times = recording.batch.at.tolist() + [frame.at for frame in recording.frames]
    return max(times) - min(times) if times else 0


# ---------------------------------------------------------------- what a person sees


def _show(found: Comparison, limit: int) -> None:
    rows: list[tuple[str, ...]] = []
    for mark, some, words in (
        ("+", found.added, partial(_row, "+")),
        ("-", found.gone, partial(_row, "-")),
        ("~", found.moved, _moved_row),
    ):
        rows += _cut(mark, some, words, limit)
    if rows:
        print_table(HEADER, rows)
        click.echo()
    counts = f"{len(found.added)} added, {len(found.gone)} gone, {len(found.moved)} moved, {found.same} the same"
    click.echo(f"{counts}, over {found.span_s / 3600:.1f} h")
    whose = "operator" if found.operators == 1 else f"each of {found.operators} operators"
    for name, load_ in (("old", found.old), ("new", found.new)):
        click.echo(f"{name}: {_load_words(load_, whose)}")


def _cut(
    mark: str, some: Sequence[Any], words: Callable[[Any], tuple[str, ...]], limit: int
) -> list[tuple[str, ...]]:
    rows = [words(one) for one in some[:limit]]
    if len(some) > limit:
        rows.append((mark, f"... {len(some) - limit} more (--limit)", "", "", "", "", ""))
    return rows


def _row(mark: str, one: Told) -> tuple[str, ...]:
    return (mark, one.rule, one.subject, one.place, one.raised, one.ended or "goes on", one.reason)


def _moved_row(one: Moved) -> tuple[str, ...]:
    def differing(name: str) -> str:
        old, new = (getattr(side, name) or "goes on" for side in (one.old, one.new))
        return str(new) if old == new else f"{old} → {new}"

    new = one.new
    return ("~", new.rule, new.subject, new.place, differing("raised"), differing("ended"), new.reason)


def _load_words(of: Load, whose: str) -> str:
    words = f"{of.alarms} alarm" + "s" * (of.alarms != 1)
    if not of.alarms:
        return words
    (rule, by_rule), (subject, by_subject) = of.rules[0], of.subjects[0]
    return (
        f"{words}, {of.per_operator:.2g} for {whose} in 10 minutes, {of.worst:.3g} in the worst ones (from "
        f"{of.worst_from}); noisiest rule {rule} ({by_rule}), noisiest subject {subject} ({by_subject})"
    )
