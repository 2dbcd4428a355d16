"""`vedette models` as a person uses it: add, doctor, list, compare, and what must be refused."""

from __future__ import annotations

import json
import random
import re
import tomllib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.ports import UserError
from pipeline.vision.adopt import Wish, propose
from pipeline.vision.card import load_card
from tests.commandline import Done, vedette
from tests.tinyonnx import Entry, graph, outside, write_model

CELLS = 84  # of a 64 x 64 input
NOTES = {"names": "{0: 'smoke', 1: 'fire'}", "author": "Ultralytics", "imgsz": "[64, 64]", "task": "detect"}


def zeros(*shape: int) -> NDArray[np.float32]:
    return np.zeros(shape, np.float32)


def save(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def add(folder: Path, outputs: dict[str, Any], *words: str, entry: Entry | None = None, **notes: str) -> Done:
    file = save(folder / "some.onnx", graph(outputs, entry, notes=notes))
    return vedette("models", "add", file, "--into", folder / "models", *words)


# ---------------------------------------------------------------- what is told from the graph


@pytest.mark.parametrize(
    ("outputs", "family"),
    [
        ({"output0": zeros(1, 6, CELLS)}, "yolov8"),
        ({"output0": zeros(1, 3 * CELLS, 7)}, "yolov5"),
        ({"output0": zeros(1, CELLS, 7)}, "yolox"),
        ({"output0": zeros(1, CELLS, 7) + 40}, "yolov5"),
        ({"output0": zeros(1, CELLS, 6) + 40}, "yolov8"),
        ({"output0": zeros(1, 300, 6)}, "yolov10"),
        ({"graph2_flat_predictions": zeros(3, 7)}, "yolo-nas-flat"),
        ({"output": np.float32([[0.3, 0.7]])}, "classify-softmax"),
        ({"output": np.float32([[0.9, 0.7]])}, "classify-sigmoid"),
        ({"pred_scores": zeros(1, CELLS, 2), "pred_boxes": zeros(1, CELLS, 4) + 9}, "yolo-nas"),
        ({"dets": zeros(1, 30, 4), "labels": zeros(1, 30, 3)}, "rf-detr"),
        ({"dets": zeros(1, 30, 4), "labels": zeros(1, 30, 2), "masks": zeros(1, 30, 8, 8)}, "rf-detr"),
        ({"pred_logits": zeros(1, 30, 3), "pred_boxes": zeros(1, 30, 4)}, "detr"),
        ({"boxes": zeros(1, 30, 4), "scores": zeros(1, 30, 3) + 1 / 3}, "ssd"),
        ({"dets": zeros(1, 30, 5), "labels": np.zeros((1, 30), np.int64)}, "mmdet"),
        (
            {
                "num_dets": np.zeros((1, 1), np.int64),
                "det_boxes": zeros(1, 9, 4),
                "det_scores": zeros(1, 9),
                "det_classes": np.zeros((1, 9), np.int64),
            },
            "end2end",
        ),
        (
            {
                "detection_boxes": zeros(1, 9, 4),
                "detection_classes": zeros(1, 9),
                "detection_scores": zeros(1, 9),
                "num_detections": zeros(1),
            },
            "ssd-tf",
        ),
        ({"boxes": zeros(5, 4), "labels": np.zeros(5, np.int64), "scores": zeros(5)}, "torchvision"),
    ],
)
def test_the_family_is_told_from_the_outputs(tmp_path: Path, outputs: dict[str, Any], family: str) -> None:
    done = add(tmp_path, outputs, "--labels", "smoke,fire")
    assert done.returncode == 0, done.stderr
    assert load_card(tmp_path / "models" / "some").family == family
    assert f"family {family}: " in done.stderr


def test_d_fine_asks_for_sizes(tmp_path: Path) -> None:
    outputs = {"labels": np.zeros((1, 9), np.int64), "boxes": zeros(1, 9, 4), "scores": zeros(1, 9)}
    assert add(tmp_path, outputs, "--labels", "a,b", entry=Entry(sizes="orig_target_sizes")).returncode == 0
    card = load_card(tmp_path / "models" / "some")
    assert (card.family, card.input.sizes, card.nms_iou) == ("d-fine", "orig_target_sizes", 1.0)


def test_notes_of_ultralytics_fill_the_card(tmp_path: Path) -> None:
    entry = Entry(("batch", 3, "height", "width"))
    done = add(tmp_path, {"output0": zeros(1, 6, CELLS)}, "--name", "theirs", entry=entry, **NOTES)
    assert done.returncode == 0, done.stderr
    card = load_card(tmp_path / "models" / "theirs")
    assert (card.classes, card.input.width, card.input.std) == (["smoke", "fire"], 64, (255.0, 255.0, 255.0))


def test_keys_that_are_set_go_over_what_was_told(tmp_path: Path) -> None:
    words = "--set", "input.fit=stretch", "--set", "thresholds.fire=0.6", "--set", 'licence="ours"'
    done = add(tmp_path, {"output0": zeros(1, 6, CELLS)}, *words, **NOTES)
    assert done.returncode == 0, done.stderr
    card = tomllib.loads((tmp_path / "models/some/model.toml").read_text("utf-8"))
    assert card["input"]["fit"] == "stretch" and card["thresholds"] == {"smoke": 0.3, "fire": 0.6}
    assert card["licence"] == "ours"


# ---------------------------------------------------------------- what is asked for, by its key


@pytest.mark.parametrize(
    ("outputs", "words", "complaint"),
    [
        ({"output": zeros(4, 7)}, (), r'could be "yolo-nas-flat" or "yolov7-end2end".*--set family=yolo-nas-flat'),
        ({"output": zeros(1, 500, 85)}, (), r'2 classes named: .*"yolov5" or "yolov8" or "yolox"; .*--set family='),
        ({"output": np.float32([[3.0, -2.0]])}, (), r'"classify-softmax" or "classify-sigmoid"'),
        ({"boxes": zeros(1, 9, 4), "scores": zeros(1, 9, 2)}, (), r'"rf-detr" or "detr" or "ssd"'),
        ({"output": zeros(1, 300, 6) + 0.5}, (), r'"rt-detr" or "yolov10"'),
        ({n: zeros(1, 3, s, s, 7) for n, s in (("a", 8), ("b", 4), ("c", 2))}, (), "bare heads of a YOLO"),
        ({"output": zeros(1, 6, CELLS)}, ("--labels", "a,b,c"), r"for 3 classes|scores 2 classes"),
        ({"output": zeros(1, 6, CELLS)}, ("--set", "input.ft=stretch"), "unknown field `ft`"),
        (
            {"output": zeros(1, 6, CELLS)},
            ("--set", "input.fit=streched"),
            r'input\.fit is .streched., must be "centre"',
        ),
        ({"output": zeros(1, 6, CELLS)}, ("--set", "output"), r"--set output: wanted is key=value"),
        ({"output": zeros(1, 6, CELLS)}, ("--family", "yolov99"), r"'yolov99' is not known; known are .*yolov8"),
        ({"output": zeros(1, 6, CELLS)}, ("--labels", "/nowhere/labels.txt"), "no labels file"),
    ],
)
def test_ambiguous_models_name_the_key(
    tmp_path: Path, outputs: dict[str, Any], words: tuple[str, ...], complaint: str
) -> None:
    named = words if "--labels" in words else ("--labels", "smoke,fire", *words)
    done = add(tmp_path, outputs, *named)
    assert done.returncode == 2
    assert _found(complaint, done.stderr), done.stderr
    assert not (tmp_path / "models" / "some").exists()
    assert not list(tmp_path.glob("models/.adding-*"))


def _found(pattern: str, text: str) -> bool:
    return re.search(pattern, text) is not None


@pytest.mark.parametrize(
    ("entry", "words", "complaint"),
    [
        (Entry((1, 3, "h", "w")), (), r"leaves its height open: --set input\.height=640"),
        (Entry(("n", "a", "b", "c")), (), r'which dimension has the 3 colours\? --set input\.layout="nchw"'),
        (Entry((4, 3, 64, 64)), (), "takes 4 pictures at once"),
        (Entry((1, 1, 64, 64)), (), "3 colours"),
        (Entry((1, 3, 64, 64), "int64"), (), "its type is not one for pictures"),
    ],
)
def test_inputs_that_leave_something_open(
    tmp_path: Path, entry: Entry, words: tuple[str, ...], complaint: str
) -> None:
    done = add(tmp_path, {"output": zeros(1, 6, CELLS)}, "--labels", "a,b", *words, entry=entry)
    assert done.returncode == 2 and _found(complaint, done.stderr), done.stderr


def test_open_sides_are_taken_as_set_and_classes_must_have_names(tmp_path: Path) -> None:
    entry, outputs = Entry((1, 3, "h", "w")), {"output": zeros(1, 6, CELLS)}
    sides = "--set", "input.width=64", "--set", "input.height=64"
    done = add(tmp_path, outputs, *sides, entry=entry)
    assert done.returncode == 2 and "classes have no names: --labels FILE" in done.stderr
    assert add(tmp_path, outputs, *sides, "--labels", "a,b", entry=entry).returncode == 0


@pytest.mark.parametrize("dtype", ["float16", "uint8", "int8"])
@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (1, 64, 64, 3)])
def test_other_types_and_channels_last_see_the_same_white(
    tmp_path: Path, dtype: str, shape: tuple[int, ...]
) -> None:
    """One box whose score is the mean of what the graph is given."""
    outputs = {"boxes": np.float32([[[8, 8, 40, 40]]]), "scores": np.float32([[[0, 1 / 127]]])}
    file = save(tmp_path / "some.onnx", graph(outputs, Entry(shape, dtype), scaled=("scores",)))
    norm = "--set", "input.std=[2.0,2.0,2.0]", "--set", "input.mean=[1.0,1.0,1.0]", "--family", "points"
    done = vedette("models", "add", file, "--into", tmp_path / "m", "--labels", "a,b", *norm)
    assert done.returncode == 0, done.stderr
    card = load_card(tmp_path / "m/some")
    assert (card.input.dtype, card.input.layout) == (dtype, "nchw" if shape[1] == 3 else "nhwc")
    told = _doctor(tmp_path / "m/some", tmp_path)
    (seen,) = told["detections"]
    assert seen["label"] == "b"
    assert seen["score"] == pytest.approx(1.0, abs=0.01)  # (255 - 1) / 2 = 127


def _doctor(folder: Path, tmp_path: Path) -> dict[str, Any]:
    """Over a white square picture, so that there is no letterbox in the mean."""
    cv2.imwrite(str(tmp_path / "white.png"), np.full((64, 64, 3), 255, np.uint8))
    done = vedette("models", "doctor", folder, "--json", "--image", tmp_path / "white.png")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


# ---------------------------------------------------------------- files that are no models


def test_files_that_are_no_models(tmp_path: Path) -> None:
    whole = graph({"output": zeros(1, 6, CELLS)})
    bad = {
        "text": (b"once upon a time\n", "it is no ONNX file, or cut"),
        "cut": (whole[: len(whole) // 2], "it is no ONNX file, or cut"),
        "empty": (b"", "it is no ONNX file, or cut"),
        "opset": (graph({"output": zeros(1, 6, CELLS)}, opset=999), "opset or IR version is not one"),
        "outside": (outside(), "it keeps weights in other files; export it as one file"),
    }
    for name, (data, complaint) in bad.items():
        done = vedette(
            "models", "add", save(tmp_path / f"{name}.onnx", data), "--labels", "a,b", "--into", tmp_path / "m"
        )
        assert done.returncode == 2 and complaint in done.stderr, (name, done.stderr)
        assert done.stderr.count("\n") == 1, name
    done = vedette("models", "add", tmp_path / "nowhere.onnx")
    assert done.returncode == 2 and "cannot be read: No such file" in done.stderr


def test_a_model_is_never_written_over(tmp_path: Path) -> None:
    assert add(tmp_path, {"output0": zeros(1, 6, CELLS)}, **NOTES).returncode == 0
    done = add(tmp_path, {"output0": zeros(1, 6, CELLS)}, **NOTES)
    assert done.returncode == 2 and "is there already" in done.stderr


# ---------------------------------------------------------------- Frigate


FRIGATE = """\
mqtt:
  enabled: false
model:   # the detector's
  model_type: {kind}
  width: 64
  height: 64
  input_tensor: nchw
  input_pixel_format: {pixels}
  input_dtype: {dtype}
  path: /config/model_cache/some.onnx
  labelmap_path: "/config/labels.txt"
  labelmap:
    1: fire
cameras:
  front: {{}}
"""


def frigate(folder: Path, outputs: dict[str, Any], **keys: str) -> Done:
    (folder / "model_cache").mkdir(exist_ok=True)
    dtype = "uint8" if keys.get("dtype") == "int" else "float32"
    save(folder / "model_cache/some.onnx", graph(outputs, Entry(dtype=dtype)))
    (folder / "labels.txt").write_text("0  smoke\n1  flame\n", encoding="utf-8")
    text = FRIGATE.format(**{"kind": "yolo-generic", "pixels": "rgb", "dtype": "float", **keys})
    (folder / "config.yml").write_text(text, encoding="utf-8")
    return vedette("models", "add", "--frigate", folder / "config.yml", "--into", folder / "models")


@pytest.mark.parametrize(
    ("keys", "outputs", "family", "std"),
    [
        ({}, {"output0": zeros(1, 6, CELLS)}, "yolov8", 255.0),
        ({"kind": "yolox", "dtype": "float_denorm"}, {"output": zeros(1, CELLS, 7)}, "yolox", 1.0),
        ({"kind": "yolonas", "dtype": "int", "pixels": "bgr"}, {"output": zeros(3, 7)}, "yolo-nas-flat", 1.0),
        ({"kind": "rfdetr"}, {"dets": zeros(1, 9, 4), "labels": zeros(1, 9, 3)}, "rf-detr", 58.395),
    ],
)
def test_frigate_keys_are_taken(
    tmp_path: Path, keys: dict[str, str], outputs: dict[str, Any], family: str, std: float
) -> None:
    done = frigate(tmp_path, outputs, **keys)
    assert done.returncode == 0, done.stderr
    card = load_card(tmp_path / "models/some")
    assert (card.family, card.classes) == (family, ["smoke", "fire"])
    assert card.input.std[0] == pytest.approx(std)
    assert card.input.colour == keys.get("pixels", "rgb").upper()
    assert card.input.dtype == ("uint8" if keys.get("dtype") == "int" else "float32")


def test_frigate_keys_that_cannot_be_taken(tmp_path: Path) -> None:
    done = frigate(tmp_path, {"output0": zeros(1, 6, CELLS)}, pixels="yuv")
    assert (
        done.returncode == 2
        and "model.input_pixel_format: yuv is not taken here: pictures are decoded" in done.stderr
    )
    done = frigate(tmp_path, {"output0": zeros(1, 6, CELLS)}, kind="yolov99")
    assert done.returncode == 2 and "model.model_type: yolov99" in done.stderr
    (tmp_path / "labels.txt").unlink()
    done = vedette("models", "add", "--frigate", tmp_path / "config.yml")
    assert done.returncode == 2
    (tmp_path / "plus.toml").write_text('[model]\npath = "plus://abc"\n', encoding="utf-8")
    done = vedette("models", "add", "--frigate", tmp_path / "plus.toml")
    assert done.returncode == 2 and "only an ONNX file" in done.stderr
    (tmp_path / "odd.toml").write_text('[model]\npth = "a.onnx"\n', encoding="utf-8")
    assert "pth found; known keys are" in vedette("models", "add", "--frigate", tmp_path / "odd.toml").stderr


# ---------------------------------------------------------------- doctor, list, compare


@pytest.mark.parametrize(
    ("boxes", "scores", "complaint"),
    [
        ([[8, 8, 40, 40]], [[np.nan, 0.1]], "are not numbers"),
        ([[8, 8, 40, 40]], [[7.5, -3.0]], 'not 0 to 1: output.activation="sigmoid"'),
        ([[900, 900, 940, 940]], [[0.9, 0.1]], "lie outside the picture"),
        ([[0.1, 0.1, 0.5, 0.5]], [[0.9, 0.1]], 'output.unit="unit"'),
        ([[32, 32, 16, 16]], [[0.9, 0.1]], 'end before they begin: output.boxes="cxcywh"'),
        ([[8, 8, 40, 40]] * 12, [[0.9, 0.1]] * 12, "12 boxes lie in the same place"),
        ([[8, 8, 40 + i % 9, 40] for i in range(1500)], [[0.9, 0.1]] * 1500, "1500 of 1500 boxes pass"),
        ([[8, 8, 40, 40]], [[0.9, 0.1]], None),
    ],
)
def test_the_doctor_says_what_looks_wrong(
    tmp_path: Path, boxes: list[Any], scores: list[Any], complaint: str | None
) -> None:
    folder = write_model(
        tmp_path / "m", np.float32(boxes), np.float32(scores) * 2
    )  # the scene's mean is about half
    done = vedette("models", "doctor", folder, "--out", tmp_path / "seen.png")
    assert (done.returncode == 1) == (complaint is not None), done.stdout
    assert complaint is None or complaint in done.stdout, done.stdout
    assert "median" in done.stdout and "MiB" in done.stdout and "CPUExecutionProvider" in done.stdout
    image = cv2.imread(str(tmp_path / "seen.png"))
    assert image is not None and image.shape == (720, 1280, 3)


def test_a_model_that_is_blind_is_said_to_be(tmp_path: Path) -> None:
    row = zeros(1, 300, 6)
    row[0, 0] = 8, 8, 40, 40, 0.9, 1
    file = save(tmp_path / "some.onnx", graph({"output": row}))
    done = vedette("models", "doctor", file, "--labels", "a,b")
    assert done.returncode == 1 and "a black picture gives exactly the same answer" in done.stdout


def test_list_shows_what_is_there_and_in_use(tmp_path: Path) -> None:
    write_model(tmp_path / "mine", np.float32([[1, 1, 9, 9]]), np.float32([[0.5, 0.5]]))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/model.toml").write_text("name = 3", encoding="utf-8")
    done = vedette("models", "list", "--into", tmp_path, "--json")
    rows = {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert rows["tiny"]["classes"] == ["smoke", "fire"] and rows["fire-smoke"]["use"] == "model"
    assert "broken" in done.stderr


def test_two_models_over_a_folder(tmp_path: Path) -> None:
    one = write_model(tmp_path / "one", np.float32([[8, 8, 40, 40]]), np.float32([[0.8, 0.1]]))
    two = write_model(tmp_path / "two", np.float32([[8, 8, 40, 40]]), np.float32([[0.2, 0.1]]))
    (tmp_path / "p").mkdir()
    cv2.imwrite(str(tmp_path / "p/white.png"), np.full((64, 64, 3), 255, np.uint8))
    cv2.imwrite(str(tmp_path / "p/black.png"), np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "p/cut.png").write_bytes(b"\x89PNG")
    done = vedette("models", "compare", "--images", tmp_path / "p", one, two, "--json")
    told = json.loads(done.stdout)
    assert (told["frames"], told["agreement"], told["unreadable"]) == (2, 0.5, 1)
    (row,) = told["cameras"].values()
    assert (row["main_only"], row["neither"], row["both"]) == (1, 1, 0)
    (largest,) = told["largest"]
    assert largest["camera"].endswith("white.png") and largest["difference"] == pytest.approx(0.6)
    done = vedette("models", "compare", "--images", tmp_path / "p", one, two)
    assert "agree on 50.0%" in done.stdout and "1 pictures could not be read" in done.stdout
    assert "white.png  main smoke 0.80, fire 0.10  shadow smoke 0.20, fire 0.10" in done.stdout
    done = vedette("models", "compare", "--images", tmp_path / "p", one)
    assert done.returncode == 2 and "two model folders" in done.stderr


def test_no_shadow_no_comparison(tmp_path: Path) -> None:
    done = vedette("models", "compare", "--data", tmp_path)
    assert done.returncode == 2 and "nothing has run in shadow here" in done.stderr


def test_bytes_changed_at_random_are_refused_or_taken_never_a_traceback(tmp_path: Path) -> None:
    whole = graph({"output": zeros(1, 6, CELLS)}, notes=NOTES)
    dice = random.Random(7)
    refused = 0
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            data[dice.randrange(min(len(data), dice.choice([200, len(data)])))] = dice.randrange(256)
        try:
            propose(Wish(tmp_path / "some.onnx", labels=["a", "b"]), bytes(data))
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 20
