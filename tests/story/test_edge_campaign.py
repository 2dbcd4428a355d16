"""A day without a network, in compressed time, while agent and broker are killed: nothing lost, nothing doubled.

VEDETTE_CAMPAIGN_KILLS (6), _HOURS (1) and _SEED (1) make it longer; a kill takes three seconds on a machine that is
not busy. What was done stands in the history that a failure shows.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge import status
from edge.agent import STATUS
from edge.reserve import SIZE
from edge.spoolfile import WAL_LIMIT
from pipeline import wire
from pipeline.message import Fixes, Frame
from tests.cable import Cable
from tests.far_side import FarSide
from tests.live.process import die_with_parent, wait_until
from tests.live.servers import Nats
from tests.story.outage import EVERY, fix, picture

KILLS = int(os.environ.get("VEDETTE_CAMPAIGN_KILLS", "6"))
HOURS = float(os.environ.get("VEDETTE_CAMPAIGN_HOURS", "1"))
SEED = int(os.environ.get("VEDETTE_CAMPAIGN_SEED", "1"))
EVERY_S = float(os.environ.get("VEDETTE_CAMPAIGN_EVERY_S", "1.5"))
"""Mean time that an agent works until it is killed."""
START_S = 1.5
"""About what it takes to start."""
PICTURE = 4000


@dataclass
class Campaign:
    """One agent, one line, one broker, one far side, and what was done to them."""

    folder: Path
    broker: Nats
    cable: Cable
    far: FarSide
    max_bytes: int
    chance: random.Random
    history: list[str] = field(default_factory=list)
    most_disk: int = 0
    child: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.began = time.time()
        self.seconds = int(HOURS * 3600 * 1.1)
        self.speed = self.seconds / (KILLS * (EVERY_S + START_S) * 0.8)
        (self.folder / "edge.toml").write_text(
            f'device = "d-1"\ndata = "data"\nexit_when_done = true\n[source]\nkind = "demo-fleet"\n'
            f"[mqtt]\nport = {self.cable.port}\nback_off_max_s = 1.0\n"
            f"[publish]\nreceipt_timeout_s = 2.0\nstatus_s = 1.0\n[spool]\nmax_bytes = {self.max_bytes}\n"
        )

    def start(self) -> None:
        figures = [str(figure) for figure in (self.began, self.seconds, self.speed, PICTURE)]
        command = [sys.executable, "-m", "tests.story.outage", str(self.folder / "edge.toml"), *figures]
        with (self.folder / "agent.log").open("ab") as log:
            self.child = subprocess.Popen(command, stderr=log, preexec_fn=die_with_parent)

    def kill(self) -> None:
        assert self.child is not None
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()

    def run(self) -> None:
        """An outage with kills of the agent, then kills of all while the backlog goes out; then to the end."""
        self.start()
        self.cable.down = True
        self.cable.cut()
        for number in range(KILLS):
            self.await_work()
            self.wait(self.chance.uniform(0.5, 1.5) * EVERY_S)
            if number == int(KILLS * 0.6):
                self.cable.down = False
                self.note("the line is back")
            self.harm(number, alone=number < KILLS * 0.6)
        self.note("no more kills")
        assert self.child is not None
        assert self.child.wait(300) == 0, self.told("the agent did not end well")

    def await_work(self) -> None:
        """Until the agent that was started last has said a word: one that is killed before has done nothing."""
        child, said = self.child, self.folder / "data" / STATUS
        assert child is not None
        wait_until(
            lambda: said.exists() and json.loads(said.read_text())["pid"] == child.pid, 60, "an agent at work"
        )

    def harm(self, number: int, *, alone: bool) -> None:
        what = "agent" if alone else self.chance.choice(("agent", "agent", "broker", "both", "far side"))
        self.note(f"kill {number}: {what}")
        if what in ("agent", "both"):
            self.kill()
        if what in ("broker", "both"):
            self.broker.kill()
            self.wait(self.chance.uniform(0.0, 0.5))
            self.broker.start()
        if what == "far side":
            self.far.restart()
        if what in ("agent", "both"):
            self.start()

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.most_disk = max(self.most_disk, on_disk(self.folder / "data"))
            time.sleep(0.1)

    def note(self, what: str) -> None:
        self.history.append(f"{time.time() - self.began:.2f} s: {what}; {len(self.far.taken)} taken")

    def told(self, what: str) -> str:
        tail = (self.folder / "agent.log").read_text()[-3000:]
        return "\n".join((f"seed {SEED}: {what}", *self.history, "the end of the agent's log:", tail))


def on_disk(folder: Path) -> int:
    """Bytes of the files, as far as they stay while we look."""
    total = 0
    for path in folder.glob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def campaign(folder: Path, max_bytes: int) -> Campaign:
    with Nats() as broker, Cable(broker.mqtt_port) as cable, FarSide(broker.mqtt_port, "d-1") as far:
        one = Campaign(folder, broker, cable, far, max_bytes, random.Random(SEED))
        try:
            one.run()
        finally:
            one.kill()
    check_streams(one)
    print(f"seed {SEED}: {KILLS} kills, {HOURS} h, {time.time() - one.began:.0f} s, {len(far.once())} messages, ")
    print(f"{len(far.taken) - len(far.once())} came twice over, disk {one.most_disk / 1e6:.1f} MB at the most")
    return one


def check_streams(one: Campaign) -> None:
    """Two streams, each whole and in its order."""
    rows = one.far.once()
    for epoch in {row[0] for row in rows}:
        seqs = [row[1] for row in rows if row[0] == epoch]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs))) or one.max_bytes < 10 << 20, one.told("a hole")
        assert seqs == sorted(seqs), one.told(f"stream {epoch} is out of order")
    assert len({row[0] for row in rows}) <= 2, one.told("more than two epochs")


def seconds(one: Campaign) -> list[int]:
    bodies = [wire.decode(row[3], Fixes) for row in one.far.once() if row[2] == "position"]
    fixes = [each for body in bodies for each in body.fixes]
    numbers = [(each.at - fix(0).at) // 1_000_000 for each in fixes]
    assert fixes == [fix(number) for number in numbers]
    return numbers


def pictures(one: Campaign) -> list[int]:
    frames = [wire.decode(row[3], Frame) for row in one.far.once() if row[2] == "frame"]
    numbers = [(frame.at - fix(0).at) // (EVERY * 1_000_000) for frame in frames]
    assert frames == [picture(number, PICTURE) for number in numbers], one.told("a picture has other bytes")
    return numbers


@pytest.mark.timeout(3600)
def test_a_day_without_network_and_kills_all_the_time(tmp_path: Path) -> None:
    one = campaign(tmp_path, 256 << 20)
    assert seconds(one) == list(range(one.seconds)), one.told("fixes: each once, in order")
    assert sorted(pictures(one)) == list(range(-(-one.seconds // EVERY))), one.told("pictures: each once")
    assert one.most_disk < (256 << 20) + 2 * (SIZE + 2 * WAL_LIMIT)
    assert status.read(tmp_path / "data")["dropped"] == 0


@pytest.mark.timeout(3600)
def test_a_spool_too_small_for_it_stays_small_and_tells_what_gave_way(tmp_path: Path) -> None:
    most = 1 << 20
    one = campaign(tmp_path, most)
    fixes, frames = seconds(one), pictures(one)
    assert fixes == sorted(set(fixes)) and len(frames) == len(set(frames)), one.told("doubled, or out of order")
    bodies = [wire.decode(row[3], Fixes) for row in one.far.once() if row[2] == "position"]
    told = {
        kind: sum(b.gap.count for b in bodies if b.gap and b.gap.kind == kind) for kind in ("frame", "position")
    }
    missing = {"frame": -(-one.seconds // EVERY) - len(frames), "position": one.seconds - len(fixes)}
    assert missing["frame"] > 0
    for kind, number in missing.items():
        # what is in flight may arrive and give way all the same: that is told too much, never too little
        assert number <= told[kind] <= number + one.seconds * 0.02, one.told(
            f"{missing} are missing, {told} were told"
        )
    assert one.most_disk < most + 2 * (SIZE + 2 * WAL_LIMIT)
