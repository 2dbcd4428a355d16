"""Where the contract suites of the SQL adapters run: a file, and a schema of its own on a real PostgreSQL."""

import itertools
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

names = itertools.count()


def address(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """The SQLAlchemy address of a new, empty database of `kind`, `sqlite` or `postgres`."""
    if kind == "sqlite":
        return f"sqlite:///{folder}/made/book.db"
    url = make_url(request.getfixturevalue("postgres").url)
    name = f"contract{next(names)}"
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return url.update_query_dict({"options": f"-csearch_path={name}"}).render_as_string(hide_password=False)
