"""From MQTT messages to log records and receipts. Pure: no clock, no I/O.

Of a stream (device, epoch) only the next number is accepted, so the log holds each stream whole and in order;
the device sends again what lies beyond a hole. A message that is numbered but cannot be understood is accepted
into the quarantine: it would never get better, and the stream must go on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from pipeline import wire
from pipeline.columns import Columns
from pipeline.message import (
    SECOND,
    DeviceRecord,
    DeviceReport,
    Fixes,
    Frame,
    FrameRecord,
    ReadingRecord,
    Readings,
    Receipt,
    Refusal,
    Source,
    Status,
)
from pipeline.ports import InvalidMessage
from pipeline.record import RAW_KEPT, Record, gap_refusal, refusal_record

STREAMS_KNOWN = 200_000
ROWS = 5000
"""Fixes or readings in one message, and rows in one record, at the most."""

REPORTS = 100
"""Devices in one record of signs of life."""

TOLD_EVERY = 10 * SECOND
WORDS = 500
ASK_EVERY = 2 * SECOND
FUTURE = 300 * SECOND
"""A promise about times that have not come yet is not believed: it would make its units look silent."""

TICK_EVERY = 10 * SECOND
"""Microseconds between two ticks on each partition of readings and positions."""

REPORT_EVERY = SECOND
"""Microseconds between two reports of the devices' signs of life, each of which is a tick for the rules."""


@dataclass
class Flush:
    """Append `records` first; when the log has acknowledged all of them, `receipts` are true."""

    records: list[Record]
    receipts: dict[Source, Receipt]


class Intake:
    """Collects messages between two flushes."""

    def __init__(
        self,
        *,
        partitions: int,
        batch_rows: int,
        max_payload: int,
        refusal: Callable[[str], str] = lambda device: "",
    ) -> None:
        self._refusal_of = refusal
        self._turned_away: dict[str, int] = {}
        self._partitions = partitions
        self._batch_rows = min(batch_rows, ROWS)
        self._max_payload = max_payload
        self._expected: OrderedDict[Source, int] = OrderedDict()
        self._asked: dict[Source, tuple[int, int]] = {}
        self._columns: dict[int, list[Columns]] = {}
        self._others: list[Record] = []
        self._receipts: dict[Source, Receipt] = {}
        self._reports: dict[str, DeviceReport] = {}
        self._reported = 0
        self._known_units: set[str] = set()
        self._ticked = 0
        self.accepted = self.duplicates = self.beyond_hole = self.refused = 0

    def take(self, topic: str, payload: bytes, received: int) -> None:
        """One MQTT message with the bridge's clock. Never raises: what is bad goes to the quarantine."""
        place = wire.parse_topic(topic)
        device = place[0] if place else ""
        if reason := self._refusal_of(device) if place else "":
            self._turn_away(device, topic, reason, received)
            return
        try:
            if place is None:
                raise InvalidMessage(
                    "topic", f"not vedette/v1/<device>/<kind> with a plain device name: {topic[:200]}"
                )
            self._message(place[0], place[1], payload, received)
        except InvalidMessage as error:
            detail, raw = printable(error.detail), payload[:RAW_KEPT]
            self._refuse(Refusal(device, printable(topic[:200]), error.reason, detail, received, raw))

    def flush(self, now: int, *, listening: bool = True) -> Flush:
        """Everything taken since the last flush, as records in order; `now` is the bridge's clock.

        A bridge that is not `listening` (no broker) gives no tick: it cannot know who is silent.
        """
        records = [
            Record(wire.POSITIONS, partition, "", wire.encode_positions(columns.batch()))
            for partition, chunks in sorted(self._columns.items())
            for columns in chunks
        ]
        records += self._others
        if listening and (now - self._reported >= REPORT_EVERY or now < self._reported):
            records += self._signs_of_life(now)
        done = Flush(records, self._receipts)
        self._columns, self._others, self._receipts = {}, [], {}
        return done

    # -------------------------------------------------------------- one message

    def _message(self, device: str, kind: str, payload: bytes, received: int) -> None:
        """A numbered message takes its number before it is judged: what is refused must not block its stream."""
        envelope = self._envelope(payload)
        if envelope.device != device:
            raise InvalidMessage("device_mismatch", f"topic says {device!r}, payload says {envelope.device[:64]!r}")
        if kind == "status":
            self._check(envelope, payload)
            self._seen(device, received, _printable(_decode(bytes(envelope.body), Status, "status")))
            return
        self._seen(device, received, picture=kind == "frame")
        source = Source(device, envelope.epoch)
        if self._next_of(source, envelope, received):
            self._check(envelope, payload)
            self._body(source, envelope.seq, kind, bytes(envelope.body), received)

    def _envelope(self, payload: bytes) -> wire.Envelope:
        try:
            envelope: wire.Envelope = _decode(payload, wire.Envelope, "envelope")
        except InvalidMessage:
            self._check_size(payload)
            raise
        return envelope

    def _check(self, envelope: wire.Envelope, payload: bytes) -> None:
        self._check_size(payload)
        if envelope.v != wire.VERSION:
            raise InvalidMessage("version", f"schema version {envelope.v}, this pipeline speaks {wire.VERSION}")

    def _check_size(self, payload: bytes) -> None:
        if len(payload) > self._max_payload:
            raise InvalidMessage("too_large", f"{len(payload)} bytes, at most {self._max_payload} are taken")

    def _next_of(self, source: Source, envelope: wire.Envelope, received: int) -> bool:
        """Go-back-N: whether this is the number the stream needs next. Says so to the device otherwise."""
        if not 1 <= envelope.base <= envelope.seq:
            raise InvalidMessage("numbering", f"base {envelope.base}, seq {envelope.seq}: need 1 <= base <= seq")
        expected = max(self._expected.get(source, envelope.base), envelope.base)
        if envelope.seq != expected:
            beyond = envelope.seq > expected
            self.beyond_hole += beyond
            self.duplicates += not beyond
            if not beyond or self._ask_again(source, expected, received):
                self._receipts[source] = Receipt(source.epoch, expected - 1, resend=beyond)
            return False
        self._expected[source] = expected + 1
        self._expected.move_to_end(source)
        if len(self._expected) > STREAMS_KNOWN:
            self._asked.pop(self._expected.popitem(last=False)[0], None)
        self._receipts[source] = Receipt(source.epoch, expected)
        self.accepted += 1
        return True

    def _ask_again(self, source: Source, expected: int, received: int) -> bool:
        """One request to send again for each hole, repeated only after a while: many messages lie beyond it."""
        asked = self._asked.get(source)
        if asked and asked[0] == expected and abs(received - asked[1]) < ASK_EVERY:
            return False
        if len(self._asked) > STREAMS_KNOWN:
            self._asked.clear()
        self._asked[source] = (expected, received)
        return True

    def _body(self, source: Source, seq: int, kind: str, body: bytes, received: int) -> None:
        if kind == "position":
            fixes = _decode(body, Fixes, "position")
            _check_count(len(fixes.fixes), "fixes")
            self._positions(source, seq, fixes, received)
            if fixes.gap is not None:
                self._refuse(gap_refusal(source.device, printable(fixes.gap.kind), fixes.gap, received))
            return
        device, epoch = source.device, source.epoch
        partition = wire.partition_of(device, self._partitions)
        if kind == "frame":
            frame = FrameRecord(device, epoch, seq, received, _decode(body, Frame, "frame"))
            self._others.append(Record(wire.FRAMES, partition, device, wire.pack(frame)))
        else:
            readings = _decode(body, Readings, "reading").readings
            _check_count(len(readings), "readings")
            record = ReadingRecord(device, epoch, seq, received, readings)
            self._others.append(Record(wire.READINGS, partition, device, wire.pack(record)))

    def _positions(self, source: Source, seq: int, body: Fixes, received: int) -> None:
        open_now: dict[int, Columns] = {}
        for fix in body.fixes:
            if not self._plain_name(fix.unit):
                self._refuse_fix(source.device, fix.unit, received)
                continue
            partition = wire.partition_of(fix.unit, self._partitions)
            columns = open_now.get(partition)
            if columns is None:
                columns = open_now[partition] = self._chunk(partition)
            columns.add(source, seq, received, fix)
        if body.until is not None and body.until <= received + FUTURE:
            for partition in range(self._partitions):
                self._chunk(partition).ticks[source.device] = body.until

    def _chunk(self, partition: int) -> Columns:
        """The record under way; as a message's rows stay together, it may grow a little past its size."""
        chunks = self._columns.setdefault(partition, [Columns()])
        if len(chunks[-1].rows) >= self._batch_rows:
            chunks.append(Columns())
        return chunks[-1]

    def _plain_name(self, unit: str) -> bool:
        if unit in self._known_units:
            return True
        if not wire.NAME.fullmatch(unit):
            return False
        if len(self._known_units) < STREAMS_KNOWN:
            self._known_units.add(unit)
        return True

    # -------------------------------------------------------------- by the way

    def _signs_of_life(self, now: int) -> list[Record]:
        reports, self._reports, self._reported = list(self._reports.values()), {}, now
        pieces = [reports[i : i + REPORTS] for i in range(0, len(reports), REPORTS)] or [[]]
        records = [Record(wire.DEVICES, 0, "", wire.pack(DeviceRecord(now, piece))) for piece in pieces]
        return records + self._ticks(now)

    def _ticks(self, now: int) -> list[Record]:
        """Our clock, for what waits: a channel that nobody else speaks beside, late fixes to be worked in."""
        if 0 <= now - self._ticked < TICK_EVERY:
            return []
        self._ticked = now
        ticks = {
            wire.READINGS: wire.pack(ReadingRecord("", 0, 0, now, [])),
            wire.POSITIONS: wire.encode_positions(Columns(ticks={"": now}).batch()),
        }
        return [Record(topic, n, "", tick) for topic, tick in ticks.items() for n in range(self._partitions)]

    def _seen(self, device: str, received: int, status: Status | None = None, *, picture: bool = False) -> None:
        before = self._reports.get(device) or DeviceReport(device, received)
        count, frames = before.messages + 1, before.frames + picture
        self._reports[device] = DeviceReport(device, received, count, status or before.status, frames)

    def _refuse_fix(self, device: str, unit: str, received: int) -> None:
        """Without its place: a unit that cannot be enrolled is not tracked, not even here."""
        detail = f"unit {unit[:64]!r}: up to 63 letters, digits and . _ : -, starting with a letter or digit"
        self._refuse(Refusal(device, wire.topic(device, "position"), "unit_name", detail, received))

    def _turn_away(self, device: str, topic: str, reason: str, received: int) -> None:
        """Without the bytes, and told once a while: whoever may not speak must not fill the quarantine either."""
        if abs(received - self._turned_away.get(device, 0)) < TOLD_EVERY:
            self.refused += 1
            return
        if len(self._turned_away) > STREAMS_KNOWN:
            self._turned_away.clear()
        self._turned_away[device] = received
        self._refuse(Refusal(device, topic, reason, f"see `vedette devices list`: {device}", received))

    def _refuse(self, refusal: Refusal) -> None:
        self.refused += 1
        self._others.append(refusal_record(refusal))


def _decode(data: bytes, kind: type[Any], what: str) -> Any:
    try:
        return wire.decode(data, kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidMessage("undecodable", f"{what}: {error}") from None


def _check_count(count: int, what: str) -> None:
    """A record must fit the log, whatever the encoding of the message was."""
    if count > ROWS:
        raise InvalidMessage("too_many", f"{count} {what} in one message, at most {ROWS} are taken")


def _printable(status: Status) -> Status:
    words = {name: printable(getattr(status, name)) for name in ("state", "detail", "version")}
    return msgspec.structs.replace(status, **words)


def printable(text: str) -> str:
    """At most 500 characters, none that a database or a terminal could stumble over."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:WORDS])
