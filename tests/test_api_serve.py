"""Composition of the api process: listening, the token, what the map shows, retention, and the process itself."""

import asyncio
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from pipeline import settings as settings_module
from pipeline.alarms.book import open_book
from pipeline.api import serve
from pipeline.api.serve import DAY, address, forget, listen, scene_of, with_api
from pipeline.message import PositionBatch, Refusal
from pipeline.ports import UserError
from pipeline.settings import Api, Retention, Settings
from pipeline.store import open_store
from pipeline.store.blobs import open_blobs
from tests.desk import NOON, fixes, signal, wall

RULES = '[[rule]]\nname = "keep-out"\nkind = "geofence"\nfences = "fences.geojson"\non = "enter"\n'
SQUARE = [[[30.0, 60.0], [30.1, 60.0], [30.1, 60.1], [30.0, 60.1], [30.0, 60.0]]]
FENCES = {
    "type": "FeatureCollection",
    "features": [
        {"type": "Feature", "properties": {"id": "yard"}, "geometry": {"type": "Polygon", "coordinates": SQUARE}},
        {
            "type": "Feature",
            "properties": {"id": "well", "radius": 150.0},
            "geometry": {"type": "Point", "coordinates": [30.5, 60.5]},
        },
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with rules, fences, a fleet and settings in it."""
    (tmp_path / "rules.toml").write_text(RULES)
    (tmp_path / "fences.geojson").write_text(json.dumps(FENCES))
    (tmp_path / "fleet.csv").write_text("unit\nbus-1\n")
    (tmp_path / "vedette.toml").write_text(
        'data = "data"\n[rules]\nfile = "rules.toml"\n[fleet]\nfile = "fleet.csv"\n[api]\nport = 0\n'
    )
    return tmp_path


def test_a_port_in_use_is_named_with_the_fix() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} on 127\.0\.0\.1 is in use: .*--port"):
            listen("127.0.0.1", port)


def test_an_address_that_is_not_ours_is_a_clear_error() -> None:
    with pytest.raises(UserError, match=r"port 8080 on 203\.0\.113\.7 cannot be had"):
        listen("203.0.113.7", 8080)


def test_without_a_token_a_new_long_one_is_made_each_time() -> None:
    one, two = with_api(Settings(), 8080).api.token, with_api(Settings(), 8080).api.token
    assert one != two and len(one) >= 32
    assert address(with_api(Settings(), 81)).startswith("http://127.0.0.1:81/?token=")
    with pytest.raises(UserError, match="at least 8 characters"):
        with_api(Settings(api=Api(token="short")), 8080)


def test_a_public_name_is_not_an_address() -> None:
    with pytest.raises(UserError, match=r"public_host: 'https://a\.example/'"):
        with_api(Settings(api=Api(public_host="https://a.example/")), 8080)


@pytest.mark.parametrize(
    ("host", "shown"),
    [("0.0.0.0", "127.0.0.1"), ("localhost", "localhost"), ("::1", "[::1]"), ("10.0.0.9", "127.0.0.1")],
)
def test_the_address_that_is_printed_opens_on_this_machine(host: str, shown: str) -> None:
    settings = Settings(api=Api(host=host, port=81, token="anna:her-own-token"))
    assert address(settings) == f"http://{shown}:81/?token=her-own-token"


def test_the_map_shows_polygons_and_circles_of_the_rules_and_the_roads_beside_them(folder: Path) -> None:
    scene = scene_of(folder / "rules.toml", {})
    shapes = {f["properties"]["name"]: f for f in scene.fences["features"]}
    assert shapes["yard"]["geometry"]["type"] == "Polygon"
    assert len(shapes["yard"]["geometry"]["coordinates"][0]) == 5
    assert shapes["well"]["geometry"] == {"type": "Point", "coordinates": [30.5, 60.5]}
    assert shapes["well"]["properties"]["radius"] == 150.0
    assert scene.roads["features"] == []
    (folder / "roads.geojson").write_text('{"type": "FeatureCollection", "features": [{"type": "Feature"}]}')
    assert len(scene_of(folder / "rules.toml", {}).roads["features"]) == 1
    (folder / "roads.geojson").write_text("{")
    with pytest.raises(UserError, match=r"roads\.geojson: not valid JSON"):
        scene_of(folder / "rules.toml", {})


def with_days(folder: Path, tracks: int, evidence: int) -> Settings:
    found = settings_module.load(folder / "vedette.toml", environ={})
    return msgspec.structs.replace(found, retention=Retention(tracks_days=tracks, evidence_days=evidence))


def stored(settings: Settings) -> list[int]:
    """Event times of bus-1."""
    store = open_store(settings)
    track: list[int] = store.track("bus-1", 0, 2**62).at.tolist()
    store.close()
    return track


def fill(settings: Settings, *batches: PositionBatch) -> None:
    store = open_store(settings)
    store.write_positions(batches)
    store.close()


def test_retention_deletes_what_is_past_its_days_and_says_so_in_the_audit_log(folder: Path) -> None:
    settings = with_days(folder, tracks=90, evidence=1)
    fill(settings, fixes("bus-1", 2, start=NOON - 91 * DAY), fixes("bus-1", 2, start=NOON - 89 * DAY))
    key = open_blobs(settings).put(b"picture")
    forget(settings, NOON)
    assert np.array_equal(stored(settings), [NOON - 89 * DAY, NOON - 89 * DAY + 1_000_000])
    book = open_book(settings)
    entries = {entry["subject"]: entry for entry in book.audits()}
    book.close()
    assert (
        entries["tracks"]["who"] == "vedette" and "2 deleted, older than 2025-10-03" in entries["tracks"]["detail"]
    )
    assert open_blobs(settings).get(key) == b"picture", "put just now"
    forget(settings, time.time_ns() // 1000 + 2 * DAY)
    with pytest.raises(KeyError):
        open_blobs(settings).get(key)


def refuse_one(settings: Settings) -> None:
    book = open_book(settings)
    book.refuse([Refusal("gps-1", "vedette/v1/gps-1/position", "clock_early", "unit a: 1 fix", 0, b"{}")])
    book.close()


def refusals_left(settings: Settings) -> int:
    book = open_book(settings)
    left = len(book.refusals())
    book.close()
    return left


def test_the_quarantine_and_the_list_of_signals_have_an_end_too(folder: Path) -> None:
    settings = with_days(folder, tracks=90, evidence=365)
    refuse_one(settings)
    book = open_book(settings)
    book.apply([signal()])
    forget(settings, wall() + 89 * DAY)
    assert refusals_left(settings) == 1
    forget(settings, wall() + 91 * DAY)
    assert refusals_left(settings) == 0
    assert book.forget_signals(2**62) == 1, "still known after 91 days"
    book.apply([signal("bus-2")])
    forget(settings, wall() + 366 * DAY)
    assert book.forget_signals(2**62) == 0
    expected = ["tracks", "evidence", "what was held back", "signals", "refusals"]
    assert [entry["subject"] for entry in book.audits(limit=5)] == expected
    book.close()


def test_what_cannot_be_deleted_is_said_and_the_rest_is_deleted(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = with_days(folder, tracks=90, evidence=365)
    series = Path(settings.store.path)
    series.mkdir(parents=True)
    (series / "positions.db").write_bytes(b"not a database, " * 100)
    refuse_one(settings)
    forget(settings, wall() + 400 * DAY)
    assert "retention: tracks older than" in caplog.text and "positions.db" in caplog.text
    assert refusals_left(settings) == 0


def test_retention_begins_with_the_process_and_outlives_its_troubles(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = with_days(folder, tracks=90, evidence=365)
    monkeypatch.setattr(serve, "RETAIN_EVERY_S", 0.01)

    async def a_while() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(serve.retain(settings), 0.5)

    asyncio.run(a_while())
    book = open_book(settings)
    assert len([entry for entry in book.audits() if entry["subject"] == "tracks"]) > 1
    book.close()


def test_zero_days_keep_for_ever(folder: Path) -> None:
    settings = with_days(folder, tracks=0, evidence=0)
    fill(settings, fixes("bus-1", 2, start=NOON - 9_000 * DAY))
    forget(settings, NOON)
    assert len(stored(settings)) == 2


# ---------------------------------------------------------------- the process


def vedette_api(folder: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "pipeline", "api", "--config", str(folder / "vedette.toml"), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder)


def test_the_command_prints_its_address_and_ends_cleanly(folder: Path) -> None:
    with vedette_api(folder) as process:
        assert process.stdout and process.stderr
        line = process.stdout.readline()
        assert line.startswith("Console: http://127.0.0.1:") and "/?token=" in line
        port = int(line.split(":")[3].split("/")[0])
        with socket.create_connection(("127.0.0.1", port), timeout=30):
            pass
        process.terminate()
        assert process.wait(30) in (0, -15)
        assert "Traceback" not in process.stderr.read()
    assert not list(folder.glob(".nicegui")), "the console's library leaves nothing behind"


def test_the_command_on_a_port_in_use_is_one_line_and_status_2(folder: Path) -> None:
    with listen("127.0.0.1", 0) as taken, vedette_api(folder, "--port", str(taken.getsockname()[1])) as process:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 2
        assert errors.count("\n") == 1 and errors.startswith("vedette: port ") and "--port" in errors


def test_the_command_without_its_fleet_names_the_file(folder: Path) -> None:
    (folder / "fleet.csv").unlink()
    with vedette_api(folder) as process:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 2 and "fleet.csv" in errors and "Traceback" not in errors
