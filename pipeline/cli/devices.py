"""`vedette devices`"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from pipeline.cli.common import settings_options
from pipeline.cli.ledgers import alarm_book, print_table, whoami
from pipeline.devices.registry import KINDS, Device
from pipeline.message import SECOND
from pipeline.ports import UserError
from pipeline.settings import Settings
from pipeline.wire import rfc3339

SOON = 30 * 86_400 * SECOND
"""A certificate with less time left is told as ending soon."""

broker_option = click.option(
    "--broker",
    default="",
    metavar="HOST:PORT",
    help="Where the device reaches the broker (default: [devices] broker).",
)
out_option = click.option("--out", type=click.Path(path_type=Path), help="Bundle file (default: NAME.vedette).")


@click.group("devices")
def command() -> None:
    """Enrol devices, list them, renew their certificates, cut them off.

    \b
    vedette devices broker --host broker.example.org     once: certificates and settings for mosquitto
    vedette devices enrol tower-7 --kind camera          writes tower-7.vedette for the technician
    vedette devices revoke tower-7 --reason stolen       cut off within a minute
    """


@command.command("enrol")
@click.argument("name")
@click.option("--kind", required=True, type=click.Choice(KINDS), help="What it is.")
@click.option("--place", default="", metavar="LAT,LON", help="Where it stands, in degrees (WGS-84).")
@broker_option
@out_option
@settings_options
def enrol(settings: Settings, name: str, kind: str, place: str, broker: str, out: Path | None) -> None:
    """Make a key and a certificate for the device NAME, and write them into one bundle file."""
    desk, where = _desk(settings), _place(place)
    device = _hand_out(desk, out or Path(f"{name}.vedette"), broker, lambda: desk.enrol(name, kind, where))
    if len(device.certificates) > 1 and desk.broker_folder.is_dir():  # it was denied until now
        trouble = desk.reload()
        click.echo(trouble or "the broker has read its lists again", err=bool(trouble))


@command.command("rotate")
@click.argument("name")
@click.option(
    "--now", is_flag=True, help="Refuse the former certificates at once; else they stay good to their end."
)
@broker_option
@out_option
@settings_options
def rotate(settings: Settings, name: str, now: bool, broker: str, out: Path | None) -> None:
    """Give the device NAME another key and certificate, in a new bundle file."""
    desk = _desk(settings)
    _hand_out(desk, out or Path(f"{name}.vedette"), broker, lambda: desk.rotate(name, now=now))
    if now:
        _cut_off(desk, name)


@command.command("revoke")
@click.argument("name")
@click.option("--reason", default="", help="Why; it stands in the list.")
@settings_options
def revoke(settings: Settings, name: str, reason: str) -> None:
    """Cut the device NAME off: the bridge refuses it within a second, the broker at once."""
    desk = _desk(settings)
    desk.revoke(name, reason)
    click.echo(f"{name} is revoked; the bridge refuses what it says")
    _cut_off(desk, name)


@command.command("broker")
@click.option(
    "--host", "hosts", required=True, multiple=True, help="Name or address of the broker; may be repeated."
)
@click.option("--port", default=8883, show_default=True, type=click.IntRange(1, 65_535))
@settings_options
def broker(settings: Settings, hosts: tuple[str, ...], port: int) -> None:
    """Write certificates, revocation list, access list and mosquitto.conf into the broker's folder."""
    desk = _desk(settings)
    desk.set_up_broker(hosts, port)
    click.echo(f"mosquitto -c {desk.broker_folder / 'mosquitto.conf'}")
    click.echo("Settings of the pipeline (vedette.toml):\n")
    click.echo(f'[mqtt]\nhost = "{hosts[0]}"\nport = {port}\ntls = true\nca_file = "{desk.folder / "ca.crt"}"')
    click.echo(f'cert_file = "{desk.folder / "bridge.crt"}"\nkey_file = "{desk.folder / "bridge.key"}"\n')
    click.echo(f'[devices]\nbroker = "{hosts[0]}:{port}"\nreload = "systemctl reload mosquitto"')


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@settings_options
def list_devices(settings: Settings, as_json: bool) -> None:
    """List devices: kind, place, state, end of the certificate, and when the pipeline last heard them."""
    from pipeline.devices import registry

    devices = registry.read(Path(settings.devices.path)).devices
    heard, now = _last_heard(settings), _now()
    rows = [row(devices[name], heard, now) for name in sorted(devices)]
    if as_json:
        for one in rows:
            click.echo(json.dumps(one))
    elif rows:
        header = ("DEVICE", "KIND", "PLACE", "STATE", "CERTIFICATE ENDS", "LAST HEARD")
        print_table(header, [_cells(one) for one in rows])
    else:
        click.echo("no device is enrolled; `vedette devices enrol NAME --kind camera` makes the first", err=True)


def row(device: Device, heard: Mapping[str, int], now: int) -> dict[str, Any]:
    """A device as it leaves the program; times in RFC 3339."""
    last = heard.get(device.name)
    return {
        "device": device.name,
        "kind": device.kind,
        "place": device.place,
        "state": state(device, now),
        "enrolled": rfc3339(device.enrolled),
        "by": device.by,
        "expires": rfc3339(device.expires),
        "revoked": None if device.revoked is None else rfc3339(device.revoked),
        "reason": device.reason,
        "heard": None if last is None else rfc3339(last),
    }


def state(device: Device, now: int) -> str:
    """In a word: revoked, expired, ends soon, enrolled."""
    if device.revoked is not None:
        return "revoked"
    left = device.expires - now
    return "expired" if left <= 0 else "ends soon" if left < SOON else "enrolled"


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    place = "{:.5f},{:.5f}".format(*one["place"]) if one["place"] else "-"
    said = f"{one['state']} ({one['reason']})" if one["reason"] else one["state"]
    return one["device"], one["kind"], place, said, one["expires"][:10], one["heard"] or "-"


def _last_heard(settings: Settings) -> dict[str, int]:
    """Microseconds by device; empty where there is no alarm book to ask."""
    try:
        with alarm_book(settings) as book:
            return {one["device"]: one["received"] for one in book.devices() if one.get("received")}
    except UserError:
        return {}


def _desk(settings: Settings) -> Any:
    from pipeline.devices.desk import Desk

    return Desk(settings, whoami(), _now)


def _hand_out(desk: Any, path: Path, named: str, give: Any) -> Device:
    """Everything that a person may have got wrong is looked at before the registry is changed."""
    from pipeline.devices import bundle

    address = desk.address(named)
    if path.exists():
        raise UserError(f"{path} is there already: move it away, or name another file with --out")
    device: Device
    device, issued, ca = give()
    bundle.write(path, bundle.text(device, issued, ca=ca, broker=address))
    click.echo(f"{path}: give it to the technician; it holds the key of {device.name}, valid until ", nl=False)
    click.echo(f"{rfc3339(device.expires)[:10]}, for the broker {address[0]}:{address[1]}")
    if address[0] in ("127.0.0.1", "localhost", "::1"):
        click.echo("The broker's address is this machine's own: others need --broker HOST:PORT", err=True)
    return device


def _cut_off(desk: Any, name: str) -> None:
    """Tell how far the broker has followed; the bridge has in any case."""
    if not desk.broker_folder.is_dir():
        click.echo("no broker's folder: its connection stays, but nothing it says is taken", err=True)
        return
    trouble = desk.reload()
    click.echo(trouble or "the broker has read its lists again: a new connection is refused", err=bool(trouble))
    trouble = desk.evict(name)
    words = f"its connection could not be ended: {trouble}" if trouble else "its connection is ended"
    click.echo(words, err=bool(trouble))


def _place(text: str) -> tuple[float, float] | None:
    if not text:
        return None
    try:
        lat, lon = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--place {text!r}: write it like 47.05,8.31") from None
    if not (-90 <= lat <= 90 and -180 <= lon <= 180):
        raise UserError(f"--place {text!r}: latitude is -90 to 90 and comes first, longitude -180 to 180")
    return lat, lon


def _now() -> int:
    return time.time_ns() // 1000
