"""A server of one test run: a child on loopback, in a folder of its own, that never outlives the tests."""

import ctypes
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

PR_SET_PDEATHSIG = 1  # linux/prctl.h
POLL = 0.02


class ServerFailed(RuntimeError):
    """The server ended, or was not ready in time; the message holds the end of its log."""


def free_port() -> int:
    """A loopback TCP port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    """Whether something listens on the loopback port."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def answers(url: str) -> bool:
    """Whether the URL answers with a 2xx status."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(200 <= response.status < 300)
    except (urllib.error.URLError, OSError):
        return False


@functools.cache
def libc() -> ctypes.CDLL:
    """The C library, loaded before any fork."""
    return ctypes.CDLL(None)


def die_with_parent() -> None:
    """Runs in the child: the kernel kills it when the thread that started it ends, however that happens."""
    if hasattr(libc(), "prctl"):
        libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """One child process. Subclasses say how it is prepared, started, and known to be ready.

    `start` may be called again after `kill` or `stop`: ports and folder stay, so the server finds its data again.
    Start servers from the main thread: they die with the thread that started them.
    """

    ready_seconds = 60.0  # bounded, and wide enough for two busy cores
    stop_signal = signal.SIGTERM
    environment: Mapping[str, str] | None = None  # instead of the tests' own
    user: str | None = None  # run as another user than root (PostgreSQL refuses root)

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"vedette-{type(self).__name__.lower()}-"))
        self.log = self.folder / "server.log"
        self.child: subprocess.Popen[bytes] | None = None
        self.prepared = False

    def prepare(self) -> None:
        """Write the configuration and whatever else the first start needs. Called once."""

    def command(self) -> Sequence[str | Path]:
        """The command line, read at each start."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Whether the server answers; asked again and again while it starts."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self.child is not None, f"{type(self).__name__} is not running"
        return self.child.pid

    def start(self) -> Self:
        """Start the server and wait until it answers.

        Raises ServerFailed: it ended, or was not ready within `ready_seconds`.
        """
        self.begin()
        self.await_ready()
        return self

    def begin(self) -> None:
        """Start the server without waiting: several can then become ready together."""
        if not self.prepared:
            self.prepare()
            self.prepared = True
        self.spawn()

    def spawn(self) -> None:
        """Start the process only."""
        libc()
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                [str(part) for part in self.command()],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user else None,
            )

    def await_ready(self) -> None:
        """Wait for `ready`, no longer than `ready_seconds`, and not for a process that has ended."""
        deadline = time.monotonic() + self.ready_seconds
        while not self.ready():
            if self.child is None or self.child.poll() is not None:
                raise ServerFailed(self.told("ended at once"))
            if time.monotonic() > deadline:
                self.kill()
                raise ServerFailed(self.told(f"was not ready after {self.ready_seconds:.0f} s"))
            time.sleep(POLL)

    def told(self, what: str) -> str:
        """A failure message with the end of the server's log."""
        tail = self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""
        return f"{type(self).__name__} {what}; the end of its log:\n{tail}"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server: SIGSTOP and SIGCONT make an outage in which connections stay open."""
        os.kill(self.pid, number)

    def stop(self, seconds: float = 15) -> None:
        """Ask the server to end, and kill it if it has not ended in time. Does nothing when it is not running."""
        if self.child is not None and self.child.poll() is None:
            self.child.send_signal(self.stop_signal)
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        self.child = None

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self.child is not None:
            self.child.kill()
            self.child.wait()
        self.child = None

    def restart(self) -> Self:
        """Stop in good order and start again."""
        self.stop()
        return self.start()

    def close(self) -> None:
        """Stop the server and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended but was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def children(pid: int) -> list[int]:
    """The process's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_until(holds: Callable[[], bool], seconds: float = 30, what: str = "the condition") -> None:
    """Wait until `holds()`; raises AssertionError naming `what` when it does not hold in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come true in {seconds:.0f} s"
        time.sleep(POLL)
