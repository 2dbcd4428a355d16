"""Cameras by HTTP, on a real server: kinds of answers, who may see them, when a picture was taken, bad ones."""

import base64
import email.utils
import hashlib
import http.server
import socketserver
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edge.camera import shots
from edge.clock import DeviceClock
from edge.errors import SourceError
from edge.multipart import parts
from edge.picture import encode
from edge.settings import Camera
from edge.shot import Shot
from pipeline.message import SECOND, Clock

GREY = [encode(np.full((48, 64, 3), level, np.uint8), 90) for level in range(0, 250, 10)]
USER, WORD = "guard", "se:cret"


class Web(socketserver.ThreadingTCPServer):
    """`answer` writes the answer to a GET; `asked` holds the headers of each."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        self.answer: Callable[[http.server.BaseHTTPRequestHandler], None] = lambda handler: None
        self.asked: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, user: str = "") -> str:
        return f"http://{user}127.0.0.1:{self.server_address[1]}/cam?channel=1"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        self.server.asked.append(dict(self.headers.items()))
        try:
            self.server.answer(self)
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.shutdown()
    server.server_close()


def send(
    handler: http.server.BaseHTTPRequestHandler, data: bytes, kind: str = "image/jpeg", **headers: str
) -> None:
    handler.send_response_only(200)
    handler.send_header("Content-Type", kind)
    for name, value in ({"Content_Length": str(len(data))} | headers).items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(data)


def looks(web: Web, count: int, *, user: str = "", interval_s: float = 0.05, stall_s: float = 2.0) -> list[Shot]:
    settings = Camera(url=web.url(user), interval_s=interval_s, stall_s=stall_s)
    found = list[Shot]()
    for shot in shots(settings, threading.Event(), DeviceClock(kernel=lambda: Clock.SYNCED)):
        found += [shot] if shot else []
        if len(found) >= count:
            break
    return found


def levels(found: list[Shot]) -> list[int]:
    return [round(float(shot.image.mean())) for shot in found]


# ---------------------------------------------------------------- single pictures


def test_single_pictures_are_asked_for_one_by_one(web: Web) -> None:
    web.answer = lambda handler: send(handler, GREY[len(web.asked)])
    before = time.time()
    found = looks(web, 3, interval_s=0.3)
    assert levels(found) == [20, 30, 40]  # the first answer only said what kind it is
    assert before <= found[0].at / SECOND <= time.time()
    assert 0.2 < (found[2].at - found[1].at) / SECOND < 2


@pytest.mark.parametrize("scheme", ["Basic", "Digest"])
def test_name_and_password_by_basic_or_digest(web: Web, scheme: str) -> None:
    web.answer = lambda handler: guarded(handler, scheme)
    assert len(looks(web, 2, user="guard:se%3Acret@")) == 2
    with pytest.raises(SourceError, match=r"guard:\*\*\*@.*HTTP 401: user name or password refused"):
        looks(web, 1, user="guard:wrong@")
    assert any(asked.get("Authorization", "").startswith(scheme) for asked in web.asked)
    assert not any("secret" in str(asked) for asked in web.asked)


def guarded(handler: http.server.BaseHTTPRequestHandler, scheme: str) -> None:
    """Send a picture to whoever knows the password, as RFC 7617 and RFC 7616 say."""
    said = handler.headers.get("Authorization", "")
    if said == "Basic " + base64.b64encode(f"{USER}:{WORD}".encode()).decode() or digest_is_right(said):
        send(handler, GREY[9])
        return
    handler.send_response_only(401)
    words = (
        'Digest realm="cam", nonce="abc", qop="auth", algorithm=MD5' if scheme == "Digest" else 'Basic realm="cam"'
    )
    handler.send_header("WWW-Authenticate", words)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def digest_is_right(said: str) -> bool:
    if not said.startswith("Digest "):
        return False
    told = {k.strip(): v.strip().strip('"') for k, _, v in (part.partition("=") for part in said[7:].split(", "))}
    mine, theirs = (hashlib.md5(t.encode()).hexdigest() for t in (f"{USER}:cam:{WORD}", f"GET:{told['uri']}"))
    whole = ":".join((mine, told["nonce"], told["nc"], told["cnonce"], told["qop"], theirs))
    return hashlib.md5(whole.encode()).hexdigest() == told["response"]


def test_a_picture_cut_short_is_refused(web: Web) -> None:
    noise = encode(np.random.default_rng(1).integers(0, 255, (200, 300, 3), np.uint8), 90)
    web.answer = lambda handler: send(handler, noise[:-1000])
    with pytest.raises(SourceError, match="a picture cut short, or none"):
        looks(web, 1)
    web.answer = lambda handler: send(handler, noise[:-1000], Content_Length=str(len(noise)))
    with pytest.raises(SourceError, match=r"IncompleteRead|cut short"):
        looks(web, 1)


def test_a_picture_bears_the_time_at_which_it_was_taken_by_the_cameras_own_clock(web: Web) -> None:
    camera_now = 1_000_000_000.0  # a camera whose clock stands in 2001: only the difference counts

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        taken = email.utils.formatdate(camera_now - 40 + len(web.asked), usegmt=True)
        date = email.utils.formatdate(camera_now, usegmt=True)
        send(handler, GREY[len(web.asked) % 20], Last_Modified=taken, Date=date)

    web.answer = answer
    (shot,) = looks(web, 1)
    assert time.time() - shot.at / SECOND == pytest.approx(38, abs=3)


def test_the_same_old_picture_again_and_again_is_trouble(web: Web) -> None:
    web.answer = lambda handler: send(handler, GREY[3], Last_Modified="Sun, 01 Nov 2026 10:00:00 GMT")
    assert len(looks(web, 1)) == 1
    with pytest.raises(SourceError, match="shows the same old picture for 1 s"):
        looks(web, 2, stall_s=0.6)


@pytest.mark.parametrize(
    ("status", "words"), [(404, "HTTP 404: no such path"), (503, "HTTP 503: Service Unavailable")]
)
def test_what_the_camera_refuses_is_said(web: Web, status: int, words: str) -> None:
    web.answer = lambda handler: handler.send_error(status)
    with pytest.raises(SourceError, match=words):
        looks(web, 1)


def test_a_camera_that_takes_the_question_and_says_nothing_is_given_up(web: Web) -> None:
    web.answer = lambda handler: time.sleep(5)
    before = time.monotonic()
    with pytest.raises(SourceError, match="timed out"):
        looks(web, 1, stall_s=0.5)
    assert time.monotonic() - before < 4


# ---------------------------------------------------------------- MJPEG


def stream(handler: http.server.BaseHTTPRequestHandler, *chunks: bytes, boundary: str = "frame") -> None:
    handler.send_response_only(200)
    handler.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={boundary}")
    handler.end_headers()
    for chunk in chunks:
        handler.wfile.write(chunk)
        time.sleep(0.03)


def part(data: bytes, *headers: str, mark: str = "--frame") -> bytes:
    return "\r\n".join((mark, "Content-Type: image/jpeg", *headers, "", "")).encode() + data + b"\r\n"


def sized(data: bytes, *headers: str) -> bytes:
    return part(data, f"Content-Length: {len(data)}", *headers)


def test_a_stream_with_lengths_and_one_without(web: Web) -> None:
    web.answer = lambda handler: stream(handler, *(sized(data) for data in GREY[:6]))
    assert levels(looks(web, 5, interval_s=0)) == [0, 10, 20, 30, 40]
    web.answer = lambda handler: stream(handler, *(part(data) for data in GREY[:6]))
    assert levels(looks(web, 5, interval_s=0)) == [0, 10, 20, 30, 40]
    web.answer = lambda handler: stream(handler, *(part(data) for data in GREY[:6]), boundary='"--frame"')
    assert levels(looks(web, 5, interval_s=0)) == [0, 10, 20, 30, 40]


def test_a_bad_picture_is_passed_over_and_many_in_a_row_are_trouble(web: Web) -> None:
    web.answer = lambda handler: stream(
        handler, *(sized(d) for d in (GREY[1], GREY[2][:-50], b"", GREY[3], GREY[4]))
    )
    assert levels(looks(web, 3, interval_s=0)) == [10, 30, 40]
    web.answer = lambda handler: stream(handler, sized(GREY[1]), *[sized(GREY[2][:-50])] * 9)
    with pytest.raises(SourceError, match="5 bad pictures in a row: a picture cut short"):
        looks(web, 2, interval_s=0)


def test_a_picture_that_waited_in_a_buffer_bears_the_time_at_which_it_was_taken(web: Web) -> None:
    """Three pictures taken a second apart come at once, behind one that came in time."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        stamped = [sized(GREY[i], f"X-Timestamp: {5000 + i}.5") for i in range(5)]
        stream(handler, stamped[0])
        time.sleep(3)
        handler.wfile.write(b"".join(stamped[1:4]))
        time.sleep(0.9)
        handler.wfile.write(stamped[4])

    web.answer = answer
    found = looks(web, 5, interval_s=0, stall_s=10)
    seconds = [(shot.at - found[0].at) / SECOND for shot in found]
    assert seconds == pytest.approx([0, 1, 2, 3, 4], abs=0.4)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"x" * 100_000, "no end of the part"),
        (b"--frame\r\nContent-Length: 99999999999\r\n\r\n", "a part of 99999999999 bytes"),
        (b"--frame\r\nContent-Length: -5\r\n\r\n", "a part of -5 bytes"),
        (b"--frame\r\n" + b"A: b\r\n" * 200, "a hundred headers"),
        (b"--frame\r\n\r\nabc\r\n--frame--\r\n", "the stream ended"),
        (b"--frame\r\nContent-Length: 50\r\n\r\nabc", "the stream broke off"),
        (b"", "the stream broke off"),
    ],
)
def test_what_is_no_stream_of_pictures_is_refused(data: bytes, words: str) -> None:
    chunks = iter([data[i : i + 7000] for i in range(0, len(data), 7000)])
    with pytest.raises(SourceError, match=words):
        list(parts(lambda _count: next(chunks, b""), "frame"))
