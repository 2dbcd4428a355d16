"""The api over in-memory ports, for the tests of its routes: one desk, some signals to fill it with."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from fastapi.testclient import TestClient

from pipeline.api.app import create
from pipeline.api.desk import Desk
from pipeline.api.health import PARTS
from pipeline.message import SECOND, Change, PositionBatch, Signal, Source
from pipeline.settings import Api, Settings
from tests.doubles import MemoryBlobs, MemoryBook, MemoryState, MemoryStore

TOKEN = "correct-horse"
NOON = 1_767_268_800 * SECOND
"""2026-01-01T12:00:00Z"""
FLEET = frozenset({"bus-1", "bus-2"})
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def wall() -> int:
    """The real clock, in microseconds."""
    return time.time_ns() // 1000


def signal(subject: str = "bus-1", *, at: int = NOON, change: Change = Change.BEGAN, start: int = NOON) -> Signal:
    """A word of a fence rule about `subject`."""
    return Signal(
        rule="keep-out",
        kind="geofence",
        version="v7",
        subject=subject,
        place="depot",
        change=change,
        at=at,
        start=start,
        reason=f"{subject} entered depot",
        severity="high",
        evidence={"fix": {"at": at, "lat": 62.9, "lon": 30.9, "clock": "stepped"}, "fence": "depot"},
    )


def sighting(key: str) -> Signal:
    """A word of a sighting rule whose picture is `key`."""
    evidence = {
        "model": "fire-smoke@1a2b",
        "score": 0.81,
        "best": 0.9,
        "confirmation": {"open_score": 0.42},
        "held_back": [{"first": NOON - 60 * SECOND, "detail": "best score 0.30, 0.42 needed"}],
        "size": [640, 480],
        "box": [10.0, 20.0, 110.0, 220.0],
        "label": "smoke",
        "clock": "synced",
        "frame": key,
    }
    return Signal(
        rule="smoke-watch",
        kind="sighting",
        version="v2",
        subject="tower-1",
        place="left",
        change=Change.BEGAN,
        at=NOON,
        start=NOON,
        reason="tower-1 has seen smoke",
        severity="critical",
        evidence=evidence,
    )


def fixes(unit: str, count: int, *, start: int = NOON, lat: float = 62.9) -> PositionBatch:
    """One fix a second, going east."""
    rows = np.arange(count)
    blank = np.full(count, np.nan, np.float32)
    return PositionBatch(
        units=(unit,),
        sources=(Source("gw", 1),),
        unit=np.zeros(count, np.uint32),
        source=np.zeros(count, np.uint32),
        seq=rows + 1,
        at=start + rows * SECOND,
        received=start + rows * SECOND,
        lat=np.full(count, lat),
        lon=np.float64(30.9) + rows.astype(np.float64) * 1e-4,
        speed=np.full(count, 12.5, np.float32),
        course=blank,
        alt=blank,
        accuracy=blank,
        clock=np.zeros(count, np.uint8),
    )


class Office:
    """A desk over doubles that are at hand; `now` is its clock and may be set."""

    def __init__(self, *, settings: Settings | None = None) -> None:
        self.now = NOON
        self.store, self.blobs = MemoryStore(), MemoryBlobs()
        self.book, self.pulse = MemoryBook(clock=self.clock), MemoryState(clock=self.clock)
        settings = settings or Settings(api=Api(token=TOKEN))
        self.desk = Desk(settings, self.store, self.book, self.pulse, self.blobs, FLEET, clock=self.clock)

    def clock(self) -> int:
        return self.now

    def all_beat(self) -> None:
        """Every part says now that it is well."""
        for part in PARTS:
            self.pulse.beat(
                part, "host:1", {"ready": True, "trouble": "", "positions": {"records": 7, "behind": 2}}
            )


@contextmanager
def client(office: Office, *, token: str | None = TOKEN) -> Iterator[TestClient]:
    """A client of the api on loopback, with the token unless told otherwise."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with TestClient(create(office.desk), base_url="http://127.0.0.1:8080", headers=headers) as http:
        yield http
    office.desk.close()
