"""A model's card: `model.toml` beside the ONNX file. It says what the model is, how it wants its input, what its
scores mean, what it was trained on and how good it was found to be. Nothing about a model stands in code.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from pipeline.ports import UserError
from pipeline.vision.families.base import ACTIVATIONS, BACKGROUNDS, BOXES, UNITS

CARD_FILE = "model.toml"
COLOURS, LAYOUTS = ("RGB", "BGR"), ("nchw", "nhwc", "chw")
FITS = ("centre", "top-left", "stretch")
DTYPES = ("float32", "float16", "uint8", "int8")
MAX_SIDE = 8192


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the card: a key that is not known is an error."""


class Input(Section, frozen=True):
    """`(pixel - mean) / std` per channel in `colour` order; `letterbox` (in RGB) fills what is left.

    `fit`: `centre` or `top-left` with proportions kept, or `stretch`. `layout`: `nchw`, `nhwc`, or `chw` without a
    batch. `dtype`: what the graph takes; whole numbers are rounded. `sizes`: a second input [1,2] of width and
    height, if the graph has one.
    """

    tensor: str
    width: int
    height: int
    colour: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    letterbox: tuple[int, int, int]
    fit: str = "centre"
    layout: str = "nchw"
    dtype: str = "float32"
    sizes: str = ""


class Output(Section, frozen=True):
    """What a family's tensors are called and how they are meant; what is empty is as the family has it.

    `tensors` are names in the order of the family's roles. See `families.base.Convention` for the others.
    """

    tensors: list[str] = []
    boxes: str = ""
    unit: str = ""
    activation: str = ""
    background: str = ""


class DataSource(Section, frozen=True):
    """Where training pictures came from, as their uploader states it."""

    source: str
    pictures: int
    use: str
    licence: str
    tier: str
    credit: list[str]


class Quality(Section, frozen=True):
    """Measured figures on one set of pictures or clips, and what that set is; `pictures` counts frames of clips.

    `intervals` are of 95 %, by the name of the figure; `method` says how they were come by.
    """

    split: str
    sources: list[str]
    pictures: int
    figures: dict[str, float]
    intervals: dict[str, tuple[float, float]] = {}
    method: str = ""


class ClipVerdict(Section, frozen=True):
    """What the rules said over one clip, by label: found, missed, false alarm, beside or quiet; delays in s."""

    clip: str
    verdicts: dict[str, str]
    seconds_to_detect: dict[str, float]
    frames: int


class Training(Section, frozen=True):
    """How these weights were made."""

    commands: list[str]
    date: str
    pictures: int
    held_out: list[str]
    notes: list[str]


class ModelCard(Section, frozen=True):
    """All of `model.toml`."""

    name: str
    version: str
    file: str
    sha256: str
    family: str
    licence: str
    description: str
    classes: list[str]
    input: Input
    thresholds: dict[str, float]
    nms_iou: float
    training: Training
    output: Output = Output()
    limits: list[str] = []
    data: list[DataSource] = []
    quality: list[Quality] = []
    clips: list[ClipVerdict] = []

    @property
    def title(self) -> str:
        """As it stands in evidence: name and the start of the hash."""
        return f"{self.name}@{self.sha256[:8]}"


def load_card(folder: Path) -> ModelCard:
    """Raises UserError: no card, not TOML, an unknown or missing key, thresholds that do not fit the classes."""
    path = folder / CARD_FILE
    try:
        card = msgspec.convert(msgspec.toml.decode(path.read_bytes()), ModelCard)
    except OSError as error:
        raise UserError(
            f"no model card at {path}: {error.strerror}; name a folder that holds {CARD_FILE}"
        ) from error
    except msgspec.DecodeError as error:
        raise UserError(f"{path}: {error}") from error
    check_card(str(path), card)
    return card


def check_card(path: str, card: ModelCard) -> None:
    """Raises UserError, beginning with `path`, for values that do not fit each other."""
    if set(card.thresholds) != set(card.classes):
        raise UserError(f"{path}: thresholds name {sorted(card.thresholds)}, classes are {sorted(card.classes)}")
    for key, value, known in _choices(card):
        if value not in known:
            wanted = " or ".join(f'"{word}"' for word in known)
            raise UserError(f"{path}: {key} is {value!r}, must be {wanted}")
    if not 1 <= card.input.width <= MAX_SIDE or not 1 <= card.input.height <= MAX_SIDE:
        raise UserError(f"{path}: input.width and input.height must be 1 to {MAX_SIDE} pixels")
    if 0 in card.input.std:
        raise UserError(f"{path}: input.std must not be 0")


def _choices(card: ModelCard) -> list[tuple[str, str, tuple[str, ...]]]:
    """(key, value, what it may be) of each key that is a choice; the output's may be left to the family."""
    given, meant = card.input, card.output
    return [
        ("input.colour", given.colour, COLOURS),
        ("input.fit", given.fit, FITS),
        ("input.layout", given.layout, LAYOUTS),
        ("input.dtype", given.dtype, DTYPES),
        ("output.boxes", meant.boxes or BOXES[0], BOXES),
        ("output.unit", meant.unit or UNITS[0], UNITS),
        ("output.activation", meant.activation or ACTIVATIONS[0], ACTIVATIONS),
        ("output.background", meant.background or BACKGROUNDS[0], BACKGROUNDS),
    ]


def load_weights(folder: Path, card: ModelCard) -> bytes:
    """The ONNX file, only if it is the one the card speaks of. Raises UserError."""
    path = folder / card.file
    try:
        weights = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"model file {path} cannot be read: {error.strerror}; the card {folder / CARD_FILE} names it"
        ) from error
    found = hashlib.sha256(weights).hexdigest()
    if found != card.sha256:
        raise UserError(
            f"model file {path} ({len(weights)} bytes) has sha256 {found[:12]}…, the card "
            f"says {card.sha256[:12]}…: cut or changed; fetch it again, or correct the card"
        )
    return weights


def as_mapping(card: ModelCard) -> dict[str, Any]:
    """The card as plain data, for JSON."""
    plain: dict[str, Any] = msgspec.to_builtins(card)
    return plain
