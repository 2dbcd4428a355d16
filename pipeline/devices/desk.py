"""What `vedette devices` does: enrol, rotate, revoke. A change is in the registry before anything else follows."""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from pipeline.deployment import write_private
from pipeline.devices import broker, registry
from pipeline.devices.authority import Authority, Issued
from pipeline.devices.registry import Certificate, Device, Kind, Registry
from pipeline.ports import UserError
from pipeline.settings import Settings
from pipeline.wire import DEVICE_NAME

HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,252}[A-Za-z0-9])?")
EVICT_S = 10.0
CLIENT_ID = "vedette-edge-{}"
"""What edge/link.py calls itself."""


@dataclass(frozen=True, slots=True)
class Desk:
    """One registry, authority and broker's folder. `clock` gives microseconds."""

    settings: Settings
    by: str
    clock: Callable[[], int]

    @property
    def folder(self) -> Path:
        return Path(self.settings.devices.path)

    @property
    def broker_folder(self) -> Path:
        return Path(self.settings.devices.broker_folder)

    def address(self, named: str = "") -> tuple[str, int]:
        """(host, port) at which devices reach the broker. UserError for what is no address."""
        mqtt = self.settings.mqtt
        text = named or self.settings.devices.broker or f"{mqtt.host}:{mqtt.port}"
        host, _, port = text.rpartition(":")
        if not (HOST.fullmatch(host.strip("[]")) and port.isdigit() and 0 < int(port) < 65_536):
            raise UserError(f"broker {text!r}: write it like broker.example.org:8883")
        return host.strip("[]"), int(port)

    def enrol(self, name: str, kind: str, place: tuple[float, float] | None) -> tuple[Device, Issued, str]:
        """A new device, or one that was revoked, with its key and the authority's certificate. UserError."""
        if not DEVICE_NAME.fullmatch(name) or name == broker.BRIDGE:
            raise UserError(f"device {name!r}: use 1 to 63 letters, digits, _ or -, begin with a letter or digit")

        def new(before: Device | None, certificate: Certificate) -> Device:
            if before is not None and before.revoked is None:
                raise UserError(
                    f"device {name} is enrolled already: `vedette devices rotate {name}` renews its key"
                )
            given = (*(before.certificates if before else ()), certificate)
            return Device(name, cast(Kind, kind), given, certificate.issued, self.by, place)

        return self._give(name, new)

    def rotate(self, name: str, *, now: bool) -> tuple[Device, Issued, str]:
        """Another key and certificate; those before it stay good until they end, or until `now`. UserError."""

        def renewed(before: Device | None, certificate: Certificate) -> Device:
            if before is None or before.revoked is not None:
                raise _unknown(name, before)
            old = before.certificates
            kept = tuple(_revoked(one, certificate.issued) for one in old) if now else old
            return msgspec.structs.replace(before, certificates=(*kept, certificate))

        return self._give(name, renewed)

    def revoke(self, name: str, reason: str) -> Device:
        """The device may no longer speak: the bridge sees it within a second. UserError."""
        at = self.clock()

        def without(before: Registry) -> Registry:
            device = before.devices.get(name)
            if device is None or device.revoked is not None:
                raise _unknown(name, device)
            given = tuple(_revoked(one, at) for one in device.certificates)
            change = {"certificates": given, "revoked": at, "revoked_by": self.by, "reason": reason}
            return before.with_device(msgspec.structs.replace(device, **change))

        after = registry.change(self.folder, without)
        self._tell_broker(after)
        return after.devices[name]

    def set_up_broker(self, hosts: tuple[str, ...], port: int) -> None:
        """The broker's folder, and a certificate for the bridge in the devices' folder. UserError."""
        for host in hosts:
            if not HOST.fullmatch(host):
                raise UserError(f"host {host!r}: write a name or an address, without a port")
        now, days = self.clock(), self.settings.devices.certificate_days
        with registry.turn(self.folder):
            authority = Authority.open(self.folder, now)
            bridge = authority.client(broker.BRIDGE, now, days=days)
            (self.folder / "bridge.crt").write_text(bridge.cert)
            write_private(self.folder / "bridge.key", bridge.key)
            broker.set_up(self.broker_folder, authority, hosts, now=now, days=days, port=port)
            broker.update(self.broker_folder, authority, registry.read(self.folder), now)

    def reload(self) -> str:
        """Make the broker read its files again; what went wrong, if anything."""
        return broker.reload(self.settings.devices.reload)

    def evict(self, name: str) -> str:
        """End the device's connection by taking its session over; what went wrong, if anything.

        A revoked certificate is refused at a handshake only, and a connection can last for weeks. So a certificate
        of a minute's life is made for the name, and logs in as it: the broker then ends the older connection.
        """
        now = self.clock()
        with registry.turn(self.folder):
            authority = Authority.open(self.folder, now)
        issued = authority.client(name, now, days=1)
        return _log_in(CLIENT_ID.format(name), authority.pem, issued, self.address())

    def _give(self, name: str, make: Callable[[Device | None, Certificate], Device]) -> tuple[Device, Issued, str]:
        now = self.clock()
        with registry.turn(self.folder):
            authority = Authority.open(self.folder, now)
        issued = authority.client(name, now, days=self.settings.devices.certificate_days)
        after = registry.change(
            self.folder, lambda before: before.with_device(make(before.devices.get(name), issued.record))
        )
        self._tell_broker(after)
        return after.devices[name], issued, authority.pem

    def _tell_broker(self, after: Registry) -> None:
        now = self.clock()
        with registry.turn(self.folder):
            broker.update(self.broker_folder, Authority.open(self.folder, now), after, now)


def _revoked(certificate: Certificate, at: int) -> Certificate:
    return certificate if certificate.revoked is not None else msgspec.structs.replace(certificate, revoked=at)


def _unknown(name: str, device: Device | None) -> UserError:
    if device is None:
        return UserError(f"no device {name}: `vedette devices list` shows who is enrolled")
    return UserError(f"device {name} is revoked: `vedette devices enrol {name}` admits it again")


def _log_in(client_id: str, ca: str, issued: Issued, address: tuple[str, int]) -> str:
    """Connect as the device and leave again; paho and OpenSSL read key and certificate from files only."""
    answered, said = threading.Event(), list[str]()
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id)

    def heard(_client: paho.Client, _data: object, _flags: object, code: object, _properties: object) -> None:
        said.append("" if not getattr(code, "is_failure", True) else str(code))
        answered.set()

    client.on_connect = heard
    with tempfile.TemporaryDirectory() as folder:
        names = {part: str(Path(folder) / part) for part in ("ca", "cert", "key")}
        for part, pem in (("ca", ca), ("cert", issued.cert), ("key", issued.key)):
            write_private(Path(names[part]), pem)
        try:
            client.tls_set(names["ca"], names["cert"], names["key"])
            client.connect(*address, keepalive=10)
        except OSError as error:
            return f"{address[0]}:{address[1]}: {error}"
    client.loop_start()
    in_time = answered.wait(EVICT_S)
    client.disconnect()
    client.loop_stop()
    return said[0] if in_time else f"{address[0]}:{address[1]}: no answer in {EVICT_S:g} s"
