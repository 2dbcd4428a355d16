"""JT/T 808 in datagrams."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.gateway.udp import MOST_TALKS, UdpServer
from tests.gateways import Box, desk
from tests.test_gateway_jt808 import parts
from tests.trackers import jt808, place


@pytest.fixture
def link() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(5)
        yield one


def test_each_datagram_is_answered_when_it_is_kept(tmp_path: Path, link: socket.socket) -> None:
    with Box(tmp_path) as box:
        for serial in range(5):
            frame = jt808(0x0200, place(time=f"20070719230{serial}"), serial=serial)
            link.sendto(frame, ("127.0.0.1", box.ports["jt808_udp"]))
            assert link.recv(100)[13:15] == serial.to_bytes(2)
            assert len(box.fixes()) == serial + 1


def test_parts_of_one_address_belong_together(tmp_path: Path, link: socket.socket) -> None:
    with Box(tmp_path) as box:
        for part in parts():
            link.sendto(part, ("127.0.0.1", box.ports["jt808_udp"]))
        assert link.recv(1000).count(b"\x7e") == 6
        assert len(box.fixes()) == 3


def test_rubbish_and_strangers_change_nothing(tmp_path: Path, link: socket.socket) -> None:
    with Box(tmp_path) as box:
        address = ("127.0.0.1", box.ports["jt808_udp"])
        for data in (b"", b"\x7e" * 60_000, b"\0" * 60_000, jt808(0x0200, place(), phone="019999999999")):
            link.sendto(data, address)
        assert link.recv(100)[-3:-2] == b"\x01", "the stranger is told"
        link.sendto(jt808(0x0002, b""), address)
        assert link.recv(100)[-3:-2] == b"\x00"
        assert box.fixes() == []


def test_addresses_are_remembered_in_bounded_number() -> None:
    server = UdpServer(desk(), None, lambda _: object())  # type: ignore[arg-type,return-value]
    for port in range(MOST_TALKS + 500):
        server._talk(("192.0.2.1", port))
    assert len(vars(server)["_talks"]) == MOST_TALKS
