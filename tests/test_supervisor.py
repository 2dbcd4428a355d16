"""The supervisor, with real little children."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.supervisor import LOG_BYTES, LOG_FILES, Part, Supervisor
from tests.live.process import alive, wait_until

SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
LAST_WORDS = """
import signal, sys, time
def end(*_):
    open(sys.argv[1], "a").write(sys.argv[2] + "\\n"); sys.exit(0)
signal.signal(15, end); print("up", flush=True); time.sleep(600)
"""


class Bench:
    """A supervisor in a folder, and what it said."""

    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        self.folder = folder
        self.supervisor = Supervisor(folder, self.said.append)

    def start(self, name: str, code: str, *arguments: str, order: int = 0, grace: float = 3.0) -> None:
        command = [sys.executable, "-c", code, *arguments]
        self.supervisor.start(Part(name, command, dict(os.environ), order, grace))

    def prints(self, name: str, text: str) -> None:
        log = self.folder / f"{name}.log"
        wait_until(lambda: log.exists() and text in log.read_text(), 10, f"{name} to print {text!r}")

    def tend_until(self, text: str, seconds: float = 10) -> None:
        def said() -> bool:
            self.supervisor.tend()
            return any(text in line for line in self.said)

        wait_until(said, seconds, f"{text!r} in {self.said}")

    def pid(self, name: str) -> int:
        return self.supervisor.children[name].process.pid


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.supervisor.stop()


def test_what_a_child_prints_is_in_its_log(bench: Bench) -> None:
    bench.start("a", "print('one'); print('two')")
    bench.tend_until("is done")
    assert bench.supervisor.last_words("a") == "two"


def test_a_child_that_fails_is_started_again_with_growing_pauses_and_its_words(bench: Bench) -> None:
    bench.start("a", "import sys; sys.exit('no such camera')")
    bench.tend_until("ended (exit 1), again in 0.5 s: no such camera")
    bench.tend_until("ended (exit 1), again in 1 s")
    assert bench.supervisor.children["a"].restarts == 1


def test_a_child_killed_is_started_again(bench: Bench) -> None:
    bench.start("a", SLEEPER)
    bench.prints("a", "up")
    before = bench.pid("a")
    os.kill(before, signal.SIGKILL)
    bench.tend_until("ended (signal 9)")
    bench.tend_until("(restart 1)")
    assert bench.pid("a") != before
    assert alive(bench.pid("a"))


def test_a_child_that_ends_well_is_not_started_again(bench: Bench) -> None:
    bench.start("a", "")
    bench.tend_until("a                  is done")
    time.sleep(0.7)
    bench.supervisor.tend()
    assert not bench.supervisor.running("a")
    assert bench.supervisor.children["a"].restarts == 0


def test_parts_end_in_their_order(bench: Bench, tmp_path: Path) -> None:
    book = tmp_path / "ends"
    for name, order in (("server", 2), ("agent", 0), ("worker", 1)):
        bench.start(name, LAST_WORDS, str(book), name, order=order)
    for name in ("server", "agent", "worker"):
        bench.prints(name, "up")
    bench.supervisor.stop()
    assert book.read_text().split() == ["agent", "worker", "server"]


def test_a_child_that_does_not_listen_is_killed_after_its_grace(bench: Bench) -> None:
    bench.start("a", STUBBORN, grace=0.5)
    bench.prints("a", "up")
    pid, before = bench.pid("a"), time.monotonic()
    bench.supervisor.stop()
    assert not alive(pid)
    assert 0.4 < time.monotonic() - before < 3


def test_a_stop_ends_the_wait_for_a_restart(bench: Bench) -> None:
    bench.start("a", "raise SystemExit(1)")
    bench.tend_until("again in")
    bench.supervisor.stop()
    time.sleep(0.6)
    bench.supervisor.tend()
    assert not bench.supervisor.running("a")


def test_logs_do_not_grow_for_ever(bench: Bench, tmp_path: Path) -> None:
    lines = 4 * LOG_BYTES // 50_001
    bench.start("a", f"for n in range({lines}): print(str(n) + 'x' * 50000)")
    bench.tend_until("is done", 30)
    bench.supervisor.children["a"].reader.join(20)
    sizes = [file.stat().st_size for file in tmp_path.glob("a.log*")]
    assert len(sizes) == LOG_FILES + 1
    assert max(sizes) <= LOG_BYTES
    assert bench.supervisor.last_words("a").startswith(f"{lines - 1}x")


PARENT = """
import os, sys, time
from pathlib import Path
from pipeline.supervisor import Part, Supervisor
supervisor = Supervisor(Path(sys.argv[1]), print)
supervisor.start(Part("a", [sys.executable, "-c", "import time; time.sleep(600)"], dict(os.environ)))
print(supervisor.children["a"].process.pid, flush=True)
time.sleep(600)
"""


def test_children_die_with_a_parent_that_is_killed(tmp_path: Path, root: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=root
    )
    assert parent.stdout is not None
    child = next(int(line) for line in parent.stdout if line.strip().isdigit())
    assert alive(child)
    parent.kill()
    parent.wait()
    wait_until(lambda: not alive(child), 5, "the child to die with its parent")
    parent.stdout.close()


def test_a_part_that_runs_but_does_not_work_is_started_again(bench: Bench) -> None:
    bench.start("server", STUBBORN, grace=0.2)
    bench.prints("server", "up")
    first = bench.pid("server")
    bench.supervisor.restart("server", "it takes nothing")
    bench.tend_until("restart 1")
    assert bench.pid("server") != first and bench.supervisor.running("server")
    assert any("it takes nothing" in line for line in bench.said)
