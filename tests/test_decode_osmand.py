"""OsmAnd and Traccar Client: queries, forms and JSON bodies."""

import json

import pytest

from edge.decode import DecodeError, Message, Position
from edge.decode.osmand import decode
from pipeline.wire import parse_rfc3339

KNOT = 1852 / 3600
AT = parse_rfc3339("2017-09-07T05:56:50Z")


def one(text: str) -> Message:
    (message,) = decode(text.encode())
    return message


def fix_of(text: str) -> Position:
    (fix,) = one(text).positions
    return fix


def refused(raw: bytes) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(raw)
    return caught.value.reason


@pytest.mark.parametrize(
    "text",
    [
        "/?id=7&timestamp=1504763810&lat=40.5&lon=-74.25&speed=40&bearing=7.5&altitude=3&accuracy=5",
        "id=7&timestamp=1504763810000&location=40.5,-74.25&speed=40&heading=7.5&altitude=3&accuracy=5",
        "GET /?deviceid=7&timestamp=2017-09-07T05:56:50Z&lat=40.5&lon=-74.25&speed=40&bearing=367.5&altitude=3"
        "&accuracy=5 HTTP/1.1",
        "https://h:5055/?id=7&timestamp=2017-09-07+05%3A56%3A50&lat=40.5&lon=-74.25&speed=40&bearing=7.5&altitude=3"
        "&accuracy=5",
    ],
)
def test_the_same_report_in_its_forms(text: str) -> None:
    message = one(text)
    (fix,) = message.positions
    assert (message.kind, message.device) == ("position", "7")
    assert fix.at == AT
    assert (fix.lat, fix.lon, fix.course, fix.alt, fix.accuracy) == (40.5, -74.25, 7.5, 3.0, 5.0)
    assert fix.speed == pytest.approx(40 * KNOT)


def test_without_a_time_the_arrival_is_meant() -> None:
    fix = fix_of("/?id=7&lat=1&lon=2")
    assert (fix.at, fix.speed, fix.course, fix.valid) == (None, None, None, True)
    assert fix_of("/?id=7&lat=1&lon=2&valid=false").valid is False


def test_a_report_without_a_place_is_a_status_and_says_nothing_of_stations() -> None:
    message = one("/?id=7&timestamp=1504763810&wifi=00-14-22-01-23-45,-80&batt=20&ignition=true&driverUniqueId=X9")
    row = message.as_json()
    assert (row["kind"], row["at"], row["battery_percent"], row["ignition"]) == (
        "status",
        "2017-09-07T05:56:50Z",
        20.0,
        True,
    )
    assert "00-14" not in json.dumps(row) and "X9" not in json.dumps(row)


def test_not_a_number_is_how_phones_say_not_known() -> None:
    assert fix_of("/?id=7&lat=1&lon=2&altitude=NaN&bearing=-1").course is None


def body(**location: object) -> str:
    coords = {"latitude": 40.5, "longitude": -74.25, "speed": 10, "heading": 270, "altitude": 3, "accuracy": 5}
    return json.dumps({"device_id": "7", "location": {"coords": coords} | location})


def test_json_of_traccar_client_is_in_metres_per_second() -> None:
    text = body(timestamp="2017-09-07T05:56:50.000Z", battery={"level": 0.42}, odometer=1.5, is_moving=True)
    fix = fix_of(text)
    assert (fix.at, fix.lat, fix.lon) == (AT, 40.5, -74.25)
    assert (fix.speed, fix.course, fix.alt, fix.accuracy) == (10.0, 270.0, 3.0, 5.0)
    assert fix.fields == {"motion": True, "mileage_m": 1.5, "battery_percent": 42}
    unknown = fix_of(body(coords={"latitude": 1, "longitude": 2, "speed": -1, "heading": -1}, timestamp=1504763810))
    assert (unknown.speed, unknown.course, unknown.at) == (None, None, AT)


def test_several_locations_in_one_body() -> None:
    location = json.loads(body(timestamp=1504763810))["location"]
    message = one(json.dumps({"device_id": "7", "location": [location, location]}))
    assert (message.kind, len(message.positions)) == ("positions", 2)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"  ", "empty"),
        (b"\xff\xfe", "text"),
        (b"/?lat=1&lon=2", "device"),
        (b"/?id=7&lat=1", "coordinates"),
        (b"/?id=7&lat=north&lon=2", "coordinates"),
        (b"/?id=7&lat=nan&lon=2", "coordinates"),
        (b"/?id=7&lat=1&lon=2&speed=fast", "number"),
        (b"/?id=7&lat=1&lon=2&timestamp=yesterday", "time"),
        (b"/?id=7&lat=1&lon=2&timestamp=1e30", "time"),
        (b"a=1&" * 300, "text"),
        (b'{"device_id": "7"', "json"),
        (b"{" * 20_000, "json"),
        (b'{"a":' + b"[" * 50_000, "json"),
        (b'{"location": {}}', "device"),
        (b'{"device_id": "7", "location": 4}', "coordinates"),
        (b'{"device_id": "7", "location": []}', "coordinates"),
        (b'{"device_id": "7", "location": {"coords": {"latitude": true, "longitude": 2}}}', "coordinates"),
        (b"x" * 70_000, "length"),
    ],
)
def test_reasons_of_refusal(raw: bytes, reason: str) -> None:
    assert refused(raw) == reason
