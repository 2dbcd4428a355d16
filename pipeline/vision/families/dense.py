"""Families with one tensor of a row a cell: a box and what it may be. Suppression is ours to do.

yolov5    [b,n,5+c] centre x, y, width, height in input pixels, objectness, class scores, both after their sigmoid;
          YOLOv7 without `--end2end` and YOLOv6 write the same (ultralytics/yolov5 issue 3387)
yolov8    [b,4+c,n] the same without objectness, numbers before cells; v9 and 11 too. Exports through TensorFlow
          come as [b,n,4+c] (ultralytics/ultralytics issues 221, 284 and 751)
rt-detr-scores   [b,q,4+c] in parts of the input, scores after their sigmoid, no suppression needed; stretched: what
          Ultralytics wrote for RT-DETR before it chose rows in the graph (its models/rtdetr/predict.py)
yolox     [b,n,5+c] of cells: x and y as offsets from the cell and width and height as logarithms, both in units of
          the cell, at strides 8, 16 and 32; BGR, 0..255, drawn at the top left (Megvii-BaseDetection/YOLOX,
          yolox/utils/demo_utils.py, yolox/data/data_augment.py)
"""

from __future__ import annotations

import numpy as np

from pipeline.message import Float32s
from pipeline.vision.families.base import (
    Convention,
    Family,
    Feed,
    Plan,
    Raw,
    Tensors,
    corners,
    probabilities,
    refuse,
)

STRIDES = (8, 16, 32)
CENTRES = Convention("cxcywh")


def cells(width: int, height: int) -> int:
    """How many cells the three grids of an input have: 8400 for 640 x 640."""
    return sum((width // stride) * (height // stride) for stride in STRIDES)


def _objectness(rows: Float32s, plan: Plan) -> list[Raw]:
    """[b,n,5+c] with boxes in place."""
    scores = rows[..., 4:5] * probabilities(rows[..., 5:], plan)
    return [Raw(b, s) for b, s in zip(corners(rows[..., :4], plan), scores, strict=True)]


def yolov5(tensors: Tensors, plan: Plan) -> list[Raw]:
    rows = tensors["output"]
    if rows.ndim != 3 or rows.shape[2] != 5 + plan.classes:
        raise refuse("yolov5", f"[b,n,{5 + plan.classes}] for {plan.classes} classes", tensors)
    return _objectness(rows.astype(np.float32), plan)


def yolov8(tensors: Tensors, plan: Plan) -> list[Raw]:
    rows, wide = tensors["output"], 4 + plan.classes
    if rows.ndim != 3 or wide not in rows.shape[1:]:
        raise refuse("yolov8", f"[b,{wide},n] for {plan.classes} classes", tensors)
    if rows.shape[1] == wide:
        rows = rows.transpose(0, 2, 1)
    return [Raw(corners(r[:, :4], plan), probabilities(r[:, 4:], plan)) for r in rows]


def yolox(tensors: Tensors, plan: Plan) -> list[Raw]:
    rows, count = tensors["output"], cells(plan.width, plan.height)
    if rows.ndim != 3 or rows.shape[1:] != (count, 5 + plan.classes):
        raise refuse("yolox", f"[b,{count},{5 + plan.classes}] for {plan.classes} classes", tensors)
    grid, stride = _grid(plan.width, plan.height)
    found = rows.astype(np.float32)
    with np.errstate(over="ignore"):  # a size that is not finite is dropped by `select`
        sizes = np.exp(found[..., 2:4]) * stride
    middles = (found[..., :2] + grid) * stride
    return _objectness(np.concatenate([middles, sizes, found[..., 4:]], -1), plan)


def _grid(width: int, height: int) -> tuple[Float32s, Float32s]:
    """(column and row [n,2], stride [n,1]) of each cell, the finest grid first, row by row."""
    places, strides = [], []
    for stride in STRIDES:
        down, across = np.mgrid[: height // stride, : width // stride]
        places.append(np.stack([across.ravel(), down.ravel()], 1))
        strides.append(np.full((places[-1].shape[0], 1), stride))
    return np.concatenate(places).astype(np.float32), np.concatenate(strides).astype(np.float32)


DENSE = {
    "yolov5": Family(("output",), yolov5, CENTRES),
    "yolov8": Family(("output",), yolov8, CENTRES),
    "rt-detr-scores": Family(("output",), yolov8, Convention("cxcywh", "unit"), Feed("stretch"), suppressed=True),
    "yolox": Family(("output",), yolox, CENTRES, Feed("top-left", "BGR", std=(1.0, 1.0, 1.0))),
}
