"""Stamps of a wrong clock are mended in the spool when the clock is right, in the same boot, and only those."""

from pathlib import Path

import pytest

from edge.doubt import Doubts
from edge.outlet import Outlet
from edge.spool import Spool
from pipeline import wire
from pipeline.message import SECOND, Clock, Fix, Fixes, Frame, Reading, Readings

NOW = 1_790_000_000.0
"""The true time at boot."""


class Machine:
    """A board that boots at NOW with a clock of 1970; `tick` lets time pass, `sync` sets the clock right."""

    def __init__(self, boot: str = "boot-1") -> None:
        self.since_boot, self.error, self.state, self.boot = 20.0, -NOW, Clock.UNSYNCED, boot

    @property
    def wall(self) -> float:
        return NOW + self.since_boot + self.error

    def tick(self, seconds: float) -> None:
        self.since_boot += seconds

    def sync(self) -> None:
        self.error, self.state = 0.0, Clock.SYNCED

    def doubts(self) -> Doubts:
        return Doubts(
            wall=lambda: self.wall, running=lambda: self.since_boot, kernel=lambda: self.state, boot=self.boot
        )


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool.db")


def at(machine: Machine) -> int:
    return round(machine.wall * SECOND)


def frames(spool: Spool) -> list[Frame]:
    return [wire.decode(m.body, Frame) for m in spool.pending(0, 1000) if m.kind == "frame"]


def size(spool: Spool) -> int:
    return Spool(spool.path).bytes


def test_pictures_of_a_board_without_a_clock_get_their_true_times(machine: Machine, spool: Spool) -> None:
    doubts = machine.doubts()
    outlet = Outlet(spool, lambda: None, doubts)
    for _ in range(120):
        outlet.send("frame", [Frame(at(machine), b"picture", Clock.IMPLAUSIBLE)])
        machine.tick(10)
    assert doubts.correct(spool) == 0
    machine.sync()
    while doubts.correct(spool):
        pass
    sent = frames(spool)
    assert [frame.at for frame in sent] == [round((NOW + 20 + 10 * i) * SECOND) for i in range(120)]
    assert {frame.clock for frame in sent} == {Clock.CORRECTED}
    assert {frame.image for frame in sent} == {b"picture"}
    assert spool.bytes == size(spool)
    assert doubts.correct(spool) == 0


def test_readings_are_mended_one_by_one(machine: Machine, spool: Spool) -> None:
    doubts = machine.doubts()
    own = Reading("rain", 1_700_000_000_000_000, 1.0, "mm", Clock.UNKNOWN)
    outlet = Outlet(spool, lambda: None, doubts)
    outlet.send("reading", [Readings([Reading("temp", at(machine), 21.5, "degC", Clock.UNSYNCED), own])])
    machine.sync()
    assert doubts.correct(spool) == 1
    readings = wire.decode(spool.pending(0, 1)[0].body, Readings).readings
    assert readings[0] == Reading("temp", round((NOW + 20) * SECOND), 21.5, "degC", Clock.CORRECTED)
    assert readings[1] == own


def test_what_is_not_the_devices_own_doubtful_stamp_is_left_alone(machine: Machine, spool: Spool) -> None:
    doubts = machine.doubts()
    outlet = Outlet(spool, lambda: None, doubts)
    outlet.send("position", [Fixes([Fix("bus-1", 5, 60.0, 25.0, clock=Clock.IMPLAUSIBLE)])])
    outlet.send("frame", [Frame(7, b"x", Clock.SYNCED), Frame(8, b"x", Clock.UNKNOWN)])
    before = [m.body for m in spool.pending(0, 10)]
    machine.sync()
    assert doubts.correct(spool) == 0
    assert [m.body for m in spool.pending(0, 10)] == before


def test_another_boot_knows_nothing_of_the_clock_before_it(machine: Machine, spool: Spool) -> None:
    Outlet(spool, lambda: None, machine.doubts()).send("frame", [Frame(at(machine), b"x", Clock.UNSYNCED)])
    later = Machine("boot-2")
    later.sync()
    assert later.doubts().correct(spool) == 0
    assert frames(spool)[0].clock == Clock.UNSYNCED
    again = Machine("boot-1")  # the agent alone was started anew
    again.sync()
    assert again.doubts().correct(spool) == 1


def test_what_is_spooled_around_the_step_itself_is_not_mended_by_the_wrong_clock(
    machine: Machine, spool: Spool
) -> None:
    doubts = machine.doubts()
    outlet = Outlet(spool, lambda: None, doubts)
    stamp = at(machine)
    machine.sync()
    outlet.send("frame", [Frame(stamp, b"x", Clock.UNSYNCED)])
    doubts.correct(spool)
    assert frames(spool)[0] == Frame(stamp, b"x", Clock.UNSYNCED)


def test_confirmed_and_given_up_messages_are_passed_over(machine: Machine, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", max_bytes=4000)
    doubts = machine.doubts()
    outlet = Outlet(spool, lambda: None, doubts)
    for _ in range(10):
        outlet.send("frame", [Frame(at(machine), b"x" * 1000, Clock.UNSYNCED)])
    spool.confirm(spool.epoch, 8)
    machine.sync()
    left = len(frames(spool))
    assert 0 < left < 10
    while doubts.correct(spool):
        pass
    assert {frame.clock for frame in frames(spool)} == {Clock.CORRECTED}
    assert spool.bytes == size(spool)


def test_a_clock_that_is_synchronised_to_a_wrong_year_mends_nothing(machine: Machine, spool: Spool) -> None:
    doubts = machine.doubts()
    Outlet(spool, lambda: None, doubts).send("frame", [Frame(at(machine), b"x", Clock.UNSYNCED)])
    machine.state = Clock.SYNCED
    assert doubts.correct(spool) == 0
