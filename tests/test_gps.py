"""GPS: sentences to fixes, against gpsd's reports of recorded receivers; live lines, gpsd, and doubtful clocks."""

import contextlib
import datetime as dt
import json
import math
import os
import pty
import random
import socket
import threading
import time
from collections.abc import Iterator
from functools import reduce
from pathlib import Path

import pytest

from edge import gps as module
from edge.clock import DeviceClock, kernel_state
from edge.errors import SetupError
from edge.gps import GpsSource, LiveJudge, fix_of_report, gpsd_fixes, judge_recorded, read_file, thinned
from edge.nmea import KNOT, Merger
from edge.outlet import Outlet
from edge.settings import Gps
from edge.spool import Spool
from pipeline import wire
from pipeline.message import SECOND, Clock, Fix, Fixes

WEEKS_1024 = 1024 * 7 * 86_400


def sentence(body: str) -> str:
    return f"${body}*{reduce(lambda a, b: a ^ ord(b), body, 0):02X}\r\n"


def rmc(time_: str, date: str = "290508", status: str = "A", speed: str = "10.0", course: str = "90.0") -> str:
    return sentence(f"GPRMC,{time_},{status},4807.038,N,01131.000,E,{speed},{course},{date},,,A")


def gga(time_: str, quality: int = 1, hdop: str = "0.9") -> str:
    return sentence(f"GPGGA,{time_},4807.038,N,01131.000,E,{quality},08,{hdop},545.4,M,46.9,M,,")


def fed(*lines: str, merger: Merger | None = None) -> list[Fix]:
    merger = merger or Merger("u", judge_recorded)
    fixes = [merger.feed(line) for line in lines] + [merger.flush()]
    return [fix for fix in fixes if fix is not None]


def test_the_sentences_of_an_epoch_become_one_fix() -> None:
    vtg = sentence("GPVTG,91.5,T,,M,12.0,N,22.2,K,A")
    gst = sentence("GPGST,123519.00,1.0,,,,3.0,4.0,5.0")
    (fix,) = fed(rmc("123519.00"), gga("123519.00"), vtg, gst)
    assert fix.at == wire.parse_rfc3339("2008-05-29T12:35:19Z")
    assert (fix.lat, fix.lon) == (pytest.approx(48.1173), pytest.approx(11.516667, abs=1e-6))
    assert fix.speed == pytest.approx(12 * KNOT)
    assert (fix.course, fix.alt, fix.clock) == (91.5, 545.4, Clock.UNKNOWN)
    assert fix.accuracy == pytest.approx(math.sqrt((9 + 16) / 2))


def test_without_gst_the_accuracy_is_four_metres_times_hdop_and_99_99_means_none() -> None:
    assert fed(rmc("1.0".zfill(8)), gga("000001.0", hdop="2.5"))[0].accuracy == pytest.approx(10.0)
    assert fed(rmc("000001.00"), gga("000001.00", hdop="99.99"))[0].accuracy is None


def test_a_void_epoch_gives_no_fix() -> None:
    assert fed(rmc("123519.00", status="V"), gga("123519.00")) == []
    assert fed(rmc("123519.00"), gga("123519.00", quality=0)) == []


def test_a_receiver_that_loses_the_time_does_not_undo_the_fix_before() -> None:
    lost = sentence("GPGGA,,,,,,0,,,,M,,M,,")
    assert len(fed(rmc("123519.00"), gga("123519.00"), lost, sentence("GPRMC,,V,,,,,,,,,,N"))) == 1


def test_midnight_and_epochs_without_a_date_of_their_own() -> None:
    fixes = fed(rmc("235959.00"), gga("000000.00"), gga("000001.00"), rmc("000002.00", "300508"))
    assert [wire.rfc3339(f.at) for f in fixes] == [
        "2008-05-29T23:59:59Z",
        "2008-05-30T00:00:00Z",
        "2008-05-30T00:00:01Z",
        "2008-05-30T00:00:02Z",
    ]


def test_without_any_date_nothing_is_invented() -> None:
    merger = Merger("u", judge_recorded)
    assert fed(gga("123519.00"), gga("123520.00"), merger=merger) == []
    assert merger.counts.no_date == 2
    with_date = Merger("u", judge_recorded, date=dt.date(2008, 5, 29))
    assert len(fed(gga("123519.00"), gga("123520.00"), merger=with_date)) == 2


def test_damaged_lines_are_counted_and_left_out() -> None:
    merger = Merger("u", judge_recorded)
    good = rmc("123519.00")
    fixes = fed(good.replace("48", "47"), "noise", "$GPRMC,,,", "$GPRMC", good, "\x00\xff$$", merger=merger)
    assert len(fixes) == 1
    assert (merger.counts.checksum, merger.counts.read) == (1, 4)
    assert merger.counts.malformed == 2


def test_every_prefix_and_every_flipped_byte_of_a_sentence_is_survived() -> None:
    whole = rmc("123519.00").strip() + gga("123519.00").strip()
    merger = Merger("u", judge_recorded)
    for cut in range(len(whole)):
        merger.feed(whole[:cut])
        merger.feed(whole[:cut] + chr((ord(whole[cut]) ^ 21) & 127) + whole[cut + 1 :])
    merger.flush()
    assert fed(rmc("123520.00"), merger=merger)


def test_nonsense_with_a_right_checksum_is_survived() -> None:
    """Mutated bodies whose checksum agrees reach the parser and the fold; none may raise."""
    bodies = [line.strip()[1:-3] for line in (rmc("123519.00"), gga("123519.00"))]
    bodies += ["GPZDA,172809.456,12,07,1996,00,00", "GPGST,172814.0,0.006,0.023,0.020,273.6,0.023,0.020,0.031"]
    bodies += ["GNGNS,112257.00,3844.24011,N,00908.43828,W,AN,03,10.5,1,2,,", "GPVTG,91.5,T,,M,12.0,N,22.2,K,A"]
    chance, merger = random.Random(1), Merger("u", judge_recorded)
    for _ in range(5000):
        text = list(chance.choice(bodies))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(3, len(text))
            text[at : at + chance.randint(0, 3)] = chance.choice(["", ",", "-", "9" * 20, "nan", "x", ".", "\x00"])
        fix = merger.feed(sentence("".join(text)))
        assert fix is None or json.loads(wire.encode_body(fix))["lat"] is not None
    assert merger.counts.malformed > 100


# ---------------------------------------------------------------- recorded receivers

NAMES = [
    "ch-4701",
    "et-332",
    "furuno_gl_ga",
    "garmin48",
    "haicom-305N",
    "iTrek",
    "magellan-ec10",
    "meinberg-gps164",
    "mtk-3301",
    "neo-m8n",
    "nmea-fuzzy-cases",
    "nmea-rtk",
    "pharos-360",
    "quectel-eg25-g",
    "quectelLC79D-1",
    "tcp-torture",
    "telit-he910",
    "tn200",
    "ublox-neo-m9n-nmea",
    "unicore-um621",
]
OTHER_MOTION = {"garmin48": 7}
"""Its GLL tells a second fix a second later, without speed or altitude; gpsd carries the former ones over."""


def close(a: float | None, values: list[float], tolerance: float) -> bool:
    return not values or (a is not None and any(abs((a - b + 180) % 360 - 180) <= tolerance for b in values))


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_receiver_gives_what_gpsd_reports(name: str, data_dir: Path, tmp_path: Path) -> None:
    """Times are compared modulo 1024 weeks: gpsd moves old stamps into its own era, we send what was said."""
    folder = data_dir / "vehicles/nmea"
    expected: dict[int, list[dict[str, float]]] = {}
    for line in (folder / f"{name}.tpv.jsonl").read_text().splitlines():
        report = json.loads(line)
        if report.get("mode", 0) >= 2 and "lat" in report and "time" in report:
            at = wire.parse_rfc3339(report["time"]) % (WEEKS_1024 * SECOND)
            expected.setdefault(at // 10_000, []).append(report)
    log = (folder / f"{name}.log").read_bytes()
    if b"Delay-Cookie: |" in log:  # marks of the recording's player, not of the receiver
        log = log.replace(b"|", b"")
    (tmp_path / "receiver.log").write_bytes(log)
    fixes = {f.at % (WEEKS_1024 * SECOND) // 10_000: f for f in read_file(tmp_path / "receiver.log", "u")}
    assert not expected.keys() - fixes.keys()
    other_motion = 0
    for at in expected.keys() & fixes.keys():
        fix, reports = fixes[at], expected[at]
        near = [r for r in reports if abs(r["lat"] - fix.lat) < 2e-6 and abs(r["lon"] - fix.lon) < 2e-6]
        assert near, f"position at {wire.rfc3339(fix.at)}"
        said = {key: [r[key] for r in reports if key in r] for key in ("speed", "track", "altMSL")}
        same = close(fix.speed, said["speed"], 0.02) and close(fix.alt, said["altMSL"], 0.11)
        other_motion += not (same and close(fix.course, said["track"], 0.06))
    assert other_motion == OTHER_MOTION.get(name, 0)


# ---------------------------------------------------------------- clocks


def judge_at(now: float, state: Clock = Clock.SYNCED) -> LiveJudge:
    return LiveJudge(DeviceClock(wall=lambda: now, monotonic=lambda: 0.0, kernel=lambda: state))


def test_a_receiver_of_1970_or_1024_weeks_back_is_implausible_and_kept_as_it_is() -> None:
    now = 1_790_000_000
    assert judge_at(now)(0) == Clock.IMPLAUSIBLE
    assert judge_at(now)((now - WEEKS_1024) * SECOND) == Clock.IMPLAUSIBLE
    assert judge_at(now)((now + 700) * SECOND) == Clock.IMPLAUSIBLE
    assert judge_at(now)((now - 3) * SECOND) == Clock.SYNCED


def test_a_board_without_a_clock_does_not_call_its_receiver_implausible() -> None:
    assert judge_at(1_790_000_000 - 86_400, Clock.UNSYNCED)(1_790_000_000 * SECOND) == Clock.SYNCED


def test_the_devices_clock_says_stepped_for_a_minute_and_implausible_before_its_time() -> None:
    wall, monotonic = 1_790_000_000.0, 0.0
    clock = DeviceClock(wall=lambda: wall, monotonic=lambda: monotonic, kernel=lambda: Clock.SYNCED)
    assert clock.now() == (1_790_000_000 * SECOND, Clock.SYNCED)
    wall, monotonic = wall + 100, monotonic + 1
    assert clock.now()[1] == Clock.STEPPED
    wall, monotonic = wall + 70, monotonic + 70
    assert clock.now()[1] == Clock.SYNCED
    wall = 5.0
    assert clock.now()[1] == Clock.IMPLAUSIBLE
    assert kernel_state() in (Clock.SYNCED, Clock.UNSYNCED, Clock.UNKNOWN)


def test_a_recording_may_be_old_but_not_older_than_receivers() -> None:
    assert judge_recorded(wire.parse_rfc3339("2001-06-06T00:00:00Z")) == Clock.UNKNOWN
    assert judge_recorded(0) == Clock.IMPLAUSIBLE


# ---------------------------------------------------------------- sources


def sent(spool: Spool) -> list[Fix]:
    return [fix for m in spool.pending(0, 10_000) for fix in wire.decode(m.body, Fixes).fixes]


def promised(spool: Spool) -> list[int]:
    """Each `until`, in the order sent."""
    untils = [wire.decode(m.body, Fixes).until for m in spool.pending(0, 10_000)]
    return [until for until in untils if until is not None]


def test_a_file_is_sent_once_and_a_restart_sends_nothing_again(tmp_path: Path) -> None:
    log, spool = tmp_path / "r.log", Spool(tmp_path / "spool.db")
    log.write_text("".join(rmc(f"12{i // 60:02d}{i % 60:02d}.00") for i in range(250)))
    for _ in range(2):
        GpsSource(Gps(url=str(log), unit="bus-9"), "box").run(Outlet(spool, lambda: None), threading.Event())
    assert len(sent(spool)) == 250
    assert {f.unit for f in sent(spool)} == {"bus-9"}
    last = wire.decode(spool.pending(0, 99)[-1].body, Fixes)
    assert last.until == last.fixes[-1].at


def test_thinning_keeps_fixes_apart_and_a_step_backwards() -> None:
    fixes = [Fix("u", round(s * SECOND), 0, 0) for s in (0, 1, 2.5, 3, 5, 1, 1.5)]
    assert [f.at / SECOND for f in thinned(fixes, 2.0)] == [0, 2.5, 5, 1]
    assert len(list(thinned([*fixes, None], 0))) == 7


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Gps(url="tcp://a:1"), "use gpsd://host:port"),
        (Gps(url="/none.log"), "/none.log: there is no such file"),
        (Gps(url="/none.log", date="29.5.2008"), "date '29.5.2008': write it like 2008-05-29"),
        (Gps(url="/none.log", unit="a b"), "unit 'a b'"),
    ],
)
def test_a_mistake_is_named(settings: Gps, message: str, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=message):
        outlet = Outlet(Spool(tmp_path / "s.db"), lambda: None)
        GpsSource(settings, "box").run(outlet, threading.Event())


class Running:
    """A source in a thread for the length of a test."""

    def __init__(self, settings: Gps, spool: Spool, clock: DeviceClock | None = None) -> None:
        self.source, self.stop = GpsSource(settings, "box", clock), threading.Event()
        outlet = Outlet(spool, lambda: None)
        self.thread = threading.Thread(target=self.source.run, args=(outlet, self.stop), daemon=True)

    def __enter__(self) -> GpsSource:
        self.thread.start()
        return self.source

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(5)
        assert not self.thread.is_alive()


def until(holds: object, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_serial_line_gives_a_fix_as_soon_as_the_burst_is_over(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    spool = Spool(tmp_path / "spool.db")
    stamp = time.strftime("%d%m%y", time.gmtime())
    with Running(Gps(url=f"serial://{os.ttyname(slave)}", stall_s=1.0), spool) as source:
        time.sleep(0.3)
        started = time.monotonic()
        os.write(master, (rmc(time.strftime("%H%M%S.00", time.gmtime()), stamp)[:30]).encode())
        os.write(master, b"")
        os.write(master, b"\r\n")
        burst = rmc(time.strftime("%H%M%S.00", time.gmtime()), stamp)
        os.write(master, burst.encode())
        until(lambda: len(sent(spool)) == 1, 5)
        assert time.monotonic() - started < 1.5, "not held back until the next epoch"
        assert sent(spool)[0].clock == Clock.SYNCED
        until(lambda: "nothing came for 1 s" in source.trouble)
    os.close(master)
    os.close(slave)


class Gpsd(threading.Thread):
    """Speaks gpsd's protocol to one client after another: banner, then reports once it is asked to watch."""

    def __init__(self, reports: list[bytes]) -> None:
        super().__init__(daemon=True)
        self.reports, self.asked = reports, []  # type: tuple[list[bytes], list[bytes]]
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"gpsd://127.0.0.1:{self.server.getsockname()[1]}"

    def run(self) -> None:
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError):  # a client may leave in the middle
                client.sendall(b'{"class":"VERSION","release":"3.25"}\n')
                self.asked.append(client.recv(1000))
                for report in self.reports:
                    client.sendall(report[:20])
                    time.sleep(0.01)
                    client.sendall(report[20:] + b"\n")


@pytest.fixture
def gpsd() -> Iterator[Gpsd]:
    now = wire.rfc3339(time.time_ns() // 1000)
    report = {
        "class": "TPV",
        "mode": 3,
        "time": now,
        "lat": 48.1,
        "lon": 11.5,
        "speed": 2.5,
        "track": 91.0,
        "eph": 9.0,
    }
    server = Gpsd([json.dumps(report).encode(), b'{"class":"SKY"}', b'{"class":"TPV","mode":1}', b"noise", b"[]"])
    server.start()
    yield server
    server.server.close()


def test_gpsd_is_asked_to_watch_and_its_reports_become_fixes(gpsd: Gpsd) -> None:
    items = []
    with pytest.raises(Exception, match="gpsd closed the connection"):
        for item in gpsd_fixes(Gps(url=gpsd.url + "/dev/ttyS0"), "u", threading.Event()):
            items.append(item)
    (fix,) = [item for item in items if item is not None]
    assert (fix.lat, fix.lon, fix.speed, fix.course, fix.accuracy) == (48.1, 11.5, 2.5, 91.0, 4.5)
    assert fix.clock == Clock.SYNCED
    assert len(items) == 6
    assert json.loads(gpsd.asked[0].removeprefix(b"?WATCH=").rstrip(b";\n"))["device"] == "/dev/ttyS0"


def test_gpsd_that_closes_is_asked_again(gpsd: Gpsd, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    with Running(Gps(url=gpsd.url), spool) as source:
        until(lambda: len(gpsd.asked) >= 2)
        assert len(sent(spool)) >= 1
        until(lambda: "gpsd closed" in source.trouble)


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"3", b'{"class":"TPV","mode":3}', b'{"class":"TPV","mode":3,"time":"x","lat":1,"lon":2}'],
)
def test_what_is_no_report_is_passed_over(line: bytes) -> None:
    assert fix_of_report(line, "u", judge_at(1_790_000_000)) is None


# ---------------------------------------------------------------- silence


def clock_of(state: Clock) -> DeviceClock:
    return DeviceClock(kernel=lambda: state)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROMISE_EVERY_S", 0.2)
    monkeypatch.setattr(module, "NO_FIX_S", 0.5)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("reachable", [True, False])
def test_a_receiver_without_a_fix_or_gone_still_promises_so_that_its_silence_shows(
    gpsd: Gpsd, tmp_path: Path, reachable: bool
) -> None:
    gpsd.reports[:] = [b'{"class":"TPV","mode":1}'] * 2000
    if not reachable:
        gpsd.server.shutdown(socket.SHUT_RDWR)
        gpsd.server.close()
    spool = Spool(tmp_path / "spool.db")
    with Running(Gps(url=gpsd.url), spool, clock_of(Clock.SYNCED)) as source:
        until(lambda: len(promised(spool)) >= 4)
        assert -module.LATENESS <= promised(spool)[-1] - time.time_ns() // 1000 + SECOND < SECOND
        assert promised(spool) == sorted(promised(spool))
        assert sent(spool) == []
        words = "no fix for 1 s" if reachable else "Connection refused"
        until(lambda: words in source.trouble)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("state", [Clock.UNSYNCED, Clock.STEPPED, Clock.UNKNOWN])
def test_a_clock_that_cannot_be_believed_promises_nothing(gpsd: Gpsd, tmp_path: Path, state: Clock) -> None:
    spool = Spool(tmp_path / "spool.db")
    with Running(Gps(url=gpsd.url), spool, clock_of(state)):
        until(lambda: len(gpsd.asked) >= 2)
        assert sent(spool)
        assert promised(spool) == []


@pytest.mark.usefixtures("often")
def test_a_receiver_whose_clock_is_behind_is_not_promised_past(gpsd: Gpsd, tmp_path: Path) -> None:
    report = json.loads(gpsd.reports[0])
    at = wire.parse_rfc3339(report["time"]) - 300 * SECOND
    gpsd.reports[:] = [json.dumps(report | {"time": wire.rfc3339(at)}).encode()] * 2000
    spool = Spool(tmp_path / "spool.db")
    with Running(Gps(url=gpsd.url), spool, clock_of(Clock.SYNCED)) as source:
        until(lambda: len(promised(spool)) >= 4)
        assert max(promised(spool)[1:]) < at
        assert source.trouble == ""


def test_a_file_being_read_has_no_trouble_with_its_fix(tmp_path: Path) -> None:
    (tmp_path / "r.log").touch()
    assert GpsSource(Gps(url=str(tmp_path / "r.log")), "box").trouble == ""
