"""The units in config/systemd: systemd itself reads them, and they start commands that exist."""

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.__main__ import COMMANDS
from tests.conftest import ROOT, skip_or_fail
from tests.live import install

UNITS = sorted((ROOT / "config" / "systemd").glob("*.service"))
BIN = "/opt/vedette/.venv/bin"
MOST_EXPOSED = 25  # ten times systemd's own mark of a unit: 0 is locked up, 100 may do anything

each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)


@pytest.fixture(scope="session")
def analyze() -> Path:
    """systemd's checker."""
    try:
        return install.debian("systemd-analyze", "systemd")
    except install.Missing as missing:
        skip_or_fail(missing)


def section(unit: Path, name: str) -> configparser.SectionProxy:
    """A section of a unit file; a key given twice keeps its last value."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    return parser[name]


@each_unit
def test_systemd_understands_it(unit: Path, analyze: Path, tmp_path: Path) -> None:
    """As a copy that names this machine's programs, since the ones in /opt are not installed here."""
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace(BIN, str(Path(sys.executable).parent)))
    for other in (ROOT / "config" / "systemd").iterdir():
        if other.name != unit.name:
            (tmp_path / other.name).symlink_to(other)
    done = subprocess.run([analyze, "verify", "--man=no", copy], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if unit.stem.rstrip("@") in line]
    assert done.returncode == 0, done.stderr
    assert not said


@each_unit
def test_it_starts_a_command_of_ours(unit: Path) -> None:
    program, command = section(unit, "Service")["ExecStart"].split()[:2]
    assert Path(program).parent == Path(BIN)
    assert command in COMMANDS if Path(program).name == "vedette" else command == "run"


@each_unit
def test_it_never_gives_up(unit: Path) -> None:
    assert section(unit, "Service")["Restart"] == "always"
    assert section(unit, "Unit")["StartLimitIntervalSec"] == "0"


@each_unit
def test_it_may_do_little(unit: Path, analyze: Path) -> None:
    done = subprocess.run(
        [analyze, "security", "--offline=yes", f"--threshold={MOST_EXPOSED}", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-200:] + done.stderr
