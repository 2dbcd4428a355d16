"""What a source hands over: messages of a bounded number of fixes and readings, all or none."""

from pathlib import Path

import pytest

from edge.outlet import Outlet, parted
from edge.settings import MOST_FIXES
from edge.spool import Spool
from pipeline import intake, wire
from pipeline.message import Fix, Fixes, Frame, Reading, Readings


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, [0]), (1000, [1000]), (1001, [1000, 1]), (5200, [1000] * 5 + [200])]
)
def test_too_many_fixes_become_several_messages_and_the_last_keeps_the_promise(
    tmp_path: Path, count: int, sizes: list[int]
) -> None:
    spool = Spool(tmp_path / "spool.db")
    fixes = [Fix("u", n, 1.0, 2.0) for n in range(count)]
    assert Outlet(spool, lambda: None).send("position", [Fixes(fixes, 77)], cursor="here")
    bodies = [wire.decode(message.body, Fixes) for message in spool.pending(0, 100)]
    assert [len(body.fixes) for body in bodies] == sizes
    assert [fix for body in bodies for fix in body.fixes] == fixes
    assert [body.until for body in bodies] == [None] * (len(sizes) - 1) + [77]
    assert spool.cursor == "here"


def test_readings_are_parted_too_and_a_frame_is_not() -> None:
    readings = [Reading("t", n, 1.0) for n in range(2300)]
    parts = list(parted(Readings(readings)))
    assert [len(part.readings) for part in parts if isinstance(part, Readings)] == [1000, 1000, 300]
    frame = Frame(1, b"x" * 5000)
    assert list(parted(frame)) == [frame]


def test_the_bridge_takes_what_an_agent_sends() -> None:
    assert MOST_FIXES <= intake.ROWS
