"""`vedette detect` as a person uses it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.tinyonnx import write_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Sees smoke (0.8) and, weakly, fire (0.2) at 16..32 x 16..48 of a 64 px input in any white picture."""
    boxes, scores = np.array([[16, 16, 32, 48]], np.float32), np.array([[0.8, 0.2]], np.float32)
    return write_model(tmp_path / "model", boxes, scores)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two white pictures, one of them in a folder below, a cut one and a text file that says it is a picture."""
    root = tmp_path / "pictures"
    (root / "below").mkdir(parents=True)
    white = np.full((128, 128, 3), 255, np.uint8)
    cv2.imwrite(str(root / "b.jpg"), white)
    cv2.imwrite(str(root / "below" / "c.png"), white)
    (root / "a_cut.jpg").write_bytes((root / "b.jpg").read_bytes()[:-20])
    (root / "z_text.jpg").write_text("not a picture", encoding="utf-8")
    (root / "notes.txt").write_text("ignored", encoding="utf-8")
    return root


def detect(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", "detect", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_json_lines_in_order_and_bad_pictures_in_their_place(model: Path, folder: Path) -> None:
    done = detect(folder, "--json", "--model", model)
    rows = lines(done)
    assert [Path(r["path"]).name for r in rows] == ["a_cut.jpg", "b.jpg", "c.png", "z_text.jpg"]
    assert rows[0]["error"].startswith("cut") and rows[3]["error"].startswith("not_a_picture")
    assert rows[1].keys() == {"path", "width", "height", "ms", "detections"}
    assert (rows[1]["width"], rows[1]["height"]) == (128, 128) and rows[1]["ms"] > 0
    assert rows[1]["detections"] == [{"label": "smoke", "score": 0.8, "box": [32.0, 32.0, 64.0, 96.0]}]
    assert rows[2]["detections"] == rows[1]["detections"]
    assert done.returncode == 1 and "2 of 4 pictures could not be read" in done.stderr


def test_least_score_shows_what_the_card_would_hide(model: Path, folder: Path) -> None:
    done = detect(folder / "b.jpg", "--json", "--model", model, "--min-score", "0.01")
    assert [(d["label"], d["score"]) for d in lines(done)[0]["detections"]] == [("smoke", 0.8), ("fire", 0.2)]
    assert done.returncode == 0 and not done.stderr
    high = detect(folder / "b.jpg", "--json", "--model", model, "--min-score", "0.9")
    assert lines(high)[0]["detections"] == []


def test_table_and_saved_pictures(model: Path, folder: Path, tmp_path: Path) -> None:
    done = detect(folder / "b.jpg", folder / "below", "--model", model, "--save", tmp_path / "drawn")
    assert done.returncode == 0
    assert done.stdout.count("smoke 0.80") == 2
    drawn = sorted((tmp_path / "drawn").iterdir())
    assert len(drawn) == 2
    image = cv2.imread(str(drawn[0]))
    assert image is not None and image[32:36, 40].min() < 200 < image[64, 48].min()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("nowhere.jpg",), "no such file or folder: nowhere.jpg"),
        (("{folder}", "--model", "nowhere"), "no model card at nowhere/model.toml"),
        (("{folder}", "--min-score", "7"), "--min-score"),
        (("{empty}",), "no pictures"),
    ],
)
def test_mistakes_are_one_clear_line(words: tuple[str, ...], complaint: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = detect(*(w.format(folder=folder, empty=tmp_path / "empty") for w in words))
    assert done.returncode == 2 and complaint in done.stderr
    assert "Traceback" not in done.stderr and not done.stdout
