"""`vedette eval` on a folder whose figures are known beforehand."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from pipeline.cli.eval import command
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
    assert row["resamples"] == 1000 and row["intervals"]["recall"] == [0.0, 1.0]
    assert row["boxes"]["smoke"] == {"tiny": 0, "small": 0, "medium": 0, "large": 1}
    assert 0 < row["median_ms"] <= row["p95_ms"] and row["rss_mb"] > 10


def test_table_names_what_each_figure_means(folder: Path, model: Path) -> None:
    text = run(folder, model).stdout
    assert "on 4 pictures, 2 of them burning" in text and "calm pictures that are alarmed" in text
    assert "thresholds of the card: smoke 0.30, fire 0.40" in text and "1000 samples" in text


def test_a_missing_label_stops_it_before_anything_is_measured(folder: Path, model: Path) -> None:
    (folder / "labels" / "quiet.txt").unlink()
    assert "a calm picture needs an empty one" in str(run(folder, model).exception)


def test_a_bad_picture_is_named_and_the_others_are_measured(folder: Path, model: Path) -> None:
    (folder / "images" / "found.jpg").write_bytes(b"not a picture")
    (folder / "labels" / "gone.txt").touch()
    result = run(folder, model, "--json")
    row = json.loads(result.stdout)
    assert result.exit_code == 1 and row["pictures"] == 3 and row["unreadable"] == ["found.jpg"]
    assert row["labels_without_picture"] == 1
    assert "1 picture unreadable: found.jpg" in result.stderr and "gone.txt" in result.stderr


def test_it_says_what_it_needs() -> None:
    for words in ([], ["--images", "a"], ["--clips", "a", "--images", "b", "--labels", "c"]):
        assert "--clips DIR" in str(CliRunner().invoke(command, words).exception)


# ---------------------------------------------------------------- clips


RULES = """\
[[rule]]
name = "smoke"
kind = "sighting"
label = "smoke"
persist_s = 1
still_change = 0
"""


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Black, and black then white, 4 s at 10 frames a second each."""
    folder = tmp_path / "clips"
    folder.mkdir()
    (tmp_path / "rules.toml").write_text(RULES, encoding="utf-8")
    for name, white in (("calm", 0), ("burns", 30)):
        writer = cv2.VideoWriter(str(folder / f"{name}.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 64))
        for level in [0] * (40 - white) + [255] * white:
            writer.write(np.full((64, 64, 3), level, np.uint8))
        writer.release()
    return folder


def over(clips: Path, model: Path, *words: str) -> Result:
    rules = ["--rules", str(clips.parent / "rules.toml")]
    return CliRunner().invoke(command, ["--clips", str(clips), "--model", str(model), *rules, *words])


def test_without_marks_alarms_are_listed(clips: Path, model: Path) -> None:
    row = json.loads(over(clips, model, "--json", "--every", "0.5").stdout)
    burns, calm = row["clips"]
    assert [a["at_s"] for a in burns["alarms"]] == [2.0] and calm["alarms"] == []
    assert burns["frames"] == 8 and row["frames"] == 16 and "verdicts" not in burns and "found_smoke" not in row


def test_with_marks_there_are_verdicts(clips: Path, model: Path) -> None:
    (clips / "clips.csv").write_text("file,label,first_visible_s\nburns.mp4,smoke,1.0\ncalm.mp4,none,\n", "utf-8")
    row = json.loads(over(clips, model, "--json").stdout)
    assert [c["verdicts"]["smoke"] for c in row["clips"]] == ["found", "quiet"]
    assert row["found_smoke"] == 1.0 and row["seconds_to_detect_smoke"] == 1.0
    assert row["false_alarms_per_hour"] == 0.0 and row["intervals"]["false_alarms_per_hour"][1] > 2000
    text = over(clips, model).stdout
    assert "smoke found after 1 s" in text and "calm.mp4" in text and "exact Poisson" in text


def test_clips_that_cannot_be_judged_are_named(clips: Path, model: Path) -> None:
    (clips / "clips.csv").write_text("file,label,first_visible_s\ngone.mp4,smoke,1.0\ncalm.mp4,none,\n", "utf-8")
    (clips / "burns.mp4").write_bytes(b"not a video")
    result = over(clips, model, "--json")
    assert result.exit_code == 1 and json.loads(result.stdout)["absent"] == ["gone.mp4"]
    assert "gone.mp4" in result.stderr and "burns.mp4 cannot be read as video" in result.stderr
