"""Blind cameras: each cause raises and clears; weather, night and the camera's own doings raise nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from pipeline import wire
from pipeline.message import SECOND, Clock, Detections, Frame, FrameRecord, ScoredFrame, Signal
from pipeline.rules import blind
from pipeline.rules.blind import Blind, State
from pipeline.rules.causes import Limits
from pipeline.rules.head import Scope
from pipeline.vision.picture import decode_for
from pipeline.vision.stage import Sinks, VisionStage
from tests.doubles import MemoryBlobs, MemoryBook, MemoryStore
from tests.moving import T0, head
from tests.scenery import Air, Image, Land, Weather, at, film, frame, scored

DAY = Air()
FAULT, MENDED, END = 80, 160, 220


@pytest.fixture(scope="module")
def land() -> Land:
    return Land()


def rule(*causes: str, scope: Scope | None = None) -> Blind:
    return Blind(head("blind", name="camera.blind", scope=scope), Limits(), causes)


def watch(frames: Iterable[ScoredFrame], over: Blind | None = None) -> tuple[State, list[Signal]]:
    over = over or rule()
    state, signals = over.initial(), list[Signal]()
    for one in frames:
        state, said = over.step(state, [one])
        signals += said
    return state, signals


def told(frames: Iterable[ScoredFrame]) -> list[tuple[str, str, float]]:
    """(change, cause, seconds since the first frame)."""
    frames = list(frames)
    _state, signals = watch(frames)
    return [(s.change.value, s.evidence["cause"], (s.at - frames[0].at) / SECOND) for s in signals]


def ramp(t: float, start: float, end: float, *, of: tuple[float, float] = (0.0, 1.0)) -> float:
    share = min(max((t - start) / (end - start), 0.0), 1.0)
    return of[0] + (of[1] - of[0]) * share


# ---------------------------------------------------------------- each cause


@pytest.mark.parametrize(
    ("cause", "fault", "after"),
    [
        ("black", Air(light=0, noise=2), 20),
        ("black", Air(light=0, noise=0), 20),
        ("white", Air(exposure=5), 20),
        ("covered", Air(cover=1), 20),
        ("covered", Air(cover=0.9), 20),
        ("defocused", Air(blur=1.5), 40),
        ("defocused", Air(blur=4), 40),
        ("moved", Air(shift=(36, 10)), 20),
        ("moved", Air(shift=(-80, 50)), 20),
    ],
)
def test_a_fault_raises_one_alarm_and_its_end_clears_it(land: Land, cause: str, fault: Air, after: float) -> None:
    found = told(film(land, END, lambda t: fault if FAULT <= t < MENDED else DAY, every=2))
    assert found == [("began", cause, FAULT + after), ("ended", cause, MENDED + 30)]


@pytest.mark.parametrize(
    ("cause", "fault"),
    [("black", Air(light=0)), ("covered", Air(cover=1)), ("moved", Air(shift=(60, 0))), ("defocused", Air(blur=3))],
)
def test_a_camera_that_sends_a_picture_a_minute_is_judged_too(land: Land, cause: str, fault: Air) -> None:
    frames = film(land, 3600, lambda t: fault if 1200 <= t < 2400 else DAY, every=60)
    assert told(frames) == [("began", cause, 1320), ("ended", cause, 2520)]


def test_at_thirty_pictures_a_second(land: Land) -> None:
    """Looks are cut from a film at 2 pictures a second: between them nothing new is judged."""
    slow = list(film(land, 120, lambda t: Air(light=0) if t >= 60 else DAY, every=0.5))
    fast = [
        msgspec.structs.replace(one, at=one.at + n * SECOND // 30, received=one.received + n * SECOND // 30)
        for one in slow
        for n in range(15)
    ]
    (found,) = told(fast)
    assert found[:2] == ("began", "black") and 80 <= found[2] <= 81


def test_another_view_is_accepted_in_time(land: Land) -> None:
    other = Land(9)
    frames = [frame(t, (land if t < 600 else other).picture(t)) for t in range(0, 6000, 20)]
    (began, *_), (ended, _, at_end) = told(frames)
    assert (began, ended) == ("began", "ended") and at_end == 600 + 3600
    later = [*frames, *(frame(t, other.picture(t, Air(shift=(60, 0)))) for t in range(6000, 6200, 20))]
    assert told(later)[2][:2] == ("began", "moved"), "the accepted view is watched as the first one was"


def frozen_film(land: Land, fault: Callable[[float], ScoredFrame]) -> list[ScoredFrame]:
    before, after = film(land, 60, at(DAY)), film(land, 60, at(DAY), start=360)
    return [*before, *(fault(float(t)) for t in range(60, 360)), *after]


def test_the_same_picture_again_and_again_is_frozen(land: Land) -> None:
    kept = land.picture(60)
    found = told(frozen_film(land, lambda t: frame(t, kept)))
    assert found == [("began", "frozen", 90), ("ended", "frozen", 390)]


def clocked(kept: Image, t: float) -> Image:
    """The camera's own clock goes on in a corner."""
    picture = kept.copy()
    cv2.putText(picture, f"10:{t // 60:02.0f}:{t % 60:02.0f}", (10, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255,) * 3)
    return picture


def test_a_frozen_picture_with_a_running_clock_takes_longer(land: Land) -> None:
    kept = land.picture(60)
    found = told(frozen_film(land, lambda t: frame(t, clocked(kept, t))))
    assert found == [("began", "frozen", 180), ("ended", "frozen", 390)]


def test_a_picture_given_twice_by_a_fast_agent_is_not_frozen(land: Land) -> None:
    frames = [frame(t, land.picture(t // 2 * 2)) for t in range(200)]
    assert told(frames) == []


def test_a_live_picture_that_comes_late_is_stale_and_a_recording_is_not(land: Land) -> None:
    look = frame(0, land.picture(0)).look
    assert look is not None
    looks = [msgspec.structs.replace(look, mark=str(n)) for n in range(200)]
    ages = [7200.0 if 60 <= n < 120 else 1.0 for n in range(200)]
    live = [scored(n, looks[n], age=ages[n]) for n in range(200)]
    # What arrives late arrives at a later hour by the bridge's clock, and so is told of there.
    assert [(s.change.value, s.evidence["cause"]) for s in watch(live)[1]] == [
        ("began", "stale"),
        ("ended", "stale"),
    ]
    recorded = [msgspec.structs.replace(one, clock=Clock.UNKNOWN) for one in live]
    assert watch(recorded)[1] == []


def test_one_alarm_whose_cause_may_change(land: Land) -> None:
    def weather(t: float) -> Air:
        return Air(cover=1) if 60 <= t < 120 else Air(exposure=6) if 120 <= t < 200 else DAY

    found = told(film(land, 300, weather, every=2))
    assert found == [("began", "covered", 80), ("still", "white", 140), ("ended", "white", 230)]


def test_ice_that_grows_slowly_is_told_after_hours_of_daylight(land: Land) -> None:
    frames = film(land, 15 * 3600, lambda t: Air(fog=ramp(t, 1200, 4800, of=(0, 3))), every=120, hour=4)
    ((began, cause, after),) = told(frames)
    assert (began, cause) == ("began", "covered") and 12.4 * 3600 < after < 14 * 3600


def test_darkness_at_an_hour_that_had_daylight_yesterday_is_no_night(land: Land) -> None:
    """It failed in the night: nobody could tell, until the morning."""

    def weather(t: float) -> Air:
        hour = (12 + t / 3600) % 24
        night = Air(light=0.004, noise=1)
        return night if t > 12 * 3600 else Air(light=2 ** -ramp(abs(hour - 12), 6, 8, of=(0, 8)))

    ((began, cause, after),) = told(film(land, 26 * 3600, weather, every=300, hour=12))
    assert (began, cause) == ("began", "black") and 16 * 3600 < after <= 26 * 3600


# ---------------------------------------------------------------- what is no fault


def dusk(t: float, *, noise: float, lamps: bool = False) -> Air:
    return Air(light=2 ** -ramp(t, 200, 2000, of=(0, 12)), noise=ramp(t, 200, 2000, of=(2, noise)), lamps=lamps)


BENIGN: dict[str, tuple[Weather, float, float]] = {
    "fog rolls in within ten minutes and out again": (
        lambda t: Air(fog=ramp(t, 100, 700, of=(0, 1.5)) if t < 1500 else ramp(t, 1500, 2100, of=(1.5, 0))),
        2400,
        10,
    ),
    "fog rolls in within two minutes": (lambda t: Air(fog=ramp(t, 100, 220, of=(0, 1.5))), 600, 3),
    "fog at a picture a minute": (lambda t: Air(fog=ramp(t, 1200, 1260, of=(0, 1.5))), 6000, 60),
    "snowfall": (lambda t: Air(snow=ramp(t, 100, 160), fog=ramp(t, 100, 200, of=(0, 0.4))), 400, 3),
    "dusk without a lamp, a noisy sensor": (lambda t: dusk(t, noise=5), 3000, 20),
    "dusk without a lamp or a star, and no noise": (lambda t: dusk(t, noise=0), 4000, 20),
    "dusk with lamps": (lambda t: dusk(t, noise=4, lamps=t > 1000), 3000, 20),
    "dusk at a picture a minute": (lambda t: dusk(t, noise=4, lamps=t > 1000), 6000, 60),
    "lamps go off and on in the night": (lambda t: Air(light=0.01, lamps=t % 200 < 100, noise=4), 500, 2),
    "a still night with lamps": (lambda t: Air(light=0.1, lamps=True, noise=0.5), 4000, 25),
    "a starless night": (lambda t: Air(light=0.0, noise=0.3), 4000, 25),
    "dawn": (lambda t: Air(light=2 ** -ramp(t, 200, 2000, of=(12, 0)), noise=4), 2500, 20),
    "infrared by night, its noise smoothed": (
        lambda t: Air(light=0.3) if t < 200 else Air(mono=True, noise=0.5),
        2400,
        10,
    ),
    "steps of the exposure": (lambda t: Air(exposure=[1, 1.5, 0.6, 1.2][int(t // 60) % 4]), 400, 3),
    "wind shakes the mast": (lambda t: Air(shift=(4 * np.sin(t * 3), 3 * np.cos(t * 7))), 300, 3),
    "coding changes": (lambda t: Air(quality=[85, 40, 95, 20][int(t // 60) % 4]), 400, 3),
    "resolution changes": (lambda t: Air(scale=1 if t < 100 else 0.5), 300, 3),
    "drops of rain on the glass": (lambda t: Air(rain=int(t // 20) + 1 if t > 100 else 0, fog=0.1), 300, 3),
    "a calm day, little noise": (at(Air(noise=0.8)), 4000, 25),
}


@pytest.mark.parametrize("name", sorted(BENIGN))
def test_it_is_no_fault_when(land: Land, name: str) -> None:
    weather, seconds, every = BENIGN[name]
    assert told(film(land, seconds, weather, every=every)) == []


CLIPS = (
    "fire_model_house_furg_house6.mp4",
    "fire_night_pile.mp4",
    "fire_smoke_car_training.mp4",
    "none_parking_lot.mp4",
    "smoke_hpwren_rmn_20160604_timelapse.mp4",
)


def clip(
    path: Path, every: float, change: Callable[[float, Image], Image] = lambda _t, image: image
) -> list[ScoredFrame]:
    """A clip there and back until two minutes are over, a picture `every` seconds, changed after a minute."""
    capture = cv2.VideoCapture(str(path))
    rate = capture.get(cv2.CAP_PROP_FPS)
    images = []
    while (got := capture.read())[0]:
        images.append(np.asarray(got[1], np.uint8))
    images = images[:: max(1, round(rate * every))]
    there_and_back = [*images, *images[-2:0:-1]]
    return [
        frame(n * every, change(n * every, there_and_back[n % len(there_and_back)]))
        for n in range(int(180 / every))
    ]


@pytest.mark.parametrize("name", CLIPS[:4])
def test_real_films_raise_nothing(data_dir: Path, name: str) -> None:
    assert told(clip(data_dir / "clips" / name, 0.5)) == []


@pytest.mark.parametrize(
    ("cause", "change"),
    [
        ("black", lambda image: image // 30),
        ("white", lambda image: np.full_like(image, 254)),
        ("covered", lambda image: image // 20 + 90),
        ("defocused", lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), image.shape[1] / 200), np.uint8)),
        ("moved", lambda image: np.roll(image, image.shape[1] // 5, axis=1)),
    ],
)
@pytest.mark.parametrize("name", ["none_parking_lot.mp4", "fire_model_house_furg_house6.mp4"])
def test_faults_cut_from_real_films(
    data_dir: Path, name: str, cause: str, change: Callable[[Image], Image]
) -> None:
    frames = clip(data_dir / "clips" / name, 0.5, lambda t, image: change(image) if 70 <= t < 130 else image)
    assert [(change_, named) for change_, named, _t in told(frames)] == [("began", cause), ("ended", cause)]


# ---------------------------------------------------------------- the rule as such


def test_the_reason_has_the_numbers(land: Land) -> None:
    _, (signal,) = watch(film(land, 110, lambda t: Air(blur=2) if t >= 60 else DAY, every=2))
    assert re.fullmatch(r"tower is blind, defocused: sharpness \d+, usually \d+ to \d+ by day", signal.reason), (
        signal.reason
    )
    assert signal.evidence["cause"] == "defocused"
    assert signal.evidence["look"]["sharpness"] < 10
    assert (signal.subject, signal.place) == ("tower", "")


def test_causes_cameras_and_looks_that_are_not_watched_say_nothing(land: Land) -> None:
    black = list(film(land, 120, lambda t: Air(light=0) if t >= 60 else DAY, every=2))
    assert watch(black, rule("frozen", "moved"))[1] == []
    assert watch(black, rule(scope=Scope(["yard-*"])))[1] == []
    assert watch([msgspec.structs.replace(one, look=None) for one in black])[1] == []


def test_late_and_future_pictures_are_passed_over(land: Land) -> None:
    one, two = film(land, 2, at(DAY))
    state, _ = watch([two, one, msgspec.structs.replace(two, at=two.at + 1000 * SECOND)])
    assert state.passed_over == 2


def test_it_stands_until_the_end_of_the_alarm(land: Land) -> None:
    over = rule()
    state, stood = over.initial(), []
    for one in film(land, 200, lambda t: Air(light=0) if 60 <= t < 120 else DAY, every=2):
        state, _signals = over.step(state, [one])
        stood.append(over.stands(state, "tower"))
    assert [n * 2 for n, now in enumerate(stood) if now] == list(range(80, 150, 2))


def test_packing_the_state_changes_nothing_and_it_stays_small(land: Land) -> None:
    frames = list(film(land, 200, lambda t: Air(blur=3) if 60 <= t < 120 else DAY, every=2))
    over, state, signals = rule(), rule().initial(), list[Signal]()
    for one in frames:
        state, said = over.step(state, [one])
        packed = wire.pack_state(state)
        state = wire.unpack_state(packed, State)
        signals += said
    assert signals == watch(frames)[1] and len(signals) == 2
    assert len(packed) < 20_000


def test_the_limits_are_the_tables_keys() -> None:
    spec = blind.Spec(name="b", kind="blind", persist_s=7, frozen_s=8, accept_s=9, silent_s=11)
    limits = spec.limits()
    assert (limits.persist, limits.frozen, limits.accept) == (7 * SECOND, 8 * SECOND, 9 * SECOND)
    assert blind.Spec(name="b", kind="blind").limits() == Limits(), "one default, wherever it is written"


def test_the_shipped_file_shows_every_key(root: Path) -> None:
    text = (root / "config" / "rules.toml").read_text("utf-8").partition('kind = "blind"')[2]
    for field in msgspec.structs.fields(blind.Spec)[4:]:
        assert re.search(rf"^{field.name} = ", text, re.M), field.name


@pytest.mark.parametrize("fog", [Air(fog=0.1), Air(fog=0.3), Air(fog=0.2, noise=5, quality=40)])
def test_fog_then_cover_is_still_told(land: Land, fog: Air) -> None:
    """Fog does not hide a hand, nor does the noise that goes on behind it."""
    found = told(film(land, 150, lambda t: replace(fog, cover=1.0) if t >= 100 else fog, every=2))
    assert found == [("began", "covered", 120)]


class SeesNothing:
    """A detector that finds nothing in any picture."""

    model = "nothing@0"
    thresholds: dict[str, float] = {}  # noqa: RUF012

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        return [Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ()) for _ in images]


def test_pictures_of_a_blind_camera_are_stored_and_refresh_nothing(land: Land) -> None:
    """Through the vision worker's stage: the alarm has its picture, the board the last time the camera saw."""
    book, blobs, store = MemoryBook(), MemoryBlobs(), MemoryStore()
    stage = VisionStage(
        SeesNothing(),
        [(rule(), State)],
        Sinks(store, blobs, book),
        decode=partial(decode_for, need=640),
        batch=4,
        max_age_s=1e9,
        now=lambda: T0,
    )
    state, outcomes = stage.initial(), []
    for n in range(60):
        picture = land.picture(n * 2, Air(light=0) if n >= 30 else DAY)
        shot = Frame(T0 + n * 2 * SECOND, cv2.imencode(".jpg", picture)[1].tobytes())
        record = wire.pack(FrameRecord("tower", 1, n + 1, shot.at, shot))
        state, seen = stage.handle(stage.restore(stage.dump(state)), [record])
        stage.commit([seen])
        outcomes.append(seen)
    (signal,) = [signal for seen in outcomes for signal in seen.signals]
    assert signal.reason.startswith("tower is blind, black") and signal.evidence["frame"] in blobs.kept
    assert len(store.scored) == 60
    assert book.devices() == [{"device": "tower", "frame_scored": T0 + (60 + 20 - 2) * SECOND}]
