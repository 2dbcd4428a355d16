"""Labelled pictures on disk: which there are, what their labels say, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.ports import UserError
from pipeline.vision.detector import OnnxDetector
from pipeline.vision.evaluate.folder import Chosen, entries, look_through, orphans, read_label
from tests.tinyonnx import write_model

CLASSES = ("smoke", "fire")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("ab_1", "cf_1", "sub/cf_2"):
        for kind, suffix in (("images", ".jpg"), ("labels", ".txt")):
            (tmp_path / kind / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / kind / f"{name}{suffix}").touch()
        cv2.imwrite(str(tmp_path / "images" / f"{name}.jpg"), np.full((64, 128, 3), 255, np.uint8))
    rows = ["file,tier,smoke_labelled,fire_labelled", "ab_1.jpg,A,1,1", "cf_1.jpg,A*,0,1"]
    (tmp_path / "sources.csv").write_text("\n".join(rows), encoding="utf-8")
    return tmp_path


def names(folder: Path, chosen: Chosen) -> list[str]:
    return [e.path.stem for e in entries(folder / "images", folder / "labels", CLASSES, chosen)]


def test_all_pictures_or_those_of_a_source_or_tier(folder: Path) -> None:
    assert names(folder, Chosen()) == ["ab_1", "cf_1", "cf_2"]
    assert names(folder, Chosen(prefixes=("cf_",))) == ["cf_1", "cf_2"]
    assert names(folder, Chosen(tiers=("A",))) == ["ab_1"]
    with pytest.raises(UserError, match="no picture is left"):
        names(folder, Chosen(prefixes=("zz",)))


def test_sources_tell_what_is_not_labelled(folder: Path) -> None:
    found = entries(folder / "images", folder / "labels", CLASSES)
    assert [e.unlabelled for e in found] == [frozenset(), {"smoke"}, frozenset()]
    (folder / "sources.csv").write_text("picture,tier\n", encoding="utf-8")
    with pytest.raises(UserError, match="no column `file`"):
        entries(folder / "images", folder / "labels", CLASSES)


def test_a_picture_is_judged_in_its_own_pixels(folder: Path) -> None:
    (folder / "labels" / "ab_1.txt").write_text("0 0.5 0.5 0.25 0.5\n\n1 0.1 0.1 0.1 0.1\n", encoding="utf-8")
    boxes, scores = np.array([[16, 16, 32, 48]], np.float32), np.array([[0.8, 0.0]], np.float32)
    detector = OnnxDetector.load(write_model(folder / "model", boxes, scores))
    told: list[int] = []
    looked = look_through(detector, entries(folder / "images", folder / "labels", CLASSES), told.append)
    first = looked.judged[0]
    assert first.labels == ("smoke", "fire") and first.longest == 128
    assert first.boxes[0].tolist() == [48, 16, 80, 48]
    assert len(looked.took) == sum(told) == 3 and first.seen.labels == ("smoke",)


def test_a_picture_that_cannot_be_read_does_not_stop_the_others(folder: Path) -> None:
    (folder / "images" / "cf_1.jpg").write_bytes(b"not a picture")
    detector = OnnxDetector.load(
        write_model(folder / "model", np.zeros((1, 4), np.float32), np.zeros((1, 2), np.float32))
    )
    looked = look_through(detector, entries(folder / "images", folder / "labels", CLASSES))
    assert [p.name for p in looked.judged] == ["ab_1", "cf_2"]
    ((name, reason),) = looked.unreadable
    assert name == "cf_1.jpg" and "neither JPEG nor PNG" in reason


def test_folders_and_labels_that_are_not_there(folder: Path) -> None:
    for images, labels, words in (("nowhere", "labels", "no folder"), ("labels", "labels", "no pictures")):
        with pytest.raises(UserError, match=words):
            entries(folder / images, folder / labels, CLASSES)
    (folder / "labels" / "ab_1.txt").unlink()
    with pytest.raises(UserError, match=r"1 of 3 pictures have no label .* it needs ab_1\.txt"):
        entries(folder / "images", folder / "labels", CLASSES)


def test_labels_without_a_picture_are_named(folder: Path) -> None:
    assert orphans(folder / "images", folder / "labels") == []
    (folder / "labels" / "gone.txt").touch()
    assert orphans(folder / "images", folder / "labels") == ["gone.txt"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 0.5 0.5 0.1", "4 numbers"),
        ("smoke 0.5 0.5 0.1 0.1", "could not convert"),
        ("-1 0.5 0.5 0.1 0.1", "class -1"),
        ("2 0.5 0.5 0.1 0.1", "classes 0 to 1"),
        ("0.5 0.5 0.5 0.1 0.1", r"class 0\.5"),
        ("0 320 240 50 50", "parts of the picture"),
        ("0 nan 0.5 0.1 0.1", "parts of the picture"),
    ],
)
def test_broken_labels_are_named_with_their_line(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "a.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n", encoding="utf-8")
    with pytest.raises(UserError, match=rf"a\.txt:2: .*{words}"):
        read_label(tmp_path / "a.txt", 2)
