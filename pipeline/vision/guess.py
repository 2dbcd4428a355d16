"""Which family an ONNX graph is of, told from the names, ranks, shapes and values of what it gives.

Where two families would fit, nothing is guessed: the refusal names the key to set. What decides:

    one [1,4+c,n]          yolov8             numbers before cells
    one [1,3 x cells,5+c]  yolov5             three anchors a cell; cells are those of strides 8, 16 and 32
    one [1,cells,k]        yolov8, yolox or decoded (as yolov5), by the number of classes and by the values
    one [1,n,6]            yolov10            n is no number of cells; rt-detr by its metadata
    one [n,7]              yolo-nas-flat or yolov7-end2end: only the names tell
    one [1,c]              classification, softmax or sigmoid by the values
    boxes and scores       points/yolo-nas, rf-detr, detr, ssd by names and values; [n,5] and labels: mmdet
    boxes, scores, classes d-fine (asks for sizes), torchvision (no batch); with a count: end2end, ssd-tf
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.ports import UserError
from pipeline.vision.families import FAMILIES, family
from pipeline.vision.families.dense import cells
from pipeline.vision.graph import Graph, Picture

Values = Mapping[str, NDArray[Any]]
NAMED = {
    "boxes": ("box", "dets"),
    "scores": ("score", "logit", "conf", "prob"),
    "classes": ("class", "label", "cls"),
    "count": ("num", "count"),
}
DETECTION = ("detect", "classify")


@dataclass(frozen=True, slots=True)
class Evidence:
    """All there is to go by: `values` are the outputs of one try, `classes` how many are named, 0 if unknown."""

    graph: Graph
    picture: Picture
    values: Values
    classes: int


@dataclass(frozen=True, slots=True)
class Guess:
    """A family, the tensors' names in the order of its roles, what of its convention differs, and why."""

    family: str
    tensors: list[str]
    because: str
    output: dict[str, str] = field(default_factory=dict)


def guess(seen: Evidence) -> Guess:
    """Raises UserError naming the key to set where more than one family fits, or none."""
    values = seen.values
    task = seen.graph.metadata.get("task", "detect")
    if task not in DETECTION:
        raise UserError(f"its metadata says task {task!r}: only detection and classification are read here")
    if all(v.ndim >= 4 for v in values.values()) and len(values) > 1:
        raise UserError(
            "its outputs are the bare heads of a YOLO, anchors unknown: export it with its detection layer"
        )
    if seen.picture.sizes:
        return _lists("d-fine", values, "it asks for sizes")
    several = {1: _single, 2: _two}.get(len(values), _many)
    return several(seen)


def as_said(name: str, values: Values) -> Guess:
    """The tensors of a family that a person has named, by their names, or in order where there is one way only."""
    roles = family(name).outputs
    if len(roles) == len(values) == 1:
        return Guess(name, list(values), "it was said so")
    if roles == ("boxes", "scores") and len(values) >= 2:
        boxes, scores = _boxes_and_scores(values)
        return Guess(name, [boxes, scores], "it was said so")
    return _lists(name, values, "it was said so")


# ---------------------------------------------------------------- one output


def _single(seen: Evidence) -> Guess:
    graph, picture = seen.graph, seen.picture
    ((name, value),) = seen.values.items()
    if value.ndim == 2:
        return _flat(graph, name, value)
    if value.ndim != 3:
        raise _unknown(seen.values)
    rows, wide = value.shape[1:]
    count = cells(picture.width, picture.height)
    if wide == 6 and (rows not in (count, 3 * count) or str(graph.note("end2end")) == "True"):
        return _chosen(graph, name, value)
    if wide == count or (wide > rows and rows != count and rows != 3 * count):
        return Guess("yolov8", [name], f"{rows - 4} classes before {wide} cells, no objectness")
    if rows == 3 * count:
        return Guess("yolov5", [name], f"{rows} rows: three anchors a cell, with objectness")
    return _rows(name, value, picture, seen.classes)


def _chosen(graph: Graph, name: str, value: NDArray[Any]) -> Guess:
    """[1,n,6]: corners in pixels, or RT-DETR's centres in parts of the input."""
    about = f"{graph.metadata.get('head', '')} {graph.metadata.get('description', '')}".lower()
    if "rtdetr" in about or "rt-detr" in about:
        return Guess("rt-detr", [name], "rows of 6 from RT-DETR, by its metadata")
    if value[..., 4].any() and _inside(value[..., :4]):
        raise ambiguous(
            ["rt-detr", "yolov10"],
            "rows of 6 with boxes in parts of the input (for yolov10 so: --set output.unit=unit)",
        )
    return Guess("yolov10", [name], f"{value.shape[1]} rows of 6")


def _inside(boxes: NDArray[Any]) -> bool:
    """Are these parts of the input, not pixels?"""
    return bool(np.abs(boxes).max(initial=0) <= 2)


def _rows(name: str, value: NDArray[Any], picture: Picture, classes: int) -> Guess:
    """[1,n,k] with one row a cell, or with cells nobody knows."""
    wide = value.shape[2]
    if classes and wide == 4 + classes and _inside(value[..., :4]):
        return Guess("rt-detr-scores", [name], "rows of 4 and classes, boxes in parts of the input")
    if classes and wide == 4 + classes:
        return Guess("yolov8", [name], f"rows of 4 and {classes} classes, no objectness")
    if not classes or wide != 5 + classes:
        raise ambiguous(["yolov5", "yolov8", "yolox"], f"rows of {wide}, {classes or 'unknown'} classes named")
    side = max(picture.width, picture.height)
    if value.shape[1] == cells(picture.width, picture.height) and np.abs(value[..., :2]).max() < side / 2:
        return Guess("yolox", [name], "one row a cell with objectness, its numbers are offsets, not pixels")
    return Guess("yolov5", [name], "rows with objectness, boxes in pixels")


def _flat(graph: Graph, name: str, value: NDArray[Any]) -> Guess:
    """[n,7] rows of boxes, or [1,c] classes."""
    if value.shape[1] == 7 and (value.shape[0] != 1 or graph.outputs[0].shape[0] is None):
        if "flat" in name:
            return Guess("yolo-nas-flat", [name], "rows of 7, called flat")
        raise ambiguous(["yolo-nas-flat", "yolov7-end2end", "classify-softmax"], "rows of 7")
    found = np.asarray(value, np.float64)
    if found.min() >= 0 and found.max() <= 1:
        kind = "softmax" if abs(found.sum() - 1) < 1e-2 else "sigmoid"
        return Guess(f"classify-{kind}", [name], f"{value.shape[1]} scores in 0..1", {"activation": "none"})
    raise ambiguous(["classify-softmax", "classify-sigmoid"], f"{value.shape[1]} scores that are not in 0..1")


# ---------------------------------------------------------------- several outputs


def _two(seen: Evidence) -> Guess:
    values = {n: v for n, v in seen.values.items() if v.ndim in (2, 3)}
    fives = [n for n, v in values.items() if v.ndim == 3 and v.shape[2] == 5]
    lists = [n for n, v in values.items() if v.ndim == 2]
    if fives and lists:
        return Guess("mmdet", [fives[0], lists[0]], "boxes with scores, and labels")
    boxes, scores = _boxes_and_scores(values)
    if not _inside(values[boxes]):
        return Guess("yolo-nas", [boxes, scores], "boxes in pixels, and scores by class")
    if "logit" in scores:
        return Guess("detr", [boxes, scores], "boxes in parts of the picture, logits by that name")
    if boxes == "dets":
        return Guess(
            "rf-detr",
            [boxes, scores],
            "dets in parts of the picture, labels as logits",
            _column(values, scores, seen.classes),
        )
    if _sums_to_one(values[scores]):
        return Guess("ssd", [boxes, scores], "boxes in parts of the picture, scores that sum to 1")
    raise ambiguous(["rf-detr", "detr", "ssd", "yolo-nas"], "boxes in parts of the picture, and scores by class")


def _column(values: Values, scores: str, classes: int) -> dict[str, str]:
    """RF-DETR's column for "nothing": there if there is one column more than there are classes."""
    return {"background": "none"} if classes == values[scores].shape[-1] else {}


def _sums_to_one(scores: NDArray[Any]) -> bool:
    return bool(scores.size and scores.min() >= 0 and np.allclose(scores.sum(-1), 1, atol=1e-2))


def _boxes_and_scores(values: Values) -> tuple[str, str]:
    """Of tensors [b,n,k]: the one with 4 numbers a row; where both have 4, by name."""
    threes = [n for n, v in values.items() if v.ndim == 3]
    fours = [n for n in threes if values[n].shape[2] == 4]
    if len(fours) > 1:
        fours = [n for n in fours if any(word in n.lower() for word in NAMED["boxes"])]
    rest = [n for n in threes if n not in fours]
    if len(fours) != 1 or len(rest) != 1:
        raise _unknown(values)
    return fours[0], rest[0]


def _many(seen: Evidence) -> Guess:
    values = seen.values
    names = {n.lower() for n in values}
    if len(values) == 3 and {"dets", "labels"} <= names:
        return _two(seen)  # what else comes is masks
    if any("num" in n for n in names):
        kind = "ssd-tf" if "detection_boxes" in names else "end2end"
        return _lists(kind, values, "a count, boxes, scores and classes")
    boxes = [v for n, v in values.items() if v.shape[-1:] == (4,)]
    if len(values) == 3 and boxes and boxes[0].ndim == 2:
        return _lists("torchvision", values, "boxes, labels and scores without a batch")
    raise ambiguous(["end2end", "d-fine", "torchvision", "ssd-tf"], f"outputs {', '.join(values)}")


def _lists(name: str, values: Values, because: str) -> Guess:
    """Each role's tensor by its name: `det_boxes`, `num_dets`, `detection_classes` and the like."""
    found = []
    for role in family(name).outputs:
        fitting = [n for n in values if any(word in n.lower() for word in NAMED.get(role, ())) and n not in found]
        exact = [n for n in fitting if n.lower() in (role, f"detection_{role}", f"det_{role}", f"pred_{role}")]
        fitting = exact or fitting
        if len(fitting) != 1:
            wanted = ", ".join(family(name).outputs)
            raise UserError(
                f"family {name} wants {wanted}; which of {', '.join(values)} is {role}? "
                f'--set output.tensors=["...", ...] in that order'
            )
        found.append(fitting[0])
    return Guess(name, found, because)


# ---------------------------------------------------------------- refusals


def ambiguous(families: Sequence[str], what: str) -> UserError:
    wanted = " or ".join(f'"{name}"' for name in families)
    return UserError(f"{what}: the family could be {wanted}; say which: --set family={families[0]}")


def _unknown(values: Values) -> UserError:
    told = ", ".join(f"{name} {list(value.shape)}" for name, value in values.items())
    return UserError(
        f"outputs {told} are of no layout known here; --set family= one of {', '.join(sorted(FAMILIES))}"
    )
