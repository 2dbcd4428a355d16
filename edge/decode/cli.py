"""`vedette-edge decode`: what a tracker said, for a technician's eyes or another program's."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import click

from edge.decode import PROTOCOLS, DecodeError, Decoding, Message, Protocol
from edge.decode import nmea as sentences
from edge.decode.base import LIMIT

FRAMES = 2 * LIMIT
"""Characters of a line: 64 kB as hexadecimal digits. What is over it is refused, and read past."""


@click.command("decode", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("protocol", type=click.Choice(sorted(PROTOCOLS)))
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--session", is_flag=True, help="All lines are of one connection: keep its login, join its parts.")
@click.option("--stream", is_flag=True, help="FILE is the bytes of a connection, not lines (jt808, gt06).")
@click.option(
    "--date", type=click.DateTime(["%Y-%m-%d"]), help="Day of the first sentence, for NMEA without dates."
)
@click.option("--json", is_flag=True, expose_value=False, help="One JSON object a line; it is never otherwise.")
def command(protocol: str, file: BinaryIO, session: bool, stream: bool, date: dt.datetime | None) -> None:
    """Print each message of FILE (or of standard input) as one line of JSON, or why it is refused.

    jt808 and gt06 are lines of hexadecimal digits; osmand lines are query strings or JSON, owntracks lines JSON,
    nmea lines sentences. Units: degrees, m/s, metres, UTC. Exit status 0, even if messages were refused.
    """
    chosen = PROTOCOLS[protocol]
    if stream and chosen.splitter is None:
        raise click.UsageError(f"--stream is for jt808 and gt06; {protocol} has lines")
    decoding: Decoding = chosen.session()
    if date is not None:
        if protocol != "nmea":
            raise click.UsageError("--date is for nmea; other protocols tell the day")
        decoding = sentences.Session(date.date())
    alone = None if session or stream else chosen.decode
    for row in rows(chosen, file, alone or decoding.decode, stream=stream):
        click.echo(json.dumps(row))
    if isinstance(decoding, sentences.Session):
        for row in answer(lambda _: decoding.finish(), b""):
            click.echo(json.dumps(row))


def rows(
    protocol: Protocol, file: BinaryIO, decode: Callable[[bytes], list[Message]], *, stream: bool
) -> Iterator[dict[str, Any]]:
    """What is printed for each message, in order."""
    for raw in streamed(protocol, file) if stream else lines(file):
        if protocol.binary and not stream:
            yield from answer(lambda line: decode(unhex(line)), raw)
        else:
            yield from answer(decode, raw)


def answer(decode: Callable[[bytes], list[Message]], raw: bytes) -> Iterable[dict[str, Any]]:
    try:
        return [message.as_json() for message in decode(raw)]
    except DecodeError as error:
        row: dict[str, Any] = {"ok": False, "reason": error.reason, "detail": error.detail}
        if error.unverified:
            row["unverified"] = [
                {name: value for name, value in message.as_json().items() if name != "ok"}
                for message in error.unverified
            ]
        return [row]


def lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines that are not blank. Of one that is too long only the beginning is given, so that it is refused."""
    while line := file.readline(FRAMES + 2):
        whole = line.endswith(b"\n") or len(line) < FRAMES + 2
        while not whole and (rest := file.readline(FRAMES)):
            whole = rest.endswith(b"\n")
        if line.strip():
            yield line.strip()


def streamed(protocol: Protocol, file: BinaryIO) -> Iterator[bytes]:
    assert protocol.splitter is not None
    splitter = protocol.splitter()
    while data := file.read(4096):
        yield from splitter.feed(data)


def unhex(line: bytes) -> bytes:
    """Bytes of hexadecimal digits; spaces, colons and a 0x are let pass. DecodeError: not_hex, length."""
    if len(line) > FRAMES:
        raise DecodeError("length", f"more than {FRAMES} digits")
    if line.startswith(b"("):
        return line  # a padlock's sentence, as it is
    text = line.decode("latin-1").replace(" ", "").replace(":", "").removeprefix("0x")
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise DecodeError("not_hex", text[:40]) from None
