"""What SQLite's errors ask of the caller, in the ports' own words."""

from __future__ import annotations

import sqlite3

from pipeline.ports import Retryable, UserError, VedetteError


def judgement(path: str, error: sqlite3.Error) -> VedetteError | None:
    """The error to raise for `error` on the file `path`; None when it is a bug of ours."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return Retryable(5, f"{path}: {error}")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Retryable(1, f"{path}: {error}")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return UserError(f"{path}: not a sound SQLite database ({error}): move it away, or restore a copy of it")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return UserError(f"{path}: {error}: check that the folder exists and this user may write there")
    return None
