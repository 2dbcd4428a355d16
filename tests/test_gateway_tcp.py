"""Trackers over real TCP: replies after the disk, strangers, silence, rubbish, crowds."""

import asyncio
import socket
import threading
import time
from pathlib import Path

import pytest

from edge.errors import SetupError
from edge.gateway.source import GatewaySource
from edge.outlet import Outlet
from edge.settings import Gateway
from edge.spool import Spool
from tests.gateways import UNITS, Box, eventually
from tests.trackers import CELL, LOGIN, NMEA_LINES, STATE, gt06, gt06_place, jt808, place

ANSWER = len(jt808(0x8001, bytes(5)))
PLACE = gt06(0x12, gt06_place() + CELL, serial=2)


def test_a_terminal_registers_reports_and_is_answered_after_the_disk_has_it(tmp_path: Path) -> None:
    with Box(tmp_path) as box, box.tracker("jt808") as tracker:
        answer = tracker.ask(jt808(0x0100, bytes(37)), ANSWER - 2 + 16)
        assert answer[1:3] == b"\x81\x00"
        tracker.ask(jt808(0x0102, answer[16:32]), ANSWER)
        tracker.ask(jt808(0x0200, place()), ANSWER)
        assert [fix.unit for fix in box.fixes()] == ["bus-1"], "the answer is there, so the fix must be"
        assert box.source.facts()["trackers"] == 1


def test_no_answer_before_the_disk_has_it_and_none_if_it_has_not(tmp_path: Path) -> None:
    held, let = threading.Event(), threading.Event()

    class SlowSpool(Spool):
        def append(self, kind: str, *bodies: bytes, cursor: str | None = None, keep: bool = False) -> int:
            held.set()
            assert let.wait(10)
            return super().append(kind, *bodies, cursor=cursor, keep=keep)

    with Box(tmp_path) as box, box.tracker("gt06") as tracker:
        assert len(tracker.ask(LOGIN, 10)) == 10
        vars(box.outlet)["_spool"] = SlowSpool(tmp_path / "slow.db")
        tracker.say(PLACE)
        assert held.wait(5)
        tracker.link.settimeout(0.3)
        with pytest.raises(TimeoutError):
            tracker.hear(1)
        let.set()
        tracker.link.settimeout(5)
        assert tracker.hear(10)[3:4] == b"\x12"


def test_what_the_disk_refuses_is_not_answered_and_comes_again(tmp_path: Path) -> None:
    with Box(tmp_path) as box:
        vars(box.outlet)["_spool"] = Spool(tmp_path / "full.db", max_bytes=10)
        with box.tracker("gt06") as tracker:
            tracker.ask(LOGIN, 10)
            tracker.say(PLACE)
            assert tracker.closed()
        assert "spool full" in box.outlet.trouble
        vars(box.outlet)["_spool"] = box.spool
        with box.tracker("gt06") as tracker:
            tracker.ask(LOGIN, 10)
            assert len(tracker.ask(PLACE, 10)) == 10
        assert len(box.fixes()) == 1


def test_frames_in_pieces_and_many_at_once(tmp_path: Path) -> None:
    with Box(tmp_path) as box, box.tracker("jt808") as tracker:
        stream = b"".join(jt808(0x0200, place(time=f"2007071923{n:02}"), serial=n) for n in range(60))
        for n in range(0, len(stream), 1111):
            tracker.say(stream[n : n + 1111])
            time.sleep(0.002)
        tracker.hear(60 * ANSWER)
        assert [fix.at // 1_000_000 % 60 for fix in box.fixes()] == list(range(60)), "in order, each once"


def test_strangers_and_the_unidentified_are_shown_out_and_told_of(tmp_path: Path) -> None:
    with Box(tmp_path, login_s=0.5) as box:
        with box.tracker("jt808") as tracker:
            answer = tracker.ask(jt808(0x0200, place(), phone="019999999999"), ANSWER)
            assert answer[-3:-2] == b"\x01"
            assert tracker.closed()
        with box.tracker("gt06") as tracker:
            assert tracker.closed(3), "who does not name himself in time"
        assert box.fixes() == []
        assert "019999999999 (1)" in box.source.trouble
        eventually(lambda: box.counted("silent") == 1, "the silent one counted")


def test_bytes_that_trickle_in_do_not_keep_a_connection_open(tmp_path: Path) -> None:
    with Box(tmp_path, idle_s=0.6) as box, box.tracker("gt06") as tracker:
        tracker.ask(LOGIN, 10)
        begun = time.monotonic()
        try:
            while time.monotonic() - begun < 5:
                tracker.say(b"\x78")
                time.sleep(0.05)
        except ConnectionError:
            pass
        assert time.monotonic() - begun < 3


def test_heartbeats_do(tmp_path: Path) -> None:
    with Box(tmp_path, idle_s=0.6) as box, box.tracker("gt06") as tracker:
        tracker.ask(LOGIN, 10)
        for _ in range(6):
            time.sleep(0.2)
            assert len(tracker.ask(gt06(0x13, STATE), 10)) == 10


@pytest.mark.parametrize("rubbish", [b"\x7e" * 70_000, b"\x79\x79\xff\xff" * 20_000, bytes(70_000), b"(" * 70_000])
@pytest.mark.parametrize("protocol", ["jt808", "gt06", "nmea"])
def test_rubbish_is_cut_off(tmp_path: Path, protocol: str, rubbish: bytes) -> None:
    with Box(tmp_path) as box, box.tracker(protocol) as tracker:
        try:
            tracker.say(rubbish)
        except ConnectionError:
            return
        assert tracker.closed()
        assert box.counted("rubbish") == 1


def test_a_device_that_comes_again_takes_the_place_of_its_former_connection(tmp_path: Path) -> None:
    with Box(tmp_path) as box, box.tracker("gt06") as former, box.tracker("gt06") as latter:
        former.ask(LOGIN, 10)
        latter.ask(LOGIN, 10)
        assert former.closed()
        assert len(latter.ask(PLACE, 10)) == 10
        assert (box.counted("came_again"), box.source.facts()["trackers"]) == (1, 1)


def test_no_more_connections_than_there_is_room_for(tmp_path: Path) -> None:
    with Box(tmp_path, connections=2) as box, box.tracker("gt06") as one, box.tracker("jt808") as two:
        one.ask(LOGIN, 10)
        two.ask(jt808(0x0002, b""), ANSWER)
        with box.tracker("gt06") as third:
            assert third.closed()
        assert box.counted("no_room") == 1
        one.link.close()
        eventually(lambda: box.source.facts()["connections"] == 1, "room again")
        with box.tracker("gt06") as fourth:
            assert len(fourth.ask(LOGIN, 10)) == 10


def test_one_address_has_its_share(tmp_path: Path) -> None:
    with Box(tmp_path, connections_per_address=2) as box, box.tracker("gt06") as one, box.tracker("jt808") as two:
        one.ask(LOGIN, 10)
        two.ask(jt808(0x0002, b""), ANSWER)
        with box.tracker("gt06") as third:
            assert third.closed()


def test_a_tracker_that_takes_no_replies_does_not_hold_up_others(tmp_path: Path) -> None:
    with Box(tmp_path) as box, box.tracker("gt06") as deaf, box.tracker("jt808") as other:
        deaf.ask(LOGIN, 10)
        deaf.link.setblocking(False)
        frames = gt06(0x13, STATE) * 2000
        sent = 0
        try:
            while sent < 4_000_000:
                sent += deaf.link.send(frames)
        except BlockingIOError:
            pass
        assert len(other.ask(jt808(0x0200, place()), ANSWER)) == ANSWER


def test_sentences_over_tcp_are_of_the_address(tmp_path: Path) -> None:
    later = b"$GPRMC,123521.00,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W"
    code = 0
    for byte in later[1:]:
        code ^= byte
    with Box(tmp_path) as box, box.tracker("nmea") as tracker:
        tracker.say(b"\r\n".join([*NMEA_LINES, later + b"*%02X" % code, b""]))
        eventually(lambda: len(box.fixes()) == 1, "the first epoch")
        assert box.fixes()[0].unit == "boat-1"


def test_readings_of_alarms_are_kept_too(tmp_path: Path) -> None:
    with Box(tmp_path, alarms=["sos"]) as box, box.tracker("jt808") as tracker:
        tracker.ask(jt808(0x0200, bytes(3) + b"\x01" + place()[4:]), ANSWER)
        assert [(r.channel, r.value) for r in box.readings()] == [("bus-1.sos", 1.0)]


def test_two_hundred_at_once(tmp_path: Path) -> None:
    """Each sends ten places, waiting for each answer."""
    phones = {f"{13_000_000_000 + n}": f"u-{n}" for n in range(200)}

    async def tracker(port: int, phone: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for n in range(10):
            writer.write(jt808(0x0200, place(time=f"2007071923{n:02}"), serial=n, phone=phone))
            await reader.readexactly(ANSWER)
        writer.close()

    async def all_of(port: int) -> None:
        await asyncio.gather(*(tracker(port, "0" + phone) for phone in phones))

    with Box(tmp_path, units=phones) as box:
        asyncio.run(all_of(box.ports["jt808"]))
        fixes = box.fixes()
        assert len({(fix.unit, fix.at) for fix in fixes}) == len(fixes) == 2000


# ---------------------------------------------------------------- mistakes of people


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"units": UNITS}, "without a port"),
        ({"units": UNITS, "gt06_port": 70_000}, "gt06_port = 70000"),
        ({"units": UNITS, "gt06_port": 7000, "jt808_port": 7000}, "two protocols on one port"),
        ({"gt06_port": 7000}, "no units"),
    ],
)
def test_a_mistake_in_the_table_is_named(settings: dict[str, object], said: str) -> None:
    with pytest.raises(SetupError, match=said):
        GatewaySource(Gateway(**settings))  # type: ignore[arg-type]


@pytest.mark.parametrize(("bind", "said"), [("127.0.0.1", "in use"), ("192.0.2.1", "choose another bind or port")])
def test_a_port_that_cannot_be_had_is_named(tmp_path: Path, bind: str, said: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        source = GatewaySource(Gateway(units=UNITS, gt06_port=port, bind=bind))
        with pytest.raises(SetupError, match=said):
            source.run(Outlet(Spool(tmp_path / "s.db"), lambda: None), threading.Event())


def test_it_listens_on_loopback_only_unless_told_otherwise() -> None:
    assert Gateway().bind == "127.0.0.1"
