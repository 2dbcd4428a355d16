"""Which point answers for which box, and what a wrong answer costs.

Assignment is task-aligned (TOOD, Feng et al. 2021): a point inside a box ranks by score · IoU^6, the best ten take
it, and the class target is how well they did, but never under a half for the best: a fire with a sloppy box is
still a fire. Classes are scored by quality focal loss (Li et al. 2020), boxes by generalised IoU (Rezatofighi et
al. 2019). The focal exponent is 1: with 2, calm pictures kept scores of 0.2 because nothing pushed them further
down. On top, the worst false points of each picture pay in full, since a picture cries wolf by its highest score.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

BEST = 10
IOU_POWER = 6.0
FOCAL_POWER = 1.0
LEAST_TARGET = 0.5
WORST = 16  # false points a picture and class
WORST_WEIGHT = 0.15
SMALLEST_HALF = 9.0  # px: a box is never so small that no point of stride 8 lies in it


class Assigned(NamedTuple):
    target: Tensor  # [n, classes] quality wanted of each point
    boxes: Tensor  # [n, 4] the box each point should answer with (rubbish where taken is False)
    taken: Tensor  # [n] bool


def pair_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU of each of [g,4] with each of [n,4] → [g,n]."""
    low = torch.maximum(first[:, None, :2], second[None, :, :2])
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    inter = (high - low).clamp(min=0).prod(-1)
    area = [(b[:, 2:] - b[:, :2]).clamp(min=0).prod(-1) for b in (first, second)]
    return inter / (area[0][:, None] + area[1][None] - inter + 1e-6)


def giou(first: Tensor, second: Tensor) -> Tensor:
    """Generalised IoU, row by row, of [k,4] and [k,4]."""
    low, high = torch.maximum(first[:, :2], second[:, :2]), torch.minimum(first[:, 2:], second[:, 2:])
    inter = (high - low).clamp(min=0).prod(-1)
    union = sum((b[:, 2:] - b[:, :2]).clamp(min=0).prod(-1) for b in (first, second)) - inter + 1e-6
    hull_low, hull_high = torch.minimum(first[:, :2], second[:, :2]), torch.maximum(first[:, 2:], second[:, 2:])
    hull = (hull_high - hull_low).clamp(min=0).prod(-1) + 1e-6
    return inter / union - (hull - union) / hull


def inside(boxes: Tensor, centres: Tensor, least_half: float = 0.0) -> Tensor:
    """[g,4] boxes, [n,2] points → [g,n] bool; boxes narrower than `least_half` either way are widened to it."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = ((boxes[:, 2:] - boxes[:, :2]) / 2).clamp(min=least_half)
    return ((centres[None] - middle[:, None]).abs() < half[:, None]).all(-1)


@torch.no_grad()
def assign(scores: Tensor, boxes: Tensor, truth: Tensor, centres: Tensor) -> Assigned:
    """One picture: scores [n,c], boxes [n,4], truth [g,5] (class, corners)."""
    target = torch.zeros_like(scores)
    if not len(truth):
        return Assigned(target, boxes, torch.zeros(len(boxes), dtype=torch.bool))
    kind, corners = truth[:, 0].long(), truth[:, 1:]
    within = inside(corners, centres, SMALLEST_HALF)
    iou = pair_iou(corners, boxes)
    fit = (scores[:, kind].T * iou.pow(IOU_POWER) + 1e-9) * within
    chosen = torch.zeros_like(within)
    chosen.scatter_(1, fit.topk(BEST, 1).indices, True)
    chosen &= within
    owner = (iou * chosen + chosen * 1e-6).argmax(0)
    chosen &= torch.zeros_like(chosen).scatter_(0, owner[None], True)
    taken = chosen.any(0)
    quality = fit * chosen
    best = LEAST_TARGET + (1 - LEAST_TARGET) * (iou * chosen).amax(1, keepdim=True)
    quality = quality / quality.amax(1, keepdim=True).clamp(min=1e-12) * best
    target[taken, kind[owner[taken]]] = quality[owner[taken], taken.nonzero()[:, 0]]
    return Assigned(target, corners[owner], taken)


def detection_loss(
    raw: Tensor, boxes: Tensor, places: Tensor, *, truths: list[Tensor], ignored: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """(class loss, box loss) of a batch: raw [b,n,4+c], decoded boxes [b,n,4], places [n,2] the points' centres.

    `ignored` are boxes (class, corners) in which nobody said whether there is something of that class: points
    inside cost nothing for it.
    """
    logits, scores = raw[..., 4:], raw[..., 4:].detach().sigmoid()
    class_sum, box_sum, wanted = raw.new_zeros(()), raw.new_zeros(()), 0.0
    for i, truth in enumerate(truths):
        found = assign(scores[i], boxes[i].detach(), truth, places)
        care = _care(ignored[i], places, found)
        weight = (found.target - scores[i]).abs().pow(FOCAL_POWER) * care
        cost = nn.functional.binary_cross_entropy_with_logits(logits[i], found.target, reduction="none")
        class_sum = class_sum + (weight * cost).sum() + WORST_WEIGHT * _worst(cost, care, truth, places)
        value = found.target.sum(1)[found.taken]
        box_sum = box_sum + ((1 - giou(boxes[i][found.taken], found.boxes[found.taken])) * value).sum()
        wanted += float(value.sum())
    return class_sum / max(wanted, 1.0), box_sum / max(wanted, 1.0)


def _worst(cost: Tensor, care: Tensor, truth: Tensor, places: Tensor) -> Tensor:
    """Sum of what the costliest points outside every box of their class cost."""
    calm = care > 0
    for box in truth:
        calm[inside(box[None, 1:], places, SMALLEST_HALF)[0], int(box[0])] = False
    return (cost * calm).topk(WORST, 0).values.sum()


def _care(ignored: Tensor, places: Tensor, found: Assigned) -> Tensor:
    care = torch.ones_like(found.target)
    for box in ignored:
        care[inside(box[None, 1:], places)[0], int(box[0])] = 0.0
    care[found.target > 0] = 1.0
    return care
