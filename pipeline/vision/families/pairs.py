"""Families with a tensor of boxes and a tensor of scores by class, row for row.

points     boxes, scores in 0..1; no suppression in the graph (models/fire-smoke/train/export.py writes these)
yolo-nas   the same, from super-gradients without its post-processing: `pred_boxes` [b,n,4] corners in pixels,
           `pred_scores` [b,n,c]; RGB in 0..1, or uint8 with the division in the graph; padding all around
           (Deci-AI/super-gradients, documentation/source/models_export.md and conversion/onnx/nms.py)
rf-detr    `dets` [b,q,4] centre, width and height in parts of the input, `labels` [b,q,c+1] logits; sigmoid, no
           suppression; ImageNet mean and deviation, stretched to a square. Which column is "nothing" depends on
           training: the last for contiguous classes, none for the COCO weights, the first for old ones
           (roboflow/rf-detr, rfdetr/deploy/export.py; its pull requests 1251 and 1397)
detr       `pred_boxes`, `pred_logits` with softmax and "nothing" as the last column (facebookresearch/detr,
           models/detr.py; its issue 164)
ssd        boxes in parts of the input and scores over classes with the background first, softmax in the graph
           (OpenVINO model zoo, ssd exports; amdegroot/ssd.pytorch)
"""

from __future__ import annotations

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

IMAGENET = Feed("stretch", "RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


def pairs(tensors: Tensors, plan: Plan) -> list[Raw]:
    boxes, scores = tensors["boxes"], tensors["scores"]
    if boxes.ndim != 3 or scores.ndim != 3 or boxes.shape[2] != 4 or boxes.shape[:2] != scores.shape[:2]:
        raise refuse("of boxes and scores", "boxes [b,n,4], scores [b,n,c]", tensors)
    return [Raw(b, s) for b, s in zip(corners(boxes, plan), probabilities(scores, plan), strict=True)]


PAIRS = {
    "points": Family(("boxes", "scores"), pairs),
    "yolo-nas": Family(("boxes", "scores"), pairs),
    "rf-detr": Family(
        ("boxes", "scores"), pairs, Convention("cxcywh", "unit", "sigmoid", "last"), IMAGENET, suppressed=True
    ),
    "detr": Family(
        ("boxes", "scores"), pairs, Convention("cxcywh", "unit", "softmax", "last"), IMAGENET, suppressed=True
    ),
    "ssd": Family(
        ("boxes", "scores"),
        pairs,
        Convention("xyxy", "unit", "none", "first"),
        Feed("stretch", "RGB", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
    ),
}
