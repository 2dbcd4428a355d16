"""HTTP/1.1 as far as trackers speak it: a request line, headers, a body of a known length, and no more."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from edge.decode.base import LIMIT

LONGEST_HEAD = 8192
METHODS = ("GET", "POST")


class Refusal(Exception):
    """A request that is answered with `status` and a reason. `close`: what follows cannot be told apart."""

    def __init__(self, status: HTTPStatus, reason: str, *, close: bool = False) -> None:
        super().__init__(reason)
        self.status, self.reason, self.close = status, reason, close


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    keep: bool
    """Whether the client wants to send another one over the same connection."""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path


async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    """The next request; None when the client has ended. Refusal, OSError."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as rest:
        if rest.partial.strip():
            raise Refusal(HTTPStatus.BAD_REQUEST, "the request ends in the middle", close=True) from None
        return None
    except asyncio.LimitOverrunError:
        reason = f"more than {LONGEST_HEAD} bytes of headers"
        raise Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, reason, close=True) from None
    method, target, version, headers = parsed(head)
    body = await _body(reader, writer, headers)
    asked = headers.get("connection", "").lower()
    return Request(method, target, headers, body, asked != "close" and (version != "HTTP/1.0" or "keep" in asked))


def parsed(head: bytes) -> tuple[str, str, str, dict[str, str]]:
    """Method, target, version, headers by small name. Refusal."""
    first, *lines = head.decode("latin-1").strip("\r\n").split("\r\n")
    method, _, rest = first.partition(" ")
    target, _, version = rest.rpartition(" ")
    if not version.startswith("HTTP/1.") or not target.startswith("/"):
        raise Refusal(HTTPStatus.BAD_REQUEST, "not a request of HTTP/1", close=True)
    if method not in METHODS:
        raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"{method[:20]}: use GET or POST", close=True)
    pairs = (line.partition(":") for line in lines)
    return method, target, version, {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: dict[str, str]) -> bytes:
    if "transfer-encoding" in headers:
        raise Refusal(HTTPStatus.LENGTH_REQUIRED, "send Content-Length, not chunks", close=True)
    said = headers.get("content-length", "0")
    if not (said.isascii() and said.isdigit()):
        raise Refusal(HTTPStatus.BAD_REQUEST, "Content-Length is no number", close=True)
    if len(said) > 9 or int(said) > LIMIT:
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {LIMIT} bytes", close=True)
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    try:
        return await reader.readexactly(int(said))
    except asyncio.IncompleteReadError:
        raise Refusal(HTTPStatus.BAD_REQUEST, "the body is shorter than it says", close=True) from None


def response(status: HTTPStatus, text: str, *, keep: bool, kind: str = "text/plain; charset=utf-8") -> bytes:
    body = text.encode()
    how = "keep-alive" if keep else "close"
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: {how}\r\n\r\n".encode() + body
