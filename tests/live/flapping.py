"""A camera that is never well for long, and the agent beside it: python -m tests.live.flapping --minutes 6

A real RTSP server stalls, is killed, comes back with another resolution, and between sends garbage or hangs up. The
agent is the installed command in a process of its own, without a broker. Told at the end, as JSON: how long after
each fault pictures came again, and the agent's resident memory, which must stay flat.
"""

import argparse
import json
import os
import random
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.live.process import wait_until
from tests.live.test_edge_rtsp import RtspCamera

WELL_S, ILL_S = 3.0, (1.0, 6.0)
BACK_WITHIN_S, FLAT_WITHIN = 10.0, 0.05
SIZES = ((320, 240), (640, 480), (800, 600), (1280, 720))
CONFIG = """
device = "flapping"
data = "data"
[source]
kind = "camera"
url = "{url}"
interval_s = 0.5
stall_s = 3.0
[mqtt]
port = 1
[spool]
max_bytes = 2000000
"""


class Impostor:
    """Takes the camera's port: sends noise to whoever comes, or hangs up."""

    def __init__(self, port: int, *, noise: bool) -> None:
        self._noise, self._closing = noise, threading.Event()
        self._listener = socket.create_server(("127.0.0.1", port), reuse_port=False)
        self._listener.settimeout(0.2)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join(5)
        self._listener.close()

    def _serve(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
                with client:
                    if self._noise:
                        client.sendall(b"RTSP/1.0 200 OK\r\n" + os.urandom(50_000))
            except OSError:
                continue


class Flapping:
    """One agent and its camera."""

    def __init__(self, camera: RtspCamera, folder: Path, seed: int) -> None:
        self._camera, self._folder, self._chance = camera, folder, random.Random(seed)
        config = folder / "edge.toml"
        config.write_text(CONFIG.format(url=camera.url))
        with (folder / "agent.log").open("wb") as log:
            run = [sys.executable, "-m", "edge", "run", str(config)]
            self.agent = subprocess.Popen(run, stdout=log, stderr=log)
        wait_until(lambda: self.sent() > 2, 60, "the first pictures")

    def sent(self) -> int:
        """Pictures spooled so far."""
        path = self._folder / "data" / "spool.db"
        if not path.exists():
            return 0
        try:
            db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)
            (last,) = db.execute("SELECT last FROM meta").fetchone()
            db.close()
        except (sqlite3.Error, TypeError):
            return 0
        return int(last)

    def rss(self) -> int:
        """Resident bytes of the agent."""
        pages = Path(f"/proc/{self.agent.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def fault(self, name: str) -> float:
        """Seconds from the moment the camera is well again until a picture comes."""
        ill = self._chance.uniform(*ILL_S)
        camera = self._camera
        if name == "stall":
            camera.signal(signal.SIGSTOP)
            time.sleep(ill)
            camera.signal(signal.SIGCONT)
        else:
            camera.kill()
            impostor = None if name == "restart" else self._impostor(name)
            time.sleep(ill)
            if impostor:
                impostor.close()
            if name == "resolution":
                camera.size = self._chance.choice([size for size in SIZES if size != camera.size])
            camera.start()
        well, before = time.monotonic(), self.sent()
        wait_until(lambda: self.sent() > before, 60, f"pictures after {name}")
        return time.monotonic() - well

    def _impostor(self, name: str) -> Impostor | None:
        return Impostor(self._camera.port, noise=name == "garbage") if name in ("garbage", "hang-up") else None


def campaign(minutes: float, seed: int) -> dict[str, object]:
    faults = ("stall", "restart", "resolution", "garbage", "hang-up")
    back: dict[str, list[float]] = {name: [] for name in faults}
    memory: list[int] = []
    with tempfile.TemporaryDirectory() as folder, RtspCamera() as camera:
        flapping = Flapping(camera, Path(folder), seed)
        end, number = time.monotonic() + 60 * minutes, 0
        try:
            while time.monotonic() < end:
                name = faults[number % len(faults)]
                back[name].append(flapping.fault(name))
                number += 1
                time.sleep(WELL_S)
                memory.append(flapping.rss())
                print(f"{name}: back after {back[name][-1]:.1f} s, {memory[-1] / 1e6:.1f} MB", flush=True)
        finally:
            flapping.agent.send_signal(signal.SIGTERM)
            status = flapping.agent.wait(20)
    return report(back, memory) | {"agent_ended_with": status}


def report(back: dict[str, list[float]], memory: list[int]) -> dict[str, object]:
    """The first rounds fill caches and find the largest picture; flat is told of the halves after them."""
    settled = memory[len(memory) // 4 :]
    first, last = settled[: len(settled) // 2], settled[len(settled) // 2 :]
    growth = statistics.median(last) / statistics.median(first) - 1
    worst = max(max(times, default=0.0) for times in back.values())
    return {
        "faults": sum(map(len, back.values())),
        "back_worst_s": {name: round(max(times), 2) for name, times in back.items() if times},
        "rss_mb": [round(min(settled) / 1e6, 1), round(max(settled) / 1e6, 1)],
        "rss_growth": round(growth, 4),
        "ok": worst <= BACK_WITHIN_S and growth <= FLAT_WITHIN,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    done = campaign(given.minutes, given.seed)
    print(json.dumps(done))
    sys.exit(0 if done["ok"] else 1)


if __name__ == "__main__":
    main()
