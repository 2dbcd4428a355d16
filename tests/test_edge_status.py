"""`vedette-edge status`: the verdict, the exit status, words for what a person has to mend, and the live screen."""

import io
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from edge import status
from edge.__main__ import cli
from edge.agent import EXPRESS, LOCK, SPOOL, STATUS, lock, write_whole
from edge.certificate import REFUSED
from edge.spool import Spool
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


# ---------------------------------------------------------------- disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_named_and_the_words_are_written_all_the_same(small_disk: Path) -> None:
    handle = lock(small_disk)
    folder(small_disk)
    (small_disk / "other").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    words = json.dumps(ROW | {"written": time.time_ns() // 1000, "sent": 813})
    write_whole(small_disk / STATUS, words)
    code, said = call(small_disk)
    assert code == 1 and "813 sent" in said and f"the disk of {small_disk} is full" in said
    (small_disk / "other").unlink()
    write_whole(small_disk / STATUS, words)
    assert call(small_disk)[0] == 0
    handle.close()


def test_a_read_only_disk_is_named_also_when_the_agent_is_down(small_disk: Path) -> None:
    folder(small_disk)
    lock(small_disk).close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    code, said = call(small_disk)
    assert code == 1 and f"the disk of {small_disk} is read-only" in said
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert "read-only" not in call(small_disk)[1]


def test_a_spool_that_was_damaged_is_told_until_its_remains_are_deleted(tmp_path: Path) -> None:
    handle = lock(tmp_path)
    (tmp_path / SPOOL).write_bytes(b"nothing that SQLite ever wrote" * 400)
    Spool(tmp_path / SPOOL).close()
    code, said = call(folder(tmp_path))
    assert code == 0 and "the spool was damaged at 20" in said
    for remains in tmp_path.glob("*.damaged-*"):
        remains.unlink()
    assert "damaged" not in call(tmp_path)[1]
    handle.close()


def test_both_spools_are_counted(tmp_path: Path) -> None:
    handle = lock(tmp_path)
    for name, number in ((SPOOL, 5), (EXPRESS, 3)):
        spool = Spool(tmp_path / name)
        spool.append("position", *[b"{}"] * number)
        spool.confirm(spool.epoch, 2)
        spool.close()
    row = status.read(folder(tmp_path, sent=0, confirmed=0))
    assert (row["confirmed"], row["waiting"]) == (4, 4)
    handle.close()
