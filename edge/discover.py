"""What could be a source: ONVIF cameras that answer on the local network, and this machine's V4L2 devices.

WS-Discovery (April 2005 draft, as ONVIF's core specification asks for): a Probe by UDP to 239.255.255.250:3702;
every camera answers the sender with a ProbeMatches that relates to the Probe's message id.
"""

from __future__ import annotations

import contextlib
import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

from edge.errors import SetupError

GROUP, PORT = "239.255.255.250", 3702
SOAP = "http://www.w3.org/2003/05/soap-envelope"
ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
DISCOVERY = "http://schemas.xmlsoap.org/ws/2005/04/discovery"
NETWORK = "http://www.onvif.org/ver10/network/wsdl"
SCOPE = "onvif://www.onvif.org/"
REPEAT_S = 0.5
"""UDP loses packets: the Probe is sent three times, so far apart."""
LARGEST = 65_535
PROBE = (
    f'<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="{SOAP}" xmlns:a="{ADDRESSING}" '
    f'xmlns:d="{DISCOVERY}" xmlns:n="{NETWORK}">'
    f"<s:Header><a:Action>{DISCOVERY}/Probe</a:Action><a:MessageID>{{id}}</a:MessageID>"
    "<a:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To></s:Header>"
    "<s:Body><d:Probe><d:Types>n:NetworkVideoTransmitter</d:Types></d:Probe></s:Body></s:Envelope>"
)


@dataclass(frozen=True, slots=True)
class OnvifCamera:
    """One answer. `service` is the camera's ONVIF address; `name` and `hardware` as it says them, or empty."""

    host: str
    service: str
    name: str
    hardware: str
    endpoint: str


def onvif_cameras(
    seconds: float, *, interface: str = "", address: tuple[str, int] = (GROUP, PORT)
) -> list[OnvifCamera]:
    """Cameras that answer within `seconds`, each once, by address.

    `interface` is the local address to ask from; `address` may be one camera's, for networks that carry no
    multicast. SetupError when nothing can be sent.
    """
    message = f"urn:uuid:{uuid.uuid4()}"
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            link.bind((interface, 0))
            if interface:
                link.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
            link.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 2)
            answers = list(_ask(link, address, message, seconds))
    except OSError as error:
        raise SetupError(f"cannot look for cameras: {error}: check the network, or name --interface") from None
    found = {camera.endpoint: camera for answer in answers for camera in matches(answer, message)}
    return sorted(found.values(), key=lambda camera: (camera.host, camera.service))


def _ask(link: socket.socket, address: tuple[str, int], message: str, seconds: float) -> Iterator[bytes]:
    """Send the Probe, and again, and yield what comes until the time is over."""
    probe, start = PROBE.format(id=message).encode(), time.monotonic()
    sent = 0
    while (left := start + seconds - time.monotonic()) > 0:
        if sent < 3 and time.monotonic() >= start + sent * REPEAT_S:
            link.sendto(probe, address)
            sent += 1
        link.settimeout(min(left, 0.1))
        with contextlib.suppress(TimeoutError, ConnectionRefusedError):
            yield link.recv(LARGEST)


def matches(answer: bytes, message: str) -> Iterator[OnvifCamera]:
    """Cameras in one answer to `message`; none in what is no such answer. XML with a DTD is not read at all."""
    if b"<!DOCTYPE" in answer:
        return
    try:
        tree = ElementTree.fromstring(answer)
    except ElementTree.ParseError:
        return
    if tree.findtext(f"{{{SOAP}}}Header/{{{ADDRESSING}}}RelatesTo", "").strip() != message:
        return
    for match in tree.iter(f"{{{DISCOVERY}}}ProbeMatch"):
        services = match.findtext(f"{{{DISCOVERY}}}XAddrs", "").split()
        if services:
            yield _camera(match, services[0])


def _camera(match: ElementTree.Element, service: str) -> OnvifCamera:
    scopes = match.findtext(f"{{{DISCOVERY}}}Scopes", "").split()
    endpoint = match.findtext(f"{{{ADDRESSING}}}EndpointReference/{{{ADDRESSING}}}Address", "").strip()
    host = urlsplit(service).hostname or ""
    return OnvifCamera(host, service, _scope(scopes, "name/"), _scope(scopes, "hardware/"), endpoint or service)


def _scope(scopes: list[str], kind: str) -> str:
    """A word of the camera about itself, without characters that could confuse a terminal."""
    for scope in scopes:
        if scope.lower().startswith(SCOPE + kind):
            text = unquote(scope[len(SCOPE + kind) :])
            return "".join(c for c in text if c.isprintable())[:80]
    return ""


def video_devices(root: Path = Path("/")) -> list[tuple[str, str]]:
    """(/dev/videoN, name) of the V4L2 devices that the kernel knows."""
    found = (root / "sys/class/video4linux").glob("video*")
    rows = [(f"/dev/{entry.name}", line_of(entry / "name")) for entry in found]
    return sorted(rows, key=lambda row: int(row[0].removeprefix("/dev/video") or 0))


def line_of(path: Path) -> str:
    """A one-line file of /sys; empty when it cannot be read."""
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
