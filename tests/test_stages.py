"""What telemetry and alarm workers do with a topic: rubbish is refused, repetition changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from pipeline import wire
from pipeline.alarms.stage import DeviceStage, QuarantineStage, SignalStage
from pipeline.message import (
    SECOND,
    Change,
    DeviceRecord,
    DeviceReport,
    Reading,
    ReadingRecord,
    Refusal,
    Signal,
    Status,
)
from pipeline.rules.config import load
from pipeline.telemetry.fold import Fold
from pipeline.telemetry.readings import ReadingStage
from pipeline.telemetry.stage import PositionStage
from tests.doubles import MemoryBook, MemoryStore
from tests.moving import F, batch_of

NOW = 1_700_000_000 * SECOND
RUBBISH = b"\x93\x01rubbish"


def rules(tmp_path: Path, text: str) -> Any:
    (tmp_path / "rules.toml").write_text(text)
    return load(tmp_path / "rules.toml")


def signal(change: Change = Change.BEGAN) -> Signal:
    return Signal("keep-out", "geofence", "v1", "bus-1", "depot", change, NOW, NOW, "it entered")


def test_positions_are_stored_once_and_what_cannot_be_read_is_refused() -> None:
    store = MemoryStore()
    stage = PositionStage(Fold([]), store)
    record = wire.encode_positions(batch_of([F("bus-1", 0, 30.2, -97.7), F("bus-1", 10, 30.2, -97.7)]))
    state, outcome = stage.handle(stage.initial(), [record, RUBBISH, record])
    stage.commit([outcome])
    assert len(store.track("bus-1", 0, 2**60)) == 2
    (refused,) = [wire.unpack_refusal(r.value) for r in stage.records(outcome)]
    assert (refused.reason, refused.raw) == ("unreadable_record", RUBBISH)
    assert stage.figures() == {"refused": 1, "stored": 2, "corrected": 0}
    again = stage.handle(stage.restore(stage.dump(state)), [record])[1]
    assert [len(batch) for batch in again.batches] == [0]


def test_readings_are_stored_and_rubbish_is_refused() -> None:
    store = MemoryStore()
    stage = ReadingStage(store)
    record = wire.pack(ReadingRecord("mast-1", 1, 1, NOW, [Reading("temperature", NOW, 21.5, "degC")]))
    _state, outcome = stage.handle(stage.initial(), [record, RUBBISH])
    stage.commit([outcome])
    assert store.series("mast-1", "temperature", 0, 2**60)[1].tolist() == [21.5]
    assert [wire.unpack_refusal(r.value).reason for r in stage.records(outcome)] == ["unreadable_record"]


def test_a_signal_delivered_twice_is_one_alarm() -> None:
    book = MemoryBook()
    stage = SignalStage(book)
    for _ in range(2):
        stage.commit([stage.handle(stage.restore(b""), [wire.pack(signal()), RUBBISH])[1]])
    assert [alarm.id for alarm in book.alarms()] == [signal().alarm]
    assert [refusal.reason for refusal in book.refusals()] == ["unreadable_record"]


def test_refusals_come_into_the_quarantine() -> None:
    book = MemoryBook()
    stage = QuarantineStage(book)
    stage.commit([stage.handle(None, [wire.pack(Refusal("cam-1", "t", "cut", "no end", NOW, b"x"))])[1]])
    assert book.refusal_counts() == {"cut": 1}


def test_devices_are_shown_and_their_silence_is_an_alarm_across_a_restart(tmp_path: Path) -> None:
    book = MemoryBook()
    told = rules(tmp_path, '[[rule]]\nname = "quiet"\nkind = "device_silence"\nlimit_s = 30\n').devices()
    stage = DeviceStage(told, book)
    first = DeviceRecord(NOW, [DeviceReport("cam-1", NOW, 1, Status("online", waiting=3))])
    state, outcome = stage.handle(stage.initial(), [wire.pack(first)])
    stage.commit([outcome])
    ticks = [wire.pack(DeviceRecord(NOW + n * SECOND, [])) for n in range(1, 40)]
    stage.commit([stage.handle(stage.restore(stage.dump(state)), ticks)[1]])
    assert [(row["device"], row["waiting"]) for row in book.devices()] == [("cam-1", 3)]
    assert [(alarm.subject, alarm.start) for alarm in book.alarms()] == [("cam-1", NOW + 30 * SECOND)]


def test_states_are_found_by_the_rule_s_name_and_another_kind_starts_afresh(tmp_path: Path) -> None:
    text = '[[rule]]\nname = "{}"\nkind = "device_silence"\nlimit_s = 30\ndevices = ["{}"]\n'
    one, two = text.format("a", "cam-*"), text.format("b", "gps-*")
    stage = DeviceStage(rules(tmp_path, one + two).devices(), MemoryBook())
    heard = DeviceRecord(NOW, [DeviceReport("cam-1", NOW, 1), DeviceReport("gps-1", NOW, 1)])
    state, _told = stage.handle(stage.initial(), [wire.pack(heard)])
    swapped = DeviceStage(rules(tmp_path, two + one).devices(), MemoryBook())
    assert [list(part.last) for part in swapped.restore(stage.dump(state))] == [["gps-1"], ["cam-1"]]
    foreign = msgspec.msgpack.encode({"a": wire.pack_state([1, 2])})
    assert stage.restore(foreign) == stage.initial()
