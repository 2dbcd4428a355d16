"""Values of commands and files of this machine."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edge.errors import SourceError
from edge.rows import CommandRow, FileRow
from edge.sensor.machine import command_value, file_value


def command(script: str, **more: Any) -> CommandRow:
    return CommandRow(channel="x", argv=[sys.executable, "-S", "-c", script], **more)


def file(path: Path, text: str, **more: Any) -> FileRow:
    path.write_text(text)
    return FileRow(channel="x", path=str(path), **more)


def test_a_command_prints_a_number_json_or_a_line_with_one() -> None:
    assert command_value(command("print(21.5)")) == 21.5
    assert command_value(command("print('{\"a\": [3]}')", pointer="/a/0")) == 3
    assert command_value(command("print('load 0.25 of 4')", pattern=r"load ([\d.]+)")) == 0.25


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("import sys; print('no sensor'); sys.exit(3)", "exit 3: 'no sensor'"),
        ("print('warm')", "'warm': not a number"),
        ("while True: print('x' * 1000)", "prints without end"),
    ],
)
def test_a_command_that_fails_says_how(script: str, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        command_value(command(script))


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(SourceError, match=r"/none/such: No such file"):
        command_value(CommandRow(channel="x", argv=["/none/such"]))


@pytest.mark.parametrize("closes", ["", "import os; os.close(1); os.close(2); "])
def test_a_command_that_takes_too_long_is_killed_with_all_it_started(tmp_path: Path, closes: str) -> None:
    pids = tmp_path / "pids"
    script = (
        f"{closes}import os, subprocess, sys, time; child = subprocess.Popen(['sleep', '60']);"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}'); time.sleep(60)"
    )
    before = time.monotonic()
    with pytest.raises(SourceError, match="takes too long: killed"):
        command_value(command(script, timeout_s=2))
    assert time.monotonic() - before < 10
    time.sleep(0.2)
    for pid in pids.read_text().split():
        state = Path(f"/proc/{pid}/stat")
        assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_file_is_read_now_or_bears_its_own_time(tmp_path: Path) -> None:
    row = file(tmp_path / "t", "45123\n")
    assert file_value(row) == (45123, None)
    row = file(tmp_path / "t", '{"x": 1}', pointer="/x", max_age_s=60)
    changed = time.time() - 30
    os.utime(row.path, (changed, changed))
    value, at = file_value(row)
    assert value == 1
    assert at == pytest.approx(changed * 1e6, abs=10)


def test_a_file_that_is_old_or_not_there_says_so(tmp_path: Path) -> None:
    row = file(tmp_path / "t", "1", max_age_s=60)
    os.utime(row.path, (time.time() - 100, time.time() - 100))
    with pytest.raises(SourceError, match=r"has not changed for 100 s, 60 are allowed"):
        file_value(row)
    Path(row.path).unlink()
    with pytest.raises(SourceError, match=r"t: No such file"):
        file_value(row)
    with pytest.raises(SourceError, match="Is a directory"):
        file_value(FileRow(channel="x", path=str(tmp_path)))
