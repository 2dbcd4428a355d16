"""`vedette api` as a process over real SQLite files, filled from the test's own process, as the workers would."""

import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from pipeline import settings
from pipeline.alarms.book import open_book
from pipeline.api.health import PARTS
from pipeline.message import SECOND, Change, Signal
from pipeline.state import open_state
from pipeline.store import open_store
from pipeline.store.blobs import open_blobs
from tests.desk import fixes
from tests.live.process import Server, answers, free_port

FENCES = """{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"id": "depot"},
"geometry": {"type": "Polygon", "coordinates": [[[30.89, 62.895], [30.91, 62.895], [30.91, 62.905], [30.89, 62.905],
[30.89, 62.895]]]}}]}"""
RULES = '[[rule]]\nname = "keep-out"\nkind = "geofence"\nfences = "fences.geojson"\non = "enter"\n'


def wall() -> int:
    """The real clock, in microseconds."""
    return time.time_ns() // 1000


class Console(Server):
    """The console on a port of its own. `book`, `state`, `store`, `blobs` are the test's way to the same files."""

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()
        self.token = secrets.token_urlsafe(12)

    def prepare(self) -> None:
        (self.folder / "fences.geojson").write_text(FENCES)
        (self.folder / "rules.toml").write_text(RULES)
        (self.folder / "fleet.csv").write_text("unit,group\nbus-1,bus\nbus-2,bus\n")
        self.config = self.folder / "vedette.toml"
        self.config.write_text(
            f'data = "data"\n[rules]\nfile = "rules.toml"\n[fleet]\nfile = "fleet.csv"\n'
            f'[api]\nport = {self.port}\ntoken = "anna:{self.token}"\n'
        )
        found = settings.load(self.config)
        self.book, self.state = open_book(found), open_state(found)
        self.store, self.blobs = open_store(found), open_blobs(found)
        self.all_beat()

    def command(self) -> Sequence[str | Path]:
        return [sys.executable, "-m", "pipeline", "api", "--config", self.config]

    def ready(self) -> bool:
        return answers(f"{self.base}/assets/login.css")

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def at(self, path: str = "/") -> str:
        """An address with the token in it."""
        return f"{self.base}{path}?token={self.token}"

    def all_beat(self, *, without: str = "") -> None:
        """Every part says that it is well, but one."""
        for part in PARTS:
            trouble = "the camera's frames cannot be read" if part == without else ""
            self.state.beat(part, "test:1", {"ready": not trouble, "trouble": trouble})

    def breach(self, subject: str, *, reason: str = "", lat: float = 62.9, lon: float = 30.9) -> str:
        """A fence alarm about `subject`, now; returns its id."""
        said = self.word(subject, reason=reason, lat=lat, lon=lon)
        self.book.apply([said])
        return said.alarm

    def word(self, subject: str, *, reason: str = "", lat: float = 62.9, lon: float = 30.9) -> Signal:
        """What a fence rule says of `subject`, now."""
        now = wall()
        return Signal(
            rule="keep-out",
            kind="geofence",
            version="v1",
            subject=subject,
            place="depot",
            change=Change.BEGAN,
            at=now,
            start=now,
            reason=reason or f"{subject} entered depot",
            severity="high",
            evidence={"fix": {"at": now, "lat": lat, "lon": lon, "speed": 4.0}},
        )

    def smoke(self, box: tuple[float, float, float, float], size: tuple[int, int]) -> str:
        """A smoke alarm with a picture of `size` and a box in its pixels; returns its id."""
        now = wall()
        picture = np.full((size[1], size[0], 3), 150, np.uint8)
        cv2.rectangle(picture, (int(box[0]), int(box[1])), (int(box[2]), int(box[3])), (240, 240, 240), -1)
        key = self.blobs.put(cv2.imencode(".jpg", picture)[1].tobytes())
        evidence = {"frame": key, "box": list(box), "size": list(size), "label": "smoke", "score": 0.81}
        said = Signal(
            rule="smoke-watch",
            kind="sighting",
            version="v1",
            subject="tower-1",
            place="left",
            change=Change.BEGAN,
            at=now,
            start=now,
            reason="tower-1 has seen smoke",
            severity="critical",
            evidence={**evidence, "model": "fire-smoke@1a2b3c"},
        )
        self.book.apply([said])
        return said.alarm

    def drive(self, unit: str, seconds: int) -> None:
        """Positions of `unit`, one a second, up to now."""
        start = wall() // SECOND * SECOND - (seconds - 1) * SECOND
        self.store.write_positions([fixes(unit, seconds, start=start)])
