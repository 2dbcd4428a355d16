"""Labelled pictures on disk: YOLO labels (`class x y width height`, parts of one), and perhaps `sources.csv`.

`sources.csv` stands beside the folder of pictures or in it: `file`, `tier`, and for each class `CLASS_labelled`
(1 or 0: the class may be in the picture without boxes). Without it, or for a file not in it, everything counts as
labelled.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.message import Float32s
from pipeline.ports import InvalidMessage, UserError
from pipeline.vision.detector import OnnxDetector
from pipeline.vision.evaluate.figures import Done, idle
from pipeline.vision.evaluate.judged import Judged
from pipeline.vision.picture import decode

SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
SOURCES = "sources.csv"
LEAST_SCORE = 0.01
"""Of the detections that average precision is taken over."""
OVER = 0.002
"""How far over the edge a label may reach: rounding of those who wrote it."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which pictures: names that begin with one of `prefixes`, tiers of `sources.csv`; empty: all."""

    prefixes: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture and its label file; classes in `unlabelled` may be in it without boxes."""

    path: Path
    label: Path
    unlabelled: frozenset[str] = frozenset()


@dataclass(slots=True)
class Looked:
    """What came of a folder. `unreadable`: picture and reason; `took`: milliseconds of the detector, a picture."""

    judged: list[Judged] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    took: list[float] = field(default_factory=list)


# ---------------------------------------------------------------- what there is


def entries(images: Path, labels: Path, classes: Sequence[str], chosen: Chosen | None = None) -> list[Entry]:
    """The pictures in order of name, to the bottom of the folder. UserError for folders that are not there, and
    for pictures without a label file."""
    rows, chosen = read_sources(images), chosen or Chosen()
    found = [
        Entry(path, _label_of(path, images, labels), unlabelled_by(rows.get(path.name, {}), classes))
        for path in _files(images, SUFFIXES, "pictures")
        if _is_chosen(path, rows.get(path.name, {}), chosen)
    ]
    if not found:
        words = [f"--source {p}" for p in chosen.prefixes] + [f"--tier {t}" for t in chosen.tiers]
        raise UserError(f"{images}: no picture is left with {' '.join(words)}")
    bare = [e.path.name for e in found if not e.label.is_file()]
    if bare:
        raise UserError(
            f"{len(bare)} of {len(found)} pictures have no label in {labels}, e.g. {bare[0]}: it needs "
            f"{Path(bare[0]).stem}.txt; a calm picture needs an empty one"
        )
    return found


def orphans(images: Path, labels: Path) -> list[str]:
    """Label files whose picture is not there: its boxes are missing in every figure."""
    names = {p.stem for p in _files(images, SUFFIXES, "pictures")}
    return [p.name for p in _files(labels, {".txt"}, "labels") if p.stem not in names]


def _files(folder: Path, suffixes: frozenset[str] | set[str], what: str) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"no folder {folder}: name the one that holds the {what}")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
    if not found:
        raise UserError(f"no {what} ({', '.join(sorted(suffixes))}) in {folder}")
    return found


def _label_of(path: Path, images: Path, labels: Path) -> Path:
    """In the same folder below, or all of them in one."""
    below = labels / path.relative_to(images).with_suffix(".txt")
    return below if below.is_file() else labels / f"{path.stem}.txt"


def _is_chosen(path: Path, row: dict[str, str], chosen: Chosen) -> bool:
    named = not chosen.prefixes or path.name.startswith(chosen.prefixes)
    return named and (not chosen.tiers or row.get("tier", "") in chosen.tiers)


def read_sources(images: Path) -> dict[str, dict[str, str]]:
    """Rows of `sources.csv` by file; empty if there is none. UserError if it is not such a table."""
    path = next((p for p in (images.parent / SOURCES, images / SOURCES) if p.is_file()), None)
    return {} if path is None else {row["file"]: row for _line, row in read_table(path)}


def read_table(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with a column `file`, each with its line. Raises UserError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as table:
            reader = csv.DictReader(table)
            rows = [(reader.line_num, {k: v or "" for k, v in row.items() if k}) for row in reader]
    except (OSError, UnicodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as CSV: {error}") from error
    if "file" not in (reader.fieldnames or ()):
        raise UserError(f"{path}: no column `file`; its columns are {', '.join(reader.fieldnames or ())}")
    return rows


def unlabelled_by(row: dict[str, str], classes: Sequence[str]) -> frozenset[str]:
    return frozenset(label for label in classes if row.get(f"{label}_labelled", "1") == "0")


# ---------------------------------------------------------------- looking


def look_through(detector: OnnxDetector, found: Sequence[Entry], done: Done = idle) -> Looked:
    """Labels are read before the first picture, so that a mistake in them is told at once. Raises UserError."""
    looked, classes = Looked(), detector.card.classes
    tables = [read_label(entry.label, len(classes)) for entry in found]
    for entry, (kinds, parts) in zip(found, tables, strict=True):
        try:
            image = decode(entry.path.read_bytes())
        except InvalidMessage as refusal:
            looked.unreadable.append((entry.path.name, str(refusal)))
        except OSError as error:
            looked.unreadable.append((entry.path.name, error.strerror or "cannot be read"))
        else:
            begun = time.perf_counter()
            (seen,) = detector.detect([image])
            looked.took.append((time.perf_counter() - begun) * 1000)
            high, wide = image.shape[:2]
            boxes = np.asarray(parts * np.array([wide, high, wide, high], np.float32), np.float32)
            names = tuple(classes[kind] for kind in kinds)
            looked.judged.append(
                Judged(entry.path.stem, boxes, names, seen, entry.unlabelled, float(max(wide, high)))
            )
        done(1)
    return looked


def read_label(path: Path, classes: int) -> tuple[list[int], Float32s]:
    """(classes, boxes [n,4] as corners in parts of one) of a YOLO label. UserError names file and line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise UserError(f"label {path} cannot be read: {error}") from error
    rows = [_label_row(f"{path}:{n}", line, classes) for n, line in enumerate(lines, 1) if line.strip()]
    table = np.array(rows, np.float32).reshape(-1, 5)
    half = table[:, 3:5] / 2
    corners = np.concatenate([table[:, 1:3] - half, table[:, 1:3] + half], 1)
    return table[:, 0].astype(int).tolist(), np.asarray(corners, np.float32)


def _label_row(where: str, line: str, classes: int) -> list[float]:
    try:
        row = [float(word) for word in line.split()]
    except ValueError as error:
        raise UserError(f"{where}: {error}; a line is class, centre x, centre y, width, height") from error
    if len(row) != 5:
        raise UserError(f"{where}: {len(row)} numbers; a line is class, centre x, centre y, width, height")
    if row[0] not in range(classes):
        raise UserError(f"{where}: class {row[0]:g}; the model's card has classes 0 to {classes - 1}")
    if not all(math.isfinite(v) and 0 <= v <= 1 + OVER for v in row[1:]):
        raise UserError(f"{where}: centre, width and height are parts of the picture, 0 to 1")
    return row
