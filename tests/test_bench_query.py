"""The query of one vehicle's day: it must be all there, or it is not measured."""

from __future__ import annotations

import pytest

from pipeline.bench.figure import NotMeasured
from pipeline.bench.query import DAY, _ask, _fill
from pipeline.bench.world import World
from pipeline.message import SECOND
from tests.doubles import MemoryStore

T0 = 1_800_000_000 * SECOND


def test_a_whole_day_lies_among_the_others_and_is_found() -> None:
    store, world = MemoryStore(), World(start=T0, units=50)
    _fill(store, world, 400)
    assert len(store.rows) == 50
    assert _ask(store, world) > 0
    store.forget(T0 + SECOND)
    with pytest.raises(NotMeasured, match=f"{DAY - 1} of {DAY}"):
        _ask(store, world)
