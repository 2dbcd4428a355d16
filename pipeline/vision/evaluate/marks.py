"""`clips.csv`: what is to be seen in each clip of a folder, and from when.

file               name of the clip in the folder
label              classes joined by `+`; `none` or empty: nothing burns in it
first_visible_s    seconds of the clip's own time (as a player shows it) from which a person sees it; `~1.0 (edge)`
                   is read as 1.0; empty with a label: from the beginning
first_CLASS_s      the same for one class, where they differ
frame_s            for time lapse: seconds of event time from one frame to the next; if empty, a `note` that says
                   "1 frame = about 1 minute" (or "= 10 seconds", "= 1 hour") is taken
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.ports import UserError
from pipeline.vision.evaluate.folder import read_table

FILE = "clips.csv"
NUMBER = re.compile(r"\s*~?\s*(\d+(?:\.\d+)?)")
LAPSE = re.compile(r"1 frame = (?:about )?(\d+(?:\.\d+)?)? ?(second|minute|hour)")
SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0}


@dataclass(frozen=True, slots=True)
class Mark:
    """What a person saw in a clip. `visible`: seconds of the clip's own time by class; none: it is calm."""

    visible: Mapping[str, float] = field(default_factory=dict)
    frame_s: float | None = None


def read_marks(folder: Path, classes: Sequence[str]) -> dict[str, Mark] | None:
    """By file; None when the folder has no `clips.csv`. UserError names file and line of what is not understood."""
    path = folder / FILE
    if not path.is_file():
        return None
    return {row["file"]: _mark(f"{path}:{line}", row, classes) for line, row in read_table(path)}


def _mark(where: str, row: dict[str, str], classes: Sequence[str]) -> Mark:
    labels = [word.strip() for word in row.get("label", "").split("+") if word.strip() not in ("", "none")]
    strange = [label for label in labels if label not in classes]
    if strange:
        raise UserError(f"{where}: label {strange[0]!r}; the model's classes are {', '.join(classes)}, or none")
    first = _seconds(where, "first_visible_s", row)
    own = {label: _seconds(where, f"first_{label}_s", row) for label in labels}
    visible = {label: time if time is not None else first or 0.0 for label, time in own.items()}
    return Mark(visible, _frame_s(where, row))


def _seconds(where: str, column: str, row: dict[str, str]) -> float | None:
    text = row.get(column, "").strip()
    found = NUMBER.match(text)
    if text and not found:
        raise UserError(f"{where}: {column} is {text!r}, must begin with seconds, like 1.5 or ~1")
    return float(found[1]) if found else None


def _frame_s(where: str, row: dict[str, str]) -> float | None:
    given, told = _seconds(where, "frame_s", row), LAPSE.search(row.get("note", ""))
    if given == 0:
        raise UserError(f"{where}: frame_s is 0, must be seconds from one frame to the next")
    return given if given or not told else float(told[1] or 1) * SECONDS[told[2]]
