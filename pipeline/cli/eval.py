"""`vedette eval`: how good a model is, on labelled pictures or on clips."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pipeline.cli.common import settings_options
from pipeline.cli.detect import progress
from pipeline.ports import UserError
from pipeline.replay import frame_count
from pipeline.rules.config import RuleSet
from pipeline.rules.config import load as load_rules
from pipeline.settings import Settings
from pipeline.vision.detector import OnnxDetector
from pipeline.vision.evaluate import clips as verdicts
from pipeline.vision.evaluate.figures import measured, milliseconds
from pipeline.vision.evaluate.folder import LEAST_SCORE, Chosen, Looked, entries, look_through, orphans
from pipeline.vision.evaluate.interval import RESAMPLES, Estimate
from pipeline.vision.evaluate.judged import EDGES, SCALE, SIZES, box_counts, burning, known
from pipeline.vision.evaluate.marks import FILE, Mark, read_marks
from pipeline.vision.evaluate.watch import EVERY_S, clip_files, watch

MEANING = {
    "recall": "burning pictures that are alarmed at the card's thresholds",
    "false_pictures": "calm pictures that are alarmed all the same",
    "f1": "F1 of pictures at the card's thresholds",
    "f1_best": "F1 of pictures at the threshold that is best on these very pictures",
    "f1_best_threshold": "that threshold",
    "recall_at_5_percent_false": "recall when the threshold lets 5 % of calm pictures through",
    "calm_hours": "camera-hours in which nothing is to be seen",
    "false_alarms": "alarms raised in them",
}
TOLD = 5
"""Names told of a kind of trouble; the rest are counted."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the person asked for, beside the folders."""

    model: Path | None
    rules_file: Path | None
    every: float
    source: tuple[str, ...]
    tier: tuple[str, ...]
    resamples: int
    as_json: bool


@click.command()
@click.option("--images", type=click.Path(path_type=Path), help="Folder of pictures, searched to the bottom.")
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="Folder of YOLO labels: NAME.txt for NAME.jpg; an empty file means nothing burns.",
)
@click.option("--clips", type=click.Path(path_type=Path), help="Folder of videos, with clips.csv for verdicts.")
@click.option("--model", type=click.Path(path_type=Path), help="Model folder (default: from the settings).")
@click.option(
    "--rules", "rules_file", type=click.Path(path_type=Path), help="Rules for clips (default: from the settings)."
)
@click.option(
    "--every",
    type=click.FloatRange(0.0),
    default=EVERY_S,
    show_default=True,
    help="Clips: seconds of event time between frames scored.",
)
@click.option("--source", multiple=True, help="Only pictures whose name begins so; may be given again.")
@click.option("--tier", multiple=True, help="Only pictures of this tier of sources.csv; may be given again.")
@click.option(
    "--resamples",
    type=click.IntRange(0, 100_000),
    default=RESAMPLES,
    show_default=True,
    help="Samples of the bootstrap behind each interval; 0: no intervals.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@settings_options
def command(
    images: Path | None, labels: Path | None, clips: Path | None, settings: Settings, **options: Any
) -> None:
    """Measure a model on labelled pictures (--images, --labels), or model and rules on videos (--clips).

    Figures come with 95 % intervals. A picture or clip that cannot be read is named and left out; the exit status
    is then 1. Classes in labels are counted in the order of the model's card (0 smoke, 1 fire for the one shipped).
    What each figure means, and the columns of sources.csv and clips.csv: docs/detector.md.
    """
    chosen = Options(**options)
    if (clips is None) == (images is None) or (images is None) != (labels is None):
        raise UserError("name what to measure on: --images DIR --labels DIR, or --clips DIR")
    folder = chosen.model or Path(settings.vision.model)
    running: dict[str, Any] = {"threads": settings.vision.threads, "providers": settings.vision.providers}
    if images is not None and labels is not None:
        detector = OnnxDetector.load(folder, **running, min_score=LEAST_SCORE)
        left_out = over_pictures(detector, images, labels, chosen)
    else:
        detector = OnnxDetector.load(folder, **running)
        rules = load_rules(chosen.rules_file or Path(settings.rules.file))
        left_out = over_clips(detector, rules, clips or Path(), chosen)
    sys.exit(1 if left_out else 0)


def peak_mb() -> float:
    """The most memory this process has had, in MB of 1,000,000 bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


# ---------------------------------------------------------------- pictures


def over_pictures(detector: OnnxDetector, images: Path, labels: Path, chosen: Options) -> int:
    """Print the figures of a folder; how many pictures could not be read."""
    classes = detector.card.classes
    found = entries(images, labels, classes, Chosen(chosen.source, chosen.tier))
    with progress(len(found)) as bar:
        looked = look_through(detector, found, bar.update if bar is not None else _idle)
    _tell("unreadable", "picture", [f"{name}: {reason}" for name, reason in looked.unreadable])
    lost = orphans(images, labels)
    _tell("without a picture", "label", lost)
    if not looked.judged:
        raise UserError(f"none of {len(found)} pictures in {images} can be read")
    figures = measured(looked.judged, classes, detector.thresholds, resamples=chosen.resamples)
    row = {**_facts(detector, looked), "labels_without_picture": len(lost), "resamples": chosen.resamples}
    row |= {**_flat(figures), **milliseconds(looked.took), "rss_mb": peak_mb()}
    if chosen.as_json:
        click.echo(json.dumps(row))
    else:
        _show_pictures(row, figures)
    return len(looked.unreadable)


def _facts(detector: OnnxDetector, looked: Looked) -> dict[str, Any]:
    pictures = looked.judged
    return {
        "model": detector.model,
        "pictures": len(pictures),
        "burning": int(burning(pictures).sum()),
        "unknown": int((~known(pictures)).sum()),
        "unreadable": [name for name, _reason in looked.unreadable],
        "thresholds": detector.thresholds,
        "boxes": {label: box_counts(pictures, label) for label in detector.card.classes},
    }


def _show_pictures(row: dict[str, Any], figures: Mapping[str, Estimate]) -> None:
    thresholds = ", ".join(f"{label} {value:.2f}" for label, value in row["thresholds"].items())
    click.echo(f"{row['model']} on {row['pictures']} pictures, {row['burning']} of them burning")
    click.echo(f"thresholds of the card: {thresholds}")
    if row["unknown"]:
        click.echo(
            f"{row['unknown']} pictures do not tell whether anything burns: not in recall, false_pictures, F1"
        )
    _show(figures)
    first, *others = (f"{size} {edge}" for size, edge in zip(SIZES, ("", *EDGES), strict=True))
    click.echo(f"sizes: side at {SCALE:.0f} px: {first.strip()}, then from {', '.join(others)}")
    for label, counts in row["boxes"].items():
        click.echo(f"  boxes of {label}: " + ", ".join(f"{size} {count}" for size, count in counts.items()))
    _show_cost(row, f"bootstrap over pictures, {row['resamples']} samples")


# ---------------------------------------------------------------- clips


def over_clips(detector: OnnxDetector, rules: RuleSet, folder: Path, chosen: Options) -> int:
    """Print verdicts, or alarms alone without clips.csv; how many clips could not be judged."""
    files, marks = clip_files(folder), read_marks(folder, detector.card.classes)
    watched, unreadable = watch_all(detector, rules, files, marks or {}, every_s=chosen.every)
    absent = sorted(set(marks or {}) - {file.name for file in files})
    _tell("unreadable", "clip", unreadable)
    _tell(f"in {FILE} but not there", "clip", absent)
    judged = [verdicts.judge(w, marks[w.clip]) for w in watched if marks and w.clip in marks]
    figures = verdicts.summary(judged, detector.card.classes, resamples=chosen.resamples)
    took = [ms for clip in watched for ms in clip.took]
    row: dict[str, Any] = {
        "model": detector.model,
        "rules": rules.version,
        "every_s": chosen.every,
        "clips": [_clip_row(w, next((j for j in judged if j.clip == w.clip), None)) for w in watched],
        "unreadable": unreadable,
        "absent": absent,
        "resamples": chosen.resamples,
        **(_flat(figures) if judged else {}),
        **{"frames": len(took), **milliseconds(took), "rss_mb": peak_mb()},
    }
    if chosen.as_json:
        click.echo(json.dumps(row))
    else:
        _show_clips(row, figures if judged else {})
    return len(unreadable) + len(absent)


def watch_all(
    detector: OnnxDetector, rules: RuleSet, files: Sequence[Path], marks: Mapping[str, Mark], *, every_s: float
) -> tuple[list[verdicts.Watched], list[str]]:
    """What the rules said over each clip, and what could not be read of them, with the reason."""
    watched, unreadable = [], []
    for file in files:
        with progress(frame_count(file)) as bar:
            done = bar.update if bar is not None else _idle
            frame_s = marks.get(file.name, Mark()).frame_s
            try:
                watched.append(watch(file, detector, rules, every_s=every_s, frame_s=frame_s, done=done))
            except UserError as error:
                unreadable.append(str(error))
    return watched, unreadable


def _clip_row(watched: verdicts.Watched, verdict: verdicts.Verdict | None) -> dict[str, Any]:
    row = {
        "clip": watched.clip,
        "seconds": watched.length_s,
        "frames": len(watched.took),
        "alarms": [{"at_s": a.at_s, "label": a.label, "rule": a.rule, "reason": a.reason} for a in watched.alarms],
    }
    if verdict is None:
        return row
    told = {"verdicts": verdict.verdicts, "seconds_to_detect": verdict.seconds_to_detect}
    return row | told | {"false_alarms": len(verdict.false), "calm_s": round(verdict.calm_s, 3)}


def _show_clips(row: dict[str, Any], figures: Mapping[str, Estimate]) -> None:
    click.echo(
        f"{row['model']}, rules {row['rules']}, a frame every {row['every_s']:g} s of event time at the most"
    )
    for clip in row["clips"]:
        click.echo(f"{clip['clip']:<44} {clip['seconds']:>8.1f} s {clip['frames']:>5} frames  {_judgement(clip)}")
        for alarm in clip["alarms"]:
            click.echo(f"    {alarm['at_s']:>8.1f} s  {alarm['rule']}: {alarm['reason']}")
    _show(figures)
    how = f"shares exact binomial, rates exact Poisson, times bootstrap over clips, {row['resamples']} samples"
    _show_cost(row, how)


def _judgement(clip: Mapping[str, Any]) -> str:
    if "verdicts" not in clip:
        return "not judged"
    after = {label: f" after {seconds:g} s" for label, seconds in clip["seconds_to_detect"].items()}
    told = [(label, verdict) for label, verdict in clip["verdicts"].items() if verdict != verdicts.QUIET]
    return ", ".join(f"{label} {verdict}{after.get(label, '')}" for label, verdict in told) or verdicts.QUIET


# ---------------------------------------------------------------- both


def _idle(_count: int) -> None:
    """Nobody watches."""


def _flat(figures: Mapping[str, Estimate]) -> dict[str, Any]:
    """Figures by name, and their intervals beside them, as on the card."""
    spans = {name: [round(v, 4) for v in e.interval] for name, e in figures.items() if e.interval}
    return {**{name: round(e.value, 6) for name, e in figures.items()}, "intervals": spans}


def _show(figures: Mapping[str, Estimate]) -> None:
    for name, (value, interval) in figures.items():
        span = f"{interval[0]:>8.3f} to {interval[1]:<8.3f}" if interval else " " * 20
        click.echo(f"  {name:<26} {value:>8.3f}  {span}  {MEANING.get(name, '')}".rstrip())


def _show_cost(row: dict[str, Any], how: str) -> None:
    click.echo(f"intervals of 95 %: {how}")
    click.echo(
        f"detector: median {row.get('median_ms', 0)} ms a frame, 95 % within {row.get('p95_ms', 0)} ms; "
        f"memory at most {row['rss_mb']:.0f} MB"
    )


def _tell(what: str, noun: str, names: Sequence[str]) -> None:
    """On stderr: how many, and the first by name."""
    if not names:
        return
    more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
    click.echo(f"{len(names)} {noun}{'s' * (len(names) != 1)} {what}: {'; '.join(names[:TOLD])}{more}", err=True)
