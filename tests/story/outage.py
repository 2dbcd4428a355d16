"""An agent whose source is a day of one device in compressed time: a fix a second, a picture every ten.

`python -m tests.story.outage CONFIG START SECONDS SPEED BYTES` runs one until all of it is confirmed. Message by
message it is the agent of every day; only the times between are shorter, and with them how old a backlog is.
"""

import logging
import random
import sys
import threading
import time
from pathlib import Path

from edge import lane
from edge.agent import Agent
from edge.outlet import Outlet
from edge.settings import load
from pipeline.message import SECOND, Clock, Fix, Fixes, Frame

BEGAN = 1_480_000_000 * SECOND
EVERY = 10
"""Seconds between two pictures."""
TICK_S = 0.05
MOST = 500
"""Fixes in one transaction; of pictures as many as belong to them."""


def fix(second: int) -> Fix:
    return Fix("truck", BEGAN + second * SECOND, 30.0 + second * 1e-6, -97.5, clock=Clock.SYNCED)


def picture(number: int, size: int) -> Frame:
    """Bytes that belong to this picture alone."""
    return Frame(BEGAN + number * EVERY * SECOND, random.Random(number).randbytes(size), Clock.SYNCED)


class Day:
    """Goes on after a kill where the spools stand: each names the last fix and the last picture it was given."""

    trouble = ""

    def __init__(self, agent: Agent, start: float, seconds: int, speed: float, size: int) -> None:
        self._agent, self._start, self._seconds, self._speed, self._size = agent, start, seconds, speed, size

    def run(self, outlet: Outlet, stop: threading.Event) -> None:
        express = self._agent._express
        assert express is not None
        fixes, pictures = _cursor(outlet.cursor)
        pictures = max(pictures, _cursor(express.cursor)[1])
        while (fixes < self._seconds or pictures * EVERY < self._seconds) and not stop.is_set():
            due = min(int((time.time() - self._start) * self._speed), self._seconds)
            shown = min(-(-due // EVERY), pictures + MOST // EVERY)
            frames = [picture(number, self._size) for number in range(pictures, shown)]
            if frames and outlet.send("frame", frames, cursor=f"{fixes} {shown}"):
                pictures = shown
            told = min(due, fixes + MOST)
            bodies = [Fixes([fix(second)]) for second in range(fixes, told)]
            if bodies and outlet.send("position", bodies, cursor=f"{told} {pictures}"):
                fixes = told
            stop.wait(TICK_S)


def _cursor(text: str) -> tuple[int, int]:
    fixes, pictures = text.split() or ("0", "0")
    return int(fixes), int(pictures)


def main(config: str, start: str, seconds: str, speed: str, size: str) -> int:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    lane.BEHIND_S = 60.0 / float(speed)
    agent = Agent(load(Path(config)))
    agent._source = Day(agent, float(start), int(seconds), float(speed), int(size))
    return agent.run()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
