"""`vedette devices` as a person uses it."""

import json
import time
import tomllib
from pathlib import Path

import pytest

from pipeline.alarms.book import SqlAlarmBook
from pipeline.cli.devices import state
from pipeline.devices.authority import DAY
from pipeline.devices.registry import Certificate, Device
from tests.commandline import vedette

NOW = time.time_ns() // 1000


def test_enrol_list_rotate_revoke(tmp_path: Path) -> None:
    out, again = tmp_path / "t.vedette", tmp_path / "t2.vedette"
    words = ["enrol", "tower-7", "--kind", "camera", "--place", "47.05,8.31", "--broker", "b.example.org:8883"]
    done = vedette("devices", *words, "--out", out, "--data", tmp_path)
    assert done.returncode == 0, done.stderr
    assert tomllib.loads(out.read_text())["host"] == "b.example.org"
    book = SqlAlarmBook(f"sqlite:///{tmp_path}/alarms.db")
    book.report_devices([{"device": "tower-7", "received": NOW, "messages": 1}])
    book.close()
    (row,) = [
        json.loads(line) for line in vedette("devices", "list", "--json", "--data", tmp_path).stdout.splitlines()
    ]
    assert (row["device"], row["kind"], row["place"], row["state"]) == (
        "tower-7",
        "camera",
        [47.05, 8.31],
        "enrolled",
    )
    assert row["heard"] is not None
    assert vedette("devices", "rotate", "tower-7", "--out", again, "--data", tmp_path).returncode == 0
    assert tomllib.loads(again.read_text())["key"] != tomllib.loads(out.read_text())["key"]
    done = vedette("devices", "revoke", "tower-7", "--reason", "stolen", "--data", tmp_path)
    assert done.returncode == 0 and "refuses" in done.stdout
    assert "revoked (stolen)" in vedette("devices", "list", "--data", tmp_path).stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["enrol", "a b", "--kind", "gps"], "1 to 63"),
        (["enrol", "a", "--kind", "gps", "--place", "95,8"], "latitude"),
        (["enrol", "a", "--kind", "gps", "--place", "north"], "47.05,8.31"),
        (["enrol", "a", "--kind", "gps", "--broker", "nowhere"], "8883"),
        (["revoke", "nobody"], "no device nobody"),
        (["rotate", "nobody"], "no device nobody"),
        (["broker", "--host", "http://x"], "without a port"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(tmp_path: Path, words: list[str], says: str) -> None:
    out = ["--out", tmp_path / "b"] if words[0] in ("enrol", "rotate") else []
    done = vedette("devices", *words, *out, "--data", tmp_path)
    assert done.returncode == 2 and says in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "b").exists()


def test_a_bundle_is_never_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "b"
    out.write_text("mine")
    done = vedette("devices", "enrol", "a", "--kind", "gps", "--out", out, "--data", tmp_path)
    assert done.returncode == 2 and "there already" in done.stderr
    assert out.read_text() == "mine"
    assert vedette("devices", "list", "--json", "--data", tmp_path).stdout == "", "nothing was enrolled either"


@pytest.mark.parametrize(
    ("left", "revoked", "says"),
    [(300, None, "enrolled"), (10, None, "ends soon"), (-1, None, "expired"), (300, NOW, "revoked")],
)
def test_the_state_in_a_word(left: int, revoked: int | None, says: str) -> None:
    certificate = Certificate("1", NOW - DAY, NOW + left * DAY)
    assert state(Device("a", "gps", (certificate,), NOW, "me", revoked=revoked), NOW) == says
