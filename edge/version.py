"""The installed version: of the edge package, or of the whole of Vedette."""

from __future__ import annotations

import contextlib
import importlib.metadata


def version() -> str:
    """The installed version, for the status message."""
    for package in ("vedette-edge", "vedette"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(package)
    return ""
