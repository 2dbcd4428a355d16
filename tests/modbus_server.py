"""pymodbus's own server on loopback, in a thread: TCP, RTU over TCP, or RTU between two pseudo-terminals."""

import asyncio
import os
import threading
import tty
from collections.abc import Coroutine
from typing import Any

from pymodbus import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

HOLDING = {0: 235, 1: 0xFFF6, 2: 0x41AC, 3: 0x0000, 4: 0x0000, 5: 0xC2F7, 10: 0x8000, 20: 0x0001, 21: 0x86A0}
"""235; -10; 21.5 as float32, big end first; -123.5 little end first; what a sensor without a value says; 100000."""
INPUT = {0: 1013}


def device(address: int = 7) -> SimDevice:
    """Registers as above; coil 3 and discrete input 1 are on."""
    registers = [
        [SimData(number, values=value, datatype=DataType.REGISTERS) for number, value in table.items()]
        for table in (HOLDING, INPUT)
    ]
    coils = [SimData(0, values=[False, False, False, True] + [False] * 12, datatype=DataType.BITS)]
    discrete = [SimData(0, values=[False, True] + [False] * 14, datatype=DataType.BITS)]
    return SimDevice(address, (coils, discrete, *registers))


class ModbusServer:
    """`port` answers until `close`; `open` begins again on the same port."""

    def __init__(self, framer: FramerType = FramerType.SOCKET, *, line: str = "") -> None:
        self._framer, self._line = framer, line
        self.port = 0
        self.open()

    def open(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._await(self._begin())

    def close(self) -> None:
        self._await(self._server.shutdown())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _await(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _begin(self) -> None:
        if self._line:
            serial = ModbusSerialServer(device(), framer=FramerType.RTU, port=self._line, baudrate=9600)
            self._server: Any = serial
            await serial.serve_forever(background=True)
            return
        self._server = ModbusTcpServer(device(), framer=self._framer, address=("127.0.0.1", self.port))
        await self._server.serve_forever(background=True)
        self.port = self._server.transport.sockets[0].getsockname()[1]


class Line:
    """Two pseudo-terminals joined like the ends of a serial cable; `ends` are their paths."""

    def __init__(self) -> None:
        self._pairs = [os.openpty(), os.openpty()]
        for _master, slave in self._pairs:
            tty.setraw(slave)
        self.ends = [os.ttyname(slave) for _master, slave in self._pairs]
        masters = [master for master, _slave in self._pairs]
        for source, sink in (masters, reversed(masters)):
            threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    @staticmethod
    def _carry(source: int, sink: int) -> None:
        try:
            while data := os.read(source, 1024):
                os.write(sink, data)
        except OSError:
            return

    def close(self) -> None:
        for pair in self._pairs:
            for end in pair:
                os.close(end)
