"""A real ONNX model in a few hundred bytes, written by hand: fixed boxes, and scores times the picture's mean.

    images [1,3,h,w] ─► mean over all (one number m) ─► scores = m · given scores
    boxes = given boxes

Field numbers are those of onnx.proto. The `onnx` package is for training only, so tests do without it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FLOAT = 1

CARD = """\
name = "tiny"
version = "1"
file = "model.onnx"
sha256 = "{sha256}"
family = "points"
licence = "Apache-2.0"
description = "made by a test"
classes = ["smoke", "fire"]
nms_iou = 0.5

[input]
tensor = "images"
width = {width}
height = {height}
colour = "RGB"
mean = [0.0, 0.0, 0.0]
std = [255.0, 255.0, 255.0]
letterbox = [114, 114, 114]

[thresholds]
smoke = 0.3
fire = 0.4

[training]
commands = []
date = "2026-01-01"
pictures = 0
held_out = []
notes = []
"""


def write_model(
    folder: Path, boxes: NDArray[np.float32], scores: NDArray[np.float32], *, width: int = 64, height: int = 64
) -> Path:
    """`model.onnx` and its card in `folder`: boxes [n,4] in input pixels, scores [n,2] for an all-white picture."""
    folder.mkdir(parents=True, exist_ok=True)
    data = model(boxes, scores, width, height)
    (folder / "model.onnx").write_bytes(data)
    card = CARD.format(sha256=hashlib.sha256(data).hexdigest(), width=width, height=height)
    (folder / "model.toml").write_text(card, encoding="utf-8")
    return folder


def model(boxes: NDArray[np.float32], scores: NDArray[np.float32], width: int, height: int) -> bytes:
    n = len(boxes)
    graph = b"".join(
        [
            _part(1, _node("ReduceMean", ["images"], "mean", keepdims=0)),
            _part(1, _node("Mul", ["given_scores", "mean"], "scores")),
            _part(1, _node("Identity", ["given_boxes"], "boxes")),
            _part(2, b"tiny"),
            _part(5, _tensor("given_boxes", boxes[None])),
            _part(5, _tensor("given_scores", scores[None])),
            _part(11, _value("images", (1, 3, height, width))),
            _part(12, _value("boxes", (1, n, 4))),
            _part(12, _value("scores", (1, n, 2))),
        ]
    )
    return _number(1, 8) + _part(7, graph) + _part(8, _part(1, b"") + _number(2, 13))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _part(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def _node(kind: str, inputs: list[str], output: str, **numbers: int) -> bytes:
    named = b"".join(_part(1, name.encode()) for name in inputs) + _part(2, output.encode())
    integer = 2  # AttributeProto.AttributeType.INT
    attributes = [_part(1, k.encode()) + _number(3, v) + _number(20, integer) for k, v in numbers.items()]
    return named + _part(4, kind.encode()) + b"".join(_part(5, a) for a in attributes)


def _tensor(name: str, values: NDArray[np.float32]) -> bytes:
    dims = b"".join(_number(1, d) for d in values.shape)
    return dims + _number(2, FLOAT) + _part(8, name.encode()) + _part(9, values.astype("<f4").tobytes())


def _value(name: str, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(_part(1, _number(1, d)) for d in shape)
    return _part(1, name.encode()) + _part(2, _part(1, _number(1, FLOAT) + _part(2, dims)))
