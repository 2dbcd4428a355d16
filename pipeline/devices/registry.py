"""Enrolled devices in one JSON file: the bridge reads it while the database may be away.

Writers take turns by a lock file; the file is replaced whole, so a reader never sees half of it.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

import msgspec

from pipeline.ports import UserError

FILE = "registry.json"
Kind = Literal["camera", "gps", "sensor", "gateway"]
KINDS: tuple[str, ...] = get_args(Kind)


class Certificate(msgspec.Struct, frozen=True, omit_defaults=True):
    """One certificate that was given out. Times in microseconds since the Unix epoch; `serial` in hexadecimal."""

    serial: str
    issued: int
    expires: int
    revoked: int | None = None


class Device(msgspec.Struct, frozen=True, omit_defaults=True):
    """One device. `place` is (latitude, longitude) in degrees, WGS-84; the last certificate is the newest."""

    name: str
    kind: Kind
    certificates: tuple[Certificate, ...]
    enrolled: int
    by: str
    place: tuple[float, float] | None = None
    revoked: int | None = None
    revoked_by: str = ""
    reason: str = ""

    @property
    def expires(self) -> int:
        """When the newest certificate ends."""
        return self.certificates[-1].expires


class Registry(msgspec.Struct, frozen=True):
    """All devices by name, revoked ones too: their certificates stay on the revocation list."""

    devices: dict[str, Device] = {}
    version: int = 1

    @property
    def revoked(self) -> list[str]:
        """Names of devices that may no longer speak."""
        return sorted(device.name for device in self.devices.values() if device.revoked is not None)

    def with_device(self, device: Device) -> Registry:
        """The same with `device` added or replaced."""
        return Registry({**self.devices, device.name: device})


def read(folder: Path) -> Registry:
    """What the folder holds; empty when nothing was ever enrolled. UserError for a file that cannot be read."""
    path = folder / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Registry)
    except FileNotFoundError:
        return Registry()
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}: restore it from a backup") from None


def change(folder: Path, step: Callable[[Registry], Registry]) -> Registry:
    """Read, change and replace the registry while no other writer does. UserError if the folder is not ours."""
    with turn(folder):
        registry = step(read(folder))
        part = folder / (FILE + ".new")
        part.write_bytes(msgspec.json.format(msgspec.json.encode(registry)) + b"\n")
        part.replace(folder / FILE)
    return registry


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """The folder for this writer alone; made if need be, for its owner only. UserError if it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (folder / "lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise UserError(f"{error.filename or folder}: {error.strerror}: run this as its owner") from None
