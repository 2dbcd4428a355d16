"""`vedette health`: asking leaves nothing behind, and says where it looked."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from pipeline.__main__ import cli


def test_a_folder_without_a_system_is_named_and_stays_empty(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["health", "bridge", "--data", str(tmp_path)])
    assert done.exit_code == 1
    assert f"no state database {tmp_path}/state.db" in done.stdout
    assert list(tmp_path.iterdir()) == []
