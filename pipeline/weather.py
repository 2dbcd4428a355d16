"""The fire weather of each station and day, in the state database: telemetry writes it, vision reads it.

Vision asks at most once a minute; what an alarm was raised with stands in its evidence.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

import msgspec
from sqlalchemy import BigInteger, Column, MetaData, Table, Text, select

from pipeline.database import Database, put
from pipeline.ports import NotConnected, Retryable
from pipeline.rules.weather import Danger, Lowered, Spec, lowered
from pipeline.settings import Settings

logger = logging.getLogger(__name__)

VERSION = 1
ASK_EVERY = 60.0
KEPT_DAYS = 400
"""Rows read at most: more than a year of one station."""

METADATA = MetaData()
fire_weather = Table(
    "fire_weather",
    METADATA,
    Column("station", Text, primary_key=True),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("row", Text, nullable=False),
)


def open_weather(settings: Settings) -> WeatherBoard:
    """Connects at the first use."""
    return WeatherBoard(settings.state.url)


class WeatherBoard:
    """One row a station and day; several processes may use it."""

    def __init__(self, url: str) -> None:
        self._database = Database(url, METADATA, part="fire_weather", version=VERSION)

    def save(self, days: Sequence[Danger]) -> None:
        """Idempotent. Raises as `Database.writing` does."""
        with self._database.writing() as db:
            for day in days:
                row = {"station": day.station, "at": day.at, "row": msgspec.json.encode(day).decode()}
                db.execute(put(db, fire_weather, row))

    def days(self) -> list[Danger]:
        """The newest, newest first. Raises as `Database.reading` does."""
        newest = select(fire_weather.c.row).order_by(fire_weather.c.at.desc()).limit(KEPT_DAYS)
        with self._database.reading() as db:
            return [msgspec.json.decode(row[0], type=Danger) for row in db.execute(newest).all()]

    def close(self) -> None:
        self._database.close()


class Weather:
    """What the fire weather does to the open score of a camera at an event time; the days are read now and then."""

    def __init__(
        self, specs: Sequence[Spec], board: WeatherBoard, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._specs, self._board, self._clock = specs, board, clock
        self._days: list[Danger] = []
        self._asked: float | None = None

    def __call__(self, camera: str, at: int) -> Lowered | None:
        if not self._specs:
            return None
        covers = [not spec.cameras or any(fnmatchcase(camera, p) for p in spec.cameras) for spec in self._specs]
        return lowered(self._specs, self._known(), covers, at)

    def _known(self) -> list[Danger]:
        """A board that cannot be reached lowers nothing new: what was known of the day stands."""
        now = self._clock()
        if self._asked is None or now - self._asked >= ASK_EVERY:
            self._asked = now
            try:
                self._days = self._board.days()
            except (NotConnected, Retryable) as error:
                logger.warning("fire weather cannot be read, going on with %d days: %s", len(self._days), error)
        return self._days
