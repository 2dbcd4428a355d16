"""Other projects' test frames against our decoders: the peer's expectation, and a second opinion from the layout.

Every case is run. Those that we answer otherwise are named in `EXCEPTIONS` with what happens instead and why; an
exception that has become true is a failure too, so the list cannot grow old.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge.decode import PROTOCOLS, DecodeError, Message, Position, nmea
from edge.decode.jt808_frame import unescape
from pipeline.wire import parse_rfc3339

KNOT = 1852 / 3600
EXACT = 1e-6
FILES = ("traccar_jt808", "traccar_gt06", "traccar_osmand", "traccar_owntracks")


@dataclass(frozen=True)
class Refused:
    """The sample itself is damaged: decoding must refuse it with this reason."""

    reason: str
    why: str


@dataclass(frozen=True)
class NotKept:
    """The message is decoded, its place is compared, but the attribute asked for is not among what is kept."""

    why: str


PERSONAL = NotKept("it names a person or a SIM card; only the device is kept")
FREE_TEXT = NotKept("free text or bytes passed through; not vehicle data")
ONE_MAKER = NotKept("one maker's extension whose layout is not published; its item is listed as unread")
ONE_MODEL = NotKept("the same bits mean something else in the standard; the peer asks for the model's name first")
CHANGED = Refused("checksum", "identity or content was edited after recording: the CRC does not fit the frame")

EXCEPTIONS: dict[str, Refused | NotKept] = {
    "traccar-jt808-007": PERSONAL,
    "traccar-jt808-100": PERSONAL,
    "traccar-jt808-017": FREE_TEXT,
    "traccar-jt808-068": FREE_TEXT,
    "traccar-jt808-044": ONE_MAKER,
    "traccar-jt808-049": ONE_MAKER,
    "traccar-jt808-073": ONE_MAKER,
    "traccar-jt808-102": ONE_MODEL,
    "traccar-jt808-103": ONE_MODEL,
    "traccar-jt808-104": ONE_MODEL,
    "traccar-jt808-087": Refused("length", "ten bytes of the body are missing, and so the check code is wrong too"),
    "traccar-jt808-111": Refused("length", "fifteen bytes of the body are missing"),
    "traccar-gt06-004": PERSONAL,
    "traccar-gt06-056": PERSONAL,
    "traccar-gt06-066": PERSONAL,
    "traccar-gt06-176": PERSONAL,
    "traccar-gt06-185": PERSONAL,
    "traccar-gt06-057": FREE_TEXT,
    "traccar-gt06-061": FREE_TEXT,
    "traccar-gt06-016": ONE_MAKER,
    "traccar-gt06-020": ONE_MAKER,
    "traccar-gt06-034": ONE_MAKER,
    "traccar-gt06-075": ONE_MAKER,
    "traccar-gt06-169": ONE_MAKER,
    "traccar-gt06-184": ONE_MAKER,
    "traccar-gt06-170": NotKept("alarm 0x19 is the internal battery in the maker's document, not an acceleration"),
    "traccar-gt06-036": CHANGED,
    "traccar-gt06-155": CHANGED,
    "traccar-gt06-165": CHANGED,
    "traccar-gt06-167": CHANGED,
    "traccar-gt06-168": CHANGED,
    "traccar-gt06-174": CHANGED,
    "smallchi-022": Refused("checksum", "the peer's parser is told to skip the check code of this one"),
}

NAMES = {
    "sat": "satellites",
    "power": "power_v",
    "battery": "battery_v",
    "batteryLevel": "battery_percent",
    "temp1": "temperature_c",
    "humidity": "humidity_percent",
    "fuel1": "fuel_percent",
    "timezone": "zone",
}
"""Attributes that we keep under another name, in the same unit; others have their own name."""

OTHERS = {
    "power": ("battery_v",),
    "event": ("lock_event", "alarm_code", "event"),
}
ALARMS = {"hardAcceleration": "hard_acceleration", "powerCut": "power_cut", "lowBattery": "low_battery"}


def cases(folder: Path, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / f"{name}.json").read_text())["cases"]
    return found


def raw(case: dict[str, Any]) -> bytes:
    given = case.get("input", case)
    if "frame_hex" in given:
        return bytes.fromhex(given["frame_hex"])
    return str(given.get("text") or given.get("body") or given["http_uri"]).encode()


def decoded(name: str, case: dict[str, Any]) -> list[Message]:
    decode = PROTOCOLS[name.rpartition("_")[2]].decode
    assert decode is not None
    return decode(raw(case))


def check(name: str, case: dict[str, Any]) -> list[str]:
    """What is wrong with our answer; empty if nothing is. DecodeError if we refuse."""
    messages = decoded(name, case)
    places = [place for message in messages for place in message.positions]
    wrong = [*second_opinion(case.get("spec_derived", {}), places)]
    expected = case["expected"]
    if expected["kind"] in ("position", "positions") and not places:
        wrong.append("no position")
    if expected["kind"] == "null" and places:
        wrong.append("a position where the peer has nothing")
    if "lat" in expected:
        near = expected["tolerance_deg"]
        (place,) = places
        assert place.lat == pytest.approx(expected["lat"], abs=near) and place.valid is expected["valid"]
        assert place.lon == pytest.approx(expected["lon"], abs=near)
        assert place.at == parse_rfc3339(expected["fix_time_utc"])
    if expected["kind"] == "attribute":
        wrong += attribute(expected["key"], expected["value"], messages)
    return wrong


def attribute(key: str, value: Any, messages: list[Message]) -> Iterator[str]:
    fields: dict[str, Any] = {}
    for message in messages:
        fields |= dict(message.fields)
        for place in reversed(message.positions):
            fields |= dict(place.fields)
    if key == "alarm":
        if ALARMS.get(value, value) not in fields.get("alarms", []):
            yield f"no alarm {value}"
    elif key == "lock2Battery":
        if fields["lock_battery_v"][1] != value:
            yield "second lock's battery"
    elif key == "result":
        if value != f"({messages[0].device},{fields.get('text')})":
            yield "the sentence is another"
    elif not any(same(fields.get(each), value) for each in (NAMES.get(key, key), *OTHERS.get(key, ()))):
        yield f"{key} is not {value}: {fields}"


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, bool | str) or ours is None:
        return bool(ours == theirs)
    return bool(ours == pytest.approx(theirs, abs=1e-3))


def second_opinion(spec: dict[str, Any], places: list[Position]) -> Iterator[str]:
    """Frames whose check code the second opinion calls wrong were not unescaped there: it says nothing of them."""
    if spec.get("checksum_ok") is False:
        return
    told = spec.get("locations") or ([spec["location"]] if "location" in spec else [])
    told = told or ([spec] if "lat" in spec else [])
    told = [row for row in told if abs(row["lat"]) <= 90]  # the layout read where a maker has put an identity
    if told and len(told) != len(places):
        yield f"{len(told)} positions in the frame, {len(places)} found"
    for row, place in zip(told, places, strict=False):
        yield from differences(row, place)


def differences(row: dict[str, Any], place: Position) -> Iterator[str]:
    if abs(row["lat"] - place.lat) > EXACT or abs(row["lon"] - place.lon) > EXACT:
        yield f"place {place.lat} {place.lon}, not {row['lat']} {row['lon']}"
    time = row.get("time_utc") or row.get("time_as_sent")
    if time and place.at != parse_rfc3339(time.replace(" ", "T").removesuffix("Z") + "Z"):
        yield f"time {place.at}, not {time}"
    speed = row["speed_knots"] * KNOT if "speed_knots" in row else row.get("speed_kmh", 0) / 3.6
    if ("speed_knots" in row or "speed_kmh" in row) and place.speed != pytest.approx(speed, abs=1e-3):
        yield f"speed {place.speed}, not {speed}"
    for key, ours in (("course_deg", place.course), ("alt_m", place.alt), ("fix_valid", place.valid)):
        if key in row and row[key] != ours:
            yield f"{key} {ours}, not {row[key]}"


def outcome(name: str, case: dict[str, Any]) -> str:
    """Empty if the case is answered as expected, or as its exception says it is answered instead."""
    exception = EXCEPTIONS.get(case["id"])
    try:
        wrong = check(name, case)
    except DecodeError as refused:
        if isinstance(exception, Refused) and refused.reason == exception.reason:
            return ""
        return f"{case['id']} refused: {refused}"
    if isinstance(exception, NotKept):
        if [*second_opinion(case.get("spec_derived", {}), places_of(name, case))]:
            return f"{case['id']}: the exception hides a wrong place: {wrong}"
        return "" if wrong else f"{case['id']} is answered now: take it off the list"
    return f"{case['id']}: {wrong}" if wrong or exception else ""


def places_of(name: str, case: dict[str, Any]) -> list[Position]:
    return [place for message in decoded(name, case) for place in message.positions]


@pytest.mark.parametrize("name", FILES)
def test_frames_of_traccar_give_what_it_asserts(name: str, data_dir: Path) -> None:
    found = cases(data_dir / "vehicles/conformance", name)
    assert len(found) > 3
    assert [words for case in found if (words := outcome(name, case))] == []


@pytest.mark.parametrize("name", FILES)
def test_every_place_of_traccar_is_found(name: str, data_dir: Path) -> None:
    """Exceptions may concern what is told beside a place; a place itself only where the frame is cut short."""
    for case in cases(data_dir / "vehicles/conformance", name):
        if case["expected"]["kind"] in ("position", "positions") and case["id"] != "traccar-jt808-087":
            assert places_of(name, case), case["id"]


def test_exceptions_name_cases_that_exist(data_dir: Path) -> None:
    folder = data_dir / "vehicles/conformance"
    known = {case["id"] for name in (*FILES, "smallchi_jt808") for case in cases(folder, name)}
    assert not EXCEPTIONS.keys() - known


# ---------------------------------------------------------------- JT/T 808 of others


def test_frames_of_yezhihao_give_its_fields(data_dir: Path) -> None:
    """Header of all; the location of those with one. Its samples have latitude and longitude changed about."""
    located = 0
    for case in cases(data_dir / "vehicles/conformance", "yezhihao_jt808"):
        (message,) = decoded("yezhihao_jt808", case)
        said = case["decoded"]
        assert message.device == said["clientId"], case["id"]
        assert (message.fields["message_id"], message.fields["serial"]) == (hex4(said), said["serialNo"])
        assert message.fields.get("version") == (said["protocolVersion"] or None)
        rows = said.get("items", []) if message.kind in ("positions", "media_list") else [said]
        rows = [row.get("location", row) for row in rows]
        for row, place in zip([row for row in rows if "latitude" in row], message.positions, strict=True):
            located += 1
            assert_location(row, place)
        for key, field, factor in (("1", "mileage_m", 100), ("2", "fuel_l", 0.1), ("48", "signal", 1)):
            if key in said.get("attributes", {}):
                assert message.positions[0].fields[field] == pytest.approx(said["attributes"][key] * factor)
    assert located == 22


def hex4(said: dict[str, Any]) -> str:
    return f"0x{said['messageId']:04x}"


def assert_location(row: dict[str, Any], place: Position) -> None:
    assert abs(place.lat) == pytest.approx(row["latitude"] / 1e6, abs=EXACT)
    assert abs(place.lon) == pytest.approx(row["longitude"] / 1e6, abs=EXACT)
    assert place.as_json()["valid"] is (bool(row["statusBit"] & 2) and abs(place.lat) <= 90)
    assert place.at == parse_rfc3339(row["deviceTime"] + "+08:00")
    assert place.speed == pytest.approx(row["speed"] / 36, abs=1e-6)
    assert place.course == (row["direction"] if row["direction"] <= 360 else None)
    assert (place.fields["alarm_bits"], place.fields["status_bits"]) == (row["warnBit"], row["statusBit"])


def test_frames_and_bodies_of_smallchi_give_its_fields(data_dir: Path) -> None:
    """Whole frames as they are; a location's body in a frame made here. Of other bodies only the header is read."""
    places = 0
    for case in cases(data_dir / "vehicles/conformance", "smallchi_jt808"):
        exception = EXCEPTIONS.get(case["id"])
        if isinstance(exception, Refused):
            with pytest.raises(DecodeError, match=exception.reason):
                decoded("smallchi_jt808", case)
        elif "frame_hex" in case or case["deserialize_type"] in BODIES:
            places += asserted(case)
    assert places == 14


BODIES = {"JT808_0x0200": 0x0200, "JT808_0x0802": 0x0802}


def asserted(case: dict[str, Any]) -> int:
    frame = raw(case) if "frame_hex" in case else framed(BODIES[case["deserialize_type"]], case["body_hex"])
    decode = PROTOCOLS["jt808"].decode
    assert decode is not None
    (message,) = decode(frame)
    for row in case["asserts"]:
        if "field" in row and row["expected"] is not None:
            compare(row["field"], row["expected"], message)
    return len(message.positions)


def framed(message: int, body_hex: str) -> bytes:
    body = bytes.fromhex(body_hex)
    content = message.to_bytes(2) + len(body).to_bytes(2) + bytes(6) + b"\0\1" + body
    code = 0
    for byte in content:
        code ^= byte
    plain = content + bytes([code])
    return b"\x7e" + plain.replace(b"\x7d", b"\x7d\x01").replace(b"\x7e", b"\x7d\x02") + b"\x7e"


def compare(field: str, value: Any, message: Message) -> None:
    """One assertion of the peer's: a header's field, or a location's; others concern what is not kept."""
    last = field.rpartition(".")[2]
    number = int(part[1].partition("]")[0]) if len(part := field.partition("s[")[::2]) > 1 and part[1] else 0
    place = message.positions[number if number < len(message.positions) else 0] if message.positions else None
    header = {"MsgId": "message_id", "MsgNum": "serial", "ReplyMsgNum": "reply_to"}
    if last in header and last in ("MsgId", "MsgNum") and ".Header." in field:
        said = message.fields[header[last]]
        assert said == (f"0x{value:04x}" if last == "MsgId" else value)
    elif last == "TerminalPhoneNo":
        assert (message.device or "").lstrip("0") == value.lstrip("0")
    elif place is not None and last in PLACE:
        assert PLACE[last](place) == pytest.approx(wanted(value)), field


def wanted(value: Any) -> Any:
    return parse_rfc3339(value["datetime_cst"].replace(" ", "T") + "+08:00") if isinstance(value, dict) else value


PLACE: dict[str, Any] = {
    "Lat": lambda place: round(place.lat * 1e6),
    "Lng": lambda place: round(place.lon * 1e6),
    "Speed": lambda place: place.speed * 36,
    "Direction": lambda place: place.course,
    "Altitude": lambda place: place.alt,
    "GPSTime": lambda place: place.at,
    "AlarmFlag": lambda place: place.fields["alarm_bits"],
    "StatusFlag": lambda place: place.fields["status_bits"],
    "Mileage": lambda place: place.fields["mileage_m"] / 100,
    "Oil": lambda place: place.fields["fuel_l"] * 10,
}


# ---------------------------------------------------------------- framing


def test_streams_of_traccar_are_cut_where_it_cuts_them(data_dir: Path) -> None:
    given = json.loads((data_dir / "vehicles/conformance/traccar_framing.json").read_text())
    for name, key in (("jt808", "jt808_unescape"), ("gt06", "gt06_frames")):
        for case in given[key]:
            make = PROTOCOLS[name].splitter
            assert make is not None
            (frame,) = make().feed(bytes.fromhex(case["stream_hex"]))
            if frame.startswith(b"\x7e"):
                frame = b"\x7e" + unescape(frame[1:-1]) + b"\x7e"
            assert frame.hex() == case["frame_hex"]


# ---------------------------------------------------------------- OwnTracks


def test_fields_of_the_owntracks_booklet_are_read_in_its_units(data_dir: Path) -> None:
    booklet = json.loads((data_dir / "vehicles/conformance/owntracks_fields.json").read_text())
    values = {"lat": 48.5, "lon": -9.25, "tst": 1_700_000_000, "acc": 7, "event": "enter", "desc": "x", "wtst": 1}
    decode = PROTOCOLS["owntracks"].decode
    assert decode is not None
    for kind, fields in booklet["types"].items():
        needed = {name: values[name] for name, about in fields.items() if about["required"]}
        (message,) = decode(json.dumps({"_type": kind, **needed}).encode())
        assert bool(message.positions) is (kind == "location")
    assert booklet["units"]["vel"] == "km/h"
    moving = {"_type": "location", "vel": 36, "cog": 270, "alt": -3} | {k: values[k] for k in ("lat", "lon", "tst")}
    (place,) = decode(json.dumps(moving).encode())[0].positions
    assert place.speed == pytest.approx(10)
    assert (place.course, place.alt) == (270, -3)


# ---------------------------------------------------------------- NMEA

LOCATED = 19
"""Of 20 logs; the others are of receivers that never had a fix."""

WEEKS_1024 = 1024 * 7 * 86_400 * 1_000_000


def test_recorded_receivers_are_decoded_to_the_places_that_gpsd_reports(data_dir: Path) -> None:
    """Times modulo 1024 weeks: gpsd moves old stamps into its own era."""
    folder = data_dir / "vehicles/nmea"
    names = [about["name"] for about in json.loads((folder / "index.json").read_text())]
    located = 0
    for name in names:
        log = (folder / f"{name}.log").read_bytes()
        if b"Delay-Cookie: |" in log:  # marks of the recording's player, not of the receiver
            log = log.replace(b"|", b"")
        found = {(place.at or 0) % WEEKS_1024 // 10_000: place for place in sentences(log)}
        near: dict[int, bool] = {}
        for report in map(json.loads, (folder / f"{name}.tpv.jsonl").read_text().splitlines()):
            if report.get("mode", 0) >= 2 and "lat" in report and "time" in report:
                at = parse_rfc3339(report["time"]) % WEEKS_1024 // 10_000
                there = abs(found[at].lat - report["lat"]) < 2e-6 and abs(found[at].lon - report["lon"]) < 2e-6
                near[at] = near.get(at, False) or there
        assert all(near.values()), name
        located += bool(near)
    assert located == LOCATED


def sentences(log: bytes) -> Iterator[Position]:
    session = PROTOCOLS["nmea"].session()
    assert isinstance(session, nmea.Session)
    for line in log.splitlines():
        with contextlib.suppress(DecodeError):
            yield from (place for message in session.decode(line) for place in message.positions)
    yield from (place for message in session.finish() for place in message.positions)
