"""`vedette detect`: look for fire and smoke in pictures."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pipeline.cli.common import settings_options
from pipeline.ports import InvalidMessage, UserError
from pipeline.settings import Settings
from pipeline.vision.detector import OnnxDetector
from pipeline.vision.picture import Picture, cv2, decode

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
COLOURS = {"smoke": (255, 160, 0), "fire": (0, 60, 255)}
OTHER_COLOUR = (0, 200, 200)


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a picture, a line each.")
@click.option(
    "--min-score",
    type=click.FloatRange(0.0, 1.0),
    help="Least score to report, 0.01 at the lowest useful. Default: the thresholds on the model's card.",
)
@click.option("--model", type=click.Path(path_type=Path), help="Model folder (default: from the settings).")
@click.option("--save", type=click.Path(path_type=Path), help="Folder to write pictures with boxes drawn to.")
@settings_options
def command(paths: tuple[Path, ...], settings: Settings, **options: Any) -> None:
    """Look for fire and smoke in pictures: files, or folders searched to the bottom, in order of name.

    A picture that cannot be read is reported in its place and does not stop the others; the exit status is then 1.
    Boxes are x1, y1, x2, y2 in pixels of the picture as it is shown (EXIF rotation applied).
    """
    chosen = Choice(**options)
    files = list(find(paths))
    detector = OnnxDetector.load(
        chosen.model or Path(settings.vision.model),
        threads=settings.vision.threads,
        min_score=min(0.01, chosen.min_score or 1.0),
        providers=settings.vision.providers,
    )
    if not chosen.as_json:
        click.echo(f"{'picture':<40} {'size':>11} {'ms':>6}  found")
    failed = 0
    with progress(len(files)) as bar:
        for path in files:
            row = look(detector, path, chosen)
            failed += "error" in row
            click.echo(json.dumps(row) if chosen.as_json else table_line(row))
            if bar is not None:
                bar.update(1)
    if failed:
        click.echo(f"{failed} of {len(files)} pictures could not be read", err=True)
        sys.exit(1)


@dataclass(frozen=True, slots=True)
class Choice:
    """What the person asked for."""

    as_json: bool
    min_score: float | None
    model: Path | None
    save: Path | None

    def least(self, detector: OnnxDetector, label: str) -> float:
        """From which score a detection is reported."""
        return detector.thresholds[label] if self.min_score is None else self.min_score


def find(paths: tuple[Path, ...]) -> Iterator[Path]:
    """The pictures meant by `paths`: files as they are, folders to the bottom. UserError for what is not there."""
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file())
            if not inside:
                raise UserError(f"no pictures ({', '.join(sorted(PICTURE_SUFFIXES))}) in {path}")
            yield from inside
        elif path.exists():
            yield path
        else:
            raise UserError(f"no such file or folder: {path}")


def progress(count: int) -> AbstractContextManager[Any]:
    """A bar on stderr when a person watches it and the results go elsewhere; else nothing."""
    if sys.stderr.isatty() and not sys.stdout.isatty() and count > 1:
        return click.progressbar(length=count, label="Looking", file=sys.stderr)
    return nullcontext()


def look(detector: OnnxDetector, path: Path, chosen: Choice) -> dict[str, Any]:
    """One picture's line: what was seen, or why it could not be read."""
    try:
        image = decode(path.read_bytes())
    except InvalidMessage as refusal:
        return {"path": str(path), "error": str(refusal)}
    except OSError as error:
        return {"path": str(path), "error": f"unreadable: {error.strerror}"}
    begun = time.perf_counter()
    seen = detector.detect([image])[0]
    took = (time.perf_counter() - begun) * 1000
    found = [as_row(*d) for d in seen if d[1] >= chosen.least(detector, d[0])]
    if chosen.save:
        draw(image, found, save_path(chosen.save, path))
    height, width = image.shape[:2]
    return {"path": str(path), "width": width, "height": height, "ms": round(took, 1), "detections": found}


def as_row(label: str, score: float, box: tuple[float, float, float, float]) -> dict[str, Any]:
    return {"label": label, "score": round(score, 4), "box": [round(v, 1) for v in box]}


def table_line(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{row['path']:<40} {'':>18}  not read: {row['error']}"
    found = ", ".join(f"{d['label']} {d['score']:.2f}" for d in row["detections"])
    return f"{row['path']:<40} {row['width']:>5}x{row['height']:<5} {row['ms']:>6.1f}  {found or '-'}"


def save_path(folder: Path, path: Path) -> Path:
    """A name of its own for each picture, also when two folders hold the same file name."""
    named = "_".join(part for part in path.parts if part not in (path.anchor, "..", "."))
    return folder / f"{Path(named).stem}.jpg"


def draw(image: Picture, found: list[dict[str, Any]], target: Path) -> None:
    """Write a copy of the picture with each box and its score."""
    copy, line = image.copy(), max(1, max(image.shape) // 400)
    for item in found:
        x1, y1, x2, y2 = (int(v) for v in item["box"])
        colour = COLOURS.get(item["label"], OTHER_COLOUR)
        cv2.rectangle(copy, (x1, y1), (x2, y2), colour, line)
        text = f"{item['label']} {item['score']:.2f}"
        cv2.putText(copy, text, (x1, max(12, y1 - 4)), cv2.FONT_HERSHEY_SIMPLEX, 0.4 * line, colour, line)
    target.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(target), copy)
