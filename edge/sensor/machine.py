"""Values of the machine itself: what a command prints, what stands in a file."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from pathlib import Path

from edge.errors import SourceError
from edge.rows import CommandRow, FileRow
from edge.sensor.value import number_in, short

MOST_BYTES = 65_536


def command_value(row: CommandRow) -> float:
    """The raw value that a command prints. SourceError when it fails, prints none, or takes too long."""
    return number_in(output_of(row.argv, row.timeout_s), pointer=row.pointer, pattern=row.pattern)


def output_of(argv: list[str], timeout_s: float) -> str:
    """What it prints, 64 KiB at the most. It and what it started are killed after `timeout_s`."""
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise SourceError(f"{argv[0]}: {error.strerror}") from None
    try:
        said = _heard(child, argv[0], time.monotonic() + timeout_s)
    finally:
        _kill_all(child)
    if child.returncode:
        raise SourceError(f"{argv[0]}: exit {child.returncode}: {short(said)}")
    return said


def _heard(child: subprocess.Popen[bytes], name: str, deadline: float) -> str:
    """Until the end of its output and of itself."""
    assert child.stdout is not None
    said = b""
    with selectors.DefaultSelector() as ready:
        ready.register(child.stdout, selectors.EVENT_READ)
        while len(said) < MOST_BYTES and (left := deadline - time.monotonic()) > 0:
            if not ready.select(left):
                break
            data = os.read(child.stdout.fileno(), 4096)
            if not data:
                return _ended(child, name, deadline, said)
            said += data
    raise SourceError(f"{name}: {'prints without end' if len(said) >= MOST_BYTES else 'takes too long: killed'}")


def _ended(child: subprocess.Popen[bytes], name: str, deadline: float, said: bytes) -> str:
    try:
        child.wait(max(deadline - time.monotonic(), 0.01))
    except subprocess.TimeoutExpired:
        raise SourceError(f"{name}: takes too long: killed") from None
    return said.decode("utf-8", "replace")


def _kill_all(child: subprocess.Popen[bytes]) -> None:
    """The whole session, before its first process is waited for: until then the number is nobody else's."""
    if child.returncode is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    if child.stdout is not None:
        child.stdout.close()


def file_value(row: FileRow) -> tuple[float, int | None]:
    """(raw value, its time: the file's, in microseconds, with `max_age_s`; else None). SourceError."""
    path = Path(row.path)
    try:
        with path.open("rb") as file:
            changed = os.fstat(file.fileno()).st_mtime
            text = file.read(MOST_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from None
    if not row.max_age_s:
        return number_in(text, pointer=row.pointer, pattern=row.pattern), None
    if (age := time.time() - changed) > row.max_age_s:
        raise SourceError(f"{path}: has not changed for {age:.0f} s, {row.max_age_s:g} are allowed")
    return number_in(text, pointer=row.pointer, pattern=row.pattern), round(changed * 1e6)
