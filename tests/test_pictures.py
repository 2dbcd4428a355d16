"""A device that lives and sends no pictures; one that says nothing is another rule's concern."""

from __future__ import annotations

from pipeline import wire
from pipeline.message import SECOND, DeviceRecord, DeviceReport, Signal, Status
from pipeline.rules.pictures import NoPictures, PictureState
from tests.moving import T0, head


def rule() -> NoPictures:
    return NoPictures(head("blind", name="camera.blind"), 120 * SECOND)


def tick(t: int, *, frames: int = 0, alive: bool = True, state: str = "online") -> DeviceRecord:
    at = T0 + t * SECOND
    status = None if frames else Status(state)
    return DeviceRecord(at, [DeviceReport("cam-1", at, 1, status, frames)] if alive else [])


def told(ticks: list[DeviceRecord]) -> list[tuple[str, int]]:
    over, signals = rule(), list[Signal]()
    state = over.initial()
    for one in ticks:
        state, said = over.step(state, one)
        state = wire.unpack_state(wire.pack_state(state), PictureState)
        signals += said
    return [(s.change.value, (s.at - T0) // SECOND) for s in signals]


def test_a_device_that_lives_and_sends_no_picture_is_blind_until_it_sends_one() -> None:
    pictures = [tick(t, frames=1) for t in range(60)]
    quiet = [tick(t) for t in range(60, 400)]
    assert told([*pictures, *quiet, tick(400, frames=1)]) == [("began", 59 + 120), ("ended", 400)]


def test_a_slow_camera_gets_three_of_its_pauses() -> None:
    slow = [tick(t, frames=int(t % 300 == 0)) for t in range(1201)]
    assert told(slow) == []
    assert told([*slow, *(tick(t) for t in range(1201, 2400))]) == [("began", 1200 + 900)]


def test_a_device_that_says_nothing_is_left_to_device_silence() -> None:
    assert told([*(tick(t, frames=1) for t in range(60)), *(tick(t, alive=False) for t in range(60, 600))]) == []


def test_a_device_that_never_sent_a_picture_is_no_camera_and_one_that_finished_is_done() -> None:
    assert told([tick(t) for t in range(2000)]) == []
    done = [tick(t, state="finished") for t in range(60, 600)]
    assert told([*(tick(t, frames=1) for t in range(60)), *done]) == []


def test_nobody_is_missed_while_nobody_listened() -> None:
    assert told([*(tick(t, frames=1) for t in range(60)), *(tick(t) for t in range(1000, 1100))]) == []


def test_the_reason_says_since_when() -> None:
    over = rule()
    state, _ = over.step(over.initial(), tick(0, frames=1))
    for t in range(1, 1000):
        state, signals = over.step(state, tick(t))
        if signals:
            break
    assert signals[0].reason == (
        "cam-1 is blind, silent: it gives signs of life, but has sent no picture since 2023-11-14T22:13:20Z"
    )
    assert (signals[0].evidence["cause"], signals[0].kind) == ("silent", "blind")
