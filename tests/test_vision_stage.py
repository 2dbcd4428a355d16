"""The vision worker's stage, over in-memory ports."""

from __future__ import annotations

import base64
import random
import resource
import struct
from collections.abc import Sequence
from functools import partial

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import wire
from pipeline.message import SECOND, Detections, Frame, FrameRecord, ScoredFrame
from pipeline.rules.sighting import Confirmation, Sighting, State
from pipeline.vision.picture import Decoded, decode_for
from pipeline.vision.stage import Seen, Sinks, VisionStage
from tests.doubles import MemoryBlobs, MemoryBook, MemoryStore
from tests.moving import head
from tests.test_picture import RED_CMYK, encode, png_chunk, scene, sof

NOON = 1_767_268_800 * SECOND
HOUR = 3600 * SECOND


class Nothing:
    """A detector that sees nothing."""

    def __init__(self) -> None:
        self.model = "nothing@0"
        self.thresholds: dict[str, float] = {}

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        return [Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ()) for _ in images]


def blank(_data: bytes) -> Decoded:
    return Decoded(np.zeros((8, 8, 3), np.uint8), 8, 8)


@pytest.mark.parametrize(
    ("at", "received", "fresh_as_of"),
    [(NOON - 6 * HOUR, NOON, NOON - 6 * HOUR), (NOON + HOUR, NOON, NOON)],
    ids=["a backlog being drained is as old as its pictures", "a clock that is ahead makes nothing fresher"],
)
def test_the_board_shows_how_old_the_newest_scored_picture_is(at: int, received: int, fresh_as_of: int) -> None:
    book = MemoryBook()
    sinks = Sinks(MemoryStore(), MemoryBlobs(), book)
    stage = VisionStage(Nothing(), [], sinks, decode=blank, batch=4, max_age_s=10.0, now=lambda: NOON)
    stage.commit([Seen(frames=[ScoredFrame("cam-1", at, received, 8, 8, "nothing@0", [])])])
    assert book.devices() == [{"device": "cam-1", "frame_scored": fresh_as_of}]


# ---------------------------------------------------------------- from bytes to what was held back


class Bright:
    """A detector that calls the brightest spot of a picture fire, in a box of fixed size, always with 0.6."""

    def __init__(self) -> None:
        self.model, self.thresholds = "bright@1", {"fire": 0.4}
        self.sizes: list[tuple[int, ...]] = []

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        return [self._one(image) for image in images]

    def _one(self, image: NDArray[np.uint8]) -> Detections:
        self.sizes.append(image.shape[:2])
        smooth = cv2.blur(image[..., 2].astype(np.float32), (9, 9))
        y, x = np.unravel_index(int(smooth.argmax()), smooth.shape)
        box = np.array([[x - 20, y - 20, x + 20, y + 20]], np.float32)
        return Detections(box, np.array([0.6], np.float32), ("fire",))


def made(detector: Bright, *, need: int = 10_000) -> tuple[VisionStage, MemoryBook, MemoryStore]:
    terms = Confirmation("fire", 0.4, 0.24, 3 * SECOND, 3, 0.5, 10 * SECOND, 3, 600 * SECOND)
    book, store = MemoryBook(), MemoryStore()
    sinks = Sinks(store, MemoryBlobs(), book)
    rules = [(Sighting(head("sighting", name="fire"), terms), State)]
    decode = partial(decode_for, need=need)
    stage = VisionStage(detector, rules, sinks, decode=decode, batch=4, max_age_s=1e9, now=lambda: NOON)
    return stage, book, store


def record(seq: int, image: bytes, *, every: float = 0.5, camera: str = "cam-1") -> bytes:
    at = NOON + round(seq * every * SECOND)
    return wire.pack(FrameRecord(camera, 1, seq, at, Frame(at, image)))


def lamp(_i: int, chance: np.random.Generator) -> bytes:
    """A lamp that stands in the dusk."""
    return drawn([(160, 100, 8)], chance)


def flame(_i: int, chance: np.random.Generator) -> bytes:
    points = chance.normal((160, 100), 5, (5, 2))
    return drawn([(x, y, chance.uniform(2, 8)) for x, y in points.tolist()], chance)


def drawn(spots: Sequence[tuple[float, float, float]], chance: np.random.Generator) -> bytes:
    image = np.full((240, 320, 3), 40, np.uint8)
    for x, y, radius in spots:
        cv2.circle(image, (round(x), round(y)), round(radius), (90, 190, 250), -1, cv2.LINE_AA)
    return encode(np.clip(image + chance.normal(0, 3, image.shape), 0, 255).astype(np.uint8))


def test_a_rendered_lamp_is_held_back_as_constant_and_a_flame_there_is_not() -> None:
    chance = np.random.default_rng(5)
    stage, book, _store = made(Bright())
    values = [record(i, lamp(i, chance), every=1.0) for i in range(1, 70)]
    state, seen = stage.handle(stage.initial(), values)
    stage.commit([seen])
    assert seen.signals == []
    (held,) = book.held_back("cam-1", NOON, NOON + HOUR)
    assert (held.reason, held.last - held.first >= 60 * SECOND) == ("constant", True)
    more = [record(i, flame(i, chance), every=1.0) for i in range(70, 85)]
    state, seen = stage.handle(state, more)
    (signal,) = seen.signals
    assert signal.start == NOON + 70 * SECOND
    assert signal.at <= signal.start + 4 * SECOND


def test_frames_handled_twice_or_across_a_restart_say_the_same() -> None:
    chance = np.random.default_rng(6)
    values = [record(i, flame(i, chance)) for i in range(1, 30)]
    stage, _book, _store = made(Bright())
    whole = stage.handle(stage.initial(), values)[1]
    state, first = stage.handle(stage.initial(), values[:9])
    again, _, _ = made(Bright())
    second = again.handle(again.restore(stage.dump(state)), values[9:])[1]
    assert [s.id for s in whole.signals] == [s.id for s in first.signals + second.signals] != []
    assert whole.frames == first.frames + second.frames


def test_a_snapshot_from_before_motion_was_measured_still_loads() -> None:
    stage, _book, _store = made(Bright())
    old = msgspec.msgpack.encode(({"fire": wire.pack_state(State({}))}, {"cam-1/1": 7}))
    state = stage.restore(old)
    assert (state.last, state.patches) == ({"cam-1/1": 7}, {})


@pytest.mark.parametrize("turned", [False, True])
def test_pictures_are_decoded_no_larger_than_needed_and_boxes_are_of_the_stored_one(turned: bool) -> None:
    image = np.full((960, 1600, 3), 40, np.uint8)
    cv2.circle(image, (1200, 300), 30, (90, 190, 250), -1)
    data, at = encode(image), (1200, 300)
    if turned:  # by EXIF: a quarter clockwise, (x, y) comes to (height - y, x)
        tiff = b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00"
        data = data[:2] + b"\xff\xe1" + struct.pack(">H", 8 + len(tiff)) + b"Exif\x00\x00" + tiff + data[2:]
        at = (960 - 300, 1200)
    detector = Bright()
    stage, _book, _store = made(detector, need=400)
    _, seen = stage.handle(stage.initial(), [record(1, data)])
    (frame,) = seen.frames
    assert detector.sizes == [(400, 240) if turned else (240, 400)]
    assert (frame.width, frame.height) == ((960, 1600) if turned else (1600, 960))
    ((_label, _score, (x1, y1, x2, y2)),) = frame.detections
    assert (x1 + x2) / 2 == pytest.approx(at[0], abs=24) and (y1 + y2) / 2 == pytest.approx(at[1], abs=24)


# ---------------------------------------------------------------- bytes that nobody has vouched for


def lying() -> bytes:
    data = bytearray(encode(scene()))
    data[sof(bytes(data)) : sof(bytes(data)) + 4] = struct.pack(">HH", 4000, 6000)
    return bytes(data)


def bomb() -> bytes:
    ihdr = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + ihdr + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")


BAD = {
    "cut": (encode(scene())[:900], "cut"),
    "cut png": (encode(scene(), ".png")[:-20], "cut"),
    "empty": (b"", "empty"),
    "one pixel": (encode(scene(1, 1)), "too_small"),
    "60,000 x 60,000": (bomb(), "too_many_pixels"),
    "a header that lies": (lying(), "cut"),
    "text named .jpg": (b"dear camera, nothing burns today", "not_a_picture"),
}
GOOD = {
    "progressive": encode(scene(), ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "cmyk": base64.b64decode(RED_CMYK),
    "16 bit": encode(scene().astype(np.uint16) * np.uint16(256), ".png"),
    "grey": encode(scene()[..., 1]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_picture_is_refused_with_its_reason_and_the_next_is_scored(name: str) -> None:
    data, reason = BAD[name]
    stage, _book, _store = made(Bright())
    state, seen = stage.handle(stage.initial(), [record(1, data), record(2, GOOD["grey"])])
    (refusal,) = seen.refusals
    assert (refusal.device, refusal.reason, refusal.raw) == ("cam-1", reason, data)
    assert refusal.detail and len(seen.frames) == 1
    assert [r.topic for r in stage.records(seen)].count(wire.QUARANTINE) == 1
    assert state.last == {"cam-1/1": 2}


@pytest.mark.parametrize("name", GOOD)
def test_unusual_pictures_are_scored(name: str) -> None:
    stage, _book, _store = made(Bright())
    _, seen = stage.handle(stage.initial(), [record(1, GOOD[name])])
    assert (len(seen.frames), seen.refusals) == (1, [])


def mutant(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """A picture with bytes changed, cut out, doubled or put in."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 8)):
        at, how = chance.randrange(len(data) or 1), chance.randrange(5)
        if how == 0:
            data[at : at + 1] = bytes([chance.randrange(256)])
        elif how == 1:
            data[at : at + 2] = chance.choice([b"\xff\xff", b"\x00\x00", b"\x7f\xff", b"\xff\xd9", b"\xff\xda"])
        elif how == 2:
            del data[at : at + chance.randint(1, 64)]
        elif how == 3:
            data[at:at] = data[at : at + chance.randint(1, 64)]
        else:
            data[at:at] = chance.randbytes(chance.randint(1, 8))
    return bytes(data)


def fuzz(count: int, seed: int) -> dict[str, int]:
    """How often each came out: a reason, or `scored`. Anything but a refusal or a scored frame raises."""
    chance, outcomes = random.Random(seed), dict[str, int]()
    seeds = [*GOOD.values(), encode(scene(), ".png"), encode(scene()), encode(scene(64, 48), ".jpg", 1, 30)]
    stage = VisionStage(
        Nothing(),
        [],
        Sinks(MemoryStore(), MemoryBlobs(), MemoryBook()),
        decode=partial(decode_for, need=64, max_pixels=4_000_000),
        batch=8,
        max_age_s=1e9,
        now=lambda: NOON,
    )
    state = stage.initial()
    for seq in range(1, count + 1):
        state, seen = stage.handle(state, [record(seq, mutant(chance, seeds))])
        assert len(seen.frames) + len(seen.refusals) == 1
        name = seen.refusals[0].reason if seen.refusals else "scored"
        outcomes[name] = outcomes.get(name, 0) + 1
    return outcomes


def test_mutants_of_pictures_are_scored_or_refused_and_memory_stays_bounded() -> None:
    fuzz(200, seed=1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = fuzz(2000, seed=2)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert {"scored", "cut", "undecodable"} <= set(outcomes)
    assert grown < 200_000, f"{grown} KiB more after 2,000 broken pictures"
