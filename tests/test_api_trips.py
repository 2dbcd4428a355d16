"""Trips over HTTP: what `vedette trips` would say of the same fixes, after the audit log."""

from collections.abc import Iterator

import numpy as np
import pytest
from fastapi.testclient import TestClient

from pipeline.message import SECOND, PositionBatch
from tests.desk import NOON, Office, client, fixes

URL = "/api/v1/units/bus-1/trips"
ASKED = {"from": "2026-01-01T12:00:00Z", "to": "2026-01-01T13:00:00Z", "purpose": "complaint 4711"}


def driven_stood_driven() -> PositionBatch:
    """5 minutes east at about 12.5 m/s, 10 minutes at the place, 5 minutes on, the last of them at 30 m/s."""
    batch = fixes("bus-1", 1200)
    way = np.concatenate([np.arange(300), np.full(600, 300), np.arange(300, 600)])
    batch.lon[:] = 30.9 + way * 2.4e-4
    batch.speed[300:900] = 0.0
    batch.speed[1140:] = 30.0
    return batch


@pytest.fixture
def office() -> Office:
    office = Office()
    office.store.write_positions([driven_stood_driven()])
    return office


@pytest.fixture
def http(office: Office) -> Iterator[TestClient]:
    with client(office) as found:
        yield found


def test_a_stop_between_two_trips(http: TestClient) -> None:
    told = http.get(URL, params=ASKED).json()
    assert [(s["kind"], s["open"]) for s in told["segments"]] == [
        ("trip", False),
        ("stop", False),
        ("trip", True),
    ]
    stop = told["segments"][1]
    assert stop["duration_s"] == pytest.approx(600, abs=15)
    assert stop["first"]["lon"] == pytest.approx(30.972, abs=0.002)
    assert told["segments"][2]["top_speed"] == 30.0
    assert told["speeding"] == [] and told["more"] is False


def test_speeding_is_told_once_a_run_when_it_has_lasted(http: TestClient) -> None:
    told = http.get(URL, params={**ASKED, "limit_kmh": "100", "limit_s": "10"}).json()
    assert [run["at"] for run in told["speeding"]] == ["2026-01-01T12:19:10Z"]
    assert told["speeding"][0]["speed"] == 30.0


def test_the_reading_is_on_the_audit_log(office: Office, http: TestClient) -> None:
    http.get(URL, params=ASKED)
    entry = office.book.audits()[0]
    assert (entry["what"], entry["subject"], entry["purpose"]) == ("trips", "bus-1", "complaint 4711")


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"purpose": " "}, 422, "purpose"),
        ({"to": "2025-01-01T00:00:00Z"}, 422, "not after"),
        ({"limit_kmh": "-1"}, 422, "limit_kmh"),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    http: TestClient, changes: dict[str, str], status: int, said: str
) -> None:
    answer = http.get(URL, params={**ASKED, **changes})
    assert answer.status_code == status and said in answer.text


def test_a_unit_without_fixes_has_no_trips(http: TestClient) -> None:
    assert http.get(URL.replace("bus-1", "bus-2"), params=ASKED).json()["segments"] == []
    assert http.get(URL.replace("bus-1", "ghost"), params=ASKED).status_code == 404


def test_the_times_are_of_the_fixes(http: TestClient) -> None:
    first = http.get(URL, params=ASKED).json()["segments"][0]
    assert first["start"] == "2026-01-01T12:00:00Z"
    assert np.datetime64(first["end"][:-1], "us").astype(int) >= NOON + 290 * SECOND
