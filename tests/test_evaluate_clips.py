"""Clips: what a person marked, what the rules said, and the verdicts; a drawn clip through all of it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.ports import UserError
from pipeline.rules.config import load as load_rules
from pipeline.vision.detector import OnnxDetector
from pipeline.vision.evaluate.clips import Raised, Watched, judge, summary
from pipeline.vision.evaluate.marks import Mark, read_marks
from pipeline.vision.evaluate.watch import clip_files, watch
from tests.tinyonnx import write_model

CLASSES = ("smoke", "fire")
RULES = """\
[[rule]]
name = "smoke"
kind = "sighting"
label = "smoke"
persist_s = {persist}
min_hits = 3
still_change = 0
"""


def watched(*alarms: tuple[float, str], length: float = 100.0, pace: float = 1.0) -> Watched:
    raised = tuple(Raised(at, label, label, "why") for at, label in alarms)
    return Watched("a.mp4", CLASSES, raised, length, pace, (1.0,))


def test_found_missed_beside_and_quiet() -> None:
    found = judge(watched((12.0, "fire")), Mark({"fire": 2.0, "smoke": 0.0}))
    assert found.verdicts == {"fire": "found", "smoke": "missed"} and found.seconds_to_detect == {"fire": 10.0}
    beside = judge(watched((12.0, "fire"), (20.0, "smoke")), Mark({"fire": 2.0}))
    assert beside.verdicts == {"fire": "found", "smoke": "beside"} and beside.false == ()
    assert judge(watched(), Mark()).verdicts == {"smoke": "quiet", "fire": "quiet"}


def test_an_alarm_before_anything_is_to_be_seen_is_false_and_finds_nothing() -> None:
    early = judge(watched((5.0, "fire")), Mark({"fire": 8.0}))
    assert early.verdicts["fire"] == "missed" and len(early.false) == 1 and early.calm_s == 8.0
    both = judge(watched((5.0, "fire"), (9.0, "fire")), Mark({"fire": 8.0}))
    assert both.verdicts["fire"] == "found" and len(both.false) == 1 and both.seconds_to_detect == {"fire": 1.0}


def test_every_alarm_in_a_calm_clip_is_false() -> None:
    calm = judge(watched((5.0, "fire"), (50.0, "fire")), Mark())
    assert calm.verdicts == {"fire": "false alarm", "smoke": "quiet"} and len(calm.false) == 2
    assert calm.calm_s == 100.0


def test_alarms_about_the_camera_are_not_judged() -> None:
    blind = judge(watched((5.0, "moved")), Mark())
    assert blind.verdicts == {"smoke": "quiet", "fire": "quiet"} and blind.false == ()


def test_marks_of_time_lapse_are_in_the_clips_own_time() -> None:
    lapse = judge(watched((400.0, "smoke"), length=2580, pace=240), Mark({"smoke": 1.0}, frame_s=60))
    assert lapse.seconds_to_detect == {"smoke": 160.0} and lapse.calm_s == 240.0


def test_all_clips_together() -> None:
    calm = [judge(watched((5.0, "fire"), length=1800), Mark()), judge(watched(length=1800), Mark())]
    hits = [judge(watched((at, "fire")), Mark({"fire": 0.0})) for at in (2.0, 4.0, 30.0)]
    found = summary([*calm, *hits, judge(watched(), Mark({"fire": 0.0}))], CLASSES, resamples=500)
    assert found["found_fire"].value == 0.75 and "found_smoke" not in found
    assert found["seconds_to_detect_fire"] == (4.0, (2.0, 30.0))
    rate, interval = found["false_alarms_per_hour"]
    assert rate == 1.0 and interval == pytest.approx((0.0253, 5.572), abs=1e-3)
    assert summary(hits[:2], CLASSES, resamples=500)["seconds_to_detect_fire"].value == 3.0
    assert summary(hits[:1], CLASSES, resamples=500)["seconds_to_detect_fire"].interval is None
    assert "false_alarms_per_hour" not in summary(hits, CLASSES, resamples=0)


# ---------------------------------------------------------------- clips.csv


def marks(folder: Path, *rows: str, head: str = "file,label,first_visible_s,note") -> dict[str, Mark]:
    (folder / "clips.csv").write_text("\n".join([head, *rows]), encoding="utf-8")
    return read_marks(folder, CLASSES) or {}


def test_what_a_person_wrote(tmp_path: Path) -> None:
    found = marks(
        tmp_path,
        'a.mp4,fire+smoke,"~0 (dark smoke, flames from ~1)",',
        'b.mp4,smoke,~1.5 (right edge),"time lapse, 1 frame = about 1 minute, shown at 4 fps"',
        "c.mp4,none,,",
        "d.mp4,fire,,1 frame = 10 seconds",
    )
    assert found == {
        "a.mp4": Mark({"fire": 0.0, "smoke": 0.0}),
        "b.mp4": Mark({"smoke": 1.5}, 60.0),
        "c.mp4": Mark(),
        "d.mp4": Mark({"fire": 0.0}, 10.0),
    }


def test_columns_of_their_own(tmp_path: Path) -> None:
    head = "file,label,first_visible_s,first_fire_s,frame_s"
    assert marks(tmp_path, "a.mp4,fire+smoke,0.5,3,30", head=head)["a.mp4"] == Mark(
        {"fire": 3.0, "smoke": 0.5}, 30.0
    )


@pytest.mark.parametrize(
    ("row", "words"),
    [("a.mp4,steam,1,", "label 'steam'"), ("a.mp4,fire,soon,", "first_visible_s is 'soon'")],
)
def test_what_is_not_understood_is_named_with_its_line(tmp_path: Path, row: str, words: str) -> None:
    with pytest.raises(UserError, match=r"clips\.csv:3: " + words):
        marks(tmp_path, "b.mp4,none,,", row)


def test_no_marks_and_no_clips(tmp_path: Path) -> None:
    assert read_marks(tmp_path, CLASSES) is None
    with pytest.raises(UserError, match="no clips"):
        clip_files(tmp_path)
    with pytest.raises(UserError, match="no folder"):
        clip_files(tmp_path / "nowhere")


# ---------------------------------------------------------------- a drawn clip


@pytest.fixture
def detector(tmp_path: Path) -> OnnxDetector:
    """Sees smoke in white pictures, nothing in black ones."""
    boxes, scores = np.array([[16, 16, 32, 48]], np.float32), np.array([[0.8, 0.0]], np.float32)
    return OnnxDetector.load(write_model(tmp_path / "model", boxes, scores))


def clip(path: Path, dark: int, white: int) -> Path:
    """10 frames a second, first black, then white."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 64))
    for level in [0] * dark + [255] * white:
        writer.write(np.full((64, 64, 3), level, np.uint8))
    writer.release()
    return path


def test_a_clip_is_watched_in_event_time(tmp_path: Path, detector: OnnxDetector) -> None:
    (tmp_path / "rules.toml").write_text(RULES.format(persist=2), encoding="utf-8")
    rules = load_rules(tmp_path / "rules.toml")
    seen = watch(clip(tmp_path / "a.mp4", 20, 60), detector, rules, every_s=0.5)
    assert (seen.clip, seen.length_s, seen.pace, len(seen.took)) == ("a.mp4", 7.6, 1.0, 16)
    (alarm,) = seen.alarms
    assert (alarm.at_s, alarm.label, alarm.rule) == (4.0, "smoke", "smoke")
    assert judge(seen, Mark({"smoke": 2.0})).seconds_to_detect == {"smoke": 2.0}


def test_time_lapse_frames_are_as_far_apart_as_they_were(tmp_path: Path, detector: OnnxDetector) -> None:
    """A frame a minute: five minutes must pass; at ten frames a second the same clip is too short."""
    (tmp_path / "rules.toml").write_text(RULES.format(persist=300), encoding="utf-8")
    rules, file = load_rules(tmp_path / "rules.toml"), clip(tmp_path / "a.mp4", 10, 20)
    lapse = watch(file, detector, rules, frame_s=60.0)
    assert [alarm.at_s for alarm in lapse.alarms] == [15 * 60.0] and lapse.length_s == 30 * 60
    assert judge(lapse, Mark({"smoke": 1.0}, 60.0)).seconds_to_detect == {"smoke": 300.0}
    assert watch(file, detector, rules, every_s=0.0).alarms == ()


def test_a_cut_clip_is_refused(tmp_path: Path, detector: OnnxDetector) -> None:
    (tmp_path / "rules.toml").write_text(RULES.format(persist=2), encoding="utf-8")
    file = clip(tmp_path / "a.mp4", 5, 5)
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(UserError, match=r"a\.mp4"):
        watch(file, detector, load_rules(tmp_path / "rules.toml"))
