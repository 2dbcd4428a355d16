"""The file that `vedette devices enrol` makes: who this device is, where the broker is, and its key."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from edge.errors import SetupError
from pipeline.wire import DEVICE_NAME


class Bundle(msgspec.Struct, frozen=True):
    """One device. Unknown keys are let be: a newer pipeline may say more."""

    device: str
    kind: Literal["camera", "gps", "sensor", "gateway"]
    host: str
    port: int
    ca: str
    cert: str
    key: str
    expires: str = ""
    version: Literal[1] = 1


def read(path: Path) -> Bundle:
    """SetupError naming the file and the fix."""
    try:
        bundle = msgspec.convert(tomllib.loads(path.read_text("utf-8")), Bundle)
    except FileNotFoundError:
        raise SetupError(f"no bundle {path}: `vedette devices enrol` on the server makes it") from None
    except OSError as error:
        raise SetupError(f"{path}: cannot be read: {error.strerror}: run this with sudo") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise SetupError(f"{path}: is no device bundle: {error}: copy the file again") from None
    if not DEVICE_NAME.fullmatch(bundle.device):
        raise SetupError(f"{path}: device {bundle.device!r} is no device name: ask for a new bundle")
    return bundle
