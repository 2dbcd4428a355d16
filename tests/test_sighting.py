"""Fire and smoke confirmed over event time, at 30 frames a second and at a frame a minute."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import wire
from pipeline.message import SECOND, ScoredFrame, Signal
from pipeline.rules.cameras import Camera, Mask
from pipeline.rules.head import Scope
from pipeline.rules.sighted import take_held_back
from pipeline.rules.sighting import Box, Confirmation, Sighting, State, held_back
from pipeline.rules.views import Views
from tests.moving import T0, head

HERE: Box = (100, 100, 140, 140)
BESIDE: Box = (120, 90, 170, 150)
FAR: Box = (500, 300, 540, 340)


def sighting(scope: Scope | None = None, **changed: float) -> Sighting:
    values = {
        "open_score": 0.5,
        "hold_score": 0.3,
        "persist": 3 * SECOND,
        "min_hits": 3,
        "min_share": 0.5,
        "close": 10 * SECOND,
        "close_frames": 3,
        "max_gap": 600 * SECOND,
        **changed,
    }
    return Sighting(head("sighting", name="fire", scope=scope), Confirmation(label="fire", **values))  # type: ignore[arg-type]


def seen_by(camera: Camera) -> Sighting:
    """The rule with this camera's masks and scores."""
    plain = sighting()
    return Sighting(head("sighting", name="fire"), plain.terms("elsewhere", 0), Views({camera.name: camera}))


def frame(t: float, *found: tuple[float, Box], camera: str = "tower", label: str = "fire") -> ScoredFrame:
    at = T0 + round(t * SECOND)
    return ScoredFrame(camera, at, at, 640, 480, "m@1", [(label, score, box) for score, box in found])


def film(rate: float, scores: Sequence[float], box: Box = HERE) -> list[ScoredFrame]:
    """Frames `1 / rate` seconds apart; score 0 stands for nothing seen."""
    return [frame(i / rate, *([(score, box)] if score else [])) for i, score in enumerate(scores)]


def watch(frames: list[ScoredFrame], rule: Sighting | None = None) -> tuple[State, list[Signal]]:
    rule = rule or sighting()
    return rule.step(rule.initial(), frames)


def said(frames: list[ScoredFrame], rule: Sighting | None = None) -> list[tuple[str, float, float]]:
    _, signals = watch(frames, rule)
    return [(s.change.value, (s.at - T0) / SECOND, (s.start - T0) / SECOND) for s in signals]


def test_at_thirty_frames_a_second_it_must_last() -> None:
    assert said(film(30, [0.6] * 90)) == []
    ((change, at, start),) = said(film(30, [0.6] * 120))
    assert (change, at, start) == ("began", 3, 0)


def test_at_a_frame_a_minute_it_needs_enough_frames() -> None:
    assert said(film(1 / 60, [0.6] * 2)) == []
    assert said(film(1 / 60, [0.6] * 3)) == [("began", 120, 0)]


def test_a_flash_is_held_back_for_its_persistence() -> None:
    frames = film(10, [0.9] * 10 + [0] * 200)
    state, signals = watch(frames)
    assert signals == []
    (held,) = held_back(state, "tower")
    assert (held.reason, held.detail) == ("persistence", "lasted 0.9 s, 3 s needed")
    assert held.best == pytest.approx(0.9)


def test_a_faint_sight_is_held_back_for_its_score() -> None:
    state, signals = watch(film(10, [0.45] * 100 + [0] * 200))
    assert signals == []
    (held,) = held_back(state, "tower")
    assert (held.reason, held.detail) == ("score", "best score 0.45, 0.50 needed")


def test_a_flicker_is_no_fire() -> None:
    state, signals = watch(film(10, [0.6, 0, 0, 0] * 100 + [0] * 200))
    assert signals == []
    assert [held.reason for held in held_back(state, "tower")] == ["share"]


def test_an_open_episode_is_held_by_the_lower_score() -> None:
    frames = film(1, [0.6] * 5 + [0.35] * 60 + [0.2] * 20)
    assert said(frames) == [("began", 3, 0), ("ended", 74, 0)]


def test_absence_needs_seconds_and_frames() -> None:
    assert said(film(10, [0.6] * 40 + [0] * 99))[-1][0] == "began"
    assert said(film(10, [0.6] * 40 + [0] * 110))[-1][:2] == ("ended", 13.9)
    assert said(film(1 / 60, [0.6] * 3 + [0] * 2)) == [("began", 120, 0)]
    assert said(film(1 / 60, [0.6] * 3 + [0] * 3)) == [("began", 120, 0), ("ended", 300, 0)]


def test_a_camera_that_sends_nothing_ends_nothing() -> None:
    frames = [*film(1, [0.6] * 10), frame(5000, (0.6, HERE)), frame(5001)]
    assert said(frames) == [("began", 3, 0)]


def test_what_was_seen_before_a_long_gap_confirms_nothing() -> None:
    frames = [*film(1, [0.6] * 2), frame(5000, (0.6, HERE)), frame(5001, (0.6, HERE))]
    state, signals = watch(frames)
    assert signals == []
    assert [held.reason for held in held_back(state, "tower")] == ["gap"]


def test_boxes_far_apart_are_not_one_fire() -> None:
    frames = [frame(t, (0.6, HERE if t % 2 else FAR)) for t in range(20)]
    strict = sighting(min_share=0.8, min_hits=4)
    assert said(frames, strict) == []
    near = [frame(t, (0.6, HERE if t % 2 else BESIDE)) for t in range(20)]
    assert len(said(near, strict)) == 1


def test_two_fires_in_one_picture_are_two_alarms() -> None:
    _, signals = watch([frame(t, (0.6, HERE), (0.7, FAR)) for t in range(10)])
    assert len({s.alarm for s in signals}) == 2
    assert {s.place for s in signals} == {"19% across, 25% down", "81% across, 67% down"}


def test_a_growing_fire_in_pieces_stays_one_alarm() -> None:
    pieces = [frame(t, (0.6, HERE), (0.55, BESIDE)) for t in range(10)]
    assert len(watch(pieces)[1]) == 1


def test_other_labels_and_cameras_out_of_scope_say_nothing() -> None:
    smoke = [frame(t, (0.9, HERE), label="smoke") for t in range(20)]
    assert said(smoke) == []
    assert said(film(1, [0.9] * 20), sighting(Scope(["yard-*"]))) == []


def test_late_and_future_frames_are_passed_over() -> None:
    late = [frame(t, (0.6, HERE)) for t in (5, 4, 5)]
    assert watch(late)[0].passed_over == 2
    wild = ScoredFrame("tower", T0 + 10**9 * SECOND, T0, 640, 480, "m@1", [])
    assert said([wild, *film(1, [0.6] * 5)]) == [("began", 3, 0)]


def test_evidence_explains_the_alarm() -> None:
    _, (signal,) = watch(film(1, [0.6, 0.9, 0, 0.7, 0.8]))
    assert signal.reason == (
        "tower has seen fire for 3 s at 19% across, 25% down of the picture: in 3 of 4 frames, "
        "score 0.70, best 0.90, 0.50 needed"
    )
    evidence = signal.evidence
    assert (evidence["camera"], evidence["model"], evidence["box"]) == ("tower", "m@1", [100, 100, 140, 140])
    assert (evidence["in_sight"], evidence["hits"], evidence["strong"]) == (4, 3, 3)
    assert evidence["confirmation"]["hold_score"] == 0.3
    assert evidence["confirmation"]["persist_s"] == 3
    assert (evidence["first"], evidence["last"]) == (T0, T0 + 3 * SECOND)


def test_candidates_do_not_pile_up() -> None:
    crowd = [(0.4, (x * 80.0, y * 80.0, x * 80.0 + 2, y * 80.0 + 2)) for x in range(8) for y in range(6)]
    state, _ = watch([frame(t, *crowd) for t in range(5)])
    assert len(state.cameras["tower"].candidates) == 16


# ---------------------------------------------------------------- what moves and what does not


def moving(
    rate: float, count: int, change: float | None, box: Box = HERE, *, first: int = 0, others: Sequence[Box] = ()
) -> list[ScoredFrame]:
    """Frames of a thing with this change inside its box, and others that flicker."""
    frames = []
    for i in range(first, first + count):
        plain = frame(i / rate, (0.6, box), *[(0.7, other) for other in others])
        changes = [change, *[0.5] * len(others)]
        frames.append(msgspec.structs.replace(plain, changes=changes))
    return frames


def test_a_lamp_never_opens_and_is_told_while_it_stands() -> None:
    state, signals = watch(moving(2, 2 * 300, 0.03))
    assert signals == []
    told = take_held_back(state)
    assert [(held.reason, (held.last - held.first) // SECOND) for held in told] == [
        ("constant", s) for s in (60, 120, 180, 240)
    ]
    assert len({held.id for held in told}) == 1
    assert told[0].detail == "it does not move: change 0.03, 0.10 needed"
    assert take_held_back(state) == []


def test_what_changes_a_little_opens_as_ever_and_what_flickers_opens_earlier() -> None:
    assert said(moving(10, 60, 0.2)) == [("began", 3, 0)]
    assert said(moving(10, 60, 0.4)) == [("began", 2.1, 0)]
    assert said(moving(10, 60, None)) == [("began", 3, 0)]


def test_slow_smoke_on_a_time_lapse_opens() -> None:
    """A frame a minute; the box grows and jitters, the picture in it changes as far smoke was measured to."""
    boxes = [(100.0 - i, 100.0 - 2 * i, 140.0 + i + i % 2, 140.0) for i in range(6)]
    frames = [msgspec.structs.replace(frame(60.0 * i, (0.6, box)), changes=[0.13]) for i, box in enumerate(boxes)]
    assert [word for word, _at, _start in said(frames)] == ["began"]


def test_what_grows_opens_earlier_though_it_changes_little() -> None:
    boxes = [(100.0 - i, 100.0 - i, 120.0 + i, 120.0 + i) for i in range(40)]
    frames = [msgspec.structs.replace(frame(i / 10, (0.6, box)), changes=[0.15]) for i, box in enumerate(boxes)]
    assert said(frames)[0][1] == pytest.approx(2.1)


def test_a_steady_box_with_a_score_that_swings_is_not_called_constant() -> None:
    frames = [
        msgspec.structs.replace(frame(i / 10, (0.5 + 0.2 * (i % 3), HERE)), changes=[0.02]) for i in range(60)
    ]
    assert [word for word, _at, _start in said(frames)] == ["began"]


def test_a_fire_that_begins_beside_a_lamp_is_not_hidden() -> None:
    beside: Box = (141, 100, 190, 150)
    frames = [*moving(2, 200, 0.02), *moving(2, 20, 0.02, first=200, others=[beside])]
    ((word, at, start),) = said(frames)
    assert (word, start) == ("began", 100)
    assert 102 <= at <= 104


def test_a_fire_whose_box_takes_the_lamp_in_is_not_hidden() -> None:
    both: Box = (95, 60, 190, 150)
    frames = [*moving(2, 200, 0.02), *moving(2, 20, 0.4, both, first=200)]
    ((word, at, start),) = said(frames)
    assert (word, start) == ("began", 100)
    assert at <= 104


def test_a_lamp_that_begins_to_burn_opens_and_began_when_it_did() -> None:
    ((word, at, start),) = said([*moving(2, 200, 0.02), *moving(2, 40, 0.5, first=200)])
    assert (word, start) == ("began", 100)
    assert at <= 104


def test_what_was_constant_and_begins_to_move_slowly_must_last_anew() -> None:
    ((word, at, start),) = said([*moving(2, 200, 0.02), *moving(2, 40, 0.15, first=200)])
    assert word == "began"
    assert 100 < start < at < 110


def test_zero_switches_the_look_for_motion_off() -> None:
    assert said(moving(10, 60, 0.0), sighting(still=0.0)) == [("began", 3, 0)]


# ---------------------------------------------------------------- cameras of their own


def test_what_is_masked_is_held_back_with_the_name_of_the_mask() -> None:
    mask = Mask(polygon=((0.0, 0.0), (0.4, 0.0), (0.4, 0.5), (0.0, 0.5)), name="chimney")
    rule = seen_by(Camera(name="tower", masks=(mask,)))
    state, signals = watch([*film(10, [0.9] * 100), *[frame(10 + t, (0.9, FAR)) for t in range(60)]], rule)
    assert [s.place for s in signals] == ["81% across, 67% down"]
    assert [(h.reason, h.detail) for h in take_held_back(state)] == [
        ("mask", "inside the mask 'chimney' of the camera")
    ]


def test_a_fire_that_grows_out_of_a_mask_opens() -> None:
    mask = Mask(polygon=((0.0, 0.0), (0.22, 0.0), (0.22, 1.0), (0.0, 1.0)))
    boxes = [(100.0, 100.0, 140.0 + 5 * i, 140.0 + 5 * i) for i in range(20)]
    frames = [frame(t, (0.9, box)) for t, box in enumerate(boxes)]
    assert len(watch(frames, seen_by(Camera(name="tower", masks=(mask,))))[1]) == 1


def test_a_camera_has_scores_of_its_own_and_the_hold_score_moves_with_them() -> None:
    rule = seen_by(Camera(name="tower", thresholds={"fire": 0.25}))
    state, (signal,) = watch(film(1, [0.3] * 5), rule)
    assert signal.evidence["confirmation"]["open_score"] == 0.25
    assert signal.evidence["confirmation"]["hold_score"] == 0.15
    strict = seen_by(Camera(name="tower", thresholds={"fire": 0.8}))
    state, signals = watch(film(1, [0.6] * 5 + [0] * 20), strict)
    assert signals == []
    assert [(h.reason, h.needed) for h in take_held_back(state)] == [("score", 0.8)]


def test_cool_down_holds_back_what_begins_anew_at_the_place() -> None:
    frames = film(1, [0.6] * 5 + [0] * 20 + [0.6] * 200)
    assert [word for word, _at, _start in said(frames)] == ["began", "ended", "began"]
    cooling = sighting(cooldown=100 * SECOND)
    state, signals = watch(frames, cooling)
    assert [(s.change.value, (s.at - T0) // SECOND) for s in signals] == [
        ("began", 3),
        ("ended", 14),
        ("began", 114),
    ]
    assert {held.reason for held in take_held_back(state)} == {"cool_down"}
    elsewhere = [*film(1, [0.6] * 5 + [0] * 20), *[frame(30 + t, (0.6, FAR)) for t in range(10)]]
    assert len(watch(elsewhere, cooling)[1]) == 3


def test_a_strong_sight_takes_the_place_of_the_faintest_of_a_crowd() -> None:
    crowd = [(0.4, (x * 150.0, y * 110.0, x * 150.0 + 2, y * 110.0 + 2)) for x in range(4) for y in range(4)]
    frames = [frame(t, *crowd, *([(0.9, (590.0, 50.0, 600.0, 60.0))] if t > 5 else [])) for t in range(20)]
    state, (signal,) = watch(frames)
    assert signal.evidence["best"] == pytest.approx(0.9)
    assert "crowd" in {held.reason for held in take_held_back(state)}


def test_a_state_saved_before_motion_was_looked_at_still_loads() -> None:
    scores = {"score": 0.6, "best": 0.6, "seen": [(T0, 0.6)]}
    old = {
        "cameras": {
            "tower": {
                "frames": [T0],
                "candidates": [{"first": T0, "last": T0, "start": T0, "box": HERE, **scores}],
                "held_back": [
                    {"first": 1, "last": 2, "box": HERE, "best": 0.3, "reason": "score", "detail": "too low"}
                ],
            }
        },
        "passed_over": 2,
    }
    state = wire.unpack_state(msgspec.msgpack.encode(old), State)
    _, signals = sighting().step(state, film(1, [0.6] * 5)[1:])
    assert [(s.at, s.start) for s in signals] == [(T0 + 3 * SECOND, T0)]


seen = st.lists(
    st.builds(
        lambda gap, found, camera: (gap, found, camera),
        st.sampled_from([0.03, 0.5, 1, 5, 60, 700]),
        st.lists(st.tuples(st.sampled_from([0.2, 0.4, 0.6]), st.sampled_from([HERE, BESIDE, FAR])), max_size=3),
        st.sampled_from(["tower", "yard"]),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(seen, st.lists(st.integers(0, 60), max_size=3).map(sorted))
def test_cutting_the_input_and_packing_the_state_changes_nothing(
    steps: list[tuple[float, list[tuple[float, Box]], str]], cuts: list[int]
) -> None:
    t, frames = 0.0, []
    for gap, found, camera in steps:
        t += gap
        frames.append(frame(t, *found, camera=camera))
    rule, state, signals = sighting(), sighting().initial(), list[Signal]()
    for a, b in zip([0, *cuts], [*cuts, len(frames)], strict=True):
        state, more = rule.step(state, frames[a:b])
        state = wire.unpack_state(wire.pack_state(state), State)
        signals += more
    assert signals == watch(frames)[1]


@settings(max_examples=100, deadline=None)
@given(seen)
def test_an_episode_begins_once_and_ends_once(steps: list[tuple[float, list[tuple[float, Box]], str]]) -> None:
    t, frames = 0.0, []
    for gap, found, camera in steps:
        t += gap
        frames.append(frame(t, *found, camera=camera))
    lives: dict[str, list[str]] = {}
    for signal in watch(frames)[1]:
        lives.setdefault(signal.alarm, []).append(signal.change.value)
    assert all(life in (["began"], ["began", "ended"]) for life in lives.values())
