"""pipeline.vision.shadow: a second model is seen in its ledger and nowhere else; it may fail, the first goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import wire
from pipeline.app import vision_stages
from pipeline.message import SECOND, Detections, Frame, FrameRecord, ScoredFrame
from pipeline.ports import UserError
from pipeline.settings import Settings, load
from pipeline.vision.shadow import LEDGER_FILE, MAX_PICTURES, Both, Ledger, Shadow, says, tallies
from tests.commandline import vedette
from tests.tinyonnx import write_model

LEAST = {"smoke": 0.3, "fire": 0.4}
BOX = (1.0, 2.0, 3.0, 4.0)


def both(camera: str, at: int, mine: float, theirs: float) -> Both:
    return Both(camera, at, "a@1", "b@2", [("smoke", mine, BOX)], [("smoke", theirs, BOX)])


class Stubborn:
    """A detector that says nothing but an error, as ONNX Runtime may in the middle of a run."""

    model, thresholds = "broken@0", LEAST

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        raise ValueError(f"cannot take {images[0].shape}")


# ---------------------------------------------------------------- ledger


def test_difference_is_of_the_best_scores_by_label() -> None:
    one = Both(
        "c", 1, "a", "b", [("smoke", 0.9, BOX), ("smoke", 0.2, BOX)], [("smoke", 0.5, BOX), ("fire", 0.7, BOX)]
    )
    assert one.difference == pytest.approx(0.7)
    assert both("c", 1, 0.5, 0.5).difference == 0
    assert Both("c", 1, "a", "b", [], []).difference == 0


def test_what_is_written_is_read_once_in_order_of_time(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "x" / LEDGER_FILE)
    frames = [both("c", 30, 0.9, 0.1), both("d", 20, 0.2, 0.2), both("c", 10, 0.4, 0.4)]
    for _ in range(2):  # as after a restart
        ledger.write([(frame, b"jpeg") for frame in frames])
    assert ledger.read(0, 100) == [frames[2], frames[1], frames[0]]
    assert ledger.read(10, 30, "c") == [frames[2]]
    assert ledger.picture("c", 30) == b"jpeg" and ledger.picture("c", 10) is None


def test_it_is_bounded_the_oldest_frames_and_the_least_different_pictures_go(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / LEDGER_FILE, rows=50)
    for at in range(80):
        ledger.write([(both("c", at, (at % 40) / 40, 0.0), b"p%d" % at)])
    assert [f.at for f in ledger.read(0, 100)] == list(range(30, 80))
    kept = [at for at in range(80) if ledger.picture("c", at)]
    assert len(kept) == MAX_PICTURES and min((at % 40) for at in kept) == 30


def test_no_ledger_and_a_damaged_one_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing has run in shadow here; set \[vision\] shadow"):
        Ledger(tmp_path / LEDGER_FILE).read(0, 1)
    (tmp_path / LEDGER_FILE).write_bytes(b"not SQLite at all" * 100)
    with pytest.raises(UserError, match="cannot be read"):
        Ledger(tmp_path / LEDGER_FILE).read(0, 1)


def test_tallies_at_each_ones_thresholds() -> None:
    frames = [both("c", 1, 0.5, 0.5), both("c", 2, 0.5, 0.1), both("c", 3, 0.1, 0.1), both("d", 1, 0.1, 0.35)]
    found = tallies(frames, LEAST, {"smoke": 0.4})
    assert (found["c"].both, found["c"].main_only, found["c"].neither) == (1, 1, 1)
    assert found["c"].agreement == pytest.approx(2 / 3)
    assert found["d"].neither == 1 and not says(frames[3].shadow_saw, {"smoke": 0.4})


# ---------------------------------------------------------------- beside the first


def test_boxes_are_told_in_pixels_of_the_stored_picture(tmp_path: Path) -> None:
    from pipeline.vision.detector import OnnxDetector

    folder = write_model(tmp_path / "m", np.float32([[16, 16, 32, 48]]), np.float32([[0.8, 0.0]]))
    shadow = Shadow(OnnxDetector.load(folder), Ledger(tmp_path / LEDGER_FILE))
    scored = ScoredFrame("c", 1, 1, 640, 640, "a@1", [])
    seen = shadow.see(scored, np.full((64, 64, 3), 255, np.uint8))
    assert seen is not None and seen.shadow_saw[0][2] == pytest.approx((160, 160, 320, 480))


def test_a_shadow_that_fails_is_counted_and_stops_nothing(tmp_path: Path) -> None:
    shadow = Shadow(Stubborn(), Ledger(tmp_path))  # a folder: it cannot be written either
    assert shadow.see(ScoredFrame("c", 1, 1, 64, 64, "a@1", []), np.zeros((64, 64, 3), np.uint8)) is None
    shadow.write([(both("c", 1, 0.5, 0.1), b"")])
    assert shadow.figures()["failed"] == {"model": 1, "ledger": 1}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A first model that sees smoke at 0.8 in a white picture, a second that sees it at 0.2."""
    one = write_model(tmp_path / "one", np.float32([[16, 16, 32, 48]]), np.float32([[0.8, 0.1]]))
    two = write_model(tmp_path / "two", np.float32([[16, 16, 32, 48]]), np.float32([[0.2, 0.1]]))
    two.joinpath("model.toml").write_text(
        two.joinpath("model.toml").read_text("utf-8").replace('name = "tiny"', 'name = "second"'), encoding="utf-8"
    )
    file = tmp_path / "vedette.toml"
    file.write_text(f'[vision]\nmodel = "{one}"\nshadow = "{two}"\n', encoding="utf-8")
    return load(file, data=tmp_path / "data", environ={})


def frames(count: int, received: int) -> list[bytes]:
    image = cv2.imencode(".png", np.full((64, 64, 3), 255, np.uint8))[1].tobytes()
    seconds = [received + n * SECOND for n in range(1, count + 1)]
    return [wire.pack(FrameRecord("tower", 1, n, received, Frame(at, image))) for n, at in enumerate(seconds, 1)]


def test_through_the_stage_into_the_ledger_and_into_nothing_else(settings: Settings, tmp_path: Path) -> None:
    import time

    Path(settings.data).mkdir()
    now = time.time_ns() // 1000
    (stage,) = vision_stages(settings)
    state, seen = stage.handle(stage.initial(), frames(5, now))
    stage.commit([seen])
    assert {frame.model.partition("@")[0] for frame in seen.frames} == {"tiny"}
    kept = Ledger(Path(settings.data) / LEDGER_FILE).read(0, now * 2)
    assert len(kept) == 5 and kept[0].shadow.startswith("second@")
    assert stage.figures()["shadow"]["scored"] == {"tower": 5}
    done = vedette("models", "compare", "--config", tmp_path / "vedette.toml", "--data", settings.data, "--json")
    told = json.loads(done.stdout)
    assert told["cameras"]["tower"]["main_only"] == 5 and told["agreement"] == 0
    words = "--save", tmp_path / "far", "--top", "2", "--camera", "tower", "--from", "2020-01-01T00:00:00Z"
    done = vedette("models", "compare", "--config", tmp_path / "vedette.toml", "--data", settings.data, *words)
    assert "0.60  tower 20" in done.stdout and len(list((tmp_path / "far").glob("0.60-tower-*.png"))) == 2
    assert state is not None


def test_frames_that_wait_do_without_the_shadow(settings: Settings) -> None:
    Path(settings.data).mkdir()
    (stage,) = vision_stages(settings)
    _state, seen = stage.handle(stage.initial(), frames(3, 1_700_000_000 * SECOND))
    assert len(seen.frames) == 3 and seen.both == []


def test_a_shadow_that_cannot_be_loaded_is_refused_at_the_start(settings: Settings) -> None:
    Path(settings.vision.shadow, "model.onnx").write_bytes(b"cut")
    with pytest.raises(UserError, match=r"two/model\.onnx .* cut or changed"):
        vision_stages(settings)
