"""Evidence frames in a folder, by content: `ab/cd/abcd…` is the SHA-256 of the bytes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.ports import Retryable, UserError
from pipeline.settings import Settings

KEY = re.compile(r"[0-9a-f]{64}")
FULL = (errno.ENOSPC, errno.EDQUOT)


def open_blobs(settings: Settings) -> FolderBlobs:
    """The evidence folder of `settings.blobs`."""
    return FolderBlobs(Path(settings.blobs.path))


class FolderBlobs:
    """`ports.Blobs`: a file is whole or not there, also after a power cut."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes) -> str:
        """Durable on return; the same bytes again are kept longer. Raises Retryable when the disk is full."""
        key = hashlib.sha256(data).hexdigest()
        path = self._path(key)
        with self._judged():
            if path.exists() and path.stat().st_size == len(data):
                os.utime(path)
            else:
                self._write(path, data)
        return key

    def get(self, key: str) -> bytes:
        """The bytes of `key`. KeyError if it is unknown, expired, or no longer what was put."""
        if not KEY.fullmatch(key):
            raise KeyError(key)
        try:
            data = self._path(key).read_bytes()
        except FileNotFoundError:
            raise KeyError(key) from None
        if hashlib.sha256(data).hexdigest() != key:
            raise KeyError(f"{key}: {self._path(key)} is damaged")
        return data

    def forget(self, before: int) -> int:
        """Delete what was last put before a time (microseconds); returns how many."""
        gone = 0
        for path in self._folder.glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/*"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime_ns // 1000 < before:
                    path.unlink()
                    gone += 1
        return gone

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / key[2:4] / key

    def _write(self, path: Path, data: bytes) -> None:
        """Under another name first, synced; then into place, and the folder synced."""
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
        _sync(path.parent)

    @contextlib.contextmanager
    def _judged(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in FULL:
                raise Retryable(5, f"{self._folder}: {error.strerror}") from error
            raise UserError(f"{self._folder}: cannot keep evidence there: {error.strerror}") from error


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
