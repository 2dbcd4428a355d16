"""A GPS receiver: gpsd's JSON, a serial line of NMEA sentences, or a file of them.

A stamp comes from the receiver and is sent on as it is, even from 1970 or 1024 weeks back: its clock state says how
far it can be believed, and nothing is invented.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import logging
import math
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import serial

from edge.clock import EARLIEST, DeviceClock
from edge.errors import SetupError, SourceError
from edge.nmea import Merger
from edge.outlet import Outlet
from edge.settings import Gps, is_address, is_live
from edge.watch import Watched
from pipeline import wire
from pipeline.message import SECOND, Clock, Fix, Fixes

log = logging.getLogger(__name__)
GPSD_PORT = 2947
SILENCE_S = 0.2
"""A serial line that is quiet for this long has told all of an epoch: receivers send it in one burst."""
FAR_OFF = 600 * SECOND
RECORDED_EARLIEST = 631_152_000 * SECOND  # 1990: before it no receiver was on the market
BATCH = 100
PROMISE_EVERY_S = 10.0
LATENESS = 10 * SECOND
"""A live fix is on its way to the spool for less than this."""
NO_FIX_S = 10.0
"""A receiver that talks without a fix for this long is worth a word in the status."""


class GpsSource:
    """Sends fixes as they come, in a message each; from a file in batches. SetupError for a wrong date or file.

    While it reads a live receiver it promises now and then that nothing older will come, whether the receiver has a
    fix, has lost it, or is gone: so its unit's silence can be told.
    """

    def __init__(self, settings: Gps, device: str, clock: DeviceClock | None = None) -> None:
        self._settings = settings
        self._promise = Promise(clock or DeviceClock())
        self._heard = time.monotonic()
        self._unit = settings.unit or device
        self._watched: Watched[Fix | None] | None = None
        self._date = _date(settings.date)
        if not wire.NAME.fullmatch(self._unit):
            raise SetupError(f"[source]: unit {self._unit!r}: use letters, digits and _ . : - only")
        if not is_live(settings.url):
            self._name()

    @property
    def trouble(self) -> str:
        if self._watched is None:
            return ""
        without = time.monotonic() - self._heard
        return self._watched.trouble or (f"no fix for {without:.0f} s" if without > NO_FIX_S else "")

    def run(self, outlet: Outlet, stop: threading.Event) -> None:
        """Until `stop`, or the end of a file."""
        if is_live(self._settings.url):
            self._watch(outlet, stop)
        else:
            self._replay(outlet, stop)

    def _watch(self, outlet: Outlet, stop: threading.Event) -> None:
        settings, unit = self._settings, self._unit
        opener = live_reader(settings.url)
        self._heard = time.monotonic()
        self._watched = Watched(
            lambda closing: opener(settings, unit, closing),
            stall_s=settings.stall_s,
            turn=lambda: self._promise.send_if_due(outlet),
        )
        for fix in thinned(self._noticed(self._watched.items(stop)), settings.interval_s):
            outlet.send("position", [Fixes([fix])])

    def _noticed(self, items: Iterable[Fix | None]) -> Iterator[Fix | None]:
        """The same items; every fix, sent or not, is remembered."""
        for item in items:
            if item is not None:
                self._heard = time.monotonic()
                self._promise.saw(item)
            yield item

    def _replay(self, outlet: Outlet, stop: threading.Event) -> None:
        name = self._name()
        before, _, done = outlet.cursor.partition(" ")
        sent = int(done) if before == name else 0
        fixes = list(
            thinned(read_file(Path(self._settings.url), self._unit, self._date), self._settings.interval_s)
        )
        while sent < len(fixes) and outlet.wait_for_room(stop):
            group = fixes[sent : sent + BATCH]
            until = group[-1].at if sent + BATCH >= len(fixes) else None
            if outlet.send("position", [Fixes(group, until)], cursor=f"{name} {sent + len(group)}"):
                sent += len(group)
            else:
                stop.wait(1.0)  # a recording can wait until the disk takes it

    def _name(self) -> str:
        path = Path(self._settings.url)
        if not path.is_file():
            raise SetupError(f"{path}: there is no such file of NMEA sentences")
        return hashlib.sha256(repr((str(path), path.stat().st_size, self._settings.run)).encode()).hexdigest()[:16]


class Promise:
    """Every ten seconds: all fixes up to a little before now were sent. Silent without a synchronised clock."""

    def __init__(self, clock: DeviceClock) -> None:
        self._clock = clock
        self._behind = 0
        self._due = 0.0

    def saw(self, fix: Fix) -> None:
        """A receiver's clock that is behind ours must not make its next fix come after our word."""
        now, state = self._clock.now()
        if state == fix.clock == Clock.SYNCED:
            self._behind = max(now - fix.at, 0)

    def send_if_due(self, outlet: Outlet) -> None:
        """For the thread that sends the fixes: all it has been given are in the spool already."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + PROMISE_EVERY_S
        now, state = self._clock.now()
        if state == Clock.SYNCED:
            outlet.send("position", [Fixes([], now - self._behind - LATENESS)])


def _date(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text) if text else None
    except ValueError:
        raise SetupError(f"[source]: date {text!r}: write it like 2008-05-29") from None


def live_reader(url: str) -> Any:
    """The function that opens a live url. SetupError for a scheme we do not know."""
    scheme = urlsplit(url).scheme if is_address(url) else "serial"
    readers = {"gpsd": gpsd_fixes, "serial": serial_fixes}
    if scheme not in readers:
        raise SetupError(f"[source]: url {url!r}: use gpsd://host:port, serial:///dev/..., or a file")
    return readers[scheme]


def thinned(fixes: Iterable[Fix | None], interval_s: float) -> Iterator[Fix]:
    """Fixes at least `interval_s` of event time apart; a step backwards counts as far enough."""
    last: int | None = None
    for fix in fixes:
        if fix is not None and (last is None or not 0 <= fix.at - last < interval_s * SECOND):
            last = fix.at
            yield fix


# ---------------------------------------------------------------- how far a stamp can be believed


class LiveJudge:
    """Compares a receiver's stamp with the device's clock, where that one is synchronised."""

    def __init__(self, clock: DeviceClock | None = None) -> None:
        self._clock = clock or DeviceClock()

    def __call__(self, at: int) -> Clock:
        now, state = self._clock.now()
        if at < EARLIEST or (state == Clock.SYNCED and abs(at - now) > FAR_OFF):
            return Clock.IMPLAUSIBLE
        return Clock.SYNCED


def judge_recorded(at: int) -> Clock:
    """A recording may be of any year, but not older than receivers are."""
    return Clock.IMPLAUSIBLE if at < RECORDED_EARLIEST else Clock.UNKNOWN


# ---------------------------------------------------------------- files


def read_file(path: Path, unit: str, date: dt.date | None = None) -> Iterator[Fix]:
    """Fixes of a file of NMEA sentences, in its order; damaged sentences are counted and left out."""
    merger = Merger(unit, judge_recorded, date)
    with path.open("rb") as lines:
        for line in lines:
            if (fix := merger.feed(line.decode("latin-1"))) is not None:
                yield fix
    if (fix := merger.flush()) is not None:
        yield fix
    log.info("%s: %s", path, merger.counts)
    if merger.counts.no_date:
        log.warning("%s: %d fixes before any date left out; set `date`", path, merger.counts.no_date)


# ---------------------------------------------------------------- serial lines


def serial_fixes(settings: Gps, unit: str, closing: threading.Event) -> Iterator[Fix | None]:
    """Fixes of a serial line, None for every other sign of life. SourceError when it cannot be opened or read."""
    device = urlsplit(settings.url).path if is_address(settings.url) else settings.url
    try:
        with serial.Serial(device, settings.baud, timeout=SILENCE_S) as port:
            yield from nmea_fixes(port, Merger(unit, LiveJudge()), closing)
    except serial.SerialException as error:
        raise SourceError(f"{device}: {error}") from None


def nmea_fixes(port: Any, merger: Merger, closing: threading.Event) -> Iterator[Fix | None]:
    """Lines of `port` to fixes; a read that times out ends the epoch, so a fix is not held back."""
    rest = b""
    while not closing.is_set():
        data = port.readline()
        rest += data
        if not data:
            fix = merger.flush()
            if fix is not None:
                yield fix
        elif rest.endswith(b"\n") or len(rest) > 1000:
            yield merger.feed(rest.decode("latin-1"))
            rest = b""


# ---------------------------------------------------------------- gpsd


def gpsd_fixes(settings: Gps, unit: str, closing: threading.Event) -> Iterator[Fix | None]:
    """Fixes of gpsd's TPV reports, None for every other sign of life. SourceError when gpsd cannot be reached."""
    parts = urlsplit(settings.url)
    watch: dict[str, Any] = {"enable": True, "json": True}
    if parts.path.strip("/"):
        watch["device"] = parts.path
    judge = LiveJudge()
    address = (parts.hostname or "127.0.0.1", parts.port or GPSD_PORT)
    try:
        with contextlib.closing(socket.create_connection(address, timeout=10)) as link:
            link.sendall(f"?WATCH={json.dumps(watch)};\n".encode())
            link.settimeout(1.0)
            for line in _lines(link, closing):
                yield fix_of_report(line, unit, judge)
    except OSError as error:
        raise SourceError(f"gpsd at {address[0]}:{address[1]}: {error}") from None


def _lines(link: socket.socket, closing: threading.Event) -> Iterator[bytes]:
    rest = b""
    while not closing.is_set():
        try:
            data = link.recv(65_536)
        except TimeoutError:
            continue
        if not data:
            raise SourceError("gpsd closed the connection")
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
        if len(rest) > 1_000_000:
            raise SourceError("gpsd sends a line without end")


def fix_of_report(line: bytes, unit: str, judge: LiveJudge) -> Fix | None:
    """The fix of a TPV report with a position and a time; None for everything else gpsd says.

    `eph` is gpsd's 95 % error, about two standard deviations.
    """
    try:
        report = json.loads(line)
        if report.get("class") != "TPV" or report.get("mode", 0) < 2 or "time" not in report:
            return None
        at = wire.parse_rfc3339(report["time"])
        lat, lon = float(report["lat"]), float(report["lon"])
        optional = [_optional(report, *names) for names in (("speed",), ("track",), ("altMSL", "alt"), ("eph",))]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        log.debug("not a report: %r: %s", line[:200], error)
        return None
    speed, course, alt, eph = optional
    accuracy = None if eph is None else eph / 2
    return Fix(unit, at, lat, lon, speed, course, alt, accuracy, clock=judge(at))


def _optional(report: dict[str, Any], *names: str) -> float | None:
    """The first of the names that the report has, if it is a number."""
    for name in names:
        if name in report:
            value = float(report[name])
            return value if math.isfinite(value) else None
    return None
