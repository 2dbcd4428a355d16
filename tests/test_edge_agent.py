"""The agent as a process: it is killed, its broker is killed, and everything still arrives once and in order."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge import status
from edge.demo.fleet import units
from edge.errors import SetupError
from pipeline import wire
from pipeline.message import SECOND, Fix, Fixes
from pipeline.trackfile import read_fixes
from tests.far_side import FarSide
from tests.live.process import die_with_parent, wait_until
from tests.live.servers import Nats

START = 1_480_000_000


class Agents:
    """Agent processes of one test; none outlives it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children: list[subprocess.Popen[bytes]] = []

    def config(self, port: int, source: str, *, more: str = "", device: str = "d-1") -> Path:
        path = self.folder / f"{device}.toml"
        path.write_text(
            f'device = "{device}"\ndata = "data"\n{more}\n[mqtt]\nport = {port}\nback_off_max_s = 1.0\n'
            f"[publish]\nreceipt_timeout_s = 1.0\nstatus_s = 1.0\n[source]\n{source}\n"
        )
        return path

    def tracks(self, port: int, rows: int, speed: float, *, done: bool = True) -> tuple[Path, list[Fix]]:
        path = self.folder / "tracks.csv"
        lines = [
            f"bus-{i % 5},{wire.rfc3339((START + i) * SECOND)},30.{i:05d},-97.5,{i % 30},,,\n" for i in range(rows)
        ]
        path.write_text("unit,at,lat,lon,speed,course,alt,accuracy\n" + "".join(lines))
        source = f'kind = "tracks"\nfiles = ["tracks.csv"]\nspeed = {speed}\nbatch = 3'
        more = "exit_when_done = true" if done else ""
        return self.config(port, source, more=more), list(read_fixes([path]))

    def start(self, config: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "edge", "run", str(config)]
        with (self.folder / "agent.log").open("ab") as log:
            child = subprocess.Popen(command, stderr=log, preexec_fn=die_with_parent)
        self.children.append(child)
        return child

    def close(self) -> None:
        for child in self.children:
            child.kill()
            child.wait()

    @property
    def data(self) -> Path:
        return self.folder / "data"


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[Agents]:
    some = Agents(tmp_path)
    yield some
    some.close()


def arrived(far: FarSide) -> list[Fix]:
    return [fix for row in far.once() for fix in wire.decode(row[3], Fixes).fixes]


def test_a_track_file_arrives_whole_and_the_agent_ends_by_itself(nats: Nats, agents: Agents) -> None:
    config, expected = agents.tracks(nats.mqtt_port, 1000, speed=0)
    with FarSide(nats.mqtt_port, "d-1") as far:
        assert agents.start(config).wait(20) == 0
        assert arrived(far) == expected
        wait_until(lambda: far.statuses[-1].state == "finished", 5, "the goodbye")
    row = status.read(agents.data)
    assert (row["sent"], row["confirmed"], row["waiting"], row["running"]) == (334, 334, 0, False)
    assert status.sentence(row).startswith("d-1: 334 sent, 334 confirmed, 0 waiting, oldest - (not running since ")


def test_an_agent_that_is_told_to_stop_says_stopped(nats: Nats, agents: Agents) -> None:
    config, _ = agents.tracks(nats.mqtt_port, 60, speed=1)
    with FarSide(nats.mqtt_port, "d-1") as far:
        child = agents.start(config)
        wait_until(lambda: bool(far.statuses), 15, "a sign of life")
        child.terminate()
        assert child.wait(10) == 0
        wait_until(lambda: far.statuses[-1].state == "stopped", 5, "the goodbye")


def test_killed_again_and_again_nothing_is_lost_and_the_order_is_kept(nats: Nats, agents: Agents) -> None:
    config, expected = agents.tracks(nats.mqtt_port, 1500, speed=300)
    with FarSide(nats.mqtt_port, "d-1") as far:
        kills = 0
        child = agents.start(config)
        while (code := child.poll()) is None:
            time.sleep(0.9)
            if kills < 4 and child.poll() is None:
                child.send_signal(signal.SIGKILL)
                child.wait()
                kills += 1
                child = agents.start(config)
        assert (code, kills) == (0, 4)
        once = far.once()
        assert arrived(far) == expected, "each fix once, in order"
        assert [row[1] for row in once] == list(range(1, len(once) + 1))
        assert len({row[0] for row in once}) == 1
    assert status.read(agents.data)["waiting"] == 0


def test_agent_and_broker_killed_in_the_middle(agents: Agents) -> None:
    with Nats() as broker, FarSide(broker.mqtt_port, "d-1") as far:
        config, expected = agents.tracks(broker.mqtt_port, 900, speed=200)
        child = agents.start(config)
        far.wait_for(30)
        broker.kill()
        time.sleep(0.5)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child = agents.start(config)
        unreachable = "(running, not connected: no connection to 127.0.0.1"
        wait_until(lambda: unreachable in status.sentence(status.read(agents.data)), 15, "word of the outage")
        assert status.read(agents.data)["waiting"] > 0
        broker.start()
        assert child.wait(40) == 0
        assert arrived(far) == expected
        seqs = [row[1] for row in far.once()]
        assert seqs == list(range(1, len(seqs) + 1))


def test_the_demo_fleet_is_live_and_status_follows(nats: Nats, agents: Agents) -> None:
    config = agents.config(nats.mqtt_port, 'kind = "demo-fleet"')
    with FarSide(nats.mqtt_port, "d-1") as far:
        before = time.time()
        child = agents.start(config)
        wait_until(lambda: len(arrived(far)) > 30, 15, "fixes")
        assert {f.unit for f in arrived(far)} == set(units())
        assert all(before - 1 < f.at / SECOND < time.time() + 1 for f in arrived(far))
        wait_until(lambda: status.read(agents.data)["confirmed"] > 5, 5, "the status")
        line = status.sentence(status.read(agents.data))
        assert line.startswith("d-1: ") and "not " not in line
        child.send_signal(signal.SIGTERM)
        assert child.wait(5) == 0


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_a_mistake_is_one_line_and_status_2(agents: Agents) -> None:
    unknown = agents.config(1, 'kind = "demo-fleet"\nsede = 1')
    done = run("run", unknown)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "vedette-edge: " in done.stderr and "unknown key 'sede'" in done.stderr
    missing = run("run", agents.config(1, 'kind = "tracks"\nfiles = ["none.csv"]'))
    assert (missing.returncode, missing.stderr) == (
        2,
        f"vedette-edge: {agents.folder}/none.csv: there is no such file; check the path\n",
    )
    for kind in ("camera", "gps"):
        gone = run("run", agents.config(1, f'kind = "{kind}"\nurl = "none.bin"'))
        assert (gone.returncode, gone.stderr.count("\n")) == (2, 1)
        assert f"{agents.folder}/none.bin: there is no such" in gone.stderr
    nowhere = run("status", "--data", agents.folder / "empty")
    assert (nowhere.returncode, nowhere.stderr.count("\n")) == (2, 1)


def test_two_agents_on_one_folder_are_refused(nats: Nats, agents: Agents) -> None:
    config = agents.config(nats.mqtt_port, 'kind = "demo-fleet"')
    agents.start(config)
    wait_until(lambda: (agents.data / "status.json").exists(), 10, "the first agent")
    second = run("run", config)
    assert second.returncode == 2
    assert "another agent is running on it" in second.stderr


def test_status_on_the_command_line(nats: Nats, agents: Agents) -> None:
    config, _ = agents.tracks(nats.mqtt_port, 30, speed=0)
    with FarSide(nats.mqtt_port, "d-1"):
        assert agents.start(config).wait(20) == 0
    row = json.loads(run("status", config, "--json").stdout)
    assert (row["device"], row["sent"], row["confirmed"], row["waiting"]) == ("d-1", 10, 10, 0)
    assert "10 sent, 10 confirmed, 0 waiting, oldest -" in run("status", "--data", agents.data).stdout


def test_status_without_an_agent_ever_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no agent has run here"):
        status.read(tmp_path)


def test_a_full_disk_is_told_and_survived(agents: Agents, nats: Nats) -> None:
    """The spool may hold next to nothing: the agent drops, says so, and goes on when receipts come again."""
    config = agents.config(nats.mqtt_port, 'kind = "demo-fleet"')
    config.write_text(config.read_text() + "[spool]\nmax_bytes = 3000\n")
    with FarSide(nats.mqtt_port, "d-1") as far:
        far.mute = True
        child = agents.start(config)
        wait_until(lambda: bool(far.statuses) and far.statuses[-1].dropped > 0, 15, "a count of what was dropped")
        assert " dropped" in status.sentence(status.read(agents.data))
        far.mute = False
        before = len(far.once())
        wait_until(lambda: len(far.once()) > before + 10, 15, "what comes after")
        seqs = [row[1] for row in far.once()]
        assert seqs == sorted(set(seqs))
        assert child.poll() is None
        assert (agents.data / "spool.db").stat().st_size < 200_000


def test_it_starts_fast() -> None:
    started = time.perf_counter()
    run("--help")
    assert time.perf_counter() - started < 2.0
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, edge.agent, edge.sources, edge.tracks; print('cv2' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout.strip() == "False"
