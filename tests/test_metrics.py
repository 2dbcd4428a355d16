"""/metrics: what Prometheus gets, read with its own parser."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from pipeline.api.app import create
from pipeline.message import SECOND, Refusal
from tests.desk import NOON, Office, client, signal


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def http(office: Office) -> Iterator[TestClient]:
    with client(office) as found:
        yield found


def scraped(http: TestClient) -> dict[tuple[str, tuple[str, ...]], float]:
    """Value by (sample name, label values in the order of label names)."""
    answer = http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {
        (s.name, tuple(v for _, v in sorted(s.labels.items()))): s.value
        for family in families
        for s in family.samples
    }


def test_parts_beat_with_their_figures(office: Office, http: TestClient) -> None:
    office.all_beat()
    office.now += 3 * SECOND
    found = scraped(http)
    assert found["vedette_sees", ()] == 1
    assert found["vedette_part_up", ("host:1", "bridge")] == 1
    assert found["vedette_part_beat_age_seconds", ("host:1", "bridge")] == 3
    assert found["vedette_part_records", ("host:1", "bridge", "positions")] == 7
    assert found["vedette_part_behind", ("host:1", "bridge", "positions")] == 2


def test_a_part_that_is_not_there_is_down(http: TestClient) -> None:
    found = scraped(http)
    assert found["vedette_sees", ()] == 0 and found["vedette_part_up", ("", "worker-vision")] == 0


def test_alarms_refusals_and_devices(office: Office, http: TestClient) -> None:
    office.book.apply([signal("bus-1"), signal("bus-2")])
    office.book.act(signal("bus-2").alarm, "acknowledge", by="anna")
    office.book.refuse([Refusal("d", "t", 'odd "reason"\n', "", NOON)])
    office.book.report_devices([{"device": "cam", "received": NOON, "frame_scored": NOON - SECOND, "waiting": 4}])
    found = scraped(http)
    assert found["vedette_alarms", ("raised",)] == 1 and found["vedette_alarms", ("acknowledged",)] == 1
    assert found["vedette_alarms", ("resolved",)] == 0
    assert found["vedette_refused_total", ('odd "reason"\n',)] == 1
    assert found["vedette_devices", ("ok",)] == 1 and found["vedette_device_waiting", ("cam",)] == 4
    assert found["vedette_device_scored_age_seconds", ("cam",)] == 1


def test_a_part_may_beat_any_name_and_text_is_left_out(office: Office, http: TestClient) -> None:
    office.pulse.beat(
        "bridge",
        "host:1",
        {"ready": True, "trouble": "text", "Odd-Name.s": 1.5, "none": None, "handled": 2_500_000},
    )
    found = scraped(http)
    assert found["vedette_part_odd_name_s", ("host:1", "bridge", "")] == 1.5
    assert found["vedette_part_handled_timestamp_seconds", ("host:1", "bridge", "")] == 2.5
    assert not any("trouble" in name or "none" in name for name, _ in found)


def test_frames_scored_and_given_way_are_counted_by_camera_over_all_workers(
    office: Office, http: TestClient
) -> None:
    beats = {"a:1": {"scored": {"cam": 5, "yard": 2}, "shed": {"cam": 3}}, "b:2": {"shed": {"cam": 4}}}
    for instance, frames in beats.items():
        office.pulse.beat("worker-vision", instance, {"ready": True, "trouble": "", "frames": frames})
    found = scraped(http)
    assert found["vedette_camera_frames_shed_total", ("cam",)] == 7
    assert found["vedette_camera_frames_scored_total", ("cam",)] == 5
    assert found["vedette_camera_frames_scored_total", ("yard",)] == 2
    assert ("vedette_camera_frames_shed_total", ("yard",)) not in found


def test_two_apps_in_one_process_do_not_share_metrics(office: Office, http: TestClient) -> None:
    other = Office()
    other.book.apply([signal()])
    create(other.desk)
    office.now += SECOND
    assert scraped(http)["vedette_alarms", ("raised",)] == 0
