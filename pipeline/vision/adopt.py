"""A model of somebody else's becomes one of ours: its graph is read and tried, its card written, its bytes kept.

ONNX file ─► graph ─► guess (family) ─► card, with what a person has set laid over ─► tried ─► DIR/NAME/
"""

from __future__ import annotations

import datetime
import hashlib
import re
import shutil
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from pipeline.ports import UserError
from pipeline.vision.card import CARD_FILE, ModelCard, check_card
from pipeline.vision.detector import OnnxDetector
from pipeline.vision.families import family
from pipeline.vision.graph import Graph, Picture, picture_input, read_graph, tried
from pipeline.vision.guess import Evidence, Guess, as_said, guess
from pipeline.vision.session import CPU, open_session
from pipeline.vision.toml import write_toml

MODEL_FILE = "model.onnx"
THRESHOLD, SURE = 0.3, 0.5
"""Scores from which a detection counts, until somebody measures: dense heads, and those that choose."""

OVERLAP = 0.45
UNITY = (1.0, 1.0, 1.0)
IMAGENET_KEYS = ("mean", "std")


@dataclass(frozen=True)
class Wish:
    """What a person has said of a model. `keys` are the card's, dotted: `input.width`, `thresholds.fire`."""

    file: Path
    name: str = ""
    labels: list[str] = field(default_factory=list)
    keys: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Adopted:
    """The card, why its family was chosen, and what a person should look at."""

    card: ModelCard
    because: str
    doubts: list[str]


def parse_keys(words: Iterable[str]) -> dict[str, Any]:
    """`key=value` words; values as in TOML, and plain words as text. Raises UserError."""
    found: dict[str, Any] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or not key:
            raise UserError(f"--set {word}: wanted is key=value, e.g. input.width=640")
        try:
            found[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[key.strip()] = value
    return found


def read_labels(text: str) -> list[str]:
    """`a,b,c`, or a file with a class a line, perhaps with its number before it. Raises UserError."""
    path = Path(text)
    if not path.is_file():
        if "," not in text and (path.suffix or "/" in text):
            raise UserError(f"no labels file {text}: name one, or give the classes as a,b,c")
        return [name.strip() for name in text.split(",") if name.strip()]
    lines = [line.strip() for line in path.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    numbered = [re.fullmatch(r"(\d+)[\s:,]+(.+)", line) for line in lines]
    if not lines or not all(numbered):
        return lines
    byte_number = {int(m[1]): m[2] for m in numbered if m}
    return [byte_number.get(n, f"unknown {n}") for n in range(max(byte_number) + 1)]


def adopt(wish: Wish, into: Path) -> tuple[Path, Adopted]:
    """Write `into/NAME/` with card and weights, after the detector has been tried on them. Raises UserError."""
    weights = _read(wish.file)
    found = propose(wish, weights)
    target = into / found.card.name
    if target.exists():
        raise UserError(f"{target} is there already: take another --name, or remove it")
    try:
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=into, prefix=".adding-") as folder:
            made = Path(folder) / "model"
            made.mkdir()
            (made / MODEL_FILE).write_bytes(weights)
            (made / CARD_FILE).write_text(write_toml(msgspec.to_builtins(found.card)), encoding="utf-8")
            OnnxDetector.load(made)
            shutil.move(made, target)
    except OSError as error:
        raise UserError(f"{into} cannot be written: {error.strerror}; name another folder with --into") from error
    return target, found


def propose(wish: Wish, weights: bytes) -> Adopted:
    """The card for these bytes. Raises UserError for what must be said first."""
    session = open_session(weights, 2, CPU, str(wish.file))
    graph = read_graph(session)
    given = {k.removeprefix("input."): v for k, v in wish.keys.items() if k.startswith("input.")}
    picture = picture_input(graph, given)
    values = tried(session, graph, picture, str(wish.file))
    labels = wish.labels or graph.names()
    said = str(wish.keys.get("family", ""))
    found = as_said(said, values) if said else guess(Evidence(graph, picture, values, len(labels)))
    if not labels:
        raise UserError(
            f"{wish.file}: family {found.family}, its classes have no names: --labels FILE or --labels smoke,fire"
        )
    doubts: list[str] = []
    tree = _tree(wish, graph, picture, found, labels)
    tree["sha256"] = hashlib.sha256(weights).hexdigest()
    for key, value in wish.keys.items():
        _lay(tree, key, value)
    if picture.dtype != "float32" and tree["input"]["dtype"] == picture.dtype:
        doubts.append(
            f"input is {picture.dtype}: pixels go in as 0..255 unless input.mean and input.std say otherwise"
        )
    return Adopted(_card(tree), found.because, doubts)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"model file {path} cannot be read: {error.strerror}") from error


def _tree(wish: Wish, graph: Graph, picture: Picture, found: Guess, labels: list[str]) -> dict[str, Any]:
    """The card as a tree of plain values, before anything is laid over it."""
    row = family(found.family)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    threshold = SURE if row.suppressed else THRESHOLD
    return {
        "name": _name(wish),
        "version": str(graph.metadata.get("version") or today),
        "file": MODEL_FILE,
        "sha256": "",
        "family": found.family,
        "licence": graph.metadata.get("license") or "not said in the file: ask who made it",
        "description": graph.metadata.get("description") or f"added from {wish.file.name}",
        "classes": labels,
        "nms_iou": 1.0 if row.suppressed else OVERLAP,
        "limits": ["Not measured here: thresholds are a beginning. See vedette eval and vedette models compare."],
        "input": _input(graph, picture, found),
        "output": {"tensors": found.tensors, **found.output},
        "thresholds": dict.fromkeys(labels, threshold),
        "training": {
            "commands": [],
            "date": str(graph.metadata.get("date") or today),
            "pictures": 0,
            "held_out": [],
            "notes": [f"Not trained here: added from {wish.file.name} on {today}."],
        },
    }


def _input(graph: Graph, picture: Picture, found: Guess) -> dict[str, Any]:
    feed = family(found.family).feed
    ours = graph.metadata.get("author") == "Ultralytics"
    whole = not picture.dtype.startswith("float")
    return {
        "tensor": picture.tensor,
        "sizes": picture.sizes,
        "width": picture.width,
        "height": picture.height,
        "colour": feed.colour,
        "mean": (128.0,) * 3 if picture.dtype == "int8" else (0.0,) * 3 if whole or ours else feed.mean,
        "std": UNITY if whole else (255.0,) * 3 if ours else feed.std,
        "letterbox": (114, 114, 114),
        "fit": feed.fit,
        "layout": picture.layout,
        "dtype": picture.dtype,
    }


def _name(wish: Wish) -> str:
    name = wish.name or re.sub(r"[^A-Za-z0-9_.-]+", "-", wish.file.stem).strip("-._")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", name):
        raise UserError(f"--name {name!r}: letters, digits, - _ and . only, at most 63")
    return name


def _lay(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key; a key that the card does not have is refused when the tree is read."""
    place, _, last = key.rpartition(".")
    if place and not isinstance(tree.get(place), dict):
        raise UserError(f"--set {key}: a model card has no table [{place}]")
    (tree[place] if place else tree)[last] = value


def _card(tree: dict[str, Any]) -> ModelCard:
    try:
        card = msgspec.convert(tree, ModelCard)
    except msgspec.ValidationError as error:
        raise UserError(f"--set: {error}") from error
    check_card("the new card", card)
    return card
