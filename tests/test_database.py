"""The SQL database in bad weather: what is wrong is named, what may pass asks for time."""

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, insert, select

from pipeline.database import Database
from pipeline.ports import NotConnected, Retryable, UserError
from tests.live import install
from tests.live.process import free_port
from tests.live.servers import PostgreSQL

METADATA = MetaData()
thing = Table("thing", METADATA, Column("id", Integer, primary_key=True), Column("data", LargeBinary))


def database(url: str, *, version: int = 1, durable: bool = True) -> Database:
    return Database(url, METADATA, part="things", version=version, durable=durable)


def add(db: Database, size: int = 0) -> None:
    with db.writing() as connection:
        connection.execute(insert(thing).values(data=bytes(size)))


def count(db: Database) -> int:
    with db.reading() as connection:
        return len(connection.execute(select(thing.c.id)).all())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "things.db"


@pytest.fixture
def db(path: Path) -> Iterator[Database]:
    made = database(f"sqlite:///{path}")
    yield made
    made.close()


def test_nothing_is_made_before_the_first_use(db: Database, path: Path) -> None:
    assert not path.parent.exists()
    assert count(db) == 0
    assert path.exists()


def test_an_error_in_the_block_takes_everything_back(db: Database) -> None:
    with pytest.raises(RuntimeError), db.writing() as connection:
        connection.execute(insert(thing).values(data=b""))
        raise RuntimeError
    assert count(db) == 0


def test_a_commit_is_synced_unless_it_is_said_again_anyway(db: Database, path: Path) -> None:
    for made, synchronous in ((db, 2), (database(f"sqlite:///{path}", durable=False), 1)):
        with made.reading() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == synchronous
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_reader_does_not_wait_for_a_writer(db: Database) -> None:
    add(db)
    with db.writing() as connection:
        connection.execute(insert(thing).values(data=b""))
        begin = time.monotonic()
        assert count(db) == 1
        assert time.monotonic() - begin < 2
    assert count(db) == 2


def test_writers_take_turns_without_an_error(db: Database) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: add(db), range(80)))
    assert count(db) == 80


def test_another_version_is_refused_and_named(db: Database, path: Path) -> None:
    add(db)
    with pytest.raises(UserError, match=r"things\.db.*things schema 1.*reads 2"):
        count(database(f"sqlite:///{path}", version=2))
    assert count(db) == 1


def test_a_damaged_file_is_named(db: Database, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is not a database, whatever its name says " * 99)
    with pytest.raises(UserError, match=r"things\.db: not a sound SQLite database"):
        count(db)


def test_a_full_disk_asks_for_time(db: Database) -> None:
    add(db)
    with db.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(Retryable, match="full"):
        add(db, 100_000)
    assert count(db) == 1


def test_a_lock_held_for_long_asks_for_time(db: Database, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.database.BUSY_S", 0.05)
    add(db)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Retryable, match="locked"):
        add(db)
    holder.close()


@pytest.mark.parametrize("url", ["things.db", "sqlite://host/x", "nosuch+driver://x", "postgresql+nosuch://x"])
def test_an_address_that_is_none_is_named(url: str) -> None:
    with pytest.raises(UserError, match="database address"):
        count(database(url))


def test_nobody_there_is_not_connected_and_the_password_stays_hidden() -> None:
    with pytest.raises(NotConnected, match="127") as caught:
        count(database(f"postgresql+psycopg://vedette:secret@127.0.0.1:{free_port()}/vedette"))
    assert "secret" not in str(caught.value)


def test_a_postgresql_that_was_killed_is_not_connected_until_it_is_back() -> None:
    try:
        server = PostgreSQL().start()
    except install.Missing as missing:
        pytest.skip(str(missing))
    db = database(server.url)
    add(db)
    server.kill()
    with pytest.raises(NotConnected):
        count(db)
    server.start()
    assert count(db) == 1
    db.close()
    server.close()
