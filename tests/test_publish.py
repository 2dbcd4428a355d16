"""Publishing: a pure window, and go-back-N against a real broker that loses, forgets and dies."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge.publish import Publisher
from edge.settings import Mqtt, Publish
from edge.spool import ENVELOPE, Spool
from edge.window import BURST, PROBE, Ration, Window
from pipeline import wire
from pipeline.message import Fixes, Frame, Receipt
from tests.cable import Cable
from tests.far_side import FarSide
from tests.live.process import wait_until
from tests.live.servers import Mosquitto, Nats

BODY = b'{"fixes":[]}'

# ---------------------------------------------------------------- the window


def filled(window: Window, number: int, now: float = 0.0) -> Window:
    for _ in range(number):
        window.sent(window.next, 10, now)
    return window


def test_the_window_is_bounded_in_messages_and_in_bytes() -> None:
    assert filled(Window(1, most=5), 3).room == 2
    assert filled(Window(1, most=50, most_bytes=30), 2).room == 48
    assert filled(Window(1, most=50, most_bytes=30), 3).room == 0


def test_a_receipt_makes_room_and_never_moves_back() -> None:
    window = filled(Window(1, most=5), 5)
    window.confirmed(4, now=1.0)
    assert (window.base, window.next, window.room) == (4, 6, 3)
    window.confirmed(2, now=1.0)
    assert window.base == 4


def test_what_gave_way_in_the_spool_is_passed_over() -> None:
    window = filled(Window(1), 3)
    window.confirmed(10, now=1.0)
    assert (window.base, window.next) == (10, 10)


def test_asked_again_goes_back_once_for_each_hole() -> None:
    window = filled(Window(1), 9)
    assert window.asked_again(4, now=1.0)
    assert window.next == 4
    filled(window, 5, now=1.1)
    assert not window.asked_again(4, now=1.2), "its word crossed ours"
    assert window.asked_again(4, now=9.0)
    assert not window.asked_again(4, now=9.1), "nothing beyond it has been sent"


def test_asked_for_what_is_confirmed_it_sends_from_its_base() -> None:
    window = filled(Window(1), 9)
    window.confirmed(5, now=0.0)
    window.asked_again(2, now=1.0)
    assert window.next == 5


def test_patience_doubles_while_nothing_helps_and_returns_with_a_receipt() -> None:
    window = filled(Window(1, patience_s=5.0), 2)
    overdue = []
    for now in range(1, 40):
        if window.overdue(now):
            overdue.append(now)
            window.rewind(window.base, now)
            filled(window, 2, now)
    assert overdue == [5, 15, 35]
    window.confirmed(2, now=40.0)
    assert not window.overdue(44.0)
    assert window.overdue(45.0)


def test_nothing_sent_is_never_overdue() -> None:
    assert not Window(1).overdue(1e9)


def test_while_nobody_answers_only_a_few_are_sent_again_until_a_word_comes() -> None:
    window = filled(Window(1, patience_s=5.0), 100)
    assert window.overdue(5.0)
    window.rewind(1, 5.0)
    assert window.room == 2000, "once a receipt may have been lost"
    filled(window, 100, 5.0)
    assert window.overdue(15.0)
    window.rewind(1, 15.0)
    assert window.room == PROBE
    window.confirmed(2, 16.0)
    assert window.room == 2000


def test_a_backlog_rests_as_long_as_its_burst_took_and_the_burst_follows_the_line() -> None:
    ration = Ration(0.5)
    ration.sent(BURST, 100.0)
    assert ration.room(100.5) == 0
    ration.arrived(102.0)
    assert ration.room(103.9) == 0, "the line was busy for two seconds, it is free for two"
    assert ration.room(104.0) == BURST // 2, "and the next burst is smaller"
    ration.sent(BURST, 104.0)
    ration.arrived(104.1)
    assert ration.room(104.2) == BURST
    third = Ration(0.25)
    third.sent(BURST, 0.0)
    third.arrived(1.0)
    assert (third.room(3.9), third.room(4.0)) == (0, BURST)


def test_a_new_connection_owes_no_rest() -> None:
    ration = Ration(0.5)
    ration.sent(BURST, 0.0)
    ration.arrived(50.0)
    ration.reset()
    assert ration.room(51.0) == ration.burst


# ---------------------------------------------------------------- against real brokers


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Callable[..., Publisher]]:
    started: list[Publisher] = []

    def make(device: str, port: int, spool: Spool | None = None, **mqtt: object) -> Publisher:
        table = Mqtt(port=port, back_off_max_s=1.0, **mqtt)  # type: ignore[arg-type]
        settings = Publish(window=50, in_flight=20, receipt_timeout_s=1.0, status_s=1.0)
        spool = spool or Spool(tmp_path / f"{device}.db")
        one = Publisher(device, spool, table, publish=settings, version="7", said=lambda: "a word")
        one.start()
        started.append(one)
        return one

    yield make
    for one in started:
        one.stop()


Make = Callable[..., Publisher]


def emptied(spool: Spool, seconds: float = 20) -> None:
    wait_until(lambda: not spool.summary().waiting, seconds, "an empty spool")


def test_everything_arrives_in_order_and_the_spool_empties(nats: Nats, tmp_path: Path, publisher: Make) -> None:
    spool = Spool(tmp_path / "spool.db")
    spool.append("position", *(b'{"until":%d}' % i for i in range(300)))
    with FarSide(nats.mqtt_port, "order") as far:
        one = publisher("order", nats.mqtt_port, spool)
        far.wait_for(300)
        emptied(spool)
        spool.append("frame", b"\x81\xa2at\x01")
        one.wake()
        far.wait_for(301)
        assert [row[1] for row in far.taken] == list(range(1, 302))
        assert [row[3] for row in far.taken[:300]] == [b'{"until":%d}' % i for i in range(300)]
        assert far.taken[300][2:] == ("frame", b"\x81\xa2at\x01")
        assert (far.problems, one.sent) == ([], 301)


def test_lost_messages_are_sent_again_from_the_hole(nats: Nats, tmp_path: Path, publisher: Make) -> None:
    spool = Spool(tmp_path / "spool.db")
    with FarSide(nats.mqtt_port, "holes", lose=lambda n: n % 37 == 0) as far:
        publisher("holes", nats.mqtt_port, spool)
        spool.append("position", *[BODY] * 200)
        far.wait_for(200)
        assert [row[1] for row in far.taken] == list(range(1, 201))
        emptied(spool)


def test_without_receipts_the_window_stays_bounded_and_all_is_sent_again(
    nats: Nats, tmp_path: Path, publisher: Make, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path / "spool.db")
    with FarSide(nats.mqtt_port, "mute") as far, caplog.at_level("DEBUG", "edge.lane"):
        far.mute = True
        publisher("mute", nats.mqtt_port, spool)
        spool.append("position", *[BODY] * 200)
        wait_until(lambda: far.twice >= 50 + PROBE, 10, "sending again, twice, the second time only a little")
        assert far.twice == 50 + PROBE
        assert len(far.taken) == 50, "no more than the window"
        again = [record.levelname for record in caplog.records if "no receipt in time" in record.message]
        assert again[:2] == ["DEBUG", "WARNING"], "the first is usual while a bridge comes up"
        far.mute = False
        far.wait_for(200)
        emptied(spool)


def test_a_far_side_that_forgot_everything_gets_the_stream_from_base(
    nats: Nats, tmp_path: Path, publisher: Make
) -> None:
    spool = Spool(tmp_path / "spool.db")
    with FarSide(nats.mqtt_port, "forgot") as far:
        one = publisher("forgot", nats.mqtt_port, spool)
        for i in range(100):
            spool.append("position", BODY)
            one.wake()
            if i in (30, 60):
                far.restart()
        far.wait_for(100)
        emptied(spool)
        seqs = [row[1] for row in far.once()]
        assert seqs == list(range(1, 101))


def test_a_broker_killed_in_the_middle_loses_nothing(tmp_path: Path, publisher: Make) -> None:
    spool = Spool(tmp_path / "spool.db")
    with Nats() as nats, FarSide(nats.mqtt_port, "outage") as far:
        one = publisher("outage", nats.mqtt_port, spool)
        for i in range(300):
            spool.append("position", b'{"until":%d}' % i)
            one.wake()
            if i == 120:
                nats.kill()
                wait_until(lambda: not one.connected, 5, "noticing the outage")
                assert "127.0.0.1" in one.trouble
            if i == 200:
                nats.start()
        far.wait_for(300, 30)
        emptied(spool)
        once = far.once()
        assert [row[1] for row in once] == list(range(1, 301))
        assert [row[3] for row in once] == [b'{"until":%d}' % i for i in range(300)]


def test_a_restored_spool_does_not_lose_its_new_messages(nats: Nats, tmp_path: Path, publisher: Make) -> None:
    spool = Spool(tmp_path / "spool.db")
    with FarSide(nats.mqtt_port, "restored") as far:
        far._next[spool.epoch] = 50  # it has had 49 messages of this epoch; the copy knows of none
        spool.append("position", *[BODY] * 10)
        first = spool.epoch
        publisher("restored", nats.mqtt_port, spool)
        far.wait_for(10)
        assert spool.epoch > first
        assert [row[:2] for row in far.taken] == [(spool.epoch, i) for i in range(1, 11)]
        emptied(spool)


def test_status_online_with_numbers_offline_at_the_end_lost_when_cut_off(
    nats: Nats, tmp_path: Path, publisher: Make
) -> None:
    spool = Spool(tmp_path / "spool.db")
    with FarSide(nats.mqtt_port, "status") as far:
        far.mute = True
        spool.append("position", BODY)
        one = publisher("status", nats.mqtt_port, spool)
        wait_until(lambda: len(far.statuses) >= 2, 10, "the second status")
        status = far.statuses[-1]
        assert (status.state, status.waiting, status.detail, status.version) == ("online", 1, "a word", "7")
        assert status.oldest is not None and abs(status.oldest / 1e6 - time.time()) < 20
        one._link._client._sock_close()  # type: ignore[union-attr]  # the cable is pulled
        wait_until(lambda: any(s.state == "lost" for s in far.statuses), 10, "the last will")
        wait_until(lambda: far.statuses[-1].state == "online", 10, "the agent's return")
        one.stop()
        wait_until(lambda: far.statuses[-1].state == "stopped", 5, "the goodbye")


def test_a_receipt_that_is_no_receipt_harms_nothing(nats: Nats, tmp_path: Path, publisher: Make) -> None:
    spool = Spool(tmp_path / "spool.db")
    with FarSide(nats.mqtt_port, "noise") as far:
        one = publisher("noise", nats.mqtt_port, spool)
        wait_until(lambda: one.connected, 5, "the connection")
        other = paho.Client(CallbackAPIVersion.VERSION2)
        other.connect("127.0.0.1", nats.mqtt_port)
        other.loop_start()
        for payload in (b"", b"\xff\xfe", b"{", b'{"epoch":1,"seq":99}', msgspec.json.encode(Receipt(5, 7, True))):
            other.publish(wire.topic("noise", "receipt"), payload, qos=1).wait_for_publish(5)
        other.disconnect()
        other.loop_stop()
        spool.append("position", BODY)
        one.wake()
        far.wait_for(1)
        assert one.alive


def test_a_message_of_the_largest_size_passes_the_embedded_broker(
    nats: Nats, tmp_path: Path, publisher: Make
) -> None:
    spool = Spool(tmp_path / "spool.db")
    device = "d" * 63
    bare = len(wire.encode_body(Frame(1, b""), binary=True))
    body = wire.encode_body(Frame(1, b"x" * (wire.MAX_PAYLOAD - ENVELOPE - bare - 4)), binary=True)
    assert len(body) > wire.MAX_PAYLOAD - ENVELOPE - 4
    spool.append("frame", body)
    with FarSide(nats.mqtt_port, device) as far:
        publisher(device, nats.mqtt_port, spool)
        far.wait_for(1)
        assert far.taken[0][3] == body


def test_tls_and_password(tmp_path: Path, publisher: Make) -> None:
    with Mosquitto(users={"tower": "word"}, tls=True) as broker:
        spool = Spool(tmp_path / "spool.db")
        spool.append("position", BODY)
        wrong = publisher(
            "tower", broker.port, spool, username="tower", password="no", tls=True, ca_file=str(broker.ca)
        )
        wait_until(lambda: "refuses the connection" in wrong.trouble, 10, "the refusal")
        wrong.stop()
        right = publisher(
            "tower", broker.port, spool, username="tower", password="word", tls=True, ca_file=str(broker.ca)
        )
        wait_until(lambda: right.sent == 1, 10, "the connection")
        right.stop()
        stranger = publisher("tower", broker.port, spool, username="tower", password="word", tls=True)
        wait_until(lambda: "certificate" in stranger.trouble, 10, "the certificate's refusal")


# ---------------------------------------------------------------- two streams, and lines that misbehave


def picture(size: int) -> bytes:
    return wire.encode_body(Frame(1, bytes(size)), binary=True)


def an_hour_ago() -> float:
    return time.time() - 3600


def test_the_express_stream_does_not_wait_behind_a_backlog_on_a_slow_line(nats: Nats, tmp_path: Path) -> None:
    old = Spool(tmp_path / "spool.db", clock=an_hour_ago)
    express = Spool(tmp_path / "express.db")
    old.append("frame", *[picture(20_000)] * 300)
    settings = Publish(receipt_timeout_s=20.0, status_s=1.0)
    with Cable(nats.mqtt_port) as cable, FarSide(nats.mqtt_port, "slow") as far:
        cable.rate = 250_000.0
        one = Publisher("slow", old, Mqtt(port=cable.port), publish=settings, express=express)
        one.start()
        try:
            far.wait_for(4)
            assert one.behind
            waited = [_round_trip(one, express, far) for _ in range(3)]
            assert max(waited) < 4.0, f"{waited}: the backlog alone takes 24 s"
            assert old.summary().waiting > 100, "it was still there"
            assert [row[1] for row in far.taken if row[0] == old.epoch] == list(
                range(1, 1 + sum(row[0] == old.epoch for row in far.taken))
            )
        finally:
            one.stop()


def _round_trip(one: Publisher, express: Spool, far: FarSide) -> float:
    """Seconds from the spool to the far side."""
    began, last = time.monotonic(), express.append("frame", picture(3))
    one.wake()
    wait_until(lambda: (express.epoch, last) in [row[:2] for row in list(far.taken)], 30, "what is live")
    return time.monotonic() - began


def test_a_backlog_leaves_half_of_the_line_free(nats: Nats, tmp_path: Path) -> None:
    old = Spool(tmp_path / "spool.db", clock=an_hour_ago)
    old.append("frame", *[picture(20_000)] * 100)
    with Cable(nats.mqtt_port) as cable, FarSide(nats.mqtt_port, "half") as far:
        cable.rate = 400_000.0
        one = Publisher("half", old, Mqtt(port=cable.port), publish=Publish(), express=Spool(tmp_path / "x.db"))
        one.start()
        try:
            far.wait_for(20)
            before, since = cable.carried, time.monotonic()
            time.sleep(4)
            share = (cable.carried - before) / (time.monotonic() - since) / cable.rate
            assert 0.15 < share < 0.7, share
        finally:
            one.stop()


def test_gaps_go_out_when_the_line_is_back(nats: Nats, tmp_path: Path, publisher: Make) -> None:
    spool = Spool(tmp_path / "spool.db", max_bytes=2000)
    for _ in range(50):
        spool.append("frame", picture(300))
    dropped = spool.dropped
    with FarSide(nats.mqtt_port, "gaps") as far:
        publisher("gaps", nats.mqtt_port, spool)
        wait_until(lambda: any(b"gap" in row[3] for row in list(far.taken)), 10, "the gap")
        (body,) = [row[3] for row in far.once() if b'"gap"' in row[3]]
        gap = wire.decode(body, Fixes).gap
        assert gap is not None and (gap.kind, gap.count) == ("frame", dropped)


def test_a_half_open_connection_is_noticed_and_made_anew(nats: Nats, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    with Cable(nats.mqtt_port) as cable, FarSide(nats.mqtt_port, "half-open") as far:
        mqtt = Mqtt(port=cable.port, keepalive_s=2, back_off_max_s=1.0)
        one = Publisher("half-open", spool, mqtt, publish=Publish(receipt_timeout_s=1.0))
        one.start()
        try:
            spool.append("position", BODY)
            far.wait_for(1)
            cable.held = True
            spool.append("position", *[BODY] * 20)
            one.wake()
            wait_until(lambda: not one.connected, 10, "noticing that nothing passes")
            assert "lost" in one.trouble
            cable.held = False
            far.wait_for(21)
            emptied(spool)
            wait_until(lambda: one.connected and not one.trouble, 5, "all being well")
        finally:
            one.stop()


def test_a_broker_that_accepts_and_forgets_is_told(
    nats: Nats, tmp_path: Path, publisher: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.publish.QUIET_S", 2.0)
    spool = Spool(tmp_path / "spool.db")
    spool.append("position", *[BODY] * 30)
    one = publisher("nobody", nats.mqtt_port, spool)
    wait_until(lambda: "no receipt has come for" in one.trouble, 10, "word of it")
    assert one.connected and spool.summary().waiting == 30
    with FarSide(nats.mqtt_port, "nobody") as far:
        far.wait_for(30)
        emptied(spool)
        wait_until(lambda: not one.trouble, 5, "all being well")
        assert [row[1] for row in far.taken] == list(range(1, 31))
