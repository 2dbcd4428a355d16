"""`vedette alarms` and `vedette quarantine`, over an alarm book of the test's own."""

import base64
import json
import os
import signal as signals
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline.__main__ import cli
from pipeline.alarms.book import SqlAlarmBook, open_book
from pipeline.alarms.merge import Merge
from pipeline.alarms.stage import SignalStage
from pipeline.message import Change, Refusal, Signal
from pipeline.ports import UserError
from pipeline.settings import load
from pipeline.store import open_store
from pipeline.wire import pack
from tests.desk import fixes
from tests.test_merge import CAMERAS, FIRE, seen

ROOT = Path(__file__).resolve().parent.parent
T0 = 1_480_000_000_000_000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def book(data: Path) -> Iterator[SqlAlarmBook]:
    made = open_book(load(data=data, environ={}))
    yield made
    made.close()


def began(n: int = 0, **evidence: Any) -> Signal:
    reason = f"bus-{n} entered the yard"
    return Signal(
        "keep-out", "geofence", "3f9a", f"bus-{n}", "yard", Change.BEGAN, T0 + n, T0 + n, reason, evidence=evidence
    )


def run(data: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, [*words, "--data", str(data)])


def rows(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_list_prints_an_alarm_a_line_newest_first(data: Path, book: SqlAlarmBook) -> None:
    book.apply([began(0), began(2_500_000), began(1)])
    found = rows(run(data, "alarms", "list", "--json"))
    assert [row["subject"] for row in found] == ["bus-2500000", "bus-1", "bus-0"]
    assert found[0]["raised_at"] == "2016-11-24T15:06:42.5Z"
    assert (found[2]["id"], found[2]["state"], found[2]["ended_at"]) == (began(0).alarm, "raised", None)
    assert found[2]["evidence"] == {"version": "3f9a"}


def test_list_can_be_narrowed(data: Path, book: SqlAlarmBook) -> None:
    book.apply([began(0), began(1), began(2)])
    book.act(began(1).alarm, "acknowledge", by="olga")
    assert [r["subject"] for r in rows(run(data, "alarms", "list", "--json", "--state", "acknowledged"))] == [
        "bus-1"
    ]
    assert [r["subject"] for r in rows(run(data, "alarms", "list", "--json", "--subject", "bus-2"))] == ["bus-2"]
    assert len(rows(run(data, "alarms", "list", "--json", "--limit", "2"))) == 2


def test_the_table_has_each_alarm_whole(data: Path, book: SqlAlarmBook) -> None:
    book.apply([began(0), Signal(**{**fields(began(0)), "change": Change.ENDED, "at": T0 + 9})])
    header, line = run(data, "alarms", "list").stdout.splitlines()
    assert header.split() == ["RAISED", "STATE", "SEVERITY", "RULE", "SUBJECT", "ID", "REASON"]
    for part in ("cleared, not seen", "bus-0 @ yard", began(0).alarm, "bus-0 entered the yard"):
        assert part in line


def fields(signal: Signal) -> dict[str, Any]:
    return {name: getattr(signal, name) for name in signal.__struct_fields__}


def test_an_empty_book_says_so_and_prints_no_line(data: Path, book: SqlAlarmBook) -> None:
    assert book.alarms() == []
    result = run(data, "alarms", "list")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no alarms\n")
    assert run(data, "alarms", "list", "--json").output == ""


def test_show_prints_everything_it_carries(data: Path, book: SqlAlarmBook) -> None:
    book.apply([began(0, fix={"lat": 62.5}, clock="synced")])
    text = run(data, "alarms", "show", began(0).alarm).stdout
    assert '{"lat": 62.5}' in text
    assert rows(run(data, "alarms", "show", began(0).alarm, "--json"))[0]["evidence"]["clock"] == "synced"


def test_explain_says_why_in_sentences(data: Path, book: SqlAlarmBook) -> None:
    book.apply([began(0, model="fire-smoke@3f", score=0.83, threshold=0.5, clock="unsynced")])
    book.act(began(0).alarm, "acknowledge", by="olga", note="looking")
    text = run(data, "alarms", "explain", began(0).alarm).stdout
    for part in ("keep-out", "geofence", "version 3f9a", "bus-0 entered the yard.", "fire-smoke@3f", "0.83", "0.5"):
        assert part in text
    assert "The device's clock was unsynced" in text and "Clock of the source" not in text
    assert "acknowledged by olga: looking" in text
    explained = rows(run(data, "alarms", "explain", began(0).alarm, "--json"))[0]
    assert explained["rule"] == {"name": "keep-out", "kind": "geofence", "version": "3f9a"}
    assert [event["change"] for event in explained["history"]] == ["raised", "acknowledged"]


def test_explain_shows_times_and_numbers_for_a_person(data: Path, book: SqlAlarmBook) -> None:
    fix = {"at": T0 + 250_000, "lat": 62.893215487213459, "lon": 30.1, "speed": 12.345678901234567}
    book.apply([began(0, fix=fix, odds=0.00012345678, track=[[30.123456789, 62.1]], clock="synced")])
    for action in ("show", "explain"):
        text = run(data, "alarms", action, began(0).alarm).stdout
        spelled = '{"at": "2016-11-24T15:06:40.25Z", "lat": 62.893215, "lon": 30.1, "speed": 12.346}'
        for part in (spelled, " 0.0001235\n", "[[30.123457, 62.1]]"):
            assert part in text
    assert text.count("Clock of the source: synced.") == 1
    assert rows(run(data, "alarms", "explain", began(0).alarm, "--json"))[0]["evidence"]["fix"]["speed"] == 12.346


def test_ack_and_resolve_are_recorded_with_name_and_note(data: Path, book: SqlAlarmBook) -> None:
    book.apply([began(0), began(1)])
    both = [began(0).alarm, began(1).alarm]
    assert "acknowledged by olga" in run(data, "alarms", "ack", *both, "--by", "olga").stdout
    assert run(data, "alarms", "resolve", both[0], "--by", "piet", "--note", "a drill").exit_code == 0
    assert [a.state for a in (book.alarm(key) for key in both) if a] == ["resolved", "acknowledged"]
    assert (book.history(both[0])[-1].by, book.history(both[0])[-1].reason) == ("piet", "a drill")


def test_what_another_has_done_already_is_told_as_his(data: Path, book: SqlAlarmBook) -> None:
    book.apply([began(0)])
    assert ": acknowledged by anna" in run(data, "alarms", "ack", began(0).alarm, "--by", "anna").stdout
    again = run(data, "alarms", "ack", began(0).alarm, "--by", "ben")
    assert (again.exit_code, ": already acknowledged by anna at " in again.stdout) == (0, True)
    assert ": resolved by ben" in run(data, "alarms", "resolve", began(0).alarm, "--by", "ben").stdout
    assert ": already resolved by ben" in run(data, "alarms", "resolve", began(0).alarm, "--by", "ben").stdout


def test_the_beginning_of_an_id_is_enough_if_it_is_the_only_one(data: Path, book: SqlAlarmBook) -> None:
    many = [began(n) for n in range(2000)]
    book.apply(many)
    begins = Counter(signal.alarm[:4] for signal in many)
    twin = next(four for four, count in begins.items() if count > 1)
    both = sorted(signal.alarm for signal in many if signal.alarm.startswith(twin))
    for action in ("show", "explain", "ack", "resolve"):
        short = run(data, "alarms", action, both[0][:-1].upper())
        assert short.exit_code == 0 and (both[0] in short.stdout or action == "explain")
        either = run(data, "alarms", action, twin)
        assert isinstance(either.exception, UserError) and ", ".join(both) in str(either.exception)
    assert next(a.state for a in (book.alarm(key) for key in both) if a) == "resolved"
    assert isinstance(run(data, "alarms", "show", both[0][:3]).exception, UserError)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("alarms", "show", "feedbeef"), "feedbeef"),
        (("alarms", "explain", "feedbeef"), "feedbeef"),
        (("alarms", "ack", "feedbeef"), "feedbeef"),
        (("alarms", "resolve", began(0).alarm), "acknowledge it first"),
    ],
)
def test_what_cannot_be_done_names_the_alarm(
    data: Path, book: SqlAlarmBook, words: tuple[str, ...], named: str
) -> None:
    book.apply([began(0)])
    result = run(data, *words)
    assert isinstance(result.exception, UserError)
    assert named in str(result.exception)


def test_no_book_is_one_clear_line_and_makes_none(data: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "alarms", "list", "--data", str(data)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    hint = "start `vedette up` first, or name the folder it was given with --data"
    assert done.stderr == f"vedette: no alarm book {data}/alarms.db: {hint}\n"
    assert not data.exists()


def test_watch_prints_changes_as_they_happen_and_can_resume(data: Path, book: SqlAlarmBook) -> None:
    book.apply([began(0)])
    command = [sys.executable, "-m", "pipeline", "alarms", "watch", "--json", "--after", "0", "--data", str(data)]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert child.stdout is not None
    assert json.loads(child.stdout.readline())["change"] == "raised"
    book.act(began(0).alarm, "acknowledge", by="olga")
    event = json.loads(child.stdout.readline())
    assert (event["number"], event["change"], event["by"]) == (2, "acknowledged", "olga")
    child.send_signal(signals.SIGINT)
    assert child.wait(20) == 130
    child.stdout.close()


def test_the_quarantine_lists_what_why_and_the_bytes(data: Path, book: SqlAlarmBook) -> None:
    raw = b"\xff{not json"
    refusals = [
        Refusal("gps-1", "t", "undecodable", "byte 0", T0, raw),
        Refusal("gps-2", "t", "null_island", "d", T0),
    ]
    book.refuse(refusals)
    found = rows(run(data, "quarantine", "list", "--json", "--reason", "undecodable"))
    assert [(r["device"], r["raw_bytes"], "raw_base64" in r) for r in found] == [("gps-1", len(raw), False)]
    assert "2016-11-24T15:06:40Z" in run(data, "quarantine", "list").stdout
    counts = rows(run(data, "quarantine", "counts", "--json"))
    assert counts == [{"reason": "null_island", "count": 1}, {"reason": "undecodable", "count": 1}]
    assert run(data, "quarantine", "counts").stdout.splitlines()[1].split() == ["null_island", "1"]


def test_the_bytes_of_a_refusal_are_read_for_a_purpose_and_on_the_audit_log(data: Path, book: SqlAlarmBook) -> None:
    raw = b"\xff{not json"
    book.refuse([Refusal("gps-1", "t", "undecodable", "byte 0", T0, raw)])
    for words in (["--purpose", "why"], ["--json", "--purpose", " "]):
        assert isinstance(run(data, "quarantine", "list", *words).exception, UserError)
    assert book.audits() == []
    (found,) = rows(run(data, "quarantine", "list", "--json", "--purpose", "a board that sends rubbish"))
    assert base64.b64decode(found["raw_base64"]) == raw
    (entry,) = book.audits()
    assert (entry["what"], entry["subject"], entry["purpose"]) == (
        "quarantine",
        "all",
        "a board that sends rubbish",
    )


def test_a_fire_is_explained_with_the_units_near_it_and_the_reading_is_audited(
    data: Path, book: SqlAlarmBook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "fleet.csv").write_text("unit,group\nbus-1,bus\n")
    monkeypatch.setenv("VEDETTE_FLEET_FILE", str(tmp_path / "fleet.csv"))
    store = open_store(load(data=data, environ={}))
    store.write_positions([fixes("bus-1", 3, lat=FIRE[0]), fixes("ghost", 3, lat=FIRE[0])])
    store.close()
    stage = SignalStage(book, Merge(CAMERAS))
    stage.commit([stage.handle(stage.initial(), [pack(seen("north")), pack(seen("south", after=5))])[1]])
    told = run(data, "alarms", "explain", seen("north").alarm)
    assert "The lines meet at 40.0" in told.stdout and "Units near it" in told.stdout
    assert "ghost" not in told.stdout
    (found,) = rows(run(data, "alarms", "explain", seen("north").alarm, "--json"))
    assert found["units"] == {"inside": [], "heading_in": [], "free": []}, "the fix is from another year, and far"
    purposes = [(entry["what"], entry["purpose"]) for entry in book.audits()]
    assert purposes == [("last positions", f"fire alarm {seen('north').alarm}")] * 2
