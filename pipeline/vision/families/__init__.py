"""Model families: how raw tensors become boxes and scores. A row of `FAMILIES` each; the card's `family` picks.

pairs      boxes and scores by class, row for row: points, yolo-nas, rf-detr, detr, ssd
dense      one tensor, a row a cell: yolov5, yolov8, yolox, rt-detr-scores
final      chosen in the graph: yolov10, rt-detr, yolo-nas-flat, yolov7-end2end, end2end, mmdet, d-fine,
           torchvision, ssd-tf
classify   the picture as a whole: classify-softmax, classify-sigmoid

Each module says where the layout was read. Decoders are pure: tensors and a `Plan` in, one `Raw` a picture out.
"""

from __future__ import annotations

from pipeline.ports import UserError
from pipeline.vision.families.base import Convention, Family, Feed, Plan, Raw, Tensors
from pipeline.vision.families.classify import CLASSIFY
from pipeline.vision.families.dense import DENSE
from pipeline.vision.families.final import FINAL
from pipeline.vision.families.pairs import PAIRS
from pipeline.vision.families.select import CANDIDATES, pairwise_iou, select, suppress

FAMILIES: dict[str, Family] = {**PAIRS, **DENSE, **FINAL, **CLASSIFY}


def family(name: str) -> Family:
    """Raises UserError for a family nobody has written a decoder for."""
    if name not in FAMILIES:
        raise UserError(f"model family {name!r} is not known; known are {', '.join(sorted(FAMILIES))}")
    return FAMILIES[name]


__all__ = [
    "CANDIDATES",
    "FAMILIES",
    "Convention",
    "Family",
    "Feed",
    "Plan",
    "Raw",
    "Tensors",
    "family",
    "pairwise_iou",
    "select",
    "suppress",
]
