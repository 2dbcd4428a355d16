"""OsmAnd, Traccar Client and OwnTracks over real HTTP: 200 only for what is on the disk, and reasons in words."""

import http.client
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from edge.decode.base import LIMIT
from edge.spool import Spool
from pipeline.wire import parse_rfc3339
from tests.gateways import Box

GET = "/?id=phone-7&timestamp=1790000000&lat=40.72&lon=-74.006&bearing=7.2&speed=40"
CLIENT = {
    "device_id": "phone-7",
    "location": {
        "timestamp": "2026-09-21T10:00:00.000Z",
        "coords": {"latitude": 1.5, "longitude": 2.5, "speed": 3, "heading": 4, "accuracy": 4},
    },
}
OWNTRACKS = {"_type": "location", "lat": 46.06, "lon": 11.15, "tid": "xx", "tst": 1790000000, "vel": 36}


def ask(box: Box, method: str, target: str, body: Any = None, **headers: str) -> tuple[int, str]:
    link = http.client.HTTPConnection("127.0.0.1", box.ports["http"], timeout=10)
    try:
        data = json.dumps(body) if isinstance(body, dict) else body
        link.request(method, target, data, {name.replace("_", "-"): value for name, value in headers.items()})
        response = link.getresponse()
        return response.status, response.read().decode()
    finally:
        link.close()


def test_a_query_a_form_and_json_are_kept_before_they_are_answered(tmp_path: Path) -> None:
    with Box(tmp_path) as box:
        assert ask(box, "GET", GET) == (200, "")
        assert ask(box, "POST", GET) == (200, "")
        assert ask(box, "POST", "/", GET.removeprefix("/?")) == (200, "")
        assert ask(box, "POST", "/", CLIENT) == (200, "")
        fixes = box.fixes()
        assert [(fix.unit, fix.lat) for fix in fixes] == [("walker-1", 40.72)] * 3 + [("walker-1", 1.5)]
        assert fixes[0].speed == pytest.approx(40 * 1852 / 3600)
        assert (fixes[3].at, fixes[3].speed) == (parse_rfc3339("2026-09-21T10:00:00Z"), 3)


@pytest.mark.parametrize(
    ("target", "headers", "topic"),
    [
        ("/owntracks", {"X_Limit_D": "phone-7", "X_Limit_U": "me"}, None),
        ("/pub?u=me&d=phone-7", {}, None),
        ("/owntracks/", {}, "owntracks/me/phone-7"),
    ],
)
def test_owntracks_names_its_device_in_three_ways(
    tmp_path: Path, target: str, headers: dict[str, str], topic: str | None
) -> None:
    report = OWNTRACKS | ({"topic": topic} if topic else {})
    with Box(tmp_path) as box:
        assert ask(box, "POST", target, report, **headers) == (200, "[]")
        (fix,) = box.fixes()
        assert (fix.unit, fix.speed) == ("walker-1", pytest.approx(10))


def test_owntracks_messages_without_a_place_are_answered(tmp_path: Path) -> None:
    with Box(tmp_path) as box:
        assert ask(box, "POST", "/owntracks", {"_type": "lwt", "tst": 1}, X_Limit_D="phone-7") == (200, "[]")
        assert box.fixes() == []


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "said"),
    [
        ("GET", "/?id=phone-7&lat=x&lon=2", None, 400, "coordinates: lat=x"),
        ("GET", "/", None, 400, "empty"),
        ("GET", "/?lat=1&lon=2", None, 400, "device: neither id nor deviceid"),
        ("POST", "/", "{", 400, "json"),
        ("POST", "/owntracks", "[]", 400, "json"),
        ("POST", "/owntracks", '{"_type":"encrypted","data":"x"}', 400, "encrypted"),
        ("GET", GET.replace("phone-7", "phone-8"), None, 403, "device 'phone-8' is not in the gateway's [source]"),
        ("POST", "/", "x" * (LIMIT + 1), 413, "at most 65536 bytes"),
        ("PUT", "/", None, 405, "use GET or POST"),
        ("GET", "/?" + "x" * 9000, None, 431, "headers"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, method: str, target: str, body: str | None, status: int, said: str
) -> None:
    with Box(tmp_path) as box:
        got, words = ask(box, method, target, body)
        assert (got, said in words) == (status, True), words
        assert box.fixes() == []
        assert box.counted(f"http_{status}") == 1 + (status == 400)


def test_a_full_disk_is_503_and_the_app_sends_it_again(tmp_path: Path) -> None:
    with Box(tmp_path) as box:
        vars(box.outlet)["_spool"] = Spool(tmp_path / "full.db", max_bytes=10)
        assert ask(box, "GET", GET)[0] == 503
        vars(box.outlet)["_spool"] = box.spool
        assert ask(box, "GET", GET)[0] == 200
        assert len(box.fixes()) == 1


def raw(box: Box, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", box.ports["http"]), timeout=5) as link:
        link.sendall(data)
        link.shutdown(socket.SHUT_WR)
        heard = b""
        while more := link.recv(4096):
            heard += more
        return heard


def test_one_connection_serves_several_requests_and_pipelined_ones(tmp_path: Path) -> None:
    with Box(tmp_path) as box:
        one = f"GET {GET} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        assert raw(box, one * 3).count(b"HTTP/1.1 200 OK") == 3
        closing = one.replace(b"Host: x", b"Connection: close")
        assert raw(box, closing + one).count(b"HTTP/1.1 200 OK") == 1
        assert raw(box, one.replace(b"HTTP/1.1", b"HTTP/1.0") * 2).count(b"200 OK") == 1
        assert len(box.fixes()) == 5


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"\x00\xff\x7e\r\n\r\n", 400),
        (b"GET / HTTP/1.1", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nab", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
    ],
)
def test_what_is_no_request_is_answered_and_cut_off(tmp_path: Path, data: bytes, status: int) -> None:
    with Box(tmp_path) as box:
        answer = raw(box, data)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert b"Connection: close" in answer


def test_a_client_that_asks_first_is_told_to_go_on(tmp_path: Path) -> None:
    body = GET.removeprefix("/?").encode()
    head = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    with Box(tmp_path) as box:
        answer = raw(box, head + body)
        assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


def test_one_who_sends_a_request_too_slowly_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.gateway.http.REQUEST_S", 0.5)
    with Box(tmp_path) as box, box.tracker("http") as tracker:
        tracker.say(b"GET / HTTP/1.1\r\nX: ")
        assert tracker.closed(3)
        assert box.counted("silent") == 1
