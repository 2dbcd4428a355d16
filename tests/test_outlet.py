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


FRAME = Frame(1, b"x" * 1000)


def two(tmp_path: Path, *, behind: bool) -> tuple[Outlet, Spool, Spool]:
    main, express = Spool(tmp_path / "spool.db"), Spool(tmp_path / "express.db", max_bytes=60_000)
    return Outlet(main, lambda: None, express=express, behind=lambda: behind), main, express


def test_pictures_of_now_overtake_a_backlog_and_positions_never_do(tmp_path: Path) -> None:
    outlet, main, express = two(tmp_path, behind=True)
    for kind, body in (("frame", FRAME), ("position", Fixes()), ("reading", Readings([]))):
        assert outlet.send(kind, [body])
    assert [m.kind for m in express.pending(0, 9)] == ["frame"]
    assert [m.kind for m in main.pending(0, 9)] == ["position", "reading"]


def test_without_a_backlog_everything_keeps_its_order(tmp_path: Path) -> None:
    outlet, main, express = two(tmp_path, behind=False)
    outlet.send("frame", [FRAME])
    assert (main.last, express.last) == (1, 0)


def test_what_is_urgent_goes_before_all_else_and_is_kept_even_when_its_own_spool_is_full(tmp_path: Path) -> None:
    outlet, main, express = two(tmp_path, behind=False)
    for n in range(40):
        assert outlet.send("reading", [Readings([Reading("sos", n, 1.0)])], urgent=True)
        assert outlet.send("frame", [FRAME], urgent=True)
    assert express.last > 0 and main.last > 0
    assert main.dropped == express.dropped == 0
    held = [m.body for spool in (express, main) for m in spool.pending(0, 99) if m.kind == "reading"]
    assert [wire.decode(body, Readings).readings[0].at for body in held] == list(range(40))
