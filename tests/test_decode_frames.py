"""Splitters: however a stream is cut and whatever is between, the same frames; and never much kept."""

import random
import time

import pytest

from edge.decode import PROTOCOLS, frames
from edge.decode.frames import GT06_LONGEST, JT808_LONGEST, Gt06Splitter, Jt808Splitter, Splitter
from tests.trackers import LOGIN, SEEDS, gt06, gt06_place, jt808, place

FRAMES = {
    "jt808": [frame for frame in SEEDS["jt808"] if frame[:1] == b"\x7e"],
    "gt06": SEEDS["gt06"],
}


def splitter(name: str) -> Splitter:
    make = PROTOCOLS[name].splitter
    assert make is not None
    return make()


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_frames_are_the_same_however_the_stream_is_cut(name: str, size: int) -> None:
    stream, cutter, found = b"".join(FRAMES[name]), splitter(name), []
    for start in range(0, len(stream), size):
        found += cutter.feed(stream[start : start + size])
    assert found == FRAMES[name]
    assert cutter.dropped == 0


@pytest.mark.parametrize("name", FRAMES)
def test_rubbish_between_frames_costs_no_frame(name: str) -> None:
    chance, cutter, stream = random.Random(1), splitter(name), b""
    for frame in FRAMES[name] * 5:
        stream += bytes(chance.choice(b"abcdef\x00\xff") for _ in range(chance.randrange(30))) + frame
    found = [frame for start in range(0, len(stream), 11) for frame in cutter.feed(stream[start : start + 11])]
    assert [frame for frame in found if frame in FRAMES[name]] == FRAMES[name] * 5


def test_a_stream_joined_in_the_middle_of_a_frame_finds_the_next() -> None:
    first, second = jt808(0x0200, place()), jt808(0x0002, b"")
    cutter = Jt808Splitter()
    assert cutter.feed(first[20:] + second) == [second]
    assert cutter.dropped == len(first) - 21
    other = Gt06Splitter()
    assert other.feed(LOGIN[5:] + LOGIN) == [LOGIN]
    assert other.dropped == len(LOGIN) - 5


def test_one_delimiter_may_end_a_frame_and_begin_the_next() -> None:
    first, second = jt808(0x0002, b"", serial=1), jt808(0x0002, b"", serial=2)
    assert Jt808Splitter().feed(first + second[1:]) == [first, second]


def test_sentences_of_padlocks_stand_between_frames() -> None:
    beat, said = jt808(0x0002, b""), b"(740190311185,1,001,ELOCK,3,529439)"
    cutter = Jt808Splitter()
    assert cutter.feed(said[:9]) == []
    assert cutter.feed(said[9:] + beat + said) == [said, beat, said]


def test_a_false_beginning_does_not_swallow_the_frame_after_it() -> None:
    good = gt06(0x12, gt06_place())
    cutter = Gt06Splitter()
    assert cutter.feed(b"\x78\x78\x20" + good + good) == [good, good]
    assert cutter.dropped == 3
    assert Gt06Splitter().feed(b"\x79\x79\xff\xff\x01" + good) == [good]


def test_a_frame_with_a_wrong_check_code_is_given_so_that_it_can_be_refused() -> None:
    broken = LOGIN[:-4] + b"\0\0\r\n"
    assert Gt06Splitter().feed(broken + LOGIN) == [broken, LOGIN]


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize(
    "filling", [b"\x00", b"x", b"y", b"(", b"\x7e(", b"xx\x7f", b"xx\x00\x0d\x0a", b"yy\x0f\xff"]
)
def test_a_peer_that_sends_rubbish_for_ever_costs_neither_memory_nor_time(name: str, filling: bytes) -> None:
    cutter, begun = splitter(name), time.process_time()
    data = filling * (8192 // len(filling))
    for _ in range(8):
        for frame in cutter.feed(data):
            assert len(frame) <= max(JT808_LONGEST, GT06_LONGEST)
        kept = len(vars(cutter)["_rest"])
        assert kept <= max(JT808_LONGEST, GT06_LONGEST)
    assert time.process_time() - begun < 2.0


def test_the_longest_frames_fit() -> None:
    longest = jt808(0x0900, b"\x7e" * 1023, phone="7e7d" * 5)
    assert Jt808Splitter().feed(longest) == [longest]
    wide = gt06(0x94, bytes(3000), long=True)
    assert Gt06Splitter().feed(wide) == [wide]
    assert frames.frame_size(wide[:100]) == 0
