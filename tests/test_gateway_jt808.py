"""JT/T 808 without the network: which frame brings what, and which answer waits for it."""

import pytest

from edge.decode import Message
from edge.decode.jt808 import decode, sound
from edge.gateway.desk import Desk
from edge.gateway.jt808 import Jt808Talk
from edge.gateway.talk import Turn
from pipeline.wire import parse_rfc3339
from tests.gateways import PHONE, desk
from tests.trackers import jt808, place

NEW = "00000000013512345678"
BATCH = b"\0\3\1" + b"".join(b"\0\x1c" + place(time=f"20070719235{n}") for n in range(3))


def one(talk: Jt808Talk, frame: bytes) -> Turn:
    (turn,) = talk.hear(frame)
    return turn


def replies(turn: Turn) -> list[tuple[int, str]]:
    """Message and body of each frame of a reply, which must be sound and to the device."""
    found = []
    for piece in turn.reply.split(b"\x7e\x7e"):
        header, body = sound(b"\x7e" + piece.strip(b"\x7e") + b"\x7e")
        assert header.device.lstrip("0") == PHONE.lstrip("0")
        found.append((header.message, body.hex()))
    return found


@pytest.mark.parametrize("phone", [PHONE, NEW])
def test_a_place_is_kept_and_answered_in_the_terminals_own_version(phone: str) -> None:
    turn = one(Jt808Talk(desk()), jt808(0x0200, place(), serial=7, phone=phone))
    (fix,) = turn.kept.fixes
    assert (fix.unit, fix.lat, fix.lon, fix.speed) == ("bus-1", 31.0, 121.5, pytest.approx(10))
    assert fix.at == parse_rfc3339("2020-07-07T19:23:59+08:00")
    assert replies(turn) == [(0x8001, "0007020000")]
    header, _ = sound(turn.reply)
    assert header.device == phone
    assert header.version == (1 if phone == NEW else None)


def test_a_platforms_frames_are_read_by_the_decoder_too() -> None:
    turn = one(Jt808Talk(desk()), jt808(0x0002, b"", serial=9))
    (message,) = decode(turn.reply)
    assert isinstance(message, Message)
    assert (message.kind, message.fields["message_id"], message.fields["serial"]) == ("command", "0x8001", 0)


def test_escapes_in_the_answer() -> None:
    turn = one(Jt808Talk(desk()), jt808(0x0002, b"", serial=0x7E7D))
    assert replies(turn) == [(0x8001, "7e7d000200")]
    assert b"\x7e" not in turn.reply[1:-1]


def test_registration_authentication_and_clock() -> None:
    talk = Jt808Talk(desk())
    ((message, body),) = replies(one(talk, jt808(0x0100, bytes(37) + b"plate", serial=3)))
    assert (message, body[:6]) == (0x8100, "000300")
    code = bytes.fromhex(body[6:])
    assert replies(one(talk, jt808(0x0102, code, serial=4))) == [(0x8001, "0004010200")]
    ((message, body),) = replies(one(talk, jt808(0x0004, b"", serial=5)))
    assert (message, len(body)) == (0x8004, 12)
    assert body.isdigit()


@pytest.mark.parametrize("phone", [PHONE, NEW])
def test_with_a_secret_only_the_code_of_the_registration_opens(phone: str) -> None:
    def authentication(code: bytes) -> bytes:
        body = code if phone == PHONE else bytes([len(code)]) + code + b"1" * 15 + bytes(20)
        return jt808(0x0102, body, phone=phone)

    counting = desk(auth_secret="forest")
    talk = Jt808Talk(counting)
    turn = one(talk, jt808(0x0200, place(), phone=phone))
    assert (turn.kept.fixes, replies(turn)) == ([], [(0x8001, "0001020001")])
    ((_, body),) = replies(one(talk, jt808(0x0100, bytes(37), phone=phone)))
    assert replies(one(talk, authentication(b"guess"))) == [(0x8001, "0001010201")]
    assert not one(talk, jt808(0x0200, place(), phone=phone)).kept
    assert replies(one(talk, authentication(bytes.fromhex(body[6:])))) == [(0x8001, "0001010200")]
    assert one(talk, jt808(0x0200, place(), phone=phone)).kept
    assert counting.counts["not_authenticated"] == 2
    assert Desk.code(desk(auth_secret="sea"), PHONE) != counting.code(PHONE) == counting.code(NEW)


def test_a_stranger_is_told_so_counted_and_shown_out() -> None:
    counting = desk()
    for message, said in ((0x0100, (0x8100, "000104")), (0x0200, (0x8001, "0001020001"))):
        turn = one(Jt808Talk(counting), jt808(message, place(), phone="019999999999"))
        header, body = sound(turn.reply)
        assert ((header.message, body.hex()), turn.kept.fixes, turn.heard) == (said, [], False)
        assert "019999999999" in turn.ends
    assert counting.trouble == "refused, not in [source] units: 019999999999 (2)"


def test_a_connection_belongs_to_the_first_device_it_names() -> None:
    counting = desk(units={"13512345678": "bus-1", "13512345679": "bus-2"})
    talk = Jt808Talk(counting)
    first, second = talk.hear(jt808(0x0200, place()) + jt808(0x0200, place(), phone="013512345679"))
    assert (first.ends, first.heard) == ("", True)
    assert "013512345678 calls itself 013512345679" in second.ends
    assert not second.kept.fixes
    assert counting.counts["changed_device"] == 1


def test_a_batch_keeps_its_order_and_is_answered_once() -> None:
    turn = one(Jt808Talk(desk()), jt808(0x0704, BATCH))
    assert [fix.at % 60_000_000 // 1_000_000 for fix in turn.kept.fixes] == [50, 51, 52]
    assert replies(turn) == [(0x8001, "0001070400")]


def test_a_damaged_frame_is_not_answered_and_an_unreadable_one_is_answered_as_wrong() -> None:
    counting = desk()
    talk, frame = Jt808Talk(counting), bytearray(jt808(0x0200, place()))
    frame[20] ^= 1
    assert talk.hear(bytes(frame)) == [Turn(heard=False)]
    assert replies(one(talk, jt808(0x0200, place()[:20]))) == [(0x8001, "0001020002")]
    assert (counting.counts["checksum"], counting.counts["short"]) == (1, 1)


@pytest.mark.parametrize(
    ("message", "said"), [(0x0001, []), (0x0003, ["00"]), (0x0801, ["03"]), (0x0F99, ["03"]), (0x0900, ["00"])]
)
def test_answers_to_orders_wait_for_none_and_pictures_are_not_taken(message: int, said: list[str]) -> None:
    turn = one(Jt808Talk(desk()), jt808(message, bytes(40)))
    assert [body[-2:] for _, body in (replies(turn) if turn.reply else [])] == said


# ---------------------------------------------------------------- divided messages


def parts(sizes: tuple[int, ...] = (40, 30)) -> list[bytes]:
    cut, bodies = 0, []
    for size in (*sizes, len(BATCH)):
        bodies.append(BATCH[cut : cut + size])
        cut += size
    return [
        jt808(0x0704, body, serial=65535 + n & 0xFFFF, part=f"{n + 1}/{len(bodies)}")
        for n, body in enumerate(bodies)
    ]


def test_parts_are_answered_when_all_are_there_and_all_at_once() -> None:
    talk = Jt808Talk(desk())
    first, second, last = (one(talk, part) for part in parts())
    assert (first.reply, second.reply, first.kept.fixes) == (b"", b"", [])
    assert len(last.kept.fixes) == 3
    assert replies(last) == [(0x8001, "ffff070400"), (0x8001, "0000070400"), (0x8001, "0001070400")]


@pytest.mark.parametrize(("phone", "asked"), [(PHONE, "ffff010002"), (NEW, "ffff00010002")])
def test_a_part_that_lacks_is_asked_for(phone: str, asked: str) -> None:
    talk, made = Jt808Talk(desk()), parts()
    if phone == NEW:
        made = [jt808(0x0704, sound(part)[1], serial=sound(part)[0].serial, phone=NEW, part=f"{n + 1}/3")
                for n, part in enumerate(made)]  # fmt: skip
    one(talk, made[0])
    assert replies(one(talk, made[2])) == [(0x8003, asked)]
    assert len(one(talk, made[1]).kept.fixes) == 3


def test_a_terminal_that_waits_for_each_answer_gets_one_when_it_repeats_a_part() -> None:
    talk, made = Jt808Talk(desk()), parts()
    assert one(talk, made[0]).reply == b""
    assert replies(one(talk, made[0])) == [(0x8001, "ffff070400")]
    assert replies(one(talk, made[1])) == [(0x8001, "0000070400")]
    last = one(talk, made[2])
    assert (len(last.kept.fixes), replies(last)) == (3, [(0x8001, "0001070400")])


def test_parts_of_pictures_cost_nothing() -> None:
    talk = Jt808Talk(desk())
    for number in range(1, 200):
        turn = one(talk, jt808(0x0801, bytes(1000), serial=number, part=f"{number}/200"))
        assert replies(turn)[0][1].endswith("03")
    assert not vars(vars(talk)["_parts"])["_waiting"]
