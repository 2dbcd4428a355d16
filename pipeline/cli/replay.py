"""`vedette replay`: the rules over recorded tracks and videos, or a time range of the store, with no server."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import click
import msgspec

from pipeline import wire
from pipeline.alarms.merge import open_merge
from pipeline.cli.common import settings_options
from pipeline.cli.recorded import Period, Recording, of_store, period_options
from pipeline.message import SECOND, PositionBatch, ScoredFrame, Signal
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
    pace: float
    skip_bad: bool


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
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
@click.option(
    "--pace",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Of time-lapse videos: seconds of event time in a second of the film.",
)
@click.option("--skip-bad", is_flag=True, help="Leave bad lines of track files out, and count them.")
@click.option(
    "--speed",
    type=click.FloatRange(0),
    default=0.0,
    help="Tell each change when its time comes, so many times as fast as it was; 0: all at once (default).",
)
@period_options
@settings_options
def command(
    *,
    files: tuple[Path, ...],
    rules_file: Path | None,
    as_json: bool,
    settings: Settings,
    period: Period,
    speed: float,
    **options: Any,
) -> None:
    """Run the rules over track files (CSV, CSV.GZ) and videos (MP4 and others), or over a time range of the store.

    Prints each change of an alarm in order of event time: raised, cleared. An episode that is open at the end of
    the recording stays open. The same input and rules give the same bytes, whenever, wherever and at any speed.

    \b
    Examples:
      vedette replay day.csv.gz tower.mp4 --rules config/rules.toml --json
      vedette replay --from 2026-11-22T06:00:00Z --to 2026-11-22T18:00:00Z --group hazmat --purpose "complaint 4711"
    """
    chosen = Options(**options)
    rules = load(rules_file or Path(settings.rules.file))
    if period:
        if files or chosen.fleet:
            raise UserError("--from and --to read the store: name them, or files and --fleet, not both")
        recording = of_store(settings, period, what="replay")
    else:
        recording = of_files(files, settings, chosen)
    told = list(changes(said(recording, rules, settings), open_merge(settings)))
    if recording.since is not None:
        told = [change for change in told if wire.parse_rfc3339(change.at) >= recording.since]
    write(told, as_json, speed)


def of_files(files: Sequence[Path], settings: Settings, chosen: Options) -> Recording:
    """Tracks as they are, videos as the model sees them."""
    if not files:
        raise UserError("nothing to replay: name track files and videos, or a range of the store: --from and --to")
    tracks, videos = sort_files(files)
    fleet = load_fleet(chosen.fleet) if chosen.fleet else None
    batch = read(tracks, chosen.skip_bad)
    begins = int(batch.at[0]) if len(batch) else None
    return Recording(batch, *seen_in(videos, settings, chosen, begins), fleet)


def said(recording: Recording, rules: RuleSet, settings: Settings) -> list[Signal]:
    """The signals of a recording in order of event time. On stderr what it holds and what was refused."""
    signals = over_tracks(recording.batch, rules, recording.fleet, Limits.of(settings.clean))
    if recording.frames:
        cameras = load_cameras(Path(settings.cameras.file))
        for _camera, frames in groupby(recording.frames, key=lambda frame: frame.camera):
            signals += replay_frames(frames, rules, recording.thresholds, cameras)
    return in_order(signals)


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


def seen_in(
    videos: Sequence[Path], settings: Settings, chosen: Options, begins: int | None
) -> tuple[list[ScoredFrame], dict[str, float]]:
    """What the model sees in videos, and its thresholds; it is loaded only if there is one."""
    if not videos:
        return [], {}
    from pipeline.vision.detector import OnnxDetector

    model = chosen.model or Path(settings.vision.model)
    detector = OnnxDetector.load(model, threads=settings.vision.threads, providers=settings.vision.providers)
    start, seen = _start(chosen.start, begins), list[ScoredFrame]()
    for video in videos:
        with bar(frame_count(video), video.name) as shown:
            done = shown.update if shown else _nothing
            every, pace, side = chosen.every, chosen.pace, detector.input_side
            seen += scored_frames(video, detector, start=start, every_s=every, pace=pace, live_side=side, done=done)
    return seen, detector.thresholds


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


def write(found: Sequence[AlarmChange], as_json: bool, speed: float = 0.0) -> None:
    for change in paced(found, speed):
        if as_json:
            click.echo(msgspec.json.encode(change))
        else:
            click.echo(f"{change.at:<20}  {change.change:<8}  {change.rule:<20}  {change.reason}")
    if as_json:
        return
    counts = Counter(change.rule for change in found if change.change == "raised")
    total = ", ".join(f"{rule} {count}" for rule, count in sorted(counts.items()))
    click.echo(f"{counted(sum(counts.values()), 'alarm')}{': ' + total if total else ''}")


def paced(found: Iterable[AlarmChange], speed: float) -> Iterator[AlarmChange]:
    """Each change when its time has come, counted from the first; at speed 0 all at once."""
    first, begun = None, time.monotonic()
    for change in found:
        at = wire.parse_rfc3339(change.at)
        first = at if first is None else first
        if speed:
            time.sleep(max(0.0, begun + (at - first) / SECOND / speed - time.monotonic()))
        yield change
