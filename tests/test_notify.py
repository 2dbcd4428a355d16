"""systemd's notification socket, with a real one in its place."""

import os
import socket
import subprocess
import sys
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


def test_the_agent_says_ready_and_goes_on_saying_that_it_lives(tmp_path: Path) -> None:
    """As systemd hears it, with a watchdog of a minute; and that it stops, when it is told to."""
    config, tracks = tmp_path / "edge.toml", tmp_path / "tracks.csv"
    tracks.write_text("unit,at,lat,lon\nbus-1,2026-01-31T12:00:00Z,47.0,8.0\n")
    config.write_text(
        'device = "d-1"\ndata = "d"\n[mqtt]\nport = 1\n[source]\nkind = "tracks"\nfiles = ["tracks.csv"]\n'
    )
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(30)
        command = [sys.executable, "-m", "edge", "run", str(config)]
        agent = subprocess.Popen(command, env=os.environ | {"NOTIFY_SOCKET": str(path)}, stderr=subprocess.DEVNULL)
        try:
            assert [systemd.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
            agent.terminate()
            assert agent.wait(20) == 0
            rest = b""
            while rest != b"STOPPING=1":
                rest = systemd.recv(100)
        finally:
            agent.kill()
            agent.wait()
