"""The folder that mosquitto reads: certificates, revocation list, access list, and a configuration that uses them.

A reload (SIGHUP) makes mosquitto read `crl.pem` and `acl` again. The revocation list refuses a certificate at the
next handshake only; so the access list denies a revoked name all at once, and `desk.evict` ends its connection.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pipeline.deployment import write_private
from pipeline.devices.authority import Authority
from pipeline.devices.registry import Registry
from pipeline.ports import UserError
from pipeline.settings import PACKAGE

SHIPPED = PACKAGE / "config" / "mosquitto"
BRIDGE = "vedette-bridge"
"""Common name of the bridge's certificate; the shipped access list lets it read what all devices say."""
RELOAD_S = 20.0


def set_up(folder: Path, authority: Authority, hosts: Sequence[str], *, now: int, days: int, port: int) -> None:
    """Write the broker's certificate for `hosts` and its configuration. UserError if the folder is not ours."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"broker folder {folder}: {error.strerror}: set [devices] broker_folder") from None
    issued = authority.server(hosts, now, days=days)
    (folder / "ca.crt").write_text(authority.pem)
    (folder / "broker.crt").write_text(issued.cert)
    write_private(folder / "broker.key", issued.key)
    shipped = (SHIPPED / "mtls.conf").read_text("utf-8")
    text = shipped.replace("/etc/mosquitto/vedette", str(folder)).replace("listener 8883", f"listener {port}")
    (folder / "mosquitto.conf").write_text(text)


def update(folder: Path, authority: Authority, registry: Registry, now: int) -> None:
    """Write `crl.pem` and `acl` as the registry says. Does nothing where no broker's folder was set up."""
    if not folder.is_dir():
        return
    given = (certificate for device in registry.devices.values() for certificate in device.certificates)
    _replace(folder / "crl.pem", authority.revocations(given, now))
    _replace(folder / "acl", access_list(registry))
    _hand_over(folder)


def access_list(registry: Registry) -> str:
    """The shipped access list, and before it what is denied to each revoked name."""
    denied = "".join(f"user {name}\ntopic deny vedette/v1/{name}/#\n\n" for name in registry.revoked)
    head = "# Written by `vedette devices`; changes are lost. Revoked devices first.\n\n" if denied else ""
    return head + denied + (SHIPPED / "acl").read_text("utf-8")


def reload(command: str) -> str:
    """Run the command that makes the broker read its files again; what went wrong, empty if nothing did."""
    if not command:
        return "no [devices] reload is set: make the broker read its files again yourself (SIGHUP)"
    try:
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=RELOAD_S, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return f"[devices] reload {command!r}: {error}"
    return f"[devices] reload {command!r}: exit {done.returncode}: {done.stderr.strip()}" if done.returncode else ""


def _replace(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".new")
    part.write_text(text)
    part.replace(path)


def _hand_over(folder: Path) -> None:
    """mosquitto reads these as its own user when it reloads; nobody else may read the key."""
    if os.geteuid() == 0:
        with contextlib.suppress(LookupError, OSError):
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, "mosquitto", "mosquitto")
