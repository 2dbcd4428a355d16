"""`vedette eval`: how good a model is on labelled pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from pipeline.cli.common import settings_options
from pipeline.cli.detect import find, progress
from pipeline.message import Float32s
from pipeline.ports import InvalidMessage, UserError
from pipeline.settings import Settings
from pipeline.vision import evaluate
from pipeline.vision.detector import OnnxDetector
from pipeline.vision.evaluate import Judged
from pipeline.vision.picture import decode

LEAST_SCORE = 0.01
MEANING = {
    "recall": "burning pictures that are alarmed at the card's thresholds",
    "false_pictures": "calm pictures that are alarmed all the same",
    "f1": "F1 of pictures at the card's thresholds",
    "f1_best": "F1 of pictures at the threshold that is best on these very pictures",
    "recall_at_5_percent_false": "recall when the threshold lets 5 % of calm pictures through",
}


@click.command()
@click.option("--images", type=click.Path(path_type=Path, exists=True), required=True, help="Folder of pictures.")
@click.option(
    "--labels",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="Folder of YOLO labels: NAME.txt for NAME.jpg; an empty file means nothing burns.",
)
@click.option("--model", type=click.Path(path_type=Path), help="Model folder (default: from the settings).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@settings_options
def command(images: Path, labels: Path, model: Path | None, as_json: bool, settings: Settings) -> None:
    """Measure a model on labelled pictures: picture F1, recall at few false alarms, average precision of boxes.

    Classes in the labels are counted in the order of the model's card (0 smoke, 1 fire for the one shipped).
    """
    folder = model or Path(settings.vision.model)
    detector = OnnxDetector.load(folder, threads=settings.vision.threads, min_score=LEAST_SCORE)
    pictures = judge_folder(detector, list(find((images,))), labels)
    figures = evaluate.figures(pictures, detector.card.classes, detector.thresholds)
    burning = int(evaluate.burning(pictures).sum())
    if as_json:
        row = {"model": detector.model, "pictures": len(pictures), "burning": burning, **figures}
        click.echo(json.dumps(row))
        return
    click.echo(f"{detector.model} on {len(pictures)} pictures, {burning} of them burning")
    for name, value in figures.items():
        click.echo(f"  {name:<26} {value:>7.3f}  {MEANING.get(name, '')}")


def judge_folder(detector: OnnxDetector, files: Sequence[Path], labels: Path) -> list[Judged]:
    """Every picture with its label and what the detector says. UserError for a missing label or bad picture."""
    judged = []
    with progress(len(files)) as bar:
        for path in files:
            judged.append(judge(detector, path, labels / f"{path.stem}.txt"))
            if bar is not None:
                bar.update(1)
    return judged


def judge(detector: OnnxDetector, path: Path, label: Path) -> Judged:
    try:
        image = decode(path.read_bytes())
    except InvalidMessage as refusal:
        raise UserError(f"{path}: {refusal}; mend or remove it, a figure over fewer pictures misleads") from refusal
    kinds, boxes = read_label(label, image.shape[1], image.shape[0])
    if kinds and max(kinds) >= len(detector.card.classes):
        raise UserError(f"{label}: class {max(kinds)}, the model knows {len(detector.card.classes)}")
    names = tuple(detector.card.classes[kind] for kind in kinds)
    return Judged(path.stem, boxes, names, detector.detect([image])[0])


def read_label(path: Path, width: int, height: int) -> tuple[list[int], Float32s]:
    """(classes, boxes [n,4] in pixels) of a YOLO label: class, centre, width and height in parts of one."""
    try:
        rows = [[float(word) for word in line.split()] for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise UserError(f"no label {path}: {error.strerror}; a calm picture needs an empty one") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}; a line is class, centre x, centre y, width, height") from error
    rows = [row for row in rows if row]
    if any(len(row) != 5 or row[0] < 0 for row in rows):
        raise UserError(f"{path}: a line is class, centre x, centre y, width, height")
    table = np.array(rows, np.float32).reshape(-1, 5)
    half = table[:, 3:5] / 2
    corners = np.concatenate([table[:, 1:3] - half, table[:, 1:3] + half], 1)
    return table[:, 0].astype(int).tolist(), np.asarray(corners * [width, height, width, height], np.float32)
