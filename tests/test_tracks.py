"""Recorded tracks as live devices: grouping, promises, pace, and going on where they stood."""

import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from edge.errors import SetupError
from edge.outlet import Outlet
from edge.settings import Tracks
from edge.spool import Spool
from edge.tracks import Pacer, TrackSource, bodies
from pipeline import wire
from pipeline.message import SECOND, Fix, Fixes
from pipeline.trackfile import read_fixes


def fixes(*seconds: float) -> list[Fix]:
    return [Fix("bus-1", round(s * SECOND), 30.0, -97.0) for s in seconds]


def write(path: Path, seconds: int, step: float = 1.0) -> Path:
    rows = [
        f"bus-{i % 3},{wire.rfc3339(round((1_480_000_000 + i * step) * SECOND))},30.{i:05d},-97"
        for i in range(seconds)
    ]
    path.write_text("unit,at,lat,lon\n" + "\n".join(rows) + "\n")
    return path


def sent(spool: Spool) -> list[Fixes]:
    return [wire.decode(m.body, Fixes) for m in spool.pending(0, 1_000_000)]


def test_messages_hold_at_most_a_batch_and_only_what_is_due_together() -> None:
    whole = fixes(*range(10))
    assert [len(b.fixes) for b in bodies(whole, 4, 0)] == [4, 4, 2], "as fast as possible: full batches"
    assert [len(b.fixes) for b in bodies(whole, 4, 1.0)] == [1] * 10, "as recorded: one a second"
    assert [len(b.fixes) for b in bodies(whole, 4, 20.0)] == [4, 4, 2], "a fifth of a second is four seconds of it"


@pytest.mark.parametrize("speed", [0.0, 1.0, 50.0])
def test_promises_are_kept_and_made_about_once_a_minute_and_at_the_end(speed: float) -> None:
    whole = fixes(*(i * 1.5 for i in range(300)))
    seen, promises = 0, []
    for body in bodies(whole, 7, speed):
        seen += len(body.fixes)
        if body.until is not None:
            promises.append(body.until)
            assert all(fix.at > body.until for fix in whole[seen:]), "a fix came after the promise"
    assert seen == 300
    assert promises[-1] == whole[-1].at
    assert len(promises) == pytest.approx(450 / 60 + 1, abs=2)
    assert all(b - a >= 59 * SECOND for a, b in pairwise(promises[:-1]))


def test_equal_times_on_both_sides_of_a_batch_are_not_promised_too_early() -> None:
    whole = fixes(*[0.0, 61.0, 61.0, 61.0, 61.0])
    first, second, last = bodies(whole, 2, 0)
    assert [b.until for b in (first, second, last)] == [61 * SECOND - 1, None, 61 * SECOND]


def test_no_fixes_no_message() -> None:
    assert list(bodies([], 10, 1.0)) == []


def test_the_pacer_maps_event_time_to_waiting() -> None:
    pacer = Pacer(first=0, speed=10.0, started=100.0)
    assert pacer.wait_s(50 * SECOND, 101.0) == pytest.approx(4.0)
    assert Pacer(first=0, speed=0.0, started=100.0).wait_s(50 * SECOND, 0.0) == 0


def test_it_takes_as_long_as_the_recording_says(tmp_path: Path) -> None:
    path, spool = write(tmp_path / "a.csv", 21), Spool(tmp_path / "spool.db")
    started = time.monotonic()
    TrackSource(Tracks(files=[str(path)], speed=20.0)).run(Outlet(spool, lambda: None), threading.Event())
    assert time.monotonic() - started == pytest.approx(1.0, abs=0.4)
    assert [f for b in sent(spool) for f in b.fixes] == list(read_fixes([path]))


def test_stopped_and_started_again_it_goes_on_where_it_stood(tmp_path: Path) -> None:
    path, spool, stop = write(tmp_path / "a.csv", 200), Spool(tmp_path / "spool.db"), threading.Event()
    settings = Tracks(files=[str(path)], speed=100.0, batch=10)
    threading.Timer(0.7, stop.set).start()
    TrackSource(settings).run(Outlet(spool, lambda: None), stop)
    before = sum(len(b.fixes) for b in sent(spool))
    assert 10 < before < 190
    TrackSource(settings).run(Outlet(spool, lambda: None), threading.Event())
    assert [f for b in sent(spool) for f in b.fixes] == list(read_fixes([path]))
    held = spool.last
    TrackSource(settings).run(Outlet(spool, lambda: None), threading.Event())
    assert spool.last == held, "all was sent before"
    again = Tracks(files=[str(path)], speed=0, run="once more")
    TrackSource(again).run(Outlet(spool, lambda: None), threading.Event())
    assert spool.last == held + 1, "another run begins at the beginning: 200 fixes in one batch"


def test_it_waits_for_room_rather_than_drop(tmp_path: Path) -> None:
    path, stop = write(tmp_path / "a.csv", 2000), threading.Event()
    spool = Spool(tmp_path / "spool.db", max_bytes=20_000)
    source = TrackSource(Tracks(files=[str(path)], speed=0, batch=20))
    thread = threading.Thread(target=source.run, args=(Outlet(spool, lambda: None), stop))
    thread.start()
    seen: list[Fix] = []
    deadline = time.monotonic() + 20
    while thread.is_alive() and time.monotonic() < deadline:
        assert spool.bytes <= 20_000
        for message in spool.pending(0, 100):
            seen += wire.decode(message.body, Fixes).fixes
            spool.confirm(spool.epoch, message.seq)
        time.sleep(0.01)
    thread.join(5)
    seen += [f for b in sent(spool) for f in b.fixes]
    assert (spool.dropped, seen) == (0, list(read_fixes([path])))


def test_a_bad_line_ends_it_or_is_left_out_and_told(tmp_path: Path) -> None:
    path, spool = write(tmp_path / "a.csv", 5), Spool(tmp_path / "spool.db")
    path.write_text(path.read_text() + "bus-1,never,1,2\n")
    with pytest.raises(SetupError, match=r"a\.csv, line 7: column 'at': 'never'"):
        TrackSource(Tracks(files=[str(path)], speed=0)).run(Outlet(spool, lambda: None), threading.Event())
    source = TrackSource(Tracks(files=[str(path)], speed=0, on_bad="skip"))
    source.run(Outlet(spool, lambda: None), threading.Event())
    assert source.trouble == "1 of 6 lines left out"
    assert sum(len(b.fixes) for b in sent(spool)) == 5
