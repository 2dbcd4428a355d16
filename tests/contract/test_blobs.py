"""One suite for blobs: the double and the folder."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from pipeline.ports import Blobs
from pipeline.store.blobs import FolderBlobs
from tests.doubles import MemoryBlobs

HOUR = 3_600_000_000


@pytest.fixture(params=["memory", "folder"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return MemoryBlobs() if request.param == "memory" else FolderBlobs(tmp_path / "evidence")


@pytest.mark.parametrize("data", [b"", b"\xff\xd8 a picture", bytes(300_000)])
def test_bytes_come_back_by_their_hash(blobs: Blobs, data: bytes) -> None:
    key = blobs.put(data)
    assert key == hashlib.sha256(data).hexdigest()
    assert blobs.get(key) == data
    assert blobs.put(data) == key


@pytest.mark.parametrize("key", ["", "0" * 64, "../../etc/passwd", "A" * 64, "0" * 63 + "\n"])
def test_an_unknown_key_is_a_key_error(blobs: Blobs, key: str) -> None:
    blobs.put(b"something else")
    with pytest.raises(KeyError):
        blobs.get(key)


def test_all_or_nothing_is_forgotten_at_the_ends_of_time(blobs: Blobs) -> None:
    keys = [blobs.put(b"one"), blobs.put(b"two")]
    assert blobs.forget(0) == 0
    assert blobs.get(keys[0]) == b"one"
    assert blobs.forget(2**60) == 2
    with pytest.raises(KeyError):
        blobs.get(keys[1])


@pytest.fixture
def folder(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path)


def test_files_stand_in_two_levels_and_nothing_else_is_left(folder: FolderBlobs, tmp_path: Path) -> None:
    key = folder.put(b"x")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [tmp_path / key[:2] / key[2:4] / key]


def test_a_damaged_file_is_not_given_out(folder: FolderBlobs, tmp_path: Path) -> None:
    key = folder.put(b"evidence")
    path = tmp_path / key[:2] / key[2:4] / key
    path.write_bytes(b"evidencE")
    with pytest.raises(KeyError, match="damaged"):
        folder.get(key)


def test_a_file_cut_short_is_written_again(folder: FolderBlobs, tmp_path: Path) -> None:
    key = folder.put(b"evidence")
    (tmp_path / key[:2] / key[2:4] / key).write_bytes(b"evi")
    folder.put(b"evidence")
    assert folder.get(key) == b"evidence"


def test_the_old_are_forgotten_and_those_put_again_stay(folder: FolderBlobs, tmp_path: Path) -> None:
    old, again, new = (folder.put(data) for data in (b"old", b"again", b"new"))
    for key in (old, again):
        os.utime(tmp_path / key[:2] / key[2:4] / key, (1_000_000, 1_000_000))
    folder.put(b"again")
    assert folder.forget(time.time_ns() // 1000 - HOUR) == 1
    with pytest.raises(KeyError):
        folder.get(old)
    assert (folder.get(again), folder.get(new)) == (b"again", b"new")


def test_a_folder_that_is_not_there_yet_has_nothing_to_forget(tmp_path: Path) -> None:
    assert FolderBlobs(tmp_path / "none").forget(2**60) == 0
