"""What commands that read the alarm book and the store share: opening them, who asks, and plain tables."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from sqlalchemy import make_url

from pipeline.ports import AlarmBook, NotConnected, Retryable, Store, UserError
from pipeline.settings import Settings

HINT = "start `vedette up` first, or name the folder it was given with --data"


@contextmanager
def alarm_book(settings: Settings) -> Iterator[AlarmBook]:
    """The alarm book that is there: a command that reads must not leave an empty one behind.

    Raises UserError when there is none, or when it cannot be reached now.
    """
    from pipeline.alarms.book import open_book

    url = make_url(settings.alarms.url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise UserError(f"no alarm book {url.database}: {HINT}")
    book = open_book(settings)
    try:
        with reached():
            yield book
    finally:
        book.close()


@contextmanager
def series_store(settings: Settings, what: str = "positions") -> Iterator[Store]:
    """The store that is there; `what`: positions, frames or readings. Raises as `alarm_book` does."""
    from pipeline.store import open_store

    if not has_file(settings, what):
        raise UserError(f"no {what} in {settings.store.path}: {HINT}")
    store = open_store(settings)
    try:
        with reached():
            yield store
    finally:
        store.close()


def has_positions(settings: Settings) -> bool:
    """Whether there is a store that may hold some."""
    return has_file(settings, "positions")


def has_file(settings: Settings, what: str) -> bool:
    """Whether there is a store that may hold positions, frames or readings."""
    return settings.store.engine != "sqlite" or (Path(settings.store.path) / f"{what}.db").is_file()


@contextmanager
def reached() -> Iterator[None]:
    """A person at a prompt decides when to try again; a worker would wait."""
    try:
        yield
    except (NotConnected, Retryable) as error:
        raise UserError(f"{error}: check that it runs, then try again") from None


def whoami() -> str:
    """The name under which an action stands in the history: the login name, or the number of a user without one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"uid {os.getuid()}"


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell, the last one free: nothing is cut, so that it can be searched."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())
