"""Changed messages of every protocol: an answer or a DecodeError, quickly, and nothing kept."""

import json
import time
import tracemalloc

import pytest

from edge.decode import PROTOCOLS, DecodeError, Decoding
from tests.trackers import SEEDS, mutations

COUNTS = {"jt808": 8000, "gt06": 8000, "osmand": 1500, "owntracks": 1500, "nmea": 1000}
SLOW_S = 0.25
KEPT = 1_500_000


def answered(decoding: Decoding, raw: bytes) -> bool:
    """Whether it was decoded; the answer must be JSON as others read it: no NaN."""
    try:
        rows = [message.as_json() for message in decoding.decode(raw)]
    except DecodeError as refused:
        assert refused.reason
        rows = [message.as_json() for message in refused.unverified]
        json.dumps(rows, allow_nan=False)
        return False
    json.dumps(rows, allow_nan=False)
    return bool(rows)


def test_every_protocol_has_seeds_and_they_are_decoded() -> None:
    assert COUNTS.keys() == PROTOCOLS.keys() == SEEDS.keys()
    for name, seeds in SEEDS.items():
        session = PROTOCOLS[name].session()
        assert all(answered(session, raw) for raw in seeds) or name == "nmea"


@pytest.mark.parametrize("name", COUNTS)
def test_changed_messages_are_decoded_or_refused(name: str) -> None:
    session, decoded, slowest = PROTOCOLS[name].session(), 0, 0.0
    for raw in mutations(name, COUNTS[name], seed=8):
        begun = time.process_time()
        decoded += answered(session, raw)
        slowest = max(slowest, time.process_time() - begun)
    assert 0 < decoded < COUNTS[name]
    assert slowest < SLOW_S


@pytest.mark.parametrize("name", ["jt808", "gt06"])
def test_memory_stays_bounded(name: str) -> None:
    session = PROTOCOLS[name].session()
    make = PROTOCOLS[name].splitter
    assert make is not None
    cutter = make()
    tracemalloc.start()
    try:
        for raw in mutations(name, 2000, seed=9):
            for frame in cutter.feed(raw):
                answered(session, frame)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < KEPT


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize(
    "raw",
    [b"\x00" * 65_536, b"7e" * 40_000, b"[" * 60_000, b"{" * 65_536, b"&=" * 30_000, b"9" * 60_000, b"$" * 65_536],
)
def test_monstrous_messages_are_quickly_refused(name: str, raw: bytes) -> None:
    begun = time.process_time()
    answered(PROTOCOLS[name].session(), raw)
    assert time.process_time() - begun < 1.0
