"""Real ONNX models in a few hundred bytes, written by hand: fixed tensors, times one number from the picture.

    images ─► mean over all (one number m) ─► outputs in `scaled` = m · given values (white in 0..1 has m = 1)
    the others do not depend on the picture

Field numbers are those of onnx.proto. The `onnx` package is for training only, so tests do without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT, UINT8, INT8, INT64, FLOAT16 = 1, 2, 3, 7, 10
KINDS = {"float32": FLOAT, "uint8": UINT8, "int8": INT8, "int64": INT64, "float16": FLOAT16}
OPSET = 13

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

Dim = int | str


@dataclass(frozen=True)
class Entry:
    """The picture's input. A dimension that is a word is left open."""

    shape: Sequence[Dim] = (1, 3, 64, 64)
    dtype: str = "float32"
    name: str = "images"
    sizes: str = ""


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
    outputs = {"boxes": boxes[None], "scores": scores[None]}
    return graph(outputs, Entry((1, 3, height, width)), scaled=("scores",))


def graph(
    outputs: Mapping[str, NDArray[Any]],
    entry: Entry | None = None,
    *,
    scaled: Sequence[str] = (),
    notes: Mapping[str, str] | None = None,
    opset: int = OPSET,
) -> bytes:
    """A model that answers with `outputs`; those in `scaled` times the mean of what it was given."""
    entry = entry or Entry()
    parts = [
        _part(1, _node("Cast", [entry.name], "as_float", to=FLOAT)),
        _part(1, _node("ReduceMean", ["as_float"], "mean", keepdims=0)),
        _part(2, b"tiny"),
        _part(11, _value(entry.name, entry.shape, entry.dtype)),
    ]
    if entry.sizes:
        parts.append(_part(11, _value(entry.sizes, (1, 2), "int64")))
    for name, values in outputs.items():
        parts += _answer(name, values, scaled=name in scaled, by_size=bool(entry.sizes) and name == "boxes")
    told = b"".join(_part(14, _part(1, k.encode()) + _part(2, v.encode())) for k, v in (notes or {}).items())
    return _number(1, 8) + _part(7, b"".join(parts)) + _part(8, _part(1, b"") + _number(2, opset)) + told


def outside() -> bytes:
    """A graph whose one tensor lies in another file, which is not there."""
    away = b"".join(
        _part(13, _part(1, k) + _part(2, v)) for k, v in ((b"location", b"weights.bin"), (b"length", b"4"))
    )
    tensor = _number(1, 1) + _number(2, FLOAT) + _part(8, b"far") + away + _number(14, 1)
    parts = [
        _part(1, _node("Add", ["images", "far"], "output")),
        _part(2, b"tiny"),
        _part(5, tensor),
        _part(11, _value("images", (1, 3, 64, 64), "float32")),
        _part(12, _value("output", (1, 3, 64, 64), "float32")),
    ]
    return _number(1, 8) + _part(7, b"".join(parts)) + _part(8, _part(1, b"") + _number(2, OPSET))


def _answer(name: str, values: NDArray[Any], *, scaled: bool, by_size: bool) -> list[bytes]:
    """The nodes and tensors of one output. `by_size` multiplies boxes in 0..1 by the sizes given."""
    kind = "int64" if values.dtype.kind == "i" else "float32"
    if by_size:
        made = [
            _part(1, _node("Cast", ["orig_target_sizes"], "sizes", to=FLOAT)),
            _part(1, _node("Concat", ["sizes", "sizes"], "twice", axis=1)),
            _part(1, _node("Mul", [f"given_{name}", "twice"], name)),
        ]
    elif scaled:
        made = [_part(1, _node("Mul", [f"given_{name}", "mean"], name))]
    else:
        made = [_part(1, _node("Identity", [f"given_{name}"], name))]
    return [
        *made,
        _part(5, _tensor(f"given_{name}", values, kind)),
        _part(12, _value(name, values.shape, kind)),
    ]


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


def _tensor(name: str, values: NDArray[Any], kind: str) -> bytes:
    dims = b"".join(_number(1, d) for d in values.shape)
    raw = values.astype("<i8" if kind == "int64" else "<f4").tobytes()
    return dims + _number(2, KINDS[kind]) + _part(8, name.encode()) + _part(9, raw)


def _value(name: str, shape: Sequence[Dim], kind: str) -> bytes:
    dims = b"".join(_part(1, _part(2, d.encode()) if isinstance(d, str) else _number(1, d)) for d in shape)
    return _part(1, name.encode()) + _part(2, _part(1, _number(1, KINDS[kind]) + _part(2, dims)))


def write_card(folder: Path, *, family: str, fit: str, extra: str, tensors: list[str]) -> None:
    """A card for `model.onnx` in `folder`; `extra` are more lines of [input]."""
    data = (folder / "model.onnx").read_bytes()
    card = CARD.format(sha256=hashlib.sha256(data).hexdigest(), width=64, height=64)
    card = card.replace('family = "points"', f'family = "{family}"')
    card = card.replace("letterbox =", f'fit = "{fit}"\n{extra}\nletterbox =')
    folder.joinpath("model.toml").write_text(f"{card}\n[output]\ntensors = {tensors}\n", encoding="utf-8")
