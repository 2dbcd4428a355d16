"""models/fire-smoke/train/card.py: a card of a few drawn pictures and a clip."""

from __future__ import annotations

import importlib
import json
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.vision.card import load_card
from tests.tinyonnx import write_model

FOLDER = Path(__file__).resolve().parent.parent / "models" / "fire-smoke" / "train"


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The training scripts import each other by name."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("card")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Smoke in white pictures, nothing in black ones; of each held-out source one of both, and one trained on."""
    far = next(n for n in (FOLDER / "far_test.txt").read_text("utf-8").splitlines() if not n.startswith("#"))
    names = [f"{s}_{n}" for s in ("ab", "df", "atl", "bp", "hod", "fs") for n in (0, 1)]
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    rows = ["file,tier,licence,attribution,smoke_labelled,fire_labelled"]
    for name in [*names, far]:
        burns = not name.endswith("_0")
        cv2.imwrite(str(tmp_path / "images" / f"{name}.jpg"), np.full((64, 64, 3), 255 * burns, np.uint8))
        (tmp_path / "labels" / f"{name}.txt").write_text("0 0.375 0.5 0.25 0.5" if burns else "", "utf-8")
        rows.append(f"{name}.jpg,A,CC0,somebody,1,1")
    (tmp_path / "sources.csv").write_text("\n".join(rows), "utf-8")
    return tmp_path


@pytest.fixture
def options(card: ModuleType, data: Path, tmp_path: Path) -> Any:
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"tiers": "A", "steps": 5, "batch": 2, "pictures": 2}), "utf-8")
    weights = write_model(
        tmp_path / "tiny", np.array([[16, 16, 32, 48]], np.float32), np.array([[0.8, 0.0]], np.float32)
    )
    clips = tmp_path / "clips"
    clips.mkdir()
    writer = cv2.VideoWriter(str(clips / "calm.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 64))
    for _ in range(20):
        writer.write(np.zeros((64, 64, 3), np.uint8))
    writer.release()
    (clips / "clips.csv").write_text("file,label\ncalm.mp4,none\n", "utf-8")
    return card.Options(data, [run], 64, tmp_path / "into", weights / "model.onnx", clips, True, "tiny")


def test_a_card_is_measured_written_and_read(card: ModuleType, options: Any, tmp_path: Path) -> None:
    card.write(card.make(options), options)
    read = load_card(tmp_path / "into")
    validation, test, far, times, clips = read.quality
    assert read.thresholds["smoke"] <= 0.8 and read.training.pictures == 2
    assert validation.pictures == 6 and test.pictures == 4 and far.pictures == 3
    assert test.figures["f1"] == test.figures["ap50_smoke"] == 1.0 and test.intervals["recall"] == (0.1581, 1.0)
    assert "1000 samples" in test.method and times.figures["median_ms"] > 0
    assert clips.figures["false_alarms"] == 0 and clips.pictures == 10
    assert read.clips[0].verdicts == {"smoke": "quiet", "fire": "quiet"}
    assert {row.source: row.use for row in read.data}["fs"] == "training"


def test_a_picture_that_cannot_be_read_ends_it(card: ModuleType, options: Any, data: Path) -> None:
    (data / "images" / "bp_1.jpg").write_bytes(b"not a picture")
    with pytest.raises(SystemExit, match=r"bp_1\.jpg"):
        card.make(options)


def test_toml_says_what_it_was_given(card: ModuleType) -> None:
    plain = {
        "name": 'a "quoted" name',
        "list": ["x" * 60, "y" * 60],
        "table": {"few": {"a": 1.5}},
        "rows": [{"split": "s", "none": {}, "many": {f"k{n}": [0.1, 0.2] for n in range(9)}}, {"split": "t"}],
    }
    assert tomllib.loads(card.toml(plain)) == plain
