"""What an ONNX graph says of itself: its inputs, its outputs, its notes; and what it gives when it is tried."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]
from numpy.typing import NDArray

from pipeline.ports import UserError
from pipeline.vision.session import REFUSALS, refusal

DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
}
CHANNELS = 3


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output; a dimension that is not fixed is None."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    def __str__(self) -> str:
        dims = ",".join("?" if d is None else str(d) for d in self.shape)
        return f"{self.name} {self.dtype}[{dims}]"


@dataclass(frozen=True, slots=True)
class Graph:
    """Ports in the graph's order, and the custom metadata as it stands there."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    metadata: Mapping[str, str]

    def note(self, key: str) -> Any:
        """A metadata value; those written as Python literals (Ultralytics does so) are read, others are text."""
        text = self.metadata.get(key, "")
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return text

    def names(self) -> list[str]:
        """Class names from the metadata: a list, or a dictionary by number; empty if there are none."""
        found = self.note("names")
        if isinstance(found, dict) and all(isinstance(k, int) for k in found):
            return [str(found[k]) for k in sorted(found)]
        return [str(name) for name in found] if isinstance(found, list) else []


@dataclass(frozen=True, slots=True)
class Picture:
    """The input for the picture, as a card has it."""

    tensor: str
    sizes: str
    layout: str
    dtype: str
    width: int
    height: int


def read_graph(session: ort.InferenceSession) -> Graph:
    found = session.get_modelmeta().custom_metadata_map
    return Graph(_ports(session.get_inputs()), _ports(session.get_outputs()), dict(found))


def _ports(found: Any) -> tuple[Port, ...]:
    return tuple(
        Port(
            p.name, tuple(d if isinstance(d, int) and d > 0 else None for d in p.shape), DTYPES.get(p.type, p.type)
        )
        for p in found
    )


def picture_input(graph: Graph, given: Mapping[str, Any]) -> Picture:
    """Which input takes the picture, and how; `given` are keys of the card's [input] that a person has set.

    Raises UserError naming the key to set for what the graph does not say.
    """
    port, sizes = _ports_of_picture(graph, given)
    if port.dtype not in ("float32", "float16", "uint8", "int8"):
        raise UserError(f"input {port}: its type is not one for pictures; export with float32 input")
    layout = str(given.get("layout") or _layout(port))
    order = {"nchw": (0, 2, 3), "nhwc": (0, 1, 2), "chw": (None, 1, 2)}.get(layout)
    if order is None or len(port.shape) != len(layout):
        raise UserError(f'input {port} is not {layout}: --set input.layout="nchw" or "nhwc"')
    batch = 1 if order[0] is None else port.shape[order[0]]
    if batch not in (1, None):
        raise UserError(
            f"input {port} takes {batch} pictures at once; export it with a batch of 1, or a dynamic one"
        )
    height, width = (_side(graph, port, given, name, order[i]) for i, name in ((1, "height"), (2, "width")))
    return Picture(port.name, sizes, layout, port.dtype, width, height)


def _ports_of_picture(graph: Graph, given: Mapping[str, Any]) -> tuple[Port, str]:
    """(the picture's input, the name of the input of sizes or nothing)."""
    sizes = [p for p in graph.inputs if len(p.shape) == 2 and p.shape[1] in (2, None)]
    rest = [p for p in graph.inputs if p not in sizes]
    named = [p for p in rest if p.name == given.get("tensor", p.name)]
    if len(named) != 1 or len(rest) != 1 or len(sizes) > 1 or len(named[0].shape) not in (3, 4):
        ports = ", ".join(map(str, graph.inputs))
        raise UserError(f"inputs {ports}: wanted is one of rank 4 for the picture, perhaps one [b,2] of sizes")
    return named[0], sizes[0].name if sizes else ""


def _layout(port: Port) -> str:
    if len(port.shape) == CHANNELS:
        return "chw"
    first, last = port.shape[1] == CHANNELS, port.shape[3] == CHANNELS
    if first == last:
        raise UserError(f'input {port}: which dimension has the 3 colours? --set input.layout="nchw" or "nhwc"')
    return "nchw" if first else "nhwc"


def _side(graph: Graph, port: Port, given: Mapping[str, Any], name: str, index: int | None) -> int:
    """Width or height: as set, as fixed in the graph, as in the metadata."""
    fixed = port.shape[index] if index is not None else None
    noted = graph.note("imgsz")
    pair = noted if isinstance(noted, list) and len(noted) == 2 else [None, None]
    side = given.get(name) or fixed or pair[name == "width"]
    if not isinstance(side, int):
        raise UserError(f"input {port} leaves its {name} open: --set input.{name}=640 (or what it was trained at)")
    return side


def tried(session: ort.InferenceSession, graph: Graph, picture: Picture, file: str) -> dict[str, NDArray[Any]]:
    """Every output for one grey picture with some texture, by name. Raises UserError."""
    texture = np.random.default_rng(0).integers(90, 140, (1, 3, picture.height, picture.width))
    pixels = texture / 255 if picture.dtype.startswith("float") else texture
    feed: dict[str, NDArray[Any]] = {picture.tensor: _laid(pixels, picture.layout).astype(picture.dtype)}
    for port in graph.inputs:
        if port.name == picture.sizes:
            feed[port.name] = np.array([[picture.width, picture.height]], port.dtype)
    try:
        outputs = session.run(None, feed)
    except REFUSALS as error:
        raise UserError(refusal(file, error)) from error
    return {port.name: np.asarray(value) for port, value in zip(graph.outputs, outputs, strict=True)}


def _laid(pixels: NDArray[Any], layout: str) -> NDArray[Any]:
    laid: dict[str, NDArray[Any]] = {"nchw": pixels, "nhwc": pixels.transpose(0, 2, 3, 1), "chw": pixels[0]}
    return laid[layout]
