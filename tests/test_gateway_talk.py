"""GT06 and NMEA without the network: login, answers with check codes, devices that are known or not."""

import pytest

from edge.decode.gt06 import decode, open_frame
from edge.decode.gt06_reply import reply
from edge.gateway.talk import Gt06Talk, NmeaTalk, Turn
from pipeline.wire import parse_rfc3339
from tests.gateways import IMEI, desk
from tests.trackers import CELL, LOGIN, NMEA_LINES, STATE, gt06, gt06_place

PLACE = gt06(0x12, gt06_place() + CELL, serial=0x0203)


def logged_in(**settings: object) -> Gt06Talk:
    talk = Gt06Talk(desk(**settings))
    assert talk.hear(LOGIN)[0].heard
    return talk


def test_the_answer_to_a_login_is_that_of_the_makers_document() -> None:
    """GT06 1.8, 5.1.2: 78 78 05 01 00 05 9F F8 0D 0A for the serial number 5."""
    (turn,) = Gt06Talk(desk()).hear(gt06(0x01, bytes.fromhex("0123456789012345"), serial=5))
    assert turn.reply == bytes.fromhex("7878050100059ff80d0a")


@pytest.mark.parametrize(
    ("kind", "serial", "answer"),
    [
        (0x13, 0x0100, "787805130100e1a00d0a"),
        (0x26, 0x001C, "78780526001c9d860d0a"),
    ],
)
def test_the_answers_of_makers_examples(kind: int, serial: int, answer: str) -> None:
    content = STATE if kind == 0x13 else gt06_place() + b"\x09" + CELL + STATE
    (turn,) = logged_in().hear(gt06(kind, content, serial=serial))
    assert turn.reply.hex() == answer


def test_the_clock_of_a_makers_example() -> None:
    """2015-12-29 00:00:21 in answer to the request number 6."""
    asked, _ = open_frame(bytes.fromhex("7878058a000688290d0a"))
    assert reply(asked, 1_451_347_221.0).hex() == "78780b8a0f0c1d0000150006f0860d0a"


def test_login_then_a_place() -> None:
    talk = logged_in()
    (turn,) = talk.hear(PLACE)
    (fix,) = turn.kept.fixes
    assert (talk.device, fix.unit, fix.lat) == (IMEI, "truck-1", pytest.approx(54.94535, abs=1e-4))
    assert fix.at == parse_rfc3339("2015-10-20T14:21:11Z")
    frame, complaint = open_frame(turn.reply)
    assert (frame.type, frame.serial, frame.content, complaint) == (0x12, 0x0203, b"", "")


@pytest.mark.parametrize(("kind", "long"), [(0x13, False), (0x16, False), (0x26, False), (0x94, True)])
def test_heartbeats_alarms_and_long_frames_are_answered_in_kind(kind: int, long: bool) -> None:
    content = STATE if kind == 0x13 else gt06_place() + b"\x09" + CELL + STATE
    (turn,) = logged_in().hear(gt06(kind, content, serial=77, long=long))
    frame, complaint = open_frame(turn.reply)
    assert (frame.type, frame.serial, frame.long, complaint) == (kind, 77, long, "")


def test_the_clock_is_told() -> None:
    (turn,) = logged_in().hear(gt06(0x8A, b""))
    frame, complaint = open_frame(turn.reply)
    assert (len(frame.content), complaint) == (6, "")
    assert frame.content[0] >= 26


@pytest.mark.parametrize("kind", [0x15, 0x21])
def test_answers_to_commands_are_not_answered(kind: int) -> None:
    (turn,) = logged_in().hear(gt06(kind, bytes(12)))
    assert (turn.reply, turn.heard) == (b"", True)


def test_bare_frames_are_answered_bare() -> None:
    login = bytes.fromhex("78780d01012345678901234501 0d0a".replace(" ", ""))
    assert Gt06Talk(desk()).hear(login)[0].reply == bytes.fromhex("787801 01 01 0d0a".replace(" ", ""))
    (message,) = decode(login)
    assert message.device == IMEI


def test_who_speaks_before_the_login_or_is_a_stranger_is_shown_out() -> None:
    counting = desk(units={"1": "x"})
    (turn,) = Gt06Talk(counting).hear(PLACE)
    assert (turn.ends, turn.reply) == ("it speaks before it has logged in", b"")
    (turn,) = Gt06Talk(counting).hear(LOGIN + PLACE)
    assert (turn.ends, turn.reply) == (f"{IMEI} is not in [source] units", b"")
    assert counting.trouble == f"refused, not in [source] units: {IMEI} (1)"


def test_a_second_login_with_another_number_ends_the_connection() -> None:
    talk = logged_in(units={IMEI: "a", "123456789012346": "b"})
    (turn,) = talk.hear(gt06(0x01, bytes.fromhex("0123456789012346")))
    assert "calls itself 123456789012346" in turn.ends
    assert logged_in().hear(LOGIN)[0].ends == ""


def test_a_damaged_frame_is_counted_and_not_answered() -> None:
    counting = desk()
    talk, damaged = Gt06Talk(counting), bytearray(PLACE)
    talk.hear(LOGIN)
    damaged[10] ^= 4
    assert talk.hear(bytes(damaged) + PLACE)[-1].kept.fixes
    assert counting.counts["checksum"] == 1


def test_an_alarm_begins_and_ends_with_the_heartbeat() -> None:
    talk = logged_in(alarms=["sos"])
    sos = gt06(0x26, gt06_place() + b"\x09" + CELL + bytes.fromhex("4604040102"))
    frames = (PLACE, gt06(0x13, STATE), sos, sos, gt06(0x13, STATE))
    told = [[(r.channel, r.value) for turn in talk.hear(frame) for r in turn.kept.readings] for frame in frames]
    assert told == [[], [("truck-1.sos", 0.0)], [("truck-1.sos", 1.0)], [], [("truck-1.sos", 0.0)]]


# ---------------------------------------------------------------- NMEA


def test_sentences_come_in_pieces_and_are_of_the_address() -> None:
    talk = NmeaTalk(desk(), "127.0.0.1")
    later = NMEA_LINES[0].replace(b"123519", b"123520").rpartition(b"*")[0]
    stream = b"\r\n".join([*NMEA_LINES, later + b"*%02X" % _sum(later), b""])
    turns = [turn for n in range(0, len(stream), 7) for turn in talk.hear(stream[n : n + 7])]
    (fix,) = [fix for turn in turns for fix in turn.kept.fixes]
    assert (fix.unit, fix.alt, fix.at) == ("boat-1", 545.4, parse_rfc3339("1994-03-23T12:35:19Z"))
    assert {turn.reply for turn in turns} == {b""}


def _sum(line: bytes) -> int:
    code = 0
    for byte in line[1:]:
        code ^= byte
    return code


def test_an_unknown_address_or_no_sentences_is_not_heard() -> None:
    (turn,) = NmeaTalk(desk(), "192.0.2.9").hear(NMEA_LINES[0])
    assert "192.0.2.9" in turn.ends
    talk = NmeaTalk(desk(), "127.0.0.1")
    assert talk.hear(b"x" * 100_000) == []
    assert not vars(talk)["_rest"]
    assert talk.hear(b"hello\n") == [Turn(heard=False)]
