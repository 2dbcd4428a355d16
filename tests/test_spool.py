"""The spool: numbers without holes, nothing forgotten before its receipt, bounded, and alive on a bad disk."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.errors import SpoolError, TooLarge
from edge.spool import EMPTY_BODY, OVERHEAD, Message, Spool
from edge.spoolfile import CHANCE, damaged
from pipeline import wire
from pipeline.message import Fixes, Gap

BODY = b'{"fixes":[]}'


def seqs(spool: Spool) -> list[int]:
    return [message.seq for message in spool.pending(0, 10_000)]


def test_numbers_run_from_one_and_go_on_after_a_restart_with_the_same_epoch(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", clock=lambda: 1000.5)
    assert spool.append("position", b"{1}", b"{2}") == 2
    assert spool.epoch // CHANCE == 1_000_500
    assert spool.confirm(spool.epoch, 2)
    spool.close()
    again = Spool(tmp_path / "spool.db", clock=lambda: 2000.0)
    assert (again.epoch, again.base, again.last) == (spool.epoch, 3, 2)
    assert again.append("frame", b"x") == 3
    assert again.pending(0, 10) == [(3, "frame", b"x")]


def test_confirm_deletes_up_to_and_including_and_ignores_other_epochs(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    spool.append("position", *[BODY] * 5)
    assert not spool.confirm(spool.epoch + 1, 5)
    assert spool.base == 1
    assert spool.confirm(spool.epoch, 3)
    assert seqs(spool) == [4, 5]
    assert (spool.base, spool.bytes) == (4, 2 * (len(BODY) + OVERHEAD))


def test_pending_gives_a_limited_run_after_a_number(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    spool.append("position", *[BODY] * 9)
    assert [m.seq for m in spool.pending(4, 3)] == [5, 6, 7]


def test_summary_counts_what_waits_and_how_long(tmp_path: Path) -> None:
    now = iter([1.0, 7.0, 8.0])
    spool = Spool(tmp_path / "spool.db", clock=lambda: next(now))
    spool.append("position", BODY)
    spool.append("position", BODY)
    summary = spool.summary()
    assert (summary.waiting, summary.base, summary.last, summary.oldest) == (2, 1, 2, 7_000_000)
    spool.confirm(spool.epoch, 2)
    assert spool.summary()[2:5] == (3, 0, None)


def test_when_full_the_oldest_frames_give_way_then_readings_then_positions(tmp_path: Path) -> None:
    room = 4 * (1000 + OVERHEAD)
    spool = Spool(tmp_path / "spool.db", max_bytes=room)
    body = b"{" + b"x" * 999
    for kind in ("position", "reading", "frame", "frame"):
        spool.append(kind, body)
    left: list[list[str]] = []
    for _ in range(3):
        spool.append("position", body[:900])
        left.append([m.kind for m in spool.pending(0, 99) if m.body != EMPTY_BODY])
    assert left == [
        ["position", "reading", "frame", "position"],
        ["position", "reading", "position", "position"],
        ["position", "position", "position", "position"],
    ]
    assert seqs(spool) == [1, 2, 3, 4, 5, 6, 7], "a message that gave way keeps its number"
    spool.append("position", body)
    assert seqs(spool) == [5, 6, 7, 8], "but not at the head"
    assert spool.dropped == 4
    assert spool.bytes <= room
    assert wire.decode(EMPTY_BODY, Fixes) == Fixes()


def test_an_endless_outage_fills_it_only_with_the_newest(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", max_bytes=2000)
    for i in range(500):
        spool.append("frame" if i % 3 else "position", b"{" + b"%150d" % i)
    held = spool.pending(0, 999)
    assert [m.seq for m in held] == list(range(spool.base, 501)), "the head is deleted, no hole after it"
    assert held[-1].body.endswith(b"499")
    assert spool.bytes <= 2000
    assert spool.dropped == 500 - sum(m.body != EMPTY_BODY for m in held)
    assert Spool(tmp_path / "spool.db").dropped == spool.dropped


def test_a_message_larger_than_the_spool_is_refused_and_counted(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", max_bytes=300)
    spool.append("position", BODY)
    with pytest.raises(SpoolError, match="spool full: 300 bytes"):
        spool.append("frame", b"x" * 400)
    assert (seqs(spool), spool.dropped) == ([1], 1), "refused as a whole: nothing gave way for it"
    assert spool.append("position", BODY) == 2


def test_the_cursor_moves_with_the_messages(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", max_bytes=300)
    assert spool.cursor == ""
    spool.append("position", BODY, cursor="7")
    spool.append("position", BODY)
    with pytest.raises(SpoolError):
        spool.append("frame", b"x" * 400, cursor="8")
    assert spool.cursor == Spool(tmp_path / "spool.db").cursor == "7"


def test_the_bytes_it_counts_are_the_bytes_it_holds(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", max_bytes=20_000)
    for i in range(200):
        spool.append(("frame", "position", "reading")[i % 3], b"{" + b"x" * (i * 7 % 500 + 50))
        if i % 50 == 49:
            spool.confirm(spool.epoch, i - 30)
    held = sum(len(m.body) + OVERHEAD for m in spool.pending(0, 999))
    assert spool.bytes == held <= 20_000
    assert Spool(tmp_path / "spool.db").bytes == held


def test_a_message_no_broker_would_take_is_refused_before_it_is_numbered(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    with pytest.raises(TooLarge, match=r"a frame of 3,000,000 bytes; one message may have 2,096,896"):
        spool.append("frame", b"\x81" * 3_000_000)
    assert (spool.last, spool.dropped) == (0, 0)


@pytest.mark.parametrize("damage", ["garbage", "cut", "scribbled"])
def test_a_damaged_file_is_moved_aside_and_a_new_epoch_begins(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "spool.db"
    spool = Spool(path)
    spool.append("position", *[b"{" + b"x" * 400] * 200)
    spool.close()
    data = path.read_bytes()
    bad = {"garbage": os.urandom(9000), "cut": data[:5000], "scribbled": data[:4096] + os.urandom(len(data) - 4096)}
    path.write_bytes(bad[damage])
    time.sleep(0.002)
    again = Spool(path)
    assert again.epoch > spool.epoch
    assert again.append("position", BODY) == 1
    assert [p.name for p in tmp_path.glob("spool.db.damaged-*")]
    assert "is damaged" in caplog.text


def test_a_file_damaged_while_it_is_open_is_replaced_in_flight(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", clock=lambda: 5.0)
    former = spool.epoch
    with sqlite3.connect(tmp_path / "spool.db") as other:
        other.execute("DROP TABLE message")
    assert spool.append("position", BODY) == 1
    assert spool.epoch > former, "the clock stood still, the epoch did not"


def test_a_disk_that_takes_no_more_is_an_error_that_passes(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    (pages,) = spool._db.execute("PRAGMA page_count").fetchone()
    spool._db.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(SpoolError, match="full"):
        spool.append("frame", b"x" * 100_000)
    assert (spool.last, spool.dropped, seqs(spool)) == (0, 1, [])
    spool._db.execute("PRAGMA max_page_count = 100000")
    assert spool.append("frame", b"x" * 100_000) == 1


def test_a_folder_that_cannot_be_made_is_an_error_naming_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match=r"file/spool\.db: cannot make the spool"):
        Spool(tmp_path / "file" / "spool.db")


def test_a_spool_restored_from_an_old_copy_begins_anew_with_what_waits(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", clock=lambda: 9.0)
    spool.append("position", *(b"{%d}" % i for i in range(6)))
    former = spool.epoch
    spool.confirm(former, 3)
    spool.renew()
    assert (spool.epoch > former, spool.last, spool.base) == (True, 3, 1)
    assert [m.body for m in spool.pending(0, 9)] == [b"{3}", b"{4}", b"{5}"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB: the reserve takes 8 of them."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_really_full_disk_is_told_and_a_receipt_frees_it(small_disk: Path) -> None:
    spool = Spool(small_disk / "spool.db")
    with pytest.raises(SpoolError, match="full"):
        for _ in range(2000):
            spool.append("frame", os.urandom(20_000))
    (small_disk / "somebody else's").write_bytes(b"x" * shutil.disk_usage(small_disk).free)
    with pytest.raises(SpoolError, match="full"):
        spool.append("position", b"{" + b"x" * 9000)
    last = spool.last
    assert spool.summary().waiting == last, "what was kept can still be read and sent"
    assert spool.confirm(spool.epoch, last), "deleting works, on the reserve"
    assert spool.summary().waiting == 0
    assert spool.append("position", BODY) == last + 1
    spool.close()
    assert [m.seq for m in Spool(small_disk / "spool.db").pending(0, 10)] == [last + 1]


WRITER = """
import sys
from pathlib import Path
from edge.spool import Spool
spool = Spool(Path(sys.argv[1]))
while True:
    print(spool.append("position", b"{}", b"{}"), flush=True)
"""


def test_what_it_said_it_has_it_still_has_after_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    said = 0
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        for _ in range(20):
            said = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        rest = child.communicate()[0].split(b"\n")
        said = int(rest[-2]) if len(rest) > 1 else said
    held = seqs(Spool(path))
    assert held == list(range(1, len(held) + 1))
    assert len(held) >= said


def test_ten_thousand_messages_a_second_in_groups(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    bodies = [b"{" + b"x" * 150] * 500
    started = time.perf_counter()
    for _ in range(20):
        last = spool.append("position", *bodies)
        spool.confirm(spool.epoch, last)
    assert 10_000 / (time.perf_counter() - started) > 10_000


# ---------------------------------------------------------------- what gives way, and what is told of it


def kinds(spool: Spool) -> str:
    """The first letters of what still has a body."""
    return "".join(m.kind[0] for m in spool.pending(0, 9999) if m.body != EMPTY_BODY)


def gaps(messages: list[Message]) -> list[Gap]:
    bodies = [wire.decode(m.body, Fixes) for m in messages if m.kind == "position" and m.body != BODY]
    return [body.gap for body in bodies if body.gap is not None]


def test_readings_are_thinned_every_second_one_and_not_the_oldest_half(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", max_bytes=16 * (100 + OVERHEAD))
    for i in range(16):
        spool.append("reading", b"{%98d}" % i)
    spool.append("reading", b"{%98d}" % 16)
    left = [int(m.body[1:-1]) for m in spool.pending(0, 99) if m.body != EMPTY_BODY]
    assert left == [0, 2, 4, 6, 8, 10, 12, 14, 16]
    assert spool.dropped == 8


def test_evidence_never_gives_way_and_new_messages_are_refused_instead(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", max_bytes=4 * (1000 + OVERHEAD) + 200)
    body = b"{" + b"x" * 999
    spool.append("frame", body, keep=True)
    for kind in ("frame", "position", "reading"):
        spool.append(kind, body)
    for _ in range(3):
        spool.append("frame", body, keep=True)
    assert kinds(spool) == "ffff"
    with pytest.raises(SpoolError, match="nothing left that could give way"):
        spool.append("position", body)
    assert kinds(spool) == "ffff"
    assert spool.tell_gaps()
    assert {gap.kind: gap.count for gap in gaps(spool.pending(0, 99))} == {"frame": 1, "position": 1, "reading": 1}


def test_a_gap_says_kind_count_and_from_when_to_when_and_is_told_once(tmp_path: Path) -> None:
    now = iter(range(1, 100))
    spool = Spool(tmp_path / "spool.db", max_bytes=5 * (100 + OVERHEAD), clock=lambda: float(next(now)))
    made = spool.epoch // CHANCE // 1000
    for _ in range(8):
        spool.append("frame", b"\x81" * 100)
    assert spool.tell_gaps()
    assert not spool.tell_gaps()
    second = 1_000_000
    assert gaps(spool.pending(0, 99)) == [Gap("frame", 3, (made + 1) * second, (made + 3) * second)]
    assert [m.seq for m in spool.pending(0, 99)] == list(range(4, 10)), "it has the next number"
    for _ in range(9):
        spool.append("frame", b"\x81" * 100)
    assert len(gaps(spool.pending(0, 99))) == 1, "a gap does not give way"


def test_a_gap_survives_a_restart_and_counts_what_the_disk_refused(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", max_bytes=300)
    for _ in range(2):
        with pytest.raises(SpoolError):
            spool.append("frame", b"x" * 400)
    assert not spool.tell_gaps(), "the disk has not taken the word of it yet"
    spool.append("position", BODY)
    spool.close()
    again = Spool(tmp_path / "spool.db", max_bytes=300)
    assert again.tell_gaps()
    assert [(gap.kind, gap.count) for gap in gaps(again.pending(0, 99))] == [("frame", 2)]


def test_a_damaged_spool_is_told_as_a_gap_and_only_the_last_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    for second in (10, 20, 30):
        path.write_bytes(os.urandom(9000))
        spool = Spool(path, clock=lambda second=second: float(second))  # type: ignore[misc]
        spool.tell_gaps()
        assert gaps(spool.pending(0, 9)) == [Gap("spool", 1, second * 1_000_000, second * 1_000_000)]
        spool.close()
    assert [p.name for p in tmp_path.glob("*.damaged-*")] == ["spool.db.damaged-30"]
    assert damaged(path) == 30


def test_a_device_imaged_anew_with_the_same_wrong_clock_has_another_epoch(tmp_path: Path) -> None:
    epochs = {Spool(tmp_path / f"{i}.db", clock=lambda: 0.0).epoch for i in range(8)}
    assert len(epochs) > 1
    assert max(epochs) < 2**53


def test_a_file_of_an_older_version_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    spool = Spool(path)
    spool.append("position", BODY)
    spool.close()
    with sqlite3.connect(path) as db:
        db.execute("ALTER TABLE message DROP COLUMN keep")
        db.execute("DROP TABLE gap")
    again = Spool(path)
    assert again.append("frame", b"x", keep=True) == 2
    assert (again.epoch, seqs(again)) == (spool.epoch, [1, 2])


def test_pending_stops_at_so_many_bytes(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    spool.append("frame", *[b"x" * 1000] * 9)
    assert [m.seq for m in spool.pending(0, 9, 2500)] == [1, 2, 3]


def test_a_disk_that_was_read_only_is_written_again_by_itself(small_disk: Path) -> None:
    Spool(small_disk / "spool.db").close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(SpoolError, match=r"spool\.db: .*(read-?only|unable to open)"):
        spool = Spool(small_disk / "spool.db")
        spool.append("position", BODY)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert Spool(small_disk / "spool.db").append("position", BODY) == 1


def test_a_connection_that_could_only_read_is_opened_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    spool._db.execute("PRAGMA query_only = ON")  # the error is the one of a read-only file
    assert spool.append("position", BODY) == 1
