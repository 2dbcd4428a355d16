"""Where an installed agent's files lie, and which devices are installed on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.errors import SetupError

ETC, STATE, UNITS = "etc/vedette/edge", "var/lib/vedette-edge", "etc/systemd/system"
CONFIG, UNIT = "edge.toml", "vedette-edge@.service"


@dataclass(frozen=True, slots=True)
class Places:
    """Paths of one device below `root`, which is `/` but for staging and tests."""

    root: Path
    device: str

    @property
    def folder(self) -> Path:
        return self.root / ETC / self.device

    @property
    def config(self) -> Path:
        return self.folder / CONFIG

    @property
    def data(self) -> Path:
        return self.root / STATE / self.device

    @property
    def unit(self) -> Path:
        return self.root / UNITS / UNIT

    @property
    def service(self) -> str:
        return f"vedette-edge@{self.device}"


def installed(root: Path = Path("/")) -> list[Path]:
    """Configurations that `vedette-edge install` has written."""
    try:
        return sorted((root / ETC).glob(f"*/{CONFIG}"))
    except PermissionError:
        return []


def the_one(config: Path | None, root: Path = Path("/")) -> Path:
    """`config`, else the only installed one. SetupError says which there are."""
    if config is not None:
        return config
    found = installed(root)
    if len(found) == 1:
        return found[0]
    if not found:
        raise SetupError("no device is installed here: name its CONFIG (or run this with sudo)")
    raise SetupError(f"several devices are installed here: name one of {', '.join(map(str, found))}")
