"""Options that commands share: `--config` and `--data`, given to the command as one `settings`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from pipeline import settings
from pipeline.settings import Settings
from pipeline.wire import parse_rfc3339

SETTINGS_FILE = "vedette.toml"
"""Name of the settings file that `vedette up` writes into its data folder."""

R = TypeVar("R")


class Moment(click.ParamType):
    """An RFC 3339 time, as microseconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else parse_rfc3339(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time with an offset: write it like 2026-01-31T12:00:00Z", param, ctx)


def settings_for(data: Path | None, config: Path | None) -> Settings:
    """Settings from `config`, else from the file `vedette up` left in `data`, else from the environment.

    Raises UserError for a file that is missing or not understood.
    """
    if config is None and data is not None and (data / SETTINGS_FILE).is_file():
        config = data / SETTINGS_FILE
    return settings.load(config, data=data.resolve() if data else None)


def settings_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a click command the options --config and --data, and its function the argument `settings`."""

    @click.option(
        "--config",
        type=click.Path(path_type=Path),
        help="Settings file (default: $VEDETTE_CONFIG, else the one in --data, else built-in defaults).",
    )
    @click.option(
        "--data",
        type=click.Path(path_type=Path),
        help="Data folder of the system to talk to, as given to `vedette up --data`.",
    )
    @functools.wraps(command)
    def with_settings(*args: Any, config: Path | None, data: Path | None, **options: Any) -> R:
        return command(*args, settings=settings_for(data, config), **options)

    return with_settings
