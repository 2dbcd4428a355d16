"""`vedette up` as a person runs it: the whole system, its alarms, its end, and that nothing is left behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.alarms.book import open_book
from pipeline.cli.common import settings_for
from pipeline.embedded import BEATING
from pipeline.message import Alarm
from pipeline.pulse import verdict
from pipeline.state import open_state
from tests.live.process import alive, children, wait_until

PARTS = {
    *("nats-server", "bridge", "worker-telemetry", "worker-vision", "worker-alarms", "api"),
    *("edge-demo-fleet", "edge-demo-tower"),
}
BOTH_KINDS_S = 60


class Up:
    """One run of the command; what it prints goes to a file."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.data = data
        self.output = data.parent / f"up-{time.monotonic_ns()}.txt"
        command = [sys.executable, "-m", "pipeline", "up", "--data", str(data), "--port", "0", *arguments]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    def says(self, text: str, seconds: float = 60) -> str:
        wait_until(lambda: text in self.said or self.process.poll() is not None, seconds, f"{text!r}: {self.said}")
        assert text in self.said, self.said
        return self.said

    def end(self, seconds: float = 15) -> int:
        return self.process.wait(seconds)


@contextmanager
def up(data: Path, *arguments: str) -> Iterator[Up]:
    run = Up(data, *arguments)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()


def alarms(data: Path) -> dict[str, Alarm]:
    """The alarms that stand in the book, by id."""
    book = open_book(settings_for(data, None))
    try:
        return {alarm.id: alarm for alarm in book.alarms()}
    finally:
        book.close()


def kinds(data: Path) -> set[str]:
    return {alarm.kind for alarm in alarms(data).values()}


def unwell(data: Path, since: int) -> dict[str, str]:
    """Why parts are not well, by name; only what they have said after `since` counts."""
    state = open_state(settings_for(data, None))
    try:
        rows = [row for row in state.beats() if row["beaten"] > since]
    finally:
        state.close()
    now = time.time_ns() // 1000
    reasons = {part: verdict([row for row in rows if row["part"] == part], now) for part in BEATING}
    return {part: reason for part, reason in reasons.items() if reason}


def pids(said: str) -> dict[str, int]:
    """The newest process of each part, as the command printed it."""
    return {name: int(pid) for name, pid in re.findall(r"^  (\S+) +pid (\d+)", said, re.M)}


def test_the_demonstration_from_its_start_to_its_end(tmp_path: Path) -> None:
    """Alarms of both kinds within 60 s; a killed part comes back; a second `up` is refused; nothing is left."""
    began = time.monotonic()
    with up(tmp_path / "data", "--demo") as run:
        console = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", run.says("Console: "))
        assert console
        parts = pids(run.said)
        assert set(parts) == PARTS
        assert set(children(run.process.pid)) == set(parts.values())
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with browser.open(console[0], timeout=10) as page:
            assert page.status == 200

        with up(tmp_path / "data", "--demo") as second:
            assert second.end() == 2
            assert "in use by another `vedette up`" in second.said

        os.kill(parts["worker-telemetry"], signal.SIGKILL)
        run.says("worker-telemetry   ended (signal 9)")
        run.says("(restart 1)")
        wait_until(
            lambda: {"geofence", "sighting"} <= kinds(tmp_path / "data"),
            BOTH_KINDS_S - (time.monotonic() - began),
            "alarms of both kinds",
        )
        run.process.send_signal(signal.SIGINT)
        assert run.end() == 0
        assert "all parts have ended" in run.said
        assert not [name for name, pid in parts.items() if alive(pid)]


def test_a_killed_nats_server_comes_back_and_alarms_go_on(tmp_path: Path) -> None:
    """Broker and log are one process here: nothing that any part does works without it, and all must recover."""
    data = tmp_path / "data"
    with up(data, "--demo") as run:
        run.says("Console: ", 90)
        wait_until(lambda: bool(alarms(data)), 60, "the first alarm")
        before = alarms(data)
        os.kill(pids(run.said)["nats-server"], signal.SIGKILL)
        run.says("nats-server        ended (signal 9)")
        run.says("(restart 1)")
        back = time.time_ns() // 1000
        wait_until(lambda: not unwell(data, back), 60, "every part being well again")
        seen = ("geofence", "speed", "sighting")  # kinds that need what devices saw, not only the bridge's clock
        later = lambda: [a for a in alarms(data).values() if a.start > back and a.kind in seen]  # noqa: E731
        wait_until(lambda: bool(later()), 120, "an alarm of what was seen later")
        assert before.keys() <= alarms(data).keys()
        run.process.send_signal(signal.SIGINT)
        assert run.end() == 0


def test_it_ends_by_itself_and_nothing_outlives_a_kill(tmp_path: Path) -> None:
    with up(tmp_path / "data", "--for", "1") as run:
        run.says("ready after")
        assert run.end(20) == 0
    with up(tmp_path / "data") as run:
        run.says("worker-alarms      pid")
        time.sleep(0.5)
        parts = children(run.process.pid)
        assert len(parts) >= 5
        run.process.kill()
        run.process.wait()
        wait_until(lambda: not any(alive(pid) for pid in parts), 10, "the parts to die with their parent")


def test_mistakes_are_one_line_and_start_nothing(tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("unit,at,lat,lon\nbus-1,yesterday,1,2\n")
    (tmp_path / "settings.toml").write_text("[vision]\nmodell = 'x'\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for arguments, words in (
            (["--port", port], rf"port {port} for the console"),
            (["--tracks", str(bad)], r"bad\.csv, line 2: column 'at'"),
            (["--video", "/nowhere.mp4"], r"no video /nowhere\.mp4"),
            (["--config", str(tmp_path / "settings.toml")], r"unknown key 'modell'.*did you mean 'model'"),
        ):
            with up(tmp_path / "data", *arguments) as run:
                assert run.end(20) == 2
                assert re.search(words, run.said), run.said
                assert run.said.count("\n") == 1, run.said
