"""One suite for snapshots and pulse: the double, SQLite, and a real PostgreSQL."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.state import State
from tests.contract.sql import address
from tests.doubles import MemoryState

DAY = 24 * 3600 * 1_000_000
Both = State | MemoryState


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Both]:
    ticks = itertools.count(1000, 10).__next__
    memory = request.param == "memory"
    made = MemoryState(clock=ticks) if memory else State(address(request.param, request, tmp_path), clock=ticks)
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return address(request.param, request, tmp_path)


def test_nothing_was_saved(state: Both) -> None:
    assert state.load("telemetry", "positions", 0) is None


def test_a_snapshot_comes_back_with_its_offset(state: Both) -> None:
    data = bytes(range(256)) * 1000
    state.save("telemetry", "positions", 0, 41, data)
    state.save("telemetry", "positions", 1, 7, b"")
    state.save("vision", "positions", 0, 2, b"v")
    assert state.load("telemetry", "positions", 0) == (41, data)
    assert state.load("telemetry", "positions", 1) == (7, b"")
    assert state.load("vision", "positions", 0) == (2, b"v")
    assert state.load("telemetry", "frames", 0) is None


def test_a_later_offset_is_never_replaced_by_an_earlier_one(state: Both) -> None:
    state.save("t", "p", 0, 10, b"ten")
    state.save("t", "p", 0, 9, b"nine")
    assert state.load("t", "p", 0) == (10, b"ten")
    state.save("t", "p", 0, 10, b"ten again")
    assert state.load("t", "p", 0) == (10, b"ten again")
    state.save("t", "p", 0, 2**40, b"far")
    assert state.load("t", "p", 0) == (2**40, b"far")


def test_after_a_drop_an_earlier_offset_is_taken(state: Both) -> None:
    state.save("app", "topic", 0, 9, b"nine")
    state.drop("app", "topic", 0)
    state.drop("app", "topic", 1)
    assert state.load("app", "topic", 0) is None
    state.save("app", "topic", 0, 1, b"one")
    assert state.load("app", "topic", 0) == (1, b"one")


def test_a_beat_replaces_the_row_of_its_instance(state: Both) -> None:
    state.beat("bridge", "a:1", {"ready": False, "rates": {"in": 1.5}})
    state.beat("bridge", "b:2", {"ready": True})
    state.beat("bridge", "a:1", {"ready": True, "trouble": ""})
    assert state.beats() == [
        {"part": "bridge", "instance": "a:1", "beaten": 1020, "ready": True, "trouble": ""},
        {"part": "bridge", "instance": "b:2", "beaten": 1010, "ready": True},
    ]


def test_snapshots_outlive_the_process(url: str) -> None:
    first = State(url)
    first.save("t", "p", 0, 3, b"x")
    first.close()
    assert State(url).load("t", "p", 0) == (3, b"x")


def test_an_instance_long_gone_leaves_the_board(url: str) -> None:
    now = [0]
    state = State(url, clock=lambda: now[0])
    state.beat("api", "old", {})
    now[0] = DAY // 2
    state.beat("api", "new", {})
    now[0] = DAY + 1
    state.beat("api", "new", {})
    assert [row["instance"] for row in state.beats()] == ["new"]
    state.close()
