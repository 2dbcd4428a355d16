"""GT06: check code, login, places with their flags, alarms, states, long frames, frames without a check code."""

import pytest

from edge.decode import DecodeError, Message, Position
from edge.decode.gt06 import Session, crc_itu, decode
from pipeline.message import SECOND
from pipeline.wire import parse_rfc3339
from tests.trackers import CELL, LOGIN, STATE, gt06, gt06_place


def one(frame: bytes) -> Message:
    (message,) = decode(frame)
    return message


def fix_of(frame: bytes) -> Position:
    (fix,) = one(frame).positions
    return fix


def refused(frame: bytes) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(frame)
    return caught.value.reason


def test_the_check_code_is_that_of_the_x25_catalogue() -> None:
    assert crc_itu(b"123456789") == 0x906E


def test_login_tells_the_imei_and_the_zone() -> None:
    assert one(LOGIN).as_json() == {
        "ok": True,
        "kind": "login",
        "device": "123456789012345",
        "type": "0x01",
        "serial": 1,
    }
    zoned = one(gt06(0x01, bytes.fromhex("0123456789012345") + b"\0\1" + (800 << 4).to_bytes(2)))
    assert zoned.fields["utc_offset_s"] == 8 * 3600
    west = one(gt06(0x01, bytes.fromhex("0123456789012345") + b"\0\1" + (330 << 4 | 8).to_bytes(2)))
    assert west.fields["utc_offset_s"] == -(3 * 60 + 30) * 60
    assert refused(gt06(0x01, bytes.fromhex("01234567890123ab"))) == "imei"


def test_a_place_in_our_units() -> None:
    message = one(gt06(0x12, gt06_place() + CELL))
    (fix,) = message.positions
    assert (message.kind, message.device) == ("position", None)
    assert [fix.lat, fix.lon] == pytest.approx([54.945347, 24.017622], abs=1e-6)
    assert fix.speed == pytest.approx(10.0)
    assert (fix.course, fix.valid) == (90.0, True)
    assert fix.at == parse_rfc3339("2015-10-20T14:21:11Z")
    assert fix.fields == {"satellites": 5, "cell": {"mcc": 460, "mnc": 0, "lac": 10365, "cell": 8049}}


@pytest.mark.parametrize(
    ("status", "south", "west", "valid", "ignition"),
    [
        (0x1400, False, False, True, None),
        (0x1000, True, False, True, None),
        (0x1C00, False, True, True, None),
        (0x0800, True, True, False, None),
        (0x5400, False, False, True, False),
        (0xD400, False, False, True, True),
    ],
)
def test_flags_of_the_course_word(status: int, south: bool, west: bool, valid: bool, ignition: bool | None) -> None:
    fix = fix_of(gt06(0x10, gt06_place(status=status)))
    assert ((fix.lat < 0), (fix.lon < 0), fix.valid) == (south, west, valid)
    assert fix.fields.get("ignition") is ignition


def test_the_course_has_ten_bits_and_over_360_is_none() -> None:
    assert fix_of(gt06(0x10, gt06_place(status=0x1400 | 359))).course == 359
    assert fix_of(gt06(0x10, gt06_place(status=0x17FF))).course is None


def test_a_time_that_does_not_exist_is_refused_and_a_clock_not_set_is_absent() -> None:
    assert refused(gt06(0x12, gt06_place(time="0f0d140e150b"))) == "date"
    assert fix_of(gt06(0x12, gt06_place(time="000000000000"))).at is None


@pytest.mark.parametrize("cells", [b"\x09" + CELL, b"\x08" + CELL, CELL])
def test_an_alarm_after_cells_of_either_length_or_none(cells: bytes) -> None:
    fields = fix_of(gt06(0x16, gt06_place() + cells + STATE)).fields
    assert fields["cell"]["mcc"] == 460
    assert (fields["alarm_code"], fields["alarms"]) == (3, ["vibration"])
    assert (fields["ignition"], fields["charging"], fields["battery_percent"], fields["signal"]) == (
        True,
        True,
        50,
        4,
    )


def test_an_alarm_of_the_terminals_state_counts_as_well() -> None:
    sos = bytes([4 << 3, 6, 3, 0x06, 1])
    assert fix_of(gt06(0x26, gt06_place() + b"\x09" + CELL + sos)).fields["alarms"] == ["sos", "overspeed"]


def test_a_place_stands_even_if_what_follows_it_is_cut_short() -> None:
    long_network = b"\x81\xcc" + CELL[2:]
    fix = fix_of(gt06(0x12, gt06_place() + long_network))
    assert (fix.valid, fix.fields["unread"]) == (True, ["0x12"])


def test_reported_later_and_why() -> None:
    fields = fix_of(gt06(0x22, gt06_place() + CELL + bytes([1, 5, 1]))).fields
    assert (fields["ignition"], fields["event"], fields["stored"]) == (True, 5, True)


def test_a_number_before_the_time_is_the_device() -> None:
    imei = bytes.fromhex("0866703066502297")
    assert one(gt06(0x12, imei + gt06_place())).device == "866703066502297"
    twice = one(gt06(0x25, b"\1" + imei + bytes.fromhex("0f0a140e1500") + gt06_place()))
    assert (twice.device, twice.positions[0].at) == ("866703066502297", parse_rfc3339("2015-10-20T14:21:11Z"))


def test_states() -> None:
    beat = one(gt06(0x13, STATE))
    assert (beat.kind, beat.positions, beat.fields["battery_percent"]) == ("heartbeat", (), 50)
    modular = one(gt06(0x36, STATE + bytes.fromhex("0018020192006a015f")))
    assert (modular.fields["battery_v"], modular.fields["battery_percent"]) == (4.02, 95)
    assert one(gt06(0x13, b"")).kind == "heartbeat"
    placed = one(gt06(0x36, gt06_place() + CELL))
    assert placed.kind == "position"


@pytest.mark.parametrize(
    ("kind", "content", "name"),
    [
        (0x8A, b"", "time_request"),
        (0x28, bytes(40), "network"),
        (0x80, b"\4abcd", "command"),
        (0x7F, b"?", "other"),
    ],
)
def test_other_types_are_named(kind: int, content: bytes, name: str) -> None:
    assert one(gt06(kind, content)).kind == name


def test_long_frames() -> None:
    module = bytes.fromhex("0033001 25d7e3a180600d504b598f708814b3a001500".replace(" ", ""))
    fix = fix_of(gt06(0x70, b"\0\1\0\1x" + module, long=True))
    assert (fix.at, fix.alt) == (0x5D7E3A18 * SECOND, 213.0)
    assert fix.lat == pytest.approx(43.894466, abs=1e-6)
    text = b"Current position!Lat:N54.5,Lon:W25.25,Course:126.53,Speed:3.6,DateTime:2017-05-26  10:27:47"
    fix = fix_of(gt06(0x21, bytes(4) + b"\1" + text, long=True))
    assert (fix.lat, fix.lon, fix.course) == (54.5, -25.25, 126.53)
    assert fix.speed == pytest.approx(1.0)
    wide = fix_of(gt06(0x21, bytes(4) + b"\2" + text.decode().encode("utf-16-be"), long=True))
    assert wide == fix
    assert one(gt06(0x32, bytes.fromhex("0f0a140e150b00"), long=True)).kind == "network"


def test_a_camera_counts_its_alarms_its_own_way() -> None:
    event = one(gt06(0x95, bytes.fromhex("0f0a140e150b91")))
    assert (event.kind, event.fields["alarms"]) == ("event", ["hard_braking"])
    place = gt06_place()
    fix = fix_of(gt06(0x95, place[:6] + place[7:15] + place[16:] + b"\x01name.mp4"))
    assert (fix.fields["alarms"], fix.speed, fix.course) == (["sos"], None, 90.0)


def test_every_changed_bit_is_noticed() -> None:
    frame = gt06(0x12, gt06_place() + CELL)
    for place in range(len(frame)):
        for bit in range(8):
            changed = bytearray(frame)
            changed[place] ^= 1 << bit
            assert refused(bytes(changed)) in ("checksum", "length", "framing")


def test_with_a_wrong_check_code_comes_what_would_have_been_said() -> None:
    frame = bytearray(gt06(0x12, gt06_place() + CELL))
    frame[-3] ^= 1
    with pytest.raises(DecodeError) as caught:
        decode(bytes(frame))
    assert caught.value.reason == "checksum"
    assert caught.value.unverified[0].positions[0].lat == pytest.approx(54.945347, abs=1e-6)


def test_frames_without_serial_number_and_check_code() -> None:
    fix = fix_of(b"\x78\x78\x12\x10" + gt06_place() + b"\r\n")
    assert fix.lat == pytest.approx(54.945347, abs=1e-6)
    assert fix.course == 90.0
    assert one(bytes.fromhex("787801080d0a")).kind == "heartbeat"
    assert one(bytes.fromhex("78780d01035631404141985 83c0d0a".replace(" ", ""))).device == "356314041419858"
    assert refused(b"\x78\x78\x12\x22" + gt06_place() + b"\r\n") == "length"


def test_a_length_counted_otherwise_is_believed_if_the_check_code_fits() -> None:
    assert one(bytes.fromhex("787808134606020002044dc5050d0a")).kind == "heartbeat"


def test_reasons_of_refusal() -> None:
    assert refused(b"") == "empty"
    assert refused(LOGIN[:-1]) == "framing"
    assert refused(LOGIN[:9] + b"\r\n") == "length"
    assert refused(gt06(0x34, bytes(12))) == "short"
    assert refused(b"\x78\x78" + bytes(70_000) + b"\r\n") == "framing"


def test_a_connection_keeps_the_device_of_its_login() -> None:
    session = Session()
    assert session.decode(gt06(0x12, gt06_place()))[0].device is None
    session.decode(LOGIN)
    assert session.decode(gt06(0x12, gt06_place()))[0].device == "123456789012345"


@pytest.mark.parametrize(
    ("code", "name"), [(0x0D, "first_fix"), (0x15, "power_off"), (0x18, "removing"), (0x32, "removing")]
)
def test_alarms_of_newer_documents(code: int, name: str) -> None:
    state = bytes([0x40, 4, 4, code, 2])
    (place,) = one(gt06(0x26, gt06_place() + b"\x09" + bytes.fromhex("01cc00287d001f71") + state)).positions
    assert place.fields["alarms"] == [name]


def test_the_voltage_of_the_vehicle() -> None:
    message = one(gt06(0x94, bytes.fromhex("00049f"), long=True))
    assert (message.kind, message.fields["power_v"]) == ("information", 11.83)
    assert "power_v" not in one(gt06(0x94, bytes.fromhex("0a049f"), long=True)).fields
    assert one(gt06(0x94, b"", long=True)).kind == "information"
