"""Frigate's model keys as aliases of ours (its docs/docs/configuration/advanced/reference.md, `model:`).

    path                  the ONNX file; the container's /config/ is looked for beside the configuration
    labelmap_path         a class a line, perhaps numbered; `labelmap` lays names over it
    width, height         input.width, input.height
    input_tensor          nchw, nhwc → input.layout
    input_pixel_format    rgb, bgr → input.colour
    input_dtype           float: 0..1; float_denorm: 0..255 as float; int: uint8
    model_type            yolox, yolonas, dfine, rfdetr, ssd → family; yolo-generic → told from the graph

What is left out keeps Frigate's own default (320 x 320, nhwc, rgb, int, ssd). Refused, since nothing here does it:
yuv pictures, hwnc and hwcn, plus:// models, anything but ONNX. RF-DETR is normalised as it was trained, which
Frigate leaves out; its column 0 is left out as Frigate does.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.ports import UserError
from pipeline.vision.adopt import Wish, read_labels

DEFAULTS = {
    "width": 320,
    "height": 320,
    "input_tensor": "nhwc",
    "input_pixel_format": "rgb",
    "input_dtype": "int",
    "model_type": "ssd",
}
FAMILIES = {
    "yolox": "yolox",
    "yolonas": "yolo-nas-flat",
    "yolo-generic": "",
    "dfine": "d-fine",
    "rfdetr": "rf-detr",
    "ssd": "ssd-tf",
}
CHOICES: dict[str, tuple[str, ...]] = {
    "input_tensor": ("nchw", "nhwc"),
    "input_pixel_format": ("rgb", "bgr"),
    "input_dtype": ("float", "float_denorm", "int"),
    "model_type": tuple(FAMILIES),
}
REASONS = {
    "yuv": "pictures are decoded to RGB here; export the model for rgb or bgr",
    "hwnc": "export it as nchw or nhwc",
    "hwcn": "export it as nchw or nhwc",
}
IGNORED = ("attributes_map",)
LINE = re.compile(r"(\s*)([\w.-]+|'[^']*'|\"[^\"]*\"):(?:\s+(.*))?")


def read_frigate(path: Path) -> dict[str, Any]:
    """The `model` table of Frigate's config.yml, or of a TOML file with the same keys. Raises UserError."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Frigate configuration {path} cannot be read: {error}") from error
    if path.suffix == ".toml":
        try:
            tree = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{path}: not valid TOML: {error}") from error
        found = tree.get("model", tree.get("frigate", tree))
    else:
        found = _yaml_model(path, text)
    known = {*DEFAULTS, "path", "labelmap_path", "labelmap", *IGNORED}
    strange = sorted(set(found) - known)
    if strange or not found:
        raise UserError(
            f"{path}: model: {', '.join(strange) or 'nothing'} found; known keys are {', '.join(sorted(known))}"
        )
    return dict(found)


def wish_of(path: Path, keys: Mapping[str, Any], *, name: str, labels: list[str]) -> Wish:
    """What Frigate's keys come to; `labels` go before its labelmap. Raises UserError in Frigate's own words."""
    whole = {**DEFAULTS, **keys}
    for key, known in CHOICES.items():
        value = str(whole[key])
        if value not in known:
            reason = REASONS.get(value, f"known are {', '.join(known)}")
            raise UserError(f"{path}: model.{key}: {value} is not taken here: {reason}")
    return Wish(
        file=_file(path, str(whole.get("path", ""))),
        name=name,
        labels=labels or _labels(path, whole),
        keys=_card_keys(whole),
    )


def _card_keys(whole: Mapping[str, Any]) -> dict[str, Any]:
    """Ours, dotted."""
    dtype = whole["input_dtype"]
    keys: dict[str, Any] = {
        "input.width": int(whole["width"]),
        "input.height": int(whole["height"]),
        "input.layout": whole["input_tensor"],
        "input.colour": str(whole["input_pixel_format"]).upper(),
        "input.mean": [0.0] * 3,
        "input.std": [255.0 if dtype == "float" else 1.0] * 3,
    }
    if dtype == "int":
        keys["input.dtype"] = "uint8"
    if family := FAMILIES[whole["model_type"]]:
        keys["family"] = family
    if family == "rf-detr":
        del keys["input.mean"], keys["input.std"]
        keys["output.background"] = "first"
    return keys


def _file(path: Path, said: str) -> Path:
    if said.startswith("plus://") or not said.endswith(".onnx"):
        raise UserError(f"{path}: model.path: {said or 'missing'}: only an ONNX file on this machine can be taken")
    return _found(path, said) or Path(said)


def _found(path: Path, said: str) -> Path | None:
    """A file as Frigate names it, or where its container's /config/ most likely is: beside the configuration."""
    places = (
        Path(said),
        path.parent / said,
        path.parent / said.removeprefix("/config/"),
        path.parent / Path(said).name,
    )
    return next((p for p in places if p.is_file()), None)


def _labels(path: Path, whole: Mapping[str, Any]) -> list[str]:
    said = str(whole.get("labelmap_path", ""))
    file = _found(path, said) if said else None
    if said and file is None:
        raise UserError(
            f"{path}: model.labelmap_path: no file {said} here (a part of Frigate's image?): give --labels"
        )
    labels = dict(enumerate(read_labels(str(file)))) if file else {}
    labels |= {int(number): str(name) for number, name in dict(whole.get("labelmap") or {}).items()}
    return [labels.get(n, f"unknown {n}") for n in range(max(labels, default=-1) + 1)]


# ---------------------------------------------------------------- just enough YAML


def _yaml_model(path: Path, text: str) -> dict[str, Any]:
    """The block under `model:` at the margin: plain values, and `labelmap` one level deeper."""
    found: dict[str, Any] = {}
    inside, deeper, depth = False, "", 0
    for number, line in enumerate(text.splitlines(), 1):
        bare = re.sub(r"(^|\s)#.*$", "", line).rstrip()
        if not bare:
            continue
        if not bare[0].isspace():
            inside = bare == "model:"
            continue
        if not inside:
            continue
        matched = LINE.fullmatch(bare)
        if matched is None:
            if deeper in IGNORED:
                continue
            raise UserError(
                f"{path}:{number}: {bare.strip()!r} is not read here; write the model's keys into a TOML file"
            )
        indent, key, value = len(matched[1]), matched[2].strip("'\""), matched[3]
        depth = depth or indent
        if indent > depth and deeper:
            if isinstance(found.get(deeper), dict):
                found[deeper][key] = _scalar(value or "")
        elif value is None:
            deeper, found[key] = key, {}
        else:
            deeper, found[key] = "", _scalar(value)
    return found


def _scalar(text: str) -> Any:
    text = text.strip()
    return int(text) if re.fullmatch(r"\d+", text) else text.strip("'\"")
