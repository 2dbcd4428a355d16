"""`vedette-edge status`: the verdict, the exit status, words for what a person has to mend, and the live screen."""

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from edge import status
from edge.__main__ import cli
from edge.agent import LOCK, STATUS, lock
from edge.certificate import REFUSED
from edge.status import sentence, verdict
from edge.watchful import picture

ROW: dict[str, Any] = {
    "device": "tower-7",
    "sent": 812,
    "confirmed": 812,
    "waiting": 0,
    "dropped": 0,
    "oldest": None,
    "connected": True,
    "state": "running",
    "detail": "",
}


def folder(tmp_path: Path, *, age_s: float = 0.0, **change: Any) -> Path:
    written = time.time_ns() // 1000 - round(age_s * 1e6)
    (tmp_path / STATUS).write_text(json.dumps(ROW | {"written": written} | change))
    return tmp_path


def call(data: Path) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["status", "--data", str(data)])
    return done.exit_code, done.output.strip()


def test_all_is_well(tmp_path: Path) -> None:
    handle = lock(tmp_path)
    assert call(folder(tmp_path)) == (0, "tower-7: 812 sent, 812 confirmed, 0 waiting, oldest -")
    handle.close()


def test_an_agent_that_does_not_run_is_no_success(tmp_path: Path) -> None:
    code, said = call(folder(tmp_path))
    assert code == 1 and "not running since" in said


def test_an_agent_that_has_finished_is(tmp_path: Path) -> None:
    code, said = call(folder(tmp_path, state="finished"))
    assert code == 0 and said.endswith(": finished)")


def test_an_agent_that_says_nothing_any_more_is_not(tmp_path: Path) -> None:
    handle = lock(tmp_path)
    code, said = call(folder(tmp_path, age_s=60))
    handle.close()
    assert code == 1 and "says nothing since" in said


@pytest.mark.parametrize("why", ["this device's certificate is revoked", "the broker refuses the connection"])
def test_a_refusal_needs_a_person(tmp_path: Path, why: str) -> None:
    handle = lock(tmp_path)
    code, said = call(folder(tmp_path, connected=False, detail=REFUSED + why))
    handle.close()
    assert code == 1 and why in said


def test_a_lost_network_does_not(tmp_path: Path) -> None:
    handle = lock(tmp_path)
    code, said = call(folder(tmp_path, connected=False, detail="no connection to broker:8883: timed out"))
    handle.close()
    assert code == 0 and "not connected: no connection to broker:8883" in said


def test_never_run(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["status", "--data", str(tmp_path)])
    assert done.exit_code != 0 and not (tmp_path / LOCK).exists()


def test_a_gateway_tells_of_its_trackers(tmp_path: Path) -> None:
    facts = {"trackers": 57, "connections": 60, "counts": {"unknown": 3}}
    with lock(folder(tmp_path, source_facts=facts)):
        assert "trackers: 57, refused: 3 times" in call(tmp_path)[1]
    assert "trackers" not in sentence(status.read(folder(tmp_path)))


def test_the_screen_shows_the_numbers_and_what_is_wrong(tmp_path: Path) -> None:
    handle = lock(tmp_path)
    row = status.read(folder(tmp_path, connected=False, detail=REFUSED + "this device's certificate is revoked"))
    handle.close()
    screen = Console(file=io.StringIO(), width=100)
    screen.print(picture(row | {"sent": 815}, row))
    text = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "815  (+3)" in text and "certificate is revoked" in text and "not connected" in text
    assert verdict(row) == "refused" and "812 sent" in sentence(row)
