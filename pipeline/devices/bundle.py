"""The one file that a technician carries to a device: TOML with the broker's address and the PEMs in it.

`vedette-edge install` reads it (edge/bundle.py). Whoever holds it can speak as the device: 0600.
"""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.deployment import PRIVATE
from pipeline.devices.authority import Issued
from pipeline.devices.registry import Device
from pipeline.ports import UserError
from pipeline.wire import rfc3339

SUFFIX = ".vedette"
TEXT = """\
# Vedette device bundle. It holds the private key of {name}: give it to nobody, delete it once it is installed.
#     sudo vedette-edge install {name}.vedette --source ADDRESS
version = 1
device = "{name}"
kind = "{kind}"
{place}host = "{host}"
port = {port}
issued = "{issued}"
expires = "{expires}"
ca = \"\"\"
{ca}\"\"\"
cert = \"\"\"
{cert}\"\"\"
key = \"\"\"
{key}\"\"\"
"""


def text(device: Device, issued: Issued, *, ca: str, broker: tuple[str, int]) -> str:
    """The bundle's content. Names and hosts are plain words by their patterns, so nothing needs escaping."""
    return TEXT.format(
        name=device.name,
        kind=device.kind,
        place="place = [{}, {}]\n".format(*device.place) if device.place else "",
        host=broker[0],
        port=broker[1],
        issued=rfc3339(issued.record.issued),
        expires=rfc3339(issued.record.expires),
        ca=ca,
        cert=issued.cert,
        key=issued.key,
    )


def write(path: Path, content: str) -> None:
    """Make the file, readable by its owner only. UserError if it is there already or cannot be made."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    except FileExistsError:
        raise UserError(f"{path} is there already: move it away, or name another file with --out") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: name another file with --out") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
