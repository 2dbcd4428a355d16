"""`vedette replay`: the rules over recorded tracks and videos, with no server."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec

from pipeline import wire
from pipeline.alarms.merge import open_merge
from pipeline.cli.common import settings_options
from pipeline.message import SECOND, PositionBatch, Signal
from pipeline.ports import UserError
from pipeline.replay import AlarmChange, Outcome, changes, frame_count, replay_batch, replay_frames, scored_frames
from pipeline.rules.cameras import load_cameras
from pipeline.rules.config import RuleSet, load
from pipeline.rules.fleet import Fleet, load_fleet
from pipeline.rules.head import in_order
from pipeline.settings import Settings
from pipeline.telemetry.clean import Limits, tally
from pipeline.trackfile import Progress, TrackError, read_columns

TRACKS = (".csv", ".csv.gz")
VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".ts")
VIDEO_START = "2000-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Options:
    """What the person asked for, beside the files and the rules."""

    fleet: Path | None
    model: Path | None
    start: str | None
    every: float
    skip_bad: bool


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--rules", "rules_file", type=click.Path(path_type=Path), help="Rules (default: from the settings).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object an alarm change, a line each.")
@click.option(
    "--fleet",
    type=click.Path(path_type=Path),
    help="Fleet file (unit,group): only its units, and groups for the rules. Default: every unit of the files.",
)
@click.option("--model", type=click.Path(path_type=Path), help="Model folder (default: from the settings).")
@click.option("--start", help=f"When videos begin, RFC 3339. Default: with the tracks, else {VIDEO_START}.")
@click.option(
    "--every", type=click.FloatRange(0.0), default=0.2, show_default=True, help="Seconds between frames scored."
)
@click.option("--skip-bad", is_flag=True, help="Leave bad lines of track files out, and count them.")
@settings_options
def command(
    files: tuple[Path, ...], rules_file: Path | None, as_json: bool, settings: Settings, **options: Any
) -> None:
    """Run the rules over track files (CSV, CSV.GZ) and videos (MP4 and others), in event time.

    Prints each change of an alarm in order of event time: raised, cleared. An episode that is open at the end of
    the recording stays open. The same files and rules give the same bytes, whenever and wherever.

    \b
    Example:
      vedette replay day.csv.gz tower.mp4 --rules config/rules.toml --json
    """
    chosen = Options(**options)
    rules = load(rules_file or Path(settings.rules.file))
    tracks, videos = sort_files(files)
    fleet = load_fleet(chosen.fleet) if chosen.fleet else None
    limits = Limits.of(settings.clean)
    batch = read(tracks, chosen.skip_bad)
    signals = over_tracks(batch, rules, fleet, limits)
    begins = int(batch.at[0]) if len(batch) else None
    signals += over_videos(videos, rules, settings, chosen, begins)
    write(list(changes(in_order(signals), open_merge(settings))), as_json)


def sort_files(files: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """(tracks, videos), by suffix. UserError for anything else."""
    tracks, videos = [], []
    for file in files:
        name = file.name.lower()
        if name.endswith(TRACKS):
            tracks.append(file)
        elif name.endswith(VIDEOS):
            videos.append(file)
        else:
            raise UserError(f"{file}: neither a track file ({', '.join(TRACKS)}) nor a video ({', '.join(VIDEOS)})")
    return tracks, videos


# ---------------------------------------------------------------- the two kinds of recordings


def over_tracks(batch: PositionBatch, rules: RuleSet, fleet: Fleet | None, limits: Limits) -> list[Signal]:
    if not len(batch):
        return []
    outcome = Outcome()
    with bar(len(batch), "fixes") as shown:
        done = shown.update if shown else _nothing
        signals = replay_batch(batch, rules, fleet=fleet, limits=limits, outcome=outcome, done=done)
    _tell_tracks(batch, outcome)
    return signals


def over_videos(
    files: Sequence[Path], rules: RuleSet, settings: Settings, chosen: Options, begins: int | None
) -> list[Signal]:
    """The signals of the videos; the model is loaded only if there is one."""
    if not files:
        return []
    from pipeline.vision.detector import OnnxDetector

    model = chosen.model or Path(settings.vision.model)
    detector = OnnxDetector.load(model, threads=settings.vision.threads, providers=settings.vision.providers)
    cameras, start = load_cameras(Path(settings.cameras.file)), _start(chosen.start, begins)
    signals: list[Signal] = []
    for file in files:
        with bar(frame_count(file), file.name) as shown:
            done = shown.update if shown else _nothing
            frames = scored_frames(file, detector, start=start, every_s=chosen.every, done=done)
            signals += replay_frames(frames, rules, detector.thresholds, cameras)
    return signals


def read(files: Sequence[Path], skip_bad: bool) -> PositionBatch:
    """All fixes of the files by event time. UserError names file, line, column and fix of a bad line."""
    progress = Progress()
    try:
        batch = read_columns(files, on_bad="skip" if skip_bad else "raise", progress=progress)
    except TrackError as error:
        hint = " (or leave bad lines out: --skip-bad)" if error.bad.column else ""
        raise UserError(f"{error}{hint}") from None
    for bad in progress.skipped[:10]:
        click.echo(f"left out: {bad}", err=True)
    if progress.skipped:
        click.echo(f"{counted(len(progress.skipped), 'bad line')} left out", err=True)
    return batch


def _start(said: str | None, begins: int | None) -> int:
    if said is None:
        return wire.parse_rfc3339(VIDEO_START) if begins is None else begins
    try:
        return wire.parse_rfc3339(said)
    except ValueError as error:
        raise UserError(f"--start {said}: {error}") from None


def _nothing(_rows: int) -> None:
    return None


# ---------------------------------------------------------------- what a person sees


def bar(length: int, label: str) -> AbstractContextManager[Any]:
    """A progress bar on stderr when a person watches it and results go elsewhere; else nothing."""
    if sys.stderr.isatty() and length > 1:
        return click.progressbar(length=length, label=label, file=sys.stderr)
    return nullcontext()


def _tell_tracks(batch: PositionBatch, outcome: Outcome) -> None:
    state = outcome.state
    if state is None:
        return
    hours = (int(batch.at.max()) - int(batch.at.min())) / SECOND / 3600
    fixes = f"{len(batch)} fix" + "es" * (len(batch) != 1)
    late = f", {state.slots.late} late or doubled" if state.slots.late else ""
    click.echo(f"{fixes} of {counted(len(batch.units), 'unit')} over {hours:.1f} h{late}", err=True)
    for reason, count in tally(outcome.refusals).items():
        click.echo(f"refused, {reason}: {count}", err=True)


def counted(number: int, noun: str) -> str:
    """`1 alarm`, `2 alarms`."""
    return f"{number} {noun}" + "s" * (number != 1)


def write(found: Sequence[AlarmChange], as_json: bool) -> None:
    if as_json:
        sys.stdout.write("".join(msgspec.json.encode(change).decode() + "\n" for change in found))
        return
    for change in found:
        click.echo(f"{change.at:<20}  {change.change:<8}  {change.rule:<20}  {change.reason}")
    counts = Counter(change.rule for change in found if change.change == "raised")
    total = ", ".join(f"{rule} {count}" for rule, count in sorted(counts.items()))
    click.echo(f"{counted(sum(counts.values()), 'alarm')}{': ' + total if total else ''}")
