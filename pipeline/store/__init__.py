"""Where time series are kept: `open_store` gives the store that the settings name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.message import Refusal
from pipeline.ports import Store
from pipeline.settings import Settings

Refused = Callable[[Sequence[Refusal]], None]
"""Takes rows that the store's server refuses for good, with its reason."""


def open_store(settings: Settings, refused: Refused | None = None) -> Store:
    """The store of `settings.store`. Nothing is opened or connected before the first call.

    `refused` gets what the server refuses for good, as quarantine entries; without it they are logged.
    """
    if settings.store.engine == "sqlite":
        from pipeline.store.sqlite import SqliteStore

        return SqliteStore(Path(settings.store.path))
    from pipeline.store.influx import InfluxStore

    return InfluxStore(settings.store, refused)
