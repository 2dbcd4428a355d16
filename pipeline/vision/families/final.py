"""Families whose graph has chosen its boxes already: one row, one score and one class a box.

yolov10           [b,n,6] x1, y1, x2, y2, score, class in pixels, filled up with rows of score 0; also an
                  Ultralytics export with `nms=True` (ultralytics, engine/exporter.py; `end2end` in its metadata)
rt-detr           [b,n,6] centre x, y, width, height in parts of the input, score, class; stretched: what
                  Ultralytics 8.4 exports for RT-DETR, of the same shape as yolov10 (its models/rtdetr/predict.py)
yolo-nas-flat     [n,7] picture, x1, y1, x2, y2, score, class (super-gradients, models_export.md, "flat format")
yolov7-end2end    [n,7] picture, x1, y1, x2, y2, class, score: the last two the other way round
                  (WongKinYiu/yolov7 issues 425 and 1419)
end2end           four tensors: how many [b,1], boxes [b,n,4] in pixels, scores [b,n], classes [b,n]; TensorRT's way
                  (super-gradients "batch format"; YOLOv7 `--include-nms`)
mmdet             `dets` [b,n,5] x1, y1, x2, y2, score and `labels` [b,n] (open-mmlab/mmdeploy, end2end)
d-fine            `labels` [b,n], `boxes` [b,n,4], `scores` [b,n] from `images` and `orig_target_sizes`: width
                  and height by which the graph multiplies boxes; we give the input's own size; RT-DETR and DEIM too
                  (Peterande/D-FINE, tools/deployment/export_onnx.py, src/zoo/dfine/postprocessor.py)
torchvision       `boxes` [n,4] in pixels, `scores` [n], `labels` [n], 0 for background (pytorch/vision)
ssd-tf            `num_detections` [b], `detection_boxes` [b,n,4] y1, x1, y2, x2 in parts of the picture,
                  `detection_scores`, `detection_classes` from 1; uint8, height x width x 3 (TensorFlow object
                  detection API)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.vision.families.base import Convention, Family, Feed, Plan, Raw, Tensors, corners, refuse, spread

STRETCHED = Feed("stretch")
AS_BYTES = Feed("stretch", std=(1.0, 1.0, 1.0))
Column = NDArray[Any]


def yolov10(tensors: Tensors, plan: Plan) -> list[Raw]:
    rows = tensors["output"]
    if rows.ndim != 3 or rows.shape[2] != 6:
        raise refuse("yolov10", "[b,n,6]", tensors)
    return [_rows(r[:, :4], r[:, 4], r[:, 5], plan) for r in rows]


def _rows(boxes: Column, scores: Column, kinds: Column, plan: Plan) -> Raw:
    """One picture's rows; those of score 0 or less are padding."""
    real = np.asarray(scores) > 0
    return spread(corners(boxes[real], plan), scores[real], kinds[real], plan)


def _flat(rows: Column, score: int, kind: int, plan: Plan) -> list[Raw]:
    """[n,7] → one `Raw` a picture; we feed one picture at a time, so there is at most one."""
    if rows.ndim != 2 or rows.shape[1] != 7:
        raise refuse("of rows with a picture's number", "[n,7]", {"output": rows})
    count = int(rows[:, 0].max()) + 1 if len(rows) else 1
    pictures = [rows[rows[:, 0] == n] for n in range(max(1, count))]
    return [_rows(r[:, 1:5], r[:, score], r[:, kind], plan) for r in pictures]


def yolo_nas_flat(tensors: Tensors, plan: Plan) -> list[Raw]:
    return _flat(tensors["output"], 5, 6, plan)


def yolov7_end2end(tensors: Tensors, plan: Plan) -> list[Raw]:
    return _flat(tensors["output"], 6, 5, plan)


def mmdet(tensors: Tensors, plan: Plan) -> list[Raw]:
    rows, kinds = tensors["boxes"], tensors["classes"]
    if rows.ndim != 3 or rows.shape[2] != 5 or kinds.shape != rows.shape[:2]:
        raise refuse("mmdet", "boxes [b,n,5] and classes [b,n]", tensors)
    return [_rows(r[:, :4], r[:, 4], k, plan) for r, k in zip(rows, kinds, strict=True)]


def lists(tensors: Tensors, plan: Plan) -> list[Raw]:
    """Boxes, scores and classes side by side, perhaps with how many of them count."""
    boxes, scores, kinds = (_batched(tensors[role], rank) for role, rank in LIST_RANKS.items())
    if boxes.ndim != 3 or boxes.shape[2] != 4 or not boxes.shape[:2] == scores.shape == kinds.shape:
        raise refuse("of lists", "boxes [b,n,4], scores [b,n], classes [b,n]", tensors)
    counts = tensors["count"].reshape(-1) if "count" in tensors else [boxes.shape[1]] * len(boxes)
    return [
        _rows(b[: int(n)], s[: int(n)], k[: int(n)], plan)
        for b, s, k, n in zip(boxes, scores, kinds, counts, strict=True)
    ]


LIST_RANKS = {"boxes": 3, "scores": 2, "classes": 2}


def _batched(tensor: Column, rank: int) -> Column:
    """A batch of one where the graph leaves it out."""
    return tensor[None] if tensor.ndim == rank - 1 else tensor


LISTS = ("boxes", "scores", "classes")
FINAL = {
    "yolov10": Family(("output",), yolov10, suppressed=True),
    "rt-detr": Family(("output",), yolov10, Convention("cxcywh", "unit"), STRETCHED, suppressed=True),
    "yolo-nas-flat": Family(("output",), yolo_nas_flat, suppressed=True),
    "yolov7-end2end": Family(("output",), yolov7_end2end, suppressed=True),
    "end2end": Family(("count", *LISTS), lists, suppressed=True),
    "mmdet": Family(("boxes", "classes"), mmdet, feed=STRETCHED, suppressed=True),
    "d-fine": Family(LISTS, lists, feed=STRETCHED, sizes=True, suppressed=True),
    "torchvision": Family(LISTS, lists, Convention(background="first"), STRETCHED, suppressed=True),
    "ssd-tf": Family(
        ("count", *LISTS), lists, Convention("yxyx", "unit", "none", "first"), AS_BYTES, suppressed=True
    ),
}
