"""What every family's decoder works with: the plan of a model, the tensors it gave, and the few conversions that
exports differ by (corners or centres, pixels or parts of one, logits or probabilities, a background column).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.message import Float32s, Ints
from pipeline.ports import UserError

Tensors = Mapping[str, NDArray[Any]]
"""Output tensors by role (`boxes`, `scores`, ...), batch first; whatever their names in the graph."""

BOXES = ("xyxy", "yxyx", "cxcywh")
UNITS = ("pixels", "unit")
ACTIVATIONS = ("none", "sigmoid", "softmax")
BACKGROUNDS = ("none", "first", "last")


@dataclass(frozen=True, slots=True, eq=False)
class Raw:
    """One picture's answer: boxes [n,4] x1, y1, x2, y2 in input pixels, scores [n,classes]."""

    boxes: Float32s
    scores: Float32s


@dataclass(frozen=True, slots=True)
class Convention:
    """How tensors are meant where exports of one family differ.

    `boxes`: order of the four numbers. `unit`: pixels of the model's input, or parts of it in 0..1. `activation`:
    what turns scores into probabilities. `background`: which class column (or number) means "nothing".
    """

    boxes: str = "xyxy"
    unit: str = "pixels"
    activation: str = "none"
    background: str = "none"


@dataclass(frozen=True, slots=True)
class Plan:
    """Width and height of the model's input in pixels, how many classes it names, and its convention."""

    width: int
    height: int
    classes: int
    convention: Convention = Convention()


@dataclass(frozen=True, slots=True)
class Feed:
    """How a family's exports want their pictures when nothing else is known; pixels are 0..255 before this.

    `fit`: `centre` and `top-left` keep proportions and fill the rest, `stretch` does not.
    """

    fit: str = "centre"
    colour: str = "RGB"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (255.0, 255.0, 255.0)


@dataclass(frozen=True, slots=True)
class Family:
    """A row of `FAMILIES`. `outputs` are the roles of the tensors wanted, and their names where a card gives none;
    `decode` turns them into one `Raw` a picture; `sizes`: the graph has a second input [b,2] width, height;
    `suppressed`: overlapping boxes have been taken out already, or never come.
    """

    outputs: tuple[str, ...]
    decode: Callable[[Tensors, Plan], list[Raw]]
    convention: Convention = Convention()
    feed: Feed = Feed()
    sizes: bool = False
    suppressed: bool = False


def refuse(family: str, wants: str, tensors: Tensors) -> UserError:
    """The error for tensors of other shapes than a family has."""
    got = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
    return UserError(f"family {family} wants {wants}; the model gives {got}: set another family")


def corners(boxes: NDArray[Any], plan: Plan) -> Float32s:
    """[...,4] in the plan's convention → x1, y1, x2, y2 in pixels of the input."""
    found = np.asarray(boxes, np.float32)
    if plan.convention.boxes == "yxyx":
        found = found[..., [1, 0, 3, 2]]
    elif plan.convention.boxes == "cxcywh":
        half = found[..., 2:] / 2
        found = np.concatenate([found[..., :2] - half, found[..., :2] + half], -1)
    if plan.convention.unit == "unit":
        found = found * np.array([plan.width, plan.height] * 2, np.float32)
    return np.asarray(found, np.float32)


def probabilities(scores: NDArray[Any], plan: Plan) -> Float32s:
    """[...,columns] → [...,classes]: the plan's activation, then the background column left out."""
    found = np.asarray(scores, np.float32)
    if plan.convention.activation == "sigmoid":
        found = np.asarray(1 / (1 + np.exp(-np.clip(found, -80, 80))), np.float32)
    elif plan.convention.activation == "softmax":
        powers = np.exp(found - found.max(-1, keepdims=True, initial=-np.inf))
        found = powers / powers.sum(-1, keepdims=True)
    keep = {"none": slice(None), "first": slice(1, None), "last": slice(None, -1)}[plan.convention.background]
    found = found[..., keep]
    if found.shape[-1] != plan.classes:
        raise UserError(
            f"the model scores {found.shape[-1]} classes (background: {plan.convention.background}), "
            f"its card names {plan.classes}: correct classes or output.background"
        )
    return np.asarray(found, np.float32)


def spread(boxes: Float32s, scores: NDArray[Any], kinds: NDArray[Any], plan: Plan) -> Raw:
    """One score and one class number a box → scores [n,classes]. Rows of a negative class are padding; those of a
    class that the card does not name are left out: a worker that ends over one would be blind."""
    numbers: Ints = np.asarray(kinds, np.int64) - (plan.convention.background == "first")
    real = (numbers >= 0) & (np.asarray(kinds) >= 0)
    boxes, scores, numbers = boxes[real], np.asarray(scores, np.float32)[real], numbers[real]
    named = numbers < plan.classes
    boxes, scores, numbers = boxes[named], scores[named], numbers[named]
    table = np.zeros((len(numbers), plan.classes), np.float32)
    table[np.arange(len(numbers)), numbers] = scores
    return Raw(boxes, table)
