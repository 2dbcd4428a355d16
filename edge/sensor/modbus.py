"""Registers of Modbus devices: TCP, RTU over TCP, and RTU on a serial line."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

from pymodbus import FramerType, ModbusException
from pymodbus.client import ModbusSerialClient, ModbusTcpClient

from edge.errors import SourceError
from edge.rows import ModbusRow

TCP_PORT = 502
REASONS = {
    1: "it does not know this table",
    2: "it has no such register",
    3: "it refuses this count of registers",
    4: "it has failed",
    6: "it is busy",
    10: "the gateway has no way to this address",
    11: "no device answers at this address",
}
"""Exception codes of the Modbus application protocol."""


class Bus:
    """One connection, opened when it is needed. For one thread."""

    def __init__(self, row: ModbusRow) -> None:
        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)  # we say it ourselves, once
        self._where = row.url
        self._client: Any = _client(row)

    def value(self, row: ModbusRow) -> float:
        """The raw value of a row. SourceError."""
        try:
            if not self._client.connect():
                raise SourceError(f"{self._where}: cannot be opened")
            return self._decoded(row, self._read(row))
        except (ModbusException, OSError, ValueError) as error:
            self._client.close()  # a late answer must not be taken for the next one's
            raise SourceError(f"{self._where}, address {row.address}: {error or type(error).__name__}") from None

    def close(self) -> None:
        self._client.close()

    def _read(self, row: ModbusRow) -> Any:
        read = {
            "holding": self._client.read_holding_registers,
            "input": self._client.read_input_registers,
            "coil": self._client.read_coils,
            "discrete": self._client.read_discrete_inputs,
        }
        count = 1 if _is_bit(row) else self._type(row).value[1]
        reply = read[row.table](row.register, count=count, device_id=row.address)
        if reply.isError():
            code = getattr(reply, "exception_code", 0)
            words = REASONS.get(code, f"exception {code}")
            raise SourceError(f"{self._where}, address {row.address}, register {row.register}: {words}")
        return reply

    def _decoded(self, row: ModbusRow, reply: Any) -> float:
        if _is_bit(row):
            return float(reply.bits[0])
        return float(self._client.convert_from_registers(reply.registers, self._type(row), word_order=row.words))

    def _type(self, row: ModbusRow) -> Any:
        return self._client.DATATYPE[row.type.upper()]


def _is_bit(row: ModbusRow) -> bool:
    return row.table in ("coil", "discrete")


def _client(row: ModbusRow) -> Any:
    url = urlsplit(row.url)
    if url.scheme == "serial":
        return ModbusSerialClient(
            url.path, baudrate=row.baud, parity=row.parity, stopbits=row.stop_bits, timeout=row.timeout_s, retries=1
        )
    framer = FramerType.RTU if url.scheme == "rtu" else FramerType.SOCKET
    host, port = url.hostname or "127.0.0.1", url.port or TCP_PORT
    return ModbusTcpClient(host, port=port, framer=framer, timeout=row.timeout_s, retries=1)
