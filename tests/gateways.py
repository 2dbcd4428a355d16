"""A gateway on loopback for one test, and a tracker's end of a connection."""

from __future__ import annotations

import dataclasses
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from edge.clock import DeviceClock
from edge.gateway.desk import Desk
from edge.gateway.source import GatewaySource
from edge.outlet import Outlet
from edge.settings import Gateway
from edge.spool import Spool
from pipeline import wire
from pipeline.message import SECOND, Clock, Fix, Fixes, Reading, Readings
from tests.live.process import accepts, free_port, wait_until

PHONE, IMEI = "013512345678", "123456789012345"
UNITS = {"13512345678": "bus-1", IMEI: "truck-1", "phone-7": "walker-1", "127.0.0.1": "boat-1"}
NOW = 1_790_000_000 * SECOND
"""Some day in 2026."""


def clock(at: int = NOW, state: Clock = Clock.SYNCED) -> DeviceClock:
    return DeviceClock(wall=lambda: at / SECOND, monotonic=lambda: at / SECOND, kernel=lambda: state)


def desk(**changed: Any) -> Desk:
    return Desk(Gateway(**{"units": UNITS, **changed}), clock())


@dataclasses.dataclass
class Slow:
    """A publisher's stand-in to wake; and a way to hold the disk back."""

    woken: int = 0

    def wake(self) -> None:
        self.woken += 1


class Box:
    """A gateway that runs, its ports by name, and what it has kept."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.ports = {name: free_port() for name in ("jt808", "jt808_udp", "gt06", "http", "nmea")}
        ports = {f"{name}_port": port for name, port in self.ports.items()}
        self.spool = Spool(folder / "spool.db")
        self.outlet = Outlet(self.spool, Slow().wake)
        self.source = GatewaySource(Gateway(**{"units": UNITS, **ports, **settings}))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.source.run, args=(self.outlet, self._stop), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_until(lambda: accepts(self.ports["http"]), 10, "the gateway")
        with self.tracker("http") as first:
            first.ask(b"GET /ready HTTP/1.0\r\n\r\n", 10)
        wait_until(lambda: not self.source.facts()["connections"], 10, "the end of that connection")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive(), "the gateway does not stop"
        self.spool.close()

    def fixes(self) -> list[Fix]:
        kept = self.spool.pending(0, 1_000_000)
        return [fix for m in kept if m.kind == "position" for fix in wire.decode(m.body, Fixes).fixes]

    def readings(self) -> list[Reading]:
        kept = self.spool.pending(0, 1_000_000)
        return [one for m in kept if m.kind == "reading" for one in wire.decode(m.body, Readings).readings]

    def counted(self, name: str) -> int:
        return int(self.source.facts()["counts"].get(name, 0))

    def tracker(self, protocol: str) -> Tracker:
        return Tracker(self.ports[protocol])


class Tracker:
    """A tracker's end of a TCP connection."""

    def __init__(self, port: int) -> None:
        self.link = socket.create_connection(("127.0.0.1", port), timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close()

    def say(self, data: bytes) -> None:
        self.link.sendall(data)

    def hear(self, length: int) -> bytes:
        """So many bytes, or fewer if the gateway closes the connection before."""
        heard = b""
        while len(heard) < length and (data := self.link.recv(length - len(heard))):
            heard += data
        return heard

    def ask(self, data: bytes, length: int) -> bytes:
        self.say(data)
        return self.hear(length)

    def closed(self, seconds: float = 5.0) -> bool:
        """Whether the gateway closes the connection within that time."""
        self.link.settimeout(seconds)
        try:
            while self.link.recv(4096):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True


def eventually(what: Callable[[], bool], said: str, seconds: float = 5.0) -> None:
    wait_until(what, seconds, said)


def elapsed(work: Callable[[], Any]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun
