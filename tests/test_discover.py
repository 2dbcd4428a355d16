"""WS-Discovery against responders on the loopback, and the machine's video devices."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest

from edge.discover import (
    ADDRESSING,
    DISCOVERY,
    NETWORK,
    PROBE,
    SOAP,
    OnvifCamera,
    matches,
    onvif_cameras,
    video_devices,
)
from edge.errors import SetupError

MESSAGE = "urn:uuid:0a6dc791-2be6-4991-9af1-454778a1917a"
Answer = Callable[[str], list[bytes]]


def answer(message: str, *, name: str = "Tower%20North", host: str = "192.0.2.20") -> bytes:
    """What a camera says, with prefixes of its own choosing."""
    scopes = f"onvif://www.onvif.org/name/{name} onvif://www.onvif.org/hardware/X-1 onvif://www.onvif.org/Profile/T"
    return (
        f'<?xml version="1.0"?><env:Envelope xmlns:env="{SOAP}" xmlns:w="{ADDRESSING}" xmlns:dd="{DISCOVERY}" '
        f'xmlns:dn="{NETWORK}"><env:Header><w:RelatesTo>{message}</w:RelatesTo></env:Header><env:Body>'
        f"<dd:ProbeMatches><dd:ProbeMatch><w:EndpointReference><w:Address>urn:uuid:{host}</w:Address>"
        f"</w:EndpointReference><dd:Types>dn:NetworkVideoTransmitter</dd:Types><dd:Scopes>{scopes}</dd:Scopes>"
        f"<dd:XAddrs>http://{host}/onvif/device_service http://[fe80::1]/onvif/device_service</dd:XAddrs>"
        "</dd:ProbeMatch></dd:ProbeMatches></env:Body></env:Envelope>"
    ).encode()


@contextmanager
def responder(say: Answer) -> Iterator[tuple[tuple[str, int], list[bytes]]]:
    """A camera on the loopback: its address, and what it was asked."""
    asked = list[bytes]()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind(("127.0.0.1", 0))
        link.settimeout(0.1)
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                try:
                    data, sender = link.recvfrom(65_535)
                except TimeoutError:
                    continue
                asked.append(data)
                found = re.search(rb"<a:MessageID>(.*?)</a:MessageID>", data)
                for one in say(found.group(1).decode() if found else ""):
                    link.sendto(one, sender)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield link.getsockname(), asked
        finally:
            stop.set()
            thread.join()


def test_a_camera_that_answers_is_found_once() -> None:
    with responder(lambda message: [answer(message)] * 2) as (address, asked):
        found = onvif_cameras(1.3, address=address)
    service = "http://192.0.2.20/onvif/device_service"
    assert found == [OnvifCamera("192.0.2.20", service, "Tower North", "X-1", "urn:uuid:192.0.2.20")]
    assert len(asked) == 3, "UDP loses packets"
    tree = ElementTree.fromstring(asked[0])
    assert tree.findtext(f"{{{SOAP}}}Header/{{{ADDRESSING}}}Action") == f"{DISCOVERY}/Probe"
    assert tree.findtext(f"{{{SOAP}}}Body/{{{DISCOVERY}}}Probe/{{{DISCOVERY}}}Types") == "n:NetworkVideoTransmitter"


def test_nobody_answers() -> None:
    with responder(lambda _: []) as (address, _):
        assert onvif_cameras(0.3, address=address) == []


def test_garbage_does_not_hide_the_camera() -> None:
    garbage = [b"", b"<", b"\xff" * 1000, b"<a/>", answer("urn:uuid:another-probe", host="192.0.2.66")]
    with responder(lambda message: [*garbage, answer(message)]) as (address, _):
        assert [camera.host for camera in onvif_cameras(0.4, address=address)] == ["192.0.2.20"]


def test_xml_with_a_document_type_is_not_read() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]>' + answer(MESSAGE).partition(b"?>")[2]
    assert list(matches(bomb, MESSAGE)) == []
    assert len(list(matches(answer(MESSAGE), MESSAGE))) == 1


def test_a_name_cannot_move_the_cursor() -> None:
    (camera,) = matches(answer(MESSAGE, name="%1B%5B2Jevil"), MESSAGE)
    assert camera.name == "[2Jevil"


def test_a_match_without_an_address_is_none() -> None:
    silent = re.sub(rb"<dd:XAddrs>.*</dd:XAddrs>", b"<dd:XAddrs></dd:XAddrs>", answer(MESSAGE))
    assert list(matches(silent, MESSAGE)) == []


def test_a_wrong_interface_is_named() -> None:
    with pytest.raises(SetupError, match="--interface"):
        onvif_cameras(0.2, interface="192.0.2.77")


def test_the_probe_is_xml() -> None:
    assert ElementTree.fromstring(PROBE.format(id=MESSAGE)).tag == f"{{{SOAP}}}Envelope"


def test_video_devices_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number, name in ((10, "HDMI"), (2, "USB camera"), (0, "")):
        folder = tmp_path / f"sys/class/video4linux/video{number}"
        folder.mkdir(parents=True)
        if name:
            (folder / "name").write_text(name + "\n")
    assert video_devices(tmp_path) == [("/dev/video0", ""), ("/dev/video2", "USB camera"), ("/dev/video10", "HDMI")]
    assert video_devices(tmp_path / "none") == []
