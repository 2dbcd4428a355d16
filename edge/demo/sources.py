"""The demonstration's devices as sources: what they do happens now."""

from __future__ import annotations

import threading
import time

from edge.clock import DeviceClock
from edge.demo.fleet import LATENESS, fleet
from edge.outlet import Outlet
from edge.settings import DemoCamera, DemoFleet
from pipeline.message import SECOND, Fix, Fixes, Frame

GROUP_S = 0.1
PROMISE_EVERY_S = 10.0


class FleetSource:
    """The fleet of `demo.fleet` in live time, as a gateway would send it."""

    def __init__(self, settings: DemoFleet) -> None:
        self.trouble = ""
        self._seed = settings.seed

    def run(self, outlet: Outlet, stop: threading.Event) -> None:
        """Until `stop`: fixes that are due within a tenth of a second go in one message."""
        started, start = time.monotonic(), time.time_ns() // 1000
        group: list[Fix] = []
        leaves = promise = 0.0
        for due, fix in fleet(start, self._seed):
            if group and due > leaves:
                if stop.wait(max(started + leaves - time.monotonic(), 0)):
                    return
                until = start + round((leaves - LATENESS) * SECOND) if leaves >= promise else None
                promise = leaves + PROMISE_EVERY_S if until is not None else promise
                outlet.send("position", [Fixes(group, until)])
                group = []
            leaves = leaves if group else due + GROUP_S
            group.append(fix)


class SceneSource:
    """The watch-tower's camera of `demo.scene` in live time."""

    def __init__(self, settings: DemoCamera) -> None:
        self.trouble = ""
        self._settings = settings

    def run(self, outlet: Outlet, stop: threading.Event) -> None:
        """A picture every `interval_s` until `stop`; one that comes late is not made up for."""
        from edge.demo.scene import Scene
        from edge.picture import encode

        settings, clock = self._settings, DeviceClock()
        scene = Scene((settings.width, settings.height), seed=settings.seed, smoke_after_s=settings.smoke_after_s)
        started = due = time.monotonic()
        while not stop.wait(max(due - time.monotonic(), 0)):
            due = max(due + settings.interval_s, time.monotonic())
            picture = scene.render(time.monotonic() - started)
            at, state = clock.now()
            outlet.send("frame", [Frame(at, encode(picture, settings.jpeg_quality), state)])
