"""Modbus registers, read from pymodbus's own server over TCP, RTU over TCP and RTU on a line."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pymodbus import FramerType

from edge.errors import SourceError
from edge.rows import ModbusRow
from edge.sensor.modbus import Bus
from edge.sensor.value import calibrated
from tests.modbus_server import Line, ModbusServer


@pytest.fixture(scope="module")
def server() -> Iterator[ModbusServer]:
    server = ModbusServer()
    yield server
    server.close()


def row(url: str, register: int, **more: Any) -> ModbusRow:
    return ModbusRow(**{"channel": "x", "url": url, "register": register, "address": 7, **more})


def value(url: str, register: int, **more: Any) -> float:
    asked = row(url, register, **more)
    bus = Bus(asked)
    try:
        return calibrated(asked, bus.value(asked))
    finally:
        bus.close()


@pytest.mark.parametrize(
    ("register", "more", "expected"),
    [
        (0, {}, 235),
        (0, {"scale": 0.1, "offset": -40, "unit": "degC"}, -16.5),
        (1, {"type": "int16"}, -10),
        (1, {"type": "uint16"}, 65_526),
        (2, {"type": "float32"}, 21.5),
        (4, {"type": "float32", "words": "little"}, -123.5),
        (20, {"type": "uint32"}, 100_000),
        (20, {"type": "int32", "words": "little"}, -2_036_334_591),
        (0, {"table": "input"}, 1013),
        (3, {"table": "coil"}, 1),
        (2, {"table": "coil"}, 0),
        (1, {"table": "discrete"}, 1),
    ],
)
def test_a_register_becomes_a_value(server: ModbusServer, register: int, more: Any, expected: float) -> None:
    assert value(f"modbus://127.0.0.1:{server.port}", register, **more) == pytest.approx(expected)


def test_a_raw_value_that_means_none_is_no_reading(server: ModbusServer) -> None:
    with pytest.raises(SourceError, match="has no value: it says -32768"):
        value(f"modbus://127.0.0.1:{server.port}", 10, type="int16", invalid=[-32768])


def test_what_the_device_refuses_is_said_in_words(server: ModbusServer) -> None:
    with pytest.raises(SourceError, match=r"address 7, register 5000: it has no such register"):
        value(f"modbus://127.0.0.1:{server.port}", 5000)


def test_rtu_over_tcp() -> None:
    server = ModbusServer(FramerType.RTU)
    assert value(f"rtu://127.0.0.1:{server.port}", 2, type="float32") == 21.5
    server.close()


def test_rtu_on_a_serial_line() -> None:
    line = Line()
    server = ModbusServer(line=line.ends[0])
    assert value(f"serial://{line.ends[1]}", 1, type="int16") == -10
    assert value(f"serial://{line.ends[1]}", 2, type="float32") == 21.5
    server.close()
    line.close()


def test_nobody_there_and_nobody_answering_end_in_time() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(SourceError, match="cannot be opened"):
            value(f"modbus://127.0.0.1:{closed.getsockname()[1]}", 0)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        before = time.monotonic()
        with pytest.raises(SourceError, match="address 7: "):
            value(f"modbus://127.0.0.1:{deaf.getsockname()[1]}", 0, timeout_s=0.2)
        assert time.monotonic() - before < 3


def test_a_connection_that_was_lost_is_opened_again() -> None:
    server = ModbusServer()
    asked = row(f"modbus://127.0.0.1:{server.port}", 0, timeout_s=0.3)
    bus = Bus(asked)
    assert bus.value(asked) == 235
    server.close()
    with pytest.raises(SourceError):
        bus.value(asked)
    server.open()
    assert bus.value(asked) == 235
    bus.close()
    server.close()
