"""A table of sensors as a device: readings of every row go out; a row that fails stops no other."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.clock import DeviceClock
from edge.errors import SetupError
from edge.outlet import Outlet
from edge.rows import AnyRow, CommandRow, FileRow, ModbusRow, MqttRow, check, read
from edge.sensor.poll import HANGS_S, UNFORESEEN, Poller
from edge.sensor.source import SensorSource
from edge.settings import Sensor
from edge.spool import Spool
from pipeline import wire
from pipeline.message import Clock, Reading, Readings
from tests.modbus_server import ModbusServer


class Running:
    """A source in a thread, and what it has put into the spool."""

    def __init__(self, rows: list[AnyRow], folder: Path) -> None:
        clock = DeviceClock(kernel=lambda: Clock.SYNCED)
        self.source, self.spool = SensorSource(Sensor(sensor=rows), clock), Spool(folder / "spool.db")
        self._stop = threading.Event()
        outlet = Outlet(self.spool, lambda: None)
        self._thread = threading.Thread(target=self.source.run, args=(outlet, self._stop), daemon=True)
        self._thread.start()

    def readings(self, channel: str) -> list[Reading]:
        messages = [wire.decode(m.body, Readings) for m in self.spool.pending(0, 100_000) if m.kind == "reading"]
        return [r for message in messages for r in message.readings if r.channel == channel]

    def until(self, holds: Callable[[], bool], seconds: float = 15) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, self.source.trouble
            time.sleep(0.02)

    def end(self) -> None:
        self._stop.set()
        self._thread.join(5)
        assert not self._thread.is_alive()
        self.spool.close()


@pytest.fixture
def bus() -> Iterator[ModbusServer]:
    server = ModbusServer()
    yield server
    server.close()


def test_every_row_is_read_and_one_that_fails_stops_no_other(bus: ModbusServer, tmp_path: Path) -> None:
    url, value = f"modbus://127.0.0.1:{bus.port}", tmp_path / "value"
    value.write_text("3")
    before = time.time()
    running = Running(
        [
            ModbusRow(channel="temp", url=url, register=0, address=7, scale=0.1, unit="degC", every_s=0.2),
            ModbusRow(channel="none", url=url, register=900, address=7, every_s=0.2),
            ModbusRow(channel="dead", url=url, register=0, address=9, every_s=0.2, timeout_s=0.2),
            FileRow(channel="file", path=str(value), every_s=0.2),
            CommandRow(channel="slow", argv=["/bin/sleep", "60"], every_s=0.2),
        ],
        tmp_path,
    )
    running.until(lambda: min(len(running.readings(name)) for name in ("temp", "file")) >= 4)
    running.until(lambda: len(running.source.troubles()) >= 2)
    assert set(running.source.troubles()) == {"none", "dead"}
    assert "none: " in running.source.trouble and "it has no such register" in running.source.trouble
    reading = running.readings("temp")[0]
    assert (reading.value, reading.unit, reading.clock) == (pytest.approx(23.5), "degC", Clock.SYNCED)
    assert before < reading.at / 1e6 < time.time()
    value.unlink()
    running.until(lambda: "file" in running.source.troubles())
    value.write_text("4")
    running.until(lambda: "file" not in running.source.troubles())
    assert running.readings("file")[-1].value == 4
    running.end()


def test_rows_that_fail_are_asked_less_and_less_often(tmp_path: Path) -> None:
    tried = tmp_path / "tried"
    script = ["/bin/sh", "-c", f"echo x >> {tried}; exit 1"]
    running = Running([CommandRow(channel="x", argv=script, every_s=0.1)], tmp_path)
    time.sleep(3.0)
    running.end()
    assert 2 <= len(tried.read_text().split()) <= 5


def test_a_file_with_a_time_of_its_own_is_told_once_each_time_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "rain"
    path.write_text("1")
    running = Running([FileRow(channel="rain", path=str(path), max_age_s=60, every_s=0.1)], tmp_path)
    running.until(lambda: len(running.readings("rain")) == 1)
    time.sleep(0.5)
    path.write_text("2")
    os.utime(path, (time.time() - 5, time.time() - 5))
    running.until(lambda: len(running.readings("rain")) >= 2)
    time.sleep(0.3)
    told = running.readings("rain")
    assert [r.value for r in told] == [1, 2]
    assert told[1].at / 1e6 == pytest.approx(path.stat().st_mtime, abs=0.001)
    assert told[1].clock == Clock.UNKNOWN
    running.end()


def test_many_troubles_are_told_in_a_line(tmp_path: Path) -> None:
    rows: list[AnyRow] = [FileRow(channel=f"c{i}", path=str(tmp_path / f"none{i}"), every_s=0.1) for i in range(12)]
    running = Running(rows, tmp_path)
    running.until(lambda: len(running.source.troubles()) == 12)
    assert running.source.trouble.startswith("c0: ")
    assert running.source.trouble.endswith("; and 4 rows more")
    running.end()


MQTT, BUS = "mqtt://h", "modbus://h"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "write at least one"),
        ([FileRow(channel="a b", path="x")], "channel 'a b': use 1 to 63 letters"),
        ([FileRow(channel="a", path="x"), FileRow(channel="a", path="y")], "twice"),
        ([FileRow(channel="a", path="x", unit="x" * 33)], "unit: 32 characters"),
        ([FileRow(channel="a", path="x", every_s=0)], "every_s = 0: 0.1 at the least"),
        ([FileRow(channel="a", path="x", pattern="(")], "pattern: "),
        ([FileRow(channel="a", path="x", pattern="x")], "put the number into"),
        ([FileRow(channel="a", path="x", pattern="(x)", pointer="/x")], "not both"),
        ([FileRow(channel="a", path="x", pointer="x")], "a JSON pointer begins with /"),
        ([CommandRow(channel="a", argv=[])], "argv: name the command"),
        ([ModbusRow(channel="a", url="tcp://h", register=0)], "use modbus://HOST"),
        ([ModbusRow(channel="a", url=BUS, register=70_000)], "40001 is register 0"),
        ([ModbusRow(channel="a", url=BUS, register=0, timeout_s=0)], "timeout_s"),
        ([MqttRow(channel="a", url="h", topic="x")], "use mqtt://"),
        ([MqttRow(channel="a", url=MQTT, topic="")], "topic"),
        ([MqttRow(channel="a", url=MQTT, topic="x", at="t")], "at: a JSON pointer begins with /"),
    ],
)
def test_a_row_that_makes_no_sense_is_named(rows: list[AnyRow], words: str) -> None:
    with pytest.raises(SetupError, match=words):
        check(rows)


def test_rows_of_a_file_are_checked_before_they_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "rows.toml"
    path.write_text('[[sensor]]\nkind = "file"\nchannel = "a"\npath = "/x"\n')
    assert read(path) == [{"kind": "file", "channel": "a", "path": "/x"}]
    for text in ('[[sensor]]\nkind = "file"\nchannel = "a"\n', "[[sensor", "", '[[sensor]]\nkind = "radar"\n'):
        path.write_text(text)
        with pytest.raises(SetupError):
            read(path)
    with pytest.raises(SetupError, match="cannot be read"):
        read(tmp_path / "none")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_that_nobody_foresaw_is_told_and_the_row_is_asked_again() -> None:
    row, told, asked = FileRow(channel="x", path="x", every_s=0.1), list[Reading](), list[float]()

    def read_row(_row: FileRow) -> tuple[float, None]:
        asked.append(time.monotonic())
        if len(asked) == 1:
            raise KeyError("unforeseen")
        return 5.0, None

    poller = Poller([row], read_row, DeviceClock(), told.append)
    poller.turn(time.monotonic())
    until_idle(poller)
    assert poller.troubles() == {"x": UNFORESEEN}
    poller.turn(time.monotonic() + HANGS_S)
    until_idle(poller)
    assert [reading.value for reading in told] == [5]
    assert poller.troubles() == {}


def until_idle(poller: Poller[FileRow]) -> None:
    while poller.busy:
        time.sleep(0.01)
