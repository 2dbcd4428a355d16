"""`vedette rules backtest`, and `vedette replay` over a time range of the store."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.alarms.book import open_book
from pipeline.cli.replay import paced
from pipeline.message import SECOND, Alarm
from pipeline.replay import AlarmChange, changes, replay_batch
from pipeline.replay_compare import compare
from pipeline.replay_store import stored_frames, stored_positions
from pipeline.rules.config import load
from pipeline.rules.fleet import load_fleet
from pipeline.settings import Settings
from pipeline.settings import load as load_settings
from pipeline.store import open_store
from pipeline.wire import rfc3339
from tests.commandline import Done, vedette
from tests.doubles import MemoryStore
from tests.moving import T0, F, batch_of
from tests.test_replay import write_rules
from tests.test_sighting import frame


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Rules, a fleet of two, and their day in the store: `a` passes the depot too fast, `b` falls silent."""
    write_rules(tmp_path)
    (tmp_path / "fleet.csv").write_text("unit,group\na,truck\nb,bus\n")
    (tmp_path / "vedette.toml").write_text(
        'data = "data"\n[rules]\nfile = "rules.toml"\n[fleet]\nfile = "fleet.csv"\n'
    )
    store = open_store(settings(tmp_path))
    store.write_positions([day()])
    store.close()
    book = open_book(settings(tmp_path))
    assert book.audits() == []
    book.close()
    return tmp_path


def day() -> Any:
    rows = [F("a", i * 20, 50.05, 9.8 + i * 0.02, 35) for i in range(40)]
    return batch_of(sorted([*rows, F("b", 0, 40, 10, 0)], key=lambda row: row.t))


def settings(folder: Path) -> Settings:
    return load_settings(folder / "vedette.toml", environ={})


def told(done: Done) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def span(start: float, end: float) -> list[str]:
    """Seconds after T0 as options."""
    return ["--from", rfc3339(T0 + round(start * SECOND)), "--to", rfc3339(T0 + round(end * SECOND))]


def replayed(folder: Path, *words: str) -> Done:
    return vedette("replay", *words, "--config", folder / "vedette.toml", "--json")


def test_the_store_gives_the_alarms_of_the_recording(folder: Path) -> None:
    rules, fleet = load(folder / "rules.toml"), load_fleet(folder / "fleet.csv")
    wanted = [msgspec.to_builtins(change) for change in changes(replay_batch(day(), rules, fleet=fleet))]
    found = told(replayed(folder, *span(0, 3600), "--purpose", "complaint 4711"))
    assert found == wanted
    assert {row["rule"] for row in found} == {"fast", "keep-out", "quiet"}


def test_each_reading_is_audited_before_and_none_is_made_without_a_purpose(folder: Path) -> None:
    assert "--purpose is missing" in replayed(folder, *span(0, 3600)).stderr
    replayed(folder, *span(0, 3600), "--purpose", "complaint 4711", "--group", "bus")
    book = open_book(settings(folder))
    audits = book.audits()
    book.close()
    assert [(row["what"], row["subject"], row["purpose"]) for row in audits] == [("replay", "b", "complaint 4711")]


def test_what_lies_before_the_period_settles_the_rules_and_is_not_shown(folder: Path) -> None:
    """From second 260 `a` has long been inside: told alone, without a lead, it would be seen to enter there."""
    late = ["--purpose", "x", *span(260, 3600), "--unit", "a"]
    inside = [row["change"] for row in told(replayed(folder, *late)) if row["rule"] == "keep-out"]
    assert inside == ["cleared"]
    inside = [row["change"] for row in told(replayed(folder, *late, "--lead", "0")) if row["rule"] == "keep-out"]
    assert inside == ["raised", "cleared"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--from", "2026-01-01T00:00:00Z"], "both --from and --to are needed"),
        ([*span(10, 10), "--purpose", "x"], "is not after --from"),
        ([*span(0, 10), "--purpose", "x", "--unit", "c"], "unit c is not enrolled"),
        ([*span(0, 10), "--purpose", "x", "--group", "tram"], "no unit of group tram"),
        ([*span(0, 10), "day.csv"], "not both"),
        ([], "nothing to replay"),
    ],
)
def test_what_cannot_be_read_is_one_clear_line(folder: Path, words: list[str], complaint: str) -> None:
    done = replayed(folder, *words)
    assert (done.returncode, complaint in done.stderr) == (2, True)


def test_at_a_speed_the_same_comes_in_its_time() -> None:
    """Twenty seconds of event time at a hundredfold speed take a fifth of a second."""
    found = [AlarmChange("id", "fast", "a", "raised", rfc3339(T0 + at * SECOND), "") for at in (0, 20)]
    begun = time.monotonic()
    assert list(paced(found, 100.0)) == found
    assert 0.2 <= time.monotonic() - begun < 5
    assert list(paced(found, 0.0)) == found


def test_pages_of_a_store_are_joined() -> None:
    store = MemoryStore()
    store.write_positions([day()])
    store.write_frames([frame(i) for i in range(10)])
    whole = stored_positions(store, ["a", "b"], 0, 2**60)
    paged = stored_positions(store, ["a", "b"], 0, 2**60, page=3)
    assert (whole.at.tolist(), whole.lon.tolist()) == (paged.at.tolist(), paged.lon.tolist())
    assert whole.at.tolist() == sorted(whole.at.tolist())
    assert (len(whole), whole.units, whole.seq.tolist()) == (41, ("a", "b"), list(range(1, 42)))
    camera = frame(0).camera
    frames = [seen.at for seen in stored_frames(store, [camera], 0, 2**60)]
    assert [seen.at for seen in stored_frames(store, [camera], 0, 2**60, page=4)] == frames
    assert len(frames) == 10


# ---------------------------------------------------------------- backtest


def test_backtest_shows_what_is_added_gone_and_moved(folder: Path) -> None:
    text = (folder / "rules.toml").read_text()
    text = text.replace("limit = 30\nmin_duration_s = 10", "limit = 30\nmin_duration_s = 60")  # raised later
    text = text.replace("limit_s = 600", "limit_s = 90000")  # gone
    text += '\n[[rule]]\nname = "slow"\nkind = "speed"\nlimit = 20\nmin_duration_s = 0\n'  # added
    (folder / "new.toml").write_text(text)
    words = [
        "rules",
        "backtest",
        folder / "new.toml",
        *span(0, 3600),
        "--purpose",
        "new limits",
        "--operators",
        "2",
    ]
    (found,) = told(vedette(*words, "--config", folder / "vedette.toml", "--json"))
    assert [(a["rule"], a["subject"]) for a in found["added"]] == [("slow", "a")]
    assert [(a["rule"], a["subject"]) for a in found["gone"]] == [("quiet", "b")]
    assert [(m["new"]["rule"], m["later_s"]) for m in found["moved"]] == [("fast", 40.0)]
    assert found["same"] == 1
    assert found["new"]["alarms"] == 3
    assert found["new"]["per_operator"] == 3 / 6 / 2  # of an hour's six times ten minutes, two operators
    table = vedette(*words, "--config", folder / "vedette.toml").stdout
    assert "1 added, 1 gone, 1 moved, 1 the same, over 1.0 h" in table
    assert "noisiest subject a (3)" in table
    assert any(line.startswith("~  fast") and "→" in line for line in table.splitlines())


def test_backtest_over_files_needs_no_store(folder: Path) -> None:
    lines = [f"a,{rfc3339(T0 + i * 20 * SECOND)},50.05,{9.8 + i * 0.02:.2f},35" for i in range(40)]
    (folder / "day.csv").write_text("\n".join(["unit,at,lat,lon,speed", *lines]) + "\n")
    same = folder / "rules.toml"
    done = vedette("rules", "backtest", same, folder / "day.csv", "--old", same)
    assert "0 added, 0 gone, 0 moved, 2 the same" in done.stdout


def alarm(rule: str, start: int, ended: int | None = None, *, raised: int = 0, key: str = "") -> Alarm:
    at = (raised or start) * SECOND
    end = None if ended is None else ended * SECOND
    name = key or f"{rule}-{start}"
    return Alarm(name, rule, "speed", "a", "", "warning", "raised", start * SECOND, at, at, end, "", {})


def test_episodes_that_overlap_or_begin_near_are_one_that_moved() -> None:
    old = [alarm("x", 0, 5000), alarm("x", 20_000, 20_100), alarm("y", 0, 10)]
    new = [alarm("x", 3000, 6000), alarm("x", 20_500, 20_600), alarm("y", 700, 800)]
    found = compare(old, new, span=36_000 * SECOND)
    assert [(m.old.alarm, m.new.alarm) for m in found.moved] == [("x-0", "x-3000"), ("x-20000", "x-20500")]
    assert [a.alarm for a in found.added] == ["y-700"]
    assert [a.alarm for a in found.gone] == ["y-0"]


def test_the_same_id_with_other_times_has_moved_and_else_is_the_same() -> None:
    one = alarm("x", 0, 100)
    assert compare([one], [one], span=SECOND).same == 1
    (moved,) = compare([one], [alarm("x", 0, 100, raised=30)], span=SECOND).moved
    assert moved.later_s == 30.0
    assert len(compare([one], [alarm("x", 0, 90)], span=SECOND).moved) == 1


def test_the_worst_ten_minutes_are_found_wherever_they_begin() -> None:
    new = [alarm("x", at) for at in (0, 590, 595, 600, 1189, 1190)]
    load_ = compare([], new, span=3600 * SECOND, operators=2).new
    assert (load_.worst, load_.worst_from) == (2.0, rfc3339(590 * SECOND))
    assert load_.per_operator == 0.5
    assert load_.rules == [("x", 6)]


# ---------------------------------------------------------------- explain


def test_explain_runs_the_rule_again_and_audits_the_reading(folder: Path) -> None:
    book = open_book(settings(folder))
    fleet = load_fleet(folder / "fleet.csv")
    book.apply(replay_batch(day(), load(folder / "rules.toml"), fleet=fleet))
    (entered,) = [alarm for alarm in book.alarms() if alarm.rule == "keep-out"]
    words = ["alarms", "explain", entered.id, "--config", folder / "vedette.toml"]
    text = vedette(*words).stdout
    assert "gives this very alarm" in text
    assert "nothing → stands   *** this alarm raised ***" in text
    (explained,) = told(vedette(*words, "--json"))
    assert explained["steps"]["same"] is True
    audits = book.audits()
    book.close()
    assert {(row["subject"], row["purpose"]) for row in audits} == {("a", f"explain alarm {entered.id}")}
    assert len(audits) == 2
