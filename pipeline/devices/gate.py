"""Who may speak, for the bridge: the registry, read again within a second of every change.

MQTT does not tell a subscriber which certificate a publisher had. The broker's access list ties the certificate's
name to the topic; the bridge ties the topic to the payload (`device_mismatch`) and, here, to the registry.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from pipeline.devices.registry import FILE, Registry, read
from pipeline.ports import UserError

logger = logging.getLogger(__name__)
LOOK_EVERY_S = 1.0


class Gate:
    """`refusal(device)` is the reason to refuse it, or empty. A registry that cannot be read changes nothing."""

    def __init__(self, folder: Path, *, require_enrolled: bool, clock: Callable[[], float]) -> None:
        self._folder, self._require, self._clock = folder, require_enrolled, clock
        self._registry = Registry()
        self._stamp: tuple[int, ...] = ()
        self._look_at = clock()
        self.trouble = ""

    def refusal(self, device: str) -> str:
        """`device_revoked`, `device_unknown` or empty."""
        if self._clock() >= self._look_at:
            self._look_at = self._clock() + LOOK_EVERY_S
            self._refresh()
        known = self._registry.devices.get(device)
        if known is None:
            return "device_unknown" if self._require else ""
        return "device_revoked" if known.revoked is not None else ""

    def _refresh(self) -> None:
        try:
            stamp = _stamp(self._folder / FILE)
            if stamp != self._stamp:
                self._registry, self._stamp = read(self._folder), stamp
            self.trouble = ""
        except (UserError, OSError) as error:
            if not self.trouble:
                logger.error("who is enrolled cannot be read, what was known stays: %s", error)
            self.trouble = str(error)


def _stamp(path: Path) -> tuple[int, ...]:
    """Changes with every replacement of the file; empty where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size
