"""Trackers that keep what is not answered, a gateway that is killed: every fix is in the store, each once."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pipeline.store import open_store
from pipeline.wire import parse_rfc3339
from tests.live.process import Server, accepts, free_port, wait_until
from tests.story.stack import Agent, Stack, embedded
from tests.trackers import CELL, gt06, jt808, place

PARTS = ("bridge", "worker-telemetry", "worker-alarms")
FIXES = 300
TRUCKS = 4
"""Of each protocol."""

JT808_ANSWER, GT06_ANSWER = len(jt808(0x8001, bytes(5))), 10
BEGUN = parse_rfc3339("2026-07-07T08:00:00Z")


class Tracker(threading.Thread):
    """Sends its frames in order, each until it is answered; connects again when the connection is lost."""

    def __init__(self, port: int, greeting: bytes, frames: Sequence[bytes], answer: int) -> None:
        super().__init__(daemon=True)
        self._port, self._greeting, self._frames, self._answer = port, greeting, list(frames), answer
        self.answered = self.again = 0

    def run(self) -> None:
        while self.answered < len(self._frames):
            try:
                with socket.create_connection(("127.0.0.1", self._port), timeout=5) as link:
                    self._talk(link)
            except OSError:
                self.again += 1
                time.sleep(0.05)

    def _talk(self, link: socket.socket) -> None:
        if self._greeting and not ask(link, self._greeting, GT06_ANSWER):
            raise ConnectionError
        while self.answered < len(self._frames):
            if not ask(link, self._frames[self.answered], self._answer):
                raise ConnectionError
            self.answered += 1
            time.sleep(0.01)


def ask(link: socket.socket, frame: bytes, length: int) -> bool:
    """Whether the whole answer came."""
    link.sendall(frame)
    heard = b""
    while len(heard) < length and (data := link.recv(length - len(heard))):
        heard += data
    return len(heard) == length


class Gateway(Agent):
    """An agent in gateway mode, that never ends by itself."""

    def __init__(self, mqtt_port: int) -> None:
        self.jt808_port, self.gt06_port = free_port(), free_port()
        units = ", ".join(f'"{device}" = "{unit}"' for unit, device in DEVICES.items())
        ports = f"jt808_port = {self.jt808_port}\ngt06_port = {self.gt06_port}"
        super().__init__("gateway", mqtt_port, f'kind = "gateway"\n{ports}\nunits = {{ {units} }}')

    def ready(self) -> bool:
        return accepts(self.jt808_port)

    def trackers(self) -> list[Tracker]:
        busses = [Tracker(self.jt808_port, b"", bus(DEVICES[f"bus-{n}"]), JT808_ANSWER) for n in range(TRUCKS)]
        trucks = [Tracker(self.gt06_port, login(n), truck(), GT06_ANSWER) for n in range(TRUCKS)]
        return busses + trucks


DEVICES = {f"bus-{n}": f"01380013800{n}" for n in range(TRUCKS)} | {
    f"truck-{n}": f"86123456789012{n}" for n in range(TRUCKS)
}


def bus(phone: str) -> Iterator[bytes]:
    """A place every two seconds of event time; every tenth frame is a batch of three."""
    second = 0
    for n in range(FIXES):
        size = 3 if n % 10 == 9 else 1
        bodies = [place(lat=31_000_000 + (second + i), time=beijing(second + i)) for i in range(size)]
        second += size
        if size == 1:
            yield jt808(0x0200, bodies[0], serial=n, phone=phone)
        else:
            yield jt808(0x0704, b"\0\3\1" + b"".join(b"\0\x1c" + body for body in bodies), serial=n, phone=phone)


def beijing(second: int) -> str:
    return f"260707{16 + second // 3600:02}{second // 60 % 60:02}{second % 60:02}"


def login(number: int) -> bytes:
    return gt06(0x01, bytes.fromhex(f"086123456789012{number}"))


def truck() -> Iterator[bytes]:
    for n in range(FIXES):
        time_ = bytes([26, 7, 7, 8 + n // 3600, n // 60 % 60, n % 60]).hex()
        where = bytes.fromhex(time_) + b"\xc5" + (97_000_000 + n * 10).to_bytes(4) + (43_200_000).to_bytes(4)
        yield gt06(0x12, where + b"\x24" + (0x145A).to_bytes(2) + CELL, serial=n)


def expected() -> set[tuple[str, int]]:
    of_bus = FIXES + 2 * (FIXES // 10)
    wanted = {(f"bus-{n}", BEGUN + s * 1_000_000) for n in range(TRUCKS) for s in range(of_bus)}
    return wanted | {(f"truck-{n}", BEGUN + s * 1_000_000) for n in range(TRUCKS) for s in range(FIXES)}


def stored(stack: Stack) -> list[tuple[str, int]]:
    store = open_store(stack.settings)
    found = [(unit, at) for unit in DEVICES for at in store.track(unit, 0, 2**60).at.tolist()]
    store.close()
    return found


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    fleet, rules = tmp_path / "fleet.csv", tmp_path / "rules.toml"
    fleet.write_text("unit,group,operator,purpose\n" + "".join(f"{unit},g,o,test\n" for unit in DEVICES))
    rules.write_text('[[rule]]\nname = "fast"\nkind = "speed"\nlimit_kmh = 100\nmin_duration_s = 0\n')
    with embedded(tmp_path, rules=rules, fleet=fleet, parts=PARTS) as running:
        yield running


@pytest.mark.timeout(300, func_only=True)
def test_a_gateway_killed_in_the_middle_loses_nothing_and_doubles_nothing(stack: Stack) -> None:
    chance = random.Random(3)
    with Gateway(stack.settings.mqtt.port) as gateway:
        trackers = gateway.trackers()
        for tracker in trackers:
            tracker.start()
        others: list[Server] = [gateway, stack.killable()["nats"], stack.killable()["bridge"], gateway, gateway]
        for victim in others:
            time.sleep(chance.uniform(0.3, 1.0))
            victim.kill()
            time.sleep(chance.uniform(0.0, 0.5))
            victim.start()
        wait_until(lambda: not any(tracker.is_alive() for tracker in trackers), 120, "every answer")
        assert sum(tracker.again for tracker in trackers) >= len(trackers), "the kills were in the middle"
        wait_until(lambda: len(stored(stack)) >= len(expected()), 60, "every fix stored")
        time.sleep(1)
        found = stored(stack)
    assert len(found) == len(set(found))
    assert set(found) == expected()
