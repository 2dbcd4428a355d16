"""pipeline.vision.detector and .card: letterbox, thresholds, and models that must be refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.ports import Detector, UserError
from pipeline.vision.card import Input, as_mapping, load_card, load_weights
from pipeline.vision.detector import Letterbox, OnnxDetector
from pipeline.vision.picture import decode
from tests.tinyonnx import write_model

SHIPPED = Path(__file__).resolve().parent.parent / "models" / "fire-smoke"


def white(width: int, height: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 255, np.uint8)


def numbers(*rows: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


def square(side: int) -> Input:
    return Input("images", side, side, "RGB", (0.0, 0.0, 0.0), (255.0, 255.0, 255.0), (114, 114, 114))


# ---------------------------------------------------------------- letterbox


def test_wide_picture_lies_in_the_middle_band() -> None:
    box = Letterbox.fit(1280, 720, square(512))
    assert (box.left, box.top, box.width, box.height) == (0, 112, 512, 288)
    back = box.to_picture(numbers((0, 112, 512, 400), (128, 184, 256, 256)), 1280, 720)
    assert np.allclose(back, [[0, 0, 1280, 720], [320, 180, 640, 360]])


def test_tall_picture_and_clipping() -> None:
    box = Letterbox.fit(300, 600, square(512))
    assert (box.left, box.top, box.width, box.height) == (128, 0, 256, 512)
    back = box.to_picture(numbers((100, -5, 400, 600)), 300, 600)
    assert np.allclose(back, [[0, 0, 300, 600]])


@pytest.mark.parametrize(("width", "height"), [(641, 479), (17, 1000), (1000, 9), (333, 333), (3840, 2160)])
def test_corners_of_any_picture_come_back_to_its_corners(width: int, height: int) -> None:
    box = Letterbox.fit(width, height, square(512))
    drawn = numbers((box.left, box.top, box.left + box.width, box.top + box.height))
    assert np.allclose(box.to_picture(drawn, width, height), [[0, 0, width, height]], atol=1e-3)


def test_tensor_is_rgb_planes_with_grey_margins(tmp_path: Path) -> None:
    detector = OnnxDetector.load(write_model(tmp_path, numbers((0, 0, 1, 1)), numbers((1, 1))))
    image = np.zeros((16, 32, 3), np.uint8)
    image[..., 2] = 255  # red, in BGR
    blob = detector.tensor(image, Letterbox.fit(32, 16, detector.card.input))
    assert blob.shape == (1, 3, 64, 64) and blob.dtype == np.float32
    assert np.allclose(blob[0, :, 32, 32], [1, 0, 0])
    assert np.allclose(blob[0, :, 2, 2], 114 / 255)


def fitted(fit: str, colour: str = "RGB") -> Input:
    return msgspec.structs.replace(square(64), fit=fit, colour=colour, letterbox=(10, 20, 30))


@pytest.mark.parametrize(
    ("fit", "place"), [("centre", (0, 16, 64, 32)), ("top-left", (0, 0, 64, 32)), ("stretch", (0, 0, 64, 64))]
)
def test_where_a_wide_picture_is_drawn(tmp_path: Path, fit: str, place: tuple[int, int, int, int]) -> None:
    """White lies exactly where `fit` says; the rest is the card's letterbox, which is in RGB."""
    detector = OnnxDetector.load(write_model(tmp_path, numbers((0, 0, 1, 1)), numbers((1, 1))))
    for colour, fill in (("RGB", (10, 20, 30)), ("BGR", (30, 20, 10))):
        card = msgspec.structs.replace(detector.card, input=fitted(fit, colour))
        other = OnnxDetector(card, detector._session, min_score=0.5)
        box = Letterbox.fit(200, 100, card.input)
        assert (box.left, box.top, box.width, box.height) == place
        blob = np.rint(other.tensor(white(200, 100), box)[0] * 255)
        left, top, wide, high = place
        assert (blob[:, top : top + high, left : left + wide] == 255).all()
        outside = np.ones((64, 64), bool)
        outside[top : top + high, left : left + wide] = False
        assert (blob[:, outside] == np.array(fill)[:, None]).all()


def test_mean_and_deviation_are_in_the_order_of_colour(tmp_path: Path) -> None:
    detector = OnnxDetector.load(write_model(tmp_path, numbers((0, 0, 1, 1)), numbers((1, 1))))
    blue = np.zeros((64, 64, 3), np.uint8)
    blue[..., 0] = 200  # BGR
    normal = msgspec.structs.replace(square(64), mean=(1.0, 2.0, 4.0), std=(1.0, 2.0, 4.0))
    for colour, wanted in (("RGB", (-1, -1, 49)), ("BGR", (199, -1, -1))):
        card = msgspec.structs.replace(detector.card, input=msgspec.structs.replace(normal, colour=colour))
        other = OnnxDetector(card, detector._session, min_score=0.5)
        blob = other.tensor(blue, Letterbox.fit(64, 64, card.input))
        assert blob[0, :, 32, 32].tolist() == pytest.approx(wanted)


# ---------------------------------------------------------------- detection


def test_boxes_come_in_pixels_of_each_original(tmp_path: Path) -> None:
    folder = write_model(tmp_path, numbers((16, 16, 32, 48), (0, 32, 64, 33)), numbers((0.8, 0.1), (0.01, 0.5)))
    detector = OnnxDetector.load(folder, min_score=0.05)
    wide, even = detector.detect([white(640, 640), white(64, 64)])
    label, score, box = next(iter(even))
    assert (label, box) == ("smoke", (16, 16, 32, 48)) and score == pytest.approx(0.8)
    assert wide.labels == ("smoke", "fire", "fire")
    assert np.allclose(wide.boxes, [[160, 160, 320, 480], [0, 320, 640, 330], [160, 160, 320, 480]])


def test_least_score_and_the_picture_itself_decide(tmp_path: Path) -> None:
    folder = write_model(tmp_path, numbers((10, 10, 20, 20)), numbers((0.8, 0.2)))
    assert len(OnnxDetector.load(folder, min_score=0.5).detect([white(64, 64)])[0]) == 1
    assert len(OnnxDetector.load(folder, min_score=0.01).detect([white(64, 64)])[0]) == 2
    assert len(OnnxDetector.load(folder, min_score=0.05).detect([np.zeros((64, 64, 3), np.uint8)])[0]) == 0


def test_it_is_a_detector_with_a_name_and_thresholds(tmp_path: Path) -> None:
    detector: Detector = OnnxDetector.load(write_model(tmp_path, numbers((0, 0, 1, 1)), numbers((1, 1))))
    assert detector.model.startswith("tiny@") and len(detector.model) == len("tiny@") + 8
    assert detector.thresholds == {"smoke": 0.3, "fire": 0.4}
    assert detector.detect([]) == []


# ---------------------------------------------------------------- models to refuse


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny", numbers((0, 0, 1, 1)), numbers((1, 1)))


def edit_card(folder: Path, old: str, new: str) -> None:
    card = folder / "model.toml"
    text = card.read_text(encoding="utf-8")
    assert old in text
    card.write_text(text.replace(old, new), encoding="utf-8")


def test_missing_folder_and_missing_weights(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(UserError, match=r"no model card at .*nowhere/model\.toml"):
        OnnxDetector.load(tmp_path / "nowhere")
    (tiny / "model.onnx").unlink()
    with pytest.raises(UserError, match=r"model\.onnx cannot be read: No such file"):
        OnnxDetector.load(tiny)


def test_cut_and_changed_weights(tiny: Path) -> None:
    weights = tiny / "model.onnx"
    whole = weights.read_bytes()
    for damaged in (whole[:-10], whole[:50] + b"!" + whole[51:], b""):
        weights.write_bytes(damaged)
        with pytest.raises(UserError, match="cut or changed"):
            OnnxDetector.load(tiny)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('name = "tiny"', 'name = "tiny"\nnmae = 1', "nmae"),
        ("width = 64", "width = 64\ndepth = 3", "depth"),
        ('family = "points"', 'family = "yolov99"', "yolov99"),
        ('family = "points"\n', "", "family"),
        ("smoke = 0.3", "steam = 0.3", "steam"),
        ('"RGB"', '"GBR"', "GBR"),
        ('tensor = "images"', 'tensor = "pictures"', "the graph has images"),
        ("[input]", "[input", "model.toml"),
    ],
)
def test_cards_that_do_not_fit_say_where(tiny: Path, old: str, new: str, complaint: str) -> None:
    edit_card(tiny, old, new)
    with pytest.raises(UserError, match=complaint):
        OnnxDetector.load(tiny)


def test_weights_that_are_no_model_at_all(tiny: Path) -> None:
    before = load_card(tiny).sha256
    (tiny / "model.onnx").write_bytes(b"once upon a time")
    edit_card(tiny, before, hashlib.sha256(b"once upon a time").hexdigest())
    with pytest.raises(UserError, match="ONNX Runtime refuses"):
        OnnxDetector.load(tiny)


@pytest.mark.parametrize(
    ("providers", "complaint"),
    [
        (
            ["CUDAExecutionProvder"],
            r"no execution provider CUDAExecutionProvder; this ONNX Runtime has .*CPUExecution",
        ),
        (["NoSuchProvider", "CPUExecutionProvider"], "no execution provider NoSuchProvider"),
        ([], "is named"),
    ],
)
def test_providers_that_are_not_there(tiny: Path, providers: list[str], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        OnnxDetector.load(tiny, providers=providers)


def test_provider_in_use_is_told(tiny: Path) -> None:
    assert OnnxDetector.load(tiny).providers == ["CPUExecutionProvider"]


def test_a_card_that_its_graph_does_not_fit_is_refused_before_frames_come(tiny: Path) -> None:
    edit_card(tiny, "height = 64", "height = 96")
    with pytest.raises(UserError, match=r"ONNX Runtime refuses .*model\.onnx.*(dimension|Expected: 64)"):
        OnnxDetector.load(tiny)


def test_classes_that_do_not_fit_the_scores_are_refused_before_frames_come(tiny: Path) -> None:
    edit_card(tiny, 'classes = ["smoke", "fire"]', 'classes = ["smoke", "fire", "fog"]')
    edit_card(tiny, "fire = 0.4", "fire = 0.4\nfog = 0.5")
    with pytest.raises(UserError, match=r"scores 2 classes .*its card names 3"):
        OnnxDetector.load(tiny)


# ---------------------------------------------------------------- the model that is shipped


@pytest.mark.parametrize("folder", [SHIPPED, SHIPPED / "free"])
def test_shipped_card_is_whole(folder: Path) -> None:
    card = load_card(folder)
    assert card.classes == ["smoke", "fire"]
    assert len(load_weights(folder, card)) < 17_000_000
    assert all(0 < t < 1 for t in card.thresholds.values())
    assert card.data and card.quality and card.limits
    assert all(source.credit and source.licence for source in card.data)
    assert as_mapping(card)["sha256"] == card.sha256
    assert ("A*" in {s.tier for s in card.data if "training" in s.use}) == ("non-commercial" in card.licence)


@pytest.fixture(scope="module")
def shipped() -> OnnxDetector:
    return OnnxDetector.load(SHIPPED)


def pictures(data_dir: Path, names: list[str]) -> list[NDArray[np.uint8]]:
    return [decode((data_dir / "fire-smoke" / "images" / name).read_bytes()) for name in names]


def hits(detector: OnnxDetector, images: list[NDArray[np.uint8]]) -> int:
    return sum(
        any(score >= detector.thresholds[label] for label, score, _ in found) for found in detector.detect(images)
    )


def test_shipped_model_tells_fire_from_roads_it_was_not_trained_on(data_dir: Path, shipped: OnnxDetector) -> None:
    """From sources held out of training: forest fires against roads and parking places."""
    folder = data_dir / "fire-smoke" / "images"
    fires = pictures(data_dir, sorted(p.name for p in folder.glob("bp_*.jpg"))[::20])
    roads = pictures(data_dir, sorted(p.name for p in folder.glob("hod_*.jpg"))[::8])
    assert len(fires) >= 10 and len(roads) >= 10
    assert hits(shipped, fires) >= 0.6 * len(fires)
    assert hits(shipped, roads) <= 0.2 * len(roads)


def test_shipped_model_finds_nothing_in_an_empty_sky(shipped: OnnxDetector) -> None:
    sky = np.repeat(np.linspace(230, 150, 480, dtype=np.uint8)[:, None, None], 640, 1).repeat(3, 2)
    assert hits(shipped, [sky]) == 0
