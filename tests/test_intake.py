"""The bridge's pure half: what is accepted, what is refused, what is promised."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from pipeline import wire
from pipeline.intake import Flush, Intake
from pipeline.message import Fix, Fixes, Frame, Gap, Receipt, Source, Status

NOW = 1_480_000_000_000_000


def intake(partitions: int = 2, batch_rows: int = 4) -> Intake:
    return Intake(partitions=partitions, batch_rows=batch_rows, max_payload=4096)


def envelope(seq: int, *fixes: Fix, base: int = 1, device: str = "gps-1", until: int | None = None) -> bytes:
    return wire.encode_envelope(device, 7, seq, base, wire.encode_body(Fixes(list(fixes), until)))


def fix(unit: str = "bus-1", at: int = NOW) -> Fix:
    return Fix(unit=unit, at=at, lat=30.2, lon=-97.7, speed=3.0)


def send(box: Intake, *payloads: bytes, topic: str = "vedette/v1/gps-1/position") -> Flush:
    for payload in payloads:
        box.take(topic, payload, NOW)
    return box.flush(NOW)


def rows(flush: Flush) -> list[tuple[str, int]]:
    """(unit, seq) of every position row, in the order of the log."""
    batches = [wire.decode_positions(r.value) for r in flush.records if r.topic == wire.POSITIONS]
    return [(b.units[u], s) for b in batches for u, s in zip(b.unit.tolist(), b.seq.tolist(), strict=True)]


def refusals(flush: Flush) -> list[str]:
    return [wire.unpack_refusal(r.value).reason for r in flush.records if r.topic == wire.QUARANTINE]


def test_accepted_in_order_and_promised_up_to_the_last() -> None:
    flush = send(intake(), envelope(1, fix()), envelope(2, fix(at=NOW + 1)))
    assert rows(flush) == [("bus-1", 1), ("bus-1", 2)]
    assert flush.receipts == {Source("gps-1", 7): Receipt(7, 2)}


def test_nothing_beyond_a_hole_is_accepted_and_one_request_goes_out() -> None:
    box = intake()
    send(box, envelope(1, fix()))
    flush = send(box, envelope(3, fix()), envelope(4, fix()))
    assert rows(flush) == []
    assert flush.receipts == {Source("gps-1", 7): Receipt(7, 1, resend=True)}
    assert send(box, envelope(5, fix())).receipts == {}
    assert rows(send(box, envelope(2, fix()), envelope(3, fix()))) == [("bus-1", 2), ("bus-1", 3)]


def test_a_bridge_without_memory_starts_at_the_device_s_base() -> None:
    assert rows(send(intake(), envelope(41, fix(), base=41))) == [("bus-1", 41)]
    assert send(intake(), envelope(43, fix(), base=41)).receipts == {
        Source("gps-1", 7): Receipt(7, 40, resend=True)
    }


def test_a_duplicate_repeats_the_promise_and_adds_no_row() -> None:
    box = intake()
    send(box, envelope(1, fix()), envelope(2, fix()))
    flush = send(box, envelope(1, fix()))
    assert rows(flush) == []
    assert flush.receipts == {Source("gps-1", 7): Receipt(7, 2)}


def test_an_undecodable_body_is_quarantined_and_the_stream_goes_on() -> None:
    bad = wire.encode_envelope("gps-1", 7, 1, 1, b'{"fixes":[{"unit":"bus-1","at":"noon"}]}')
    flush = send(intake(), bad, envelope(2, fix()))
    assert refusals(flush) == ["undecodable"]
    assert rows(flush) == [("bus-1", 2)]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "undecodable"),
        (b"{", "undecodable"),
        (b"\xff\xfe", "undecodable"),
        (b'{"device":"gps-1"}', "undecodable"),
        (b"[" * 3000, "undecodable"),
        (b"x" * 4097, "too_large"),
        (b"{" * 4097, "too_large"),
        (envelope(1, fix(), device="gps-2"), "device_mismatch"),
        (envelope(1, fix(), base=2), "numbering"),
        (envelope(0, fix(), base=0), "numbering"),
    ],
)
def test_bad_payloads_are_quarantined_with_their_bytes(payload: bytes, reason: str) -> None:
    flush = send(intake(), payload)
    kept = [wire.unpack_refusal(r.value) for r in flush.records if r.topic == wire.QUARANTINE]
    assert [(k.reason, k.raw, k.device) for k in kept] == [(reason, payload, "gps-1")]
    assert flush.receipts == {}


@pytest.mark.parametrize(
    "topic", ["vedette/v1/a b/position", "vedette/v1/gps-1/plate", "vedette/v1/gps.1/frame", "x", ""]
)
def test_a_foreign_topic_is_quarantined(topic: str) -> None:
    assert refusals(send(intake(), envelope(1, fix()), topic=topic)) == ["topic"]


def test_a_bad_unit_name_costs_only_its_fix() -> None:
    flush = send(intake(), envelope(1, fix("bus/1"), fix("bus-2")))
    assert rows(flush) == [("bus-2", 1)]
    assert refusals(flush) == ["unit_name"]


def test_rows_of_a_message_for_a_partition_stay_in_one_record() -> None:
    flush = send(intake(partitions=1), envelope(1, *[fix()] * 3), envelope(2, *[fix()] * 3), envelope(3, fix()))
    sizes = [len(wire.decode_positions(r.value)) for r in flush.records if r.topic == wire.POSITIONS]
    assert sizes == [6, 1, 0]


def test_until_becomes_a_tick_in_every_partition() -> None:
    flush = send(intake(), envelope(1, fix(), until=NOW + 5))
    ticks = [wire.decode_positions(r.value).ticks for r in flush.records if r.topic == wire.POSITIONS]
    assert ticks == [(("gps-1", NOW + 5),)] * 2 + [(("", NOW),)] * 2


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (msgspec.json.encode({**msgspec.json.decode(envelope(1, fix())), "v": 9}), "version"),
        (envelope(1, *[fix()] * 200), "too_large"),
        (wire.encode_envelope("gps-1", 7, 1, 1, wire.encode_body(Fixes([fix()] * 5001))), "too_many"),
    ],
)
def test_a_numbered_message_that_is_refused_does_not_block_its_stream(payload: bytes, reason: str) -> None:
    box = intake() if reason != "too_many" else Intake(partitions=2, batch_rows=4, max_payload=2**21)
    flush = send(box, payload, envelope(2, fix()))
    assert refusals(flush) == [reason]
    assert rows(flush) == [("bus-1", 2)]
    assert flush.receipts == {Source("gps-1", 7): Receipt(7, 2)}


def test_what_a_database_would_stumble_over_is_replaced() -> None:
    body = wire.encode_body(Status(state="x\0y", detail="\x1b[2J"))
    status = wire.encode_envelope("gps-1", 7, 0, 1, body)
    bad = wire.encode_envelope("gps-1", 7, 1, 1, b'{"a\\u0000b":1}')
    box = intake()
    box.take("vedette/v1/gps-1/position", bad, NOW)
    flush = send(box, status, topic="vedette/v1/gps-1/status")
    report = wire.unpack_devices(next(r.value for r in flush.records if r.topic == wire.DEVICES)).reports[0]
    assert report.status is not None
    kept = wire.unpack_refusal(next(r.value for r in flush.records if r.topic == wire.QUARANTINE))
    assert (report.status.state + report.status.detail + kept.detail).isprintable()


@pytest.mark.parametrize("field", ["at", "waiting", "oldest", "dropped"])
def test_a_status_with_a_number_that_no_codec_takes_is_refused(field: str) -> None:
    body = b'{"state":"ok","%s":1%s}' % (field.encode(), b"0" * 30)
    flush = send(intake(), wire.encode_envelope("gps-1", 0, 0, 0, body), topic="vedette/v1/gps-1/status")
    assert refusals(flush) == ["undecodable"]


def test_the_fattest_signs_of_life_fit_their_records() -> None:
    box = Intake(partitions=2, batch_rows=4, max_payload=2**21)
    status = wire.encode_body(Status("\U0001f600" * 9000, detail="\U0001f600" * 9000, version="\U0001f600" * 9000))
    for n in range(450):
        box.take(f"vedette/v1/cam-{n}/status", wire.encode_envelope(f"cam-{n}", 0, 0, 0, status), NOW)
    assert all(len(record.value) < wire.MAX_RECORD for record in box.flush(NOW).records)


def test_a_unit_that_cannot_be_enrolled_leaves_no_place_behind() -> None:
    flush = send(intake(), envelope(1, fix("Ivan Petrov")))
    kept = wire.unpack_refusal(next(r.value for r in flush.records if r.topic == wire.QUARANTINE))
    assert (kept.raw, "30.2" in kept.detail) == (b"", False)


def test_a_bridge_without_a_broker_gives_no_tick() -> None:
    box = intake()
    assert box.flush(NOW, listening=False).records == []
    assert [(r.topic, r.partition) for r in box.flush(NOW).records] == [
        ("devices", 0),
        ("readings", 0),
        ("readings", 1),
        ("positions", 0),
        ("positions", 1),
    ]
    later = [box.flush(NOW + n * 1_000_000).records for n in range(1, 12)]
    assert [n for n, records in enumerate(later, 1) if any(r.topic == "readings" for r in records)] == [10]


def test_a_promise_about_the_future_is_no_tick() -> None:
    flush = send(intake(partitions=1), envelope(1, fix(), until=NOW + 301_000_000))
    assert wire.decode_positions(flush.records[0].value).ticks == ()


def test_absent_values_are_nan() -> None:
    flush = send(intake(partitions=1), envelope(1, Fix(unit="a", at=NOW, lat=1.0, lon=2.0)))
    batch = wire.decode_positions(flush.records[0].value)
    assert np.isnan([batch.speed[0], batch.course[0], batch.alt[0], batch.accuracy[0]]).all()


def test_a_frame_travels_as_it_came() -> None:
    body = wire.encode_body(Frame(at=NOW, image=b"\xff\xd8jpeg"), binary=True)
    flush = send(intake(), wire.encode_envelope("cam-1", 7, 1, 1, body), topic="vedette/v1/cam-1/frame")
    record = wire.unpack_frame(next(r.value for r in flush.records if r.topic == wire.FRAMES))
    assert (record.device, record.frame.image, record.received) == ("cam-1", b"\xff\xd8jpeg", NOW)


def test_status_needs_no_number_and_is_reported_with_the_tick() -> None:
    status = wire.encode_envelope("gps-1", 7, 0, 1, wire.encode_body(Status(state="online", waiting=3)))
    flush = send(intake(), status, topic="vedette/v1/gps-1/status")
    report = wire.unpack_devices(next(r.value for r in flush.records if r.topic == wire.DEVICES))
    assert report.now == NOW
    assert [(d.device, d.messages, d.status.waiting) for d in report.reports if d.status] == [("gps-1", 1, 3)]
    assert flush.receipts == {}


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        (
            Gap("frame", 12, NOW, NOW + 60_000_000),
            "12 messages of kind frame kept between 2016-11-24T15:06:40Z and ",
        ),
        (Gap("spool", 1, NOW, NOW), "the device's spool was damaged between 2016-11-24T15:06:40Z"),
    ],
)
def test_what_a_device_had_to_give_up_is_recorded_and_its_number_taken(gap: Gap, words: str) -> None:
    payload = wire.encode_envelope("gps-1", 7, 1, 1, wire.encode_body(Fixes(gap=gap)))
    flush = send(intake(), payload)
    (refusal,) = [wire.unpack_refusal(r.value) for r in flush.records if r.topic == wire.QUARANTINE]
    assert (refusal.reason, refusal.count, refusal.device) == ("gap", gap.count, "gps-1")
    assert words in refusal.detail
    assert (rows(flush), flush.receipts) == ([], {Source("gps-1", 7): Receipt(7, 1)})
