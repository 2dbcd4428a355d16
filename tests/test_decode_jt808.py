"""JT/T 808: header of both versions, escapes, check code, locations with items, batches, divided messages."""

import pytest

from edge.decode import DecodeError, Message
from edge.decode.jt808 import Session, decode
from edge.decode.jt808_frame import imei, unescape
from edge.decode.jt808_parts import PENDING
from pipeline.wire import parse_rfc3339
from tests.trackers import ITEMS, escaped, jt808, place


def one(frame: bytes) -> Message:
    (message,) = decode(frame)
    return message


def refused(frame: bytes) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(frame)
    return caught.value.reason


def test_a_location_in_our_units() -> None:
    message = one(jt808(0x0200, place(), serial=7))
    (fix,) = message.positions
    assert (message.kind, message.device) == ("position", "013512345678")
    assert (fix.lat, fix.lon, fix.alt, fix.course, fix.valid) == (31.0, 121.5, 40.0, 90.0, True)
    assert fix.speed == pytest.approx(10.0)
    assert fix.at == parse_rfc3339("2020-07-07T19:23:59+08:00")
    assert message.fields == {"message_id": "0x0200", "serial": 7}


def test_the_version_of_2019_has_ten_bytes_of_phone_number() -> None:
    message = one(jt808(0x0200, place(), phone="00000000013512345678"))
    assert message.device == "00000000013512345678"
    assert message.fields["version"] == 1
    assert message.positions[0].lat == 31.0


def test_south_and_west_are_bits_of_the_status_or_twos_complement() -> None:
    (fix,) = one(jt808(0x0200, place(status=2 | 4 | 8))).positions
    assert (fix.lat, fix.lon) == (-31.0, -121.5)
    (fix,) = one(jt808(0x0200, place(lat=2**32 - 31_000_000, status=2))).positions
    assert (fix.lat, fix.lon) == (-31.0, 121.5)


def test_a_receiver_without_a_fix_or_outside_the_earth_is_not_valid() -> None:
    assert one(jt808(0x0200, place(status=1))).positions[0].valid is False
    row = one(jt808(0x0200, place(lat=116_307_629))).positions[0].as_json()
    assert (row["lat"], row["valid"]) == (116.307629, False)


@pytest.mark.parametrize("time", ["000000000000", "201307192359", "20070719235a", "200230120000"])
def test_a_time_that_does_not_exist_is_absent_and_the_place_kept(time: str) -> None:
    (fix,) = one(jt808(0x0200, place(time=time))).positions
    assert fix.at is None
    assert fix.as_json()["at"] is None


def test_items_of_the_standard_and_of_makers() -> None:
    fields = one(jt808(0x0200, place(items=ITEMS))).positions[0].fields
    expected = {"mileage_m": 10_000, "fuel_l": 5.5, "signal": 21, "satellites": 9, "battery_percent": 99}
    assert {name: fields[name] for name in expected} == expected
    assert fields["recorder_speed"] == pytest.approx(10.0, abs=1e-3)


def test_alarms_are_named_and_their_bits_kept() -> None:
    body = (1 << 0 | 1 << 29).to_bytes(4) + place(items="eb0800060089ffffefff")[4:]
    fields = one(jt808(0x0200, body)).positions[0].fields
    assert fields["alarms"] == ["sos", "collision", "removing"]
    assert fields["alarm_bits"] == 1 | 1 << 29


def test_unknown_items_are_named_and_not_kept_and_a_broken_one_ends_them() -> None:
    fields = one(jt808(0x0200, place(items="cc03313233" + "310109" + "30ff11"))).positions[0].fields
    assert fields["unread"] == ["0xcc"]
    assert fields["satellites"] == 9
    assert fields["damaged_items"] is True
    assert "313233" not in repr(fields)


def test_a_batch_gives_all_its_places_in_order() -> None:
    bodies = [place(lat=n * 1_000_000, items="310105") for n in (1, 2, 3)]
    message = one(jt808(0x0704, b"\0\3\1" + b"".join(len(b).to_bytes(2) + b for b in bodies)))
    assert [fix.lat for fix in message.positions] == [1, 2, 3]
    row = message.as_json()
    assert (row["kind"], row["batch"], row["position"]["lat"]) == ("positions", "backfill", 1.0)
    assert [each["satellites"] for each in row["positions"]] == [5, 5, 5]


def test_a_batch_that_miscounts_loses_nothing_and_one_cut_short_is_refused() -> None:
    miscounted = one(jt808(0x0704, b"\xff\xff\0\0\x1c" + place()))
    assert (len(miscounted.positions), miscounted.fields["count_said"]) == (1, 65535)
    assert refused(jt808(0x0704, b"\0\1\0\0\x1d" + place())) == "short"


def test_media_of_2011_and_later() -> None:
    head = bytes.fromhex("0000007b01020102")
    later = one(jt808(0x0801, head + place() + b"picture"))
    assert (later.kind, later.fields["media_id"], later.positions[0].lat) == ("media", 123, 31.0)
    assert one(jt808(0x0801, head + b"\xff\xd8" + bytes(range(200)))).positions == ()
    for ids in (b"\0\0\0\1", b""):
        listed = one(jt808(0x0802, b"\0\1\0\2" + 2 * (ids + b"\0\1\1" + place())))
        assert [fix.lon for fix in listed.positions] == [121.5, 121.5]


@pytest.mark.parametrize("message", [0x0201, 0x0500])
def test_answers_tell_what_they_answer(message: int) -> None:
    answer = one(jt808(message, b"\x01\x02" + place()))
    assert answer.fields["reply_to"] == 258
    assert answer.positions[0].lat == 31.0


def test_a_registration_keeps_no_plate() -> None:
    body = bytes.fromhex("002c012f") + b"70111" + b"BSJ-A6-BD".ljust(20, b"\0") + b"0567872" + b"\1"
    message = one(jt808(0x0100, body + "粤B88888".encode("gbk")))
    assert (message.kind, message.fields["province"], message.fields["maker"]) == ("registration", 44, "70111")
    assert "88888" not in repr(message)


@pytest.mark.parametrize(
    ("message", "body", "kind"),
    [
        (0x0002, b"", "heartbeat"),
        (0x0102, b"secret", "authentication"),
        (0x0003, b"", "logout"),
        (0x0001, b"\0\1\x82\0\0", "reply"),
        (0x0702, b"a driver's name", "driver"),
        (0x8103, b"\1", "command"),
        (0x0F0F, b"?", "other"),
    ],
)
def test_other_messages_are_named_and_their_texts_not_kept(message: int, body: bytes, kind: str) -> None:
    said = one(jt808(message, body))
    assert (said.kind, said.positions) == (kind, ())
    assert "secret" not in repr(said) and "driver's" not in repr(said)


def test_escapes_are_undone_and_wrong_ones_refused() -> None:
    assert unescape(bytes.fromhex("307d02087d0155")) == bytes.fromhex("307e087d55")
    assert one(jt808(0x0200, place(lat=0x007E7D7D))).positions[0].lat == pytest.approx(0x007E7D7D / 1e6)
    assert refused(b"\x7e\x02\x00\x7d\x05\x7e") == "escape"


def test_a_frame_recorded_after_unescaping_is_read_too() -> None:
    frame = jt808(0x0200, place(lat=0x007D7E01))
    plain = b"\x7e" + unescape(frame[1:-1]) + b"\x7e"
    assert one(plain).positions == one(frame).positions
    assert plain != frame


def test_every_changed_bit_is_noticed() -> None:
    frame = jt808(0x0200, place(items=ITEMS))
    for place_ in range(1, len(frame) - 1):
        for bit in range(8):
            changed = bytearray(frame)
            changed[place_] ^= 1 << bit
            assert refused(bytes(changed)) in ("checksum", "length", "escape", "encrypted", "short")


def test_with_a_wrong_check_code_comes_what_would_have_been_said() -> None:
    frame = bytearray(jt808(0x0200, place()))
    frame[-2] ^= 1
    with pytest.raises(DecodeError, match="checksum") as caught:
        decode(bytes(frame))
    assert caught.value.unverified[0].positions[0].lat == 31.0


def test_another_delimiter_has_other_escapes_and_a_longer_number() -> None:
    body = place(lat=0x00E6E73E)
    content = b"\x02\x00" + len(body).to_bytes(2) + bytes.fromhex("00013512345678") + b"\0\1" + body
    plain = unescape(escaped(content)[1:-1])
    escapes = {0xE6: b"\xe6\x01", 0xE7: b"\xe6\x02", 0x3E: b"\x3e\x01", 0x3D: b"\x3e\x02"}
    frame = b"\xe7" + b"".join(escapes.get(byte, bytes([byte])) for byte in plain) + b"\xe7"
    message = one(frame)
    assert (message.device, message.positions[0].lat) == ("00013512345678", 0x00E6E73E / 1e6)
    assert refused(frame[:-1] + b"\x7e") == "framing"


def test_reasons_of_refusal() -> None:
    good = jt808(0x0002, b"")
    assert refused(b"") == "empty"
    assert refused(good[1:]) == "framing"
    assert refused(b"\x7e\x7e") == "short"
    assert refused(escaped(bytes.fromhex("0002000a0135123456780001"))) == "length"
    assert refused(escaped(bytes.fromhex("000204000135123456780001"))) == "encrypted"
    assert refused(jt808(0x0200, bytes(27))) == "short"
    assert refused(b"(123") == "framing"
    assert refused(bytes(70_000)) == "length"


def test_six_bytes_that_are_no_digits_hold_an_imei() -> None:
    assert imei("4eb6fb4ad628") == "865478070001047"
    assert imei("013512345678") is None
    assert one(jt808(0x0002, b"", phone="4eb6fb4ad628")).fields["imei"] == "865478070001047"


# ---------------------------------------------------------------- divided messages


def divided(pieces: list[bytes], *, serial: int = 65535) -> list[bytes]:
    count = len(pieces)
    return [
        jt808(0x0704, piece, serial=(serial + n) % 65536, part=f"{n + 1}/{count}") for n, piece in enumerate(pieces)
    ]


def test_parts_in_any_order_make_the_whole() -> None:
    body = b"\0\3\0" + 3 * (b"\0\x1c" + place())
    parts = divided([body[:40], body[40:41], body[41:]])
    session = Session()
    kinds = [session.decode(part)[0].kind for part in (parts[2], parts[0], parts[2], parts[1])]
    assert kinds == ["part", "part", "part", "positions"]
    assert one(parts[0]).fields["total"] == 3


def test_parts_wait_in_bounded_number_and_of_bounded_count() -> None:
    session = Session()
    for serial in range(0, 1000, 10):
        session.decode(divided([place(), place()], serial=serial)[0])
    assert len(vars(vars(session)["_parts"])["_waiting"]) == PENDING
    for part in ("0/3", "4/3", "1/60000"):
        with pytest.raises(DecodeError, match="parts"):
            session.decode(jt808(0x0704, b"x", part=part))


def test_a_divided_message_over_the_limit_is_refused() -> None:
    session = Session()
    parts = divided([bytes(1000)] * 80)
    assert {session.decode(part)[0].kind for part in parts[:65]} == {"part"}
    with pytest.raises(DecodeError, match="length"):
        session.decode(parts[65])
    assert not vars(vars(session)["_parts"])["_waiting"]
