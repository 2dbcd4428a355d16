"""`vedette eval` on a folder whose figures are known beforehand."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from pipeline.cli.eval import command, read_label
from pipeline.ports import UserError
from tests.tinyonnx import write_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Sees smoke at 16..32 x 16..48 of a 64 px input in white pictures, nothing in black ones."""
    boxes, scores = np.array([[16, 16, 32, 48]], np.float32), np.array([[0.8, 0.0]], np.float32)
    return write_model(tmp_path / "model", boxes, scores)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Found smoke, missed fire, calm and quiet, calm and alarmed."""
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    for name, level, label in (
        ("found", 255, "0 0.375 0.5 0.25 0.5"),
        ("missed", 0, "1 0.5 0.5 0.2 0.2"),
        ("quiet", 0, ""),
        ("wolf", 255, ""),
    ):
        cv2.imwrite(str(images / f"{name}.jpg"), np.full((96, 96, 3), level, np.uint8))
        (labels / f"{name}.txt").write_text(label, encoding="utf-8")
    return tmp_path


def run(folder: Path, model: Path, *words: str) -> Result:
    paths = ["--images", str(folder / "images"), "--labels", str(folder / "labels"), "--model", str(model)]
    return CliRunner().invoke(command, [*paths, *words])


def test_figures_of_a_known_folder(folder: Path, model: Path) -> None:
    row = json.loads(run(folder, model, "--json").stdout)
    assert row["pictures"] == 4 and row["burning"] == 2 and row["model"].startswith("tiny@")
    assert row["recall"] == 0.5 and row["false_pictures"] == 0.5 and row["f1"] == 0.5
    assert row["ap50_fire"] == 0.0
    assert row["ap50_smoke"] in (0.5, 1.0)  # found and wolf have the same score: either may rank first


def test_table_names_what_each_figure_means(folder: Path, model: Path) -> None:
    text = run(folder, model).stdout
    assert "on 4 pictures, 2 of them burning" in text and "calm pictures that are alarmed" in text


def test_a_missing_label_or_a_bad_picture_stops_it(folder: Path, model: Path) -> None:
    (folder / "labels" / "quiet.txt").unlink()
    assert "a calm picture needs an empty one" in str(run(folder, model).exception)
    (folder / "labels" / "quiet.txt").touch()
    (folder / "images" / "found.jpg").write_bytes(b"not a picture")
    assert isinstance(run(folder, model).exception, UserError)


@pytest.mark.parametrize("text", ["0 0.5 0.5 0.1", "smoke 0.5 0.5 0.1 0.1", "-1 0.5 0.5 0.1 0.1"])
def test_broken_labels_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.txt"):
        read_label(tmp_path / "a.txt", 10, 10)
