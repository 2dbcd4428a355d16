"""The `vedette` command in this process, as `main` runs it: quick, where a process of its own adds nothing."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from click.testing import CliRunner

from pipeline.__main__ import cli
from pipeline.ports import UserError


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def vedette(*words: str | Path) -> Done:
    """Any exception but a person's mistake is raised, as a traceback would be."""
    result = CliRunner().invoke(cli, [str(word) for word in words])
    if isinstance(result.exception, UserError):
        return Done(2, result.stdout, f"{result.stderr}vedette: {result.exception}\n")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)
