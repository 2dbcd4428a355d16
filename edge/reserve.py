"""Room set aside on the disk, given up when the disk is full, so that deleting is still possible.

SQLite needs a little room even to delete. Without it a spool that has filled the disk could never forget what has
been confirmed, and would stay full for good.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

SIZE = 8 << 20


class Reserve:
    """A file of `SIZE` bytes beside the spool. None of its methods raises: without room there is no reserve."""

    def __init__(self, path: Path, size: int = SIZE) -> None:
        self._path = path
        self._size = size

    def keep(self) -> bool:
        """Set the room aside if it is not, and the disk has twice as much left; whether it is set aside now."""
        try:
            if self._path.exists():
                return True
            if shutil.disk_usage(self._path.parent).free < 2 * self._size:
                return False
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
        except OSError:
            self.give_up()
            return False
        return True

    def give_up(self) -> bool:
        """Free the room; whether there was any."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
