"""systemd's notification socket, with a real one in its place."""

import socket
from pathlib import Path

from edge.notify import ALIVE, READY, notify


def test_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        assert notify(READY, {"NOTIFY_SOCKET": str(path)}) and notify(ALIVE, {"NOTIFY_SOCKET": str(path)})
        assert [systemd.recv(100), systemd.recv(100)] == [b"READY=1", b"WATCHDOG=1"]


def test_an_abstract_address() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0vedette-test-notify")
        assert notify(READY, {"NOTIFY_SOCKET": "@vedette-test-notify"})
        assert systemd.recv(100) == b"READY=1"


def test_nobody_listens(tmp_path: Path) -> None:
    assert not notify(READY, {})
    assert not notify(READY, {"NOTIFY_SOCKET": str(tmp_path / "gone")})
