"""The routes and the gate, over in-memory ports."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from fastapi.testclient import TestClient

from pipeline.api.auth import users_of
from pipeline.api.health import judge
from pipeline.api.units import LONGEST_PERIOD_S
from pipeline.message import SECOND, Change, Refusal
from pipeline.ports import NotConnected, UserError
from pipeline.settings import Api, Settings
from tests.desk import BEARER, NOON, TOKEN, Office, client, fixes, sighting, signal
from tests.doubles import MemoryBook

V1 = "/api/v1"


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def http(office: Office) -> Iterator[TestClient]:
    with client(office) as found:
        yield found


@pytest.fixture
def stranger(office: Office) -> Iterator[TestClient]:
    with client(office, token=None) as found:
        yield found


def problem(answer: Any) -> str:
    """The sentence of a refusal."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code
    detail: str = answer.json()["detail"]
    return detail


# ---------------------------------------------------------------- alarms


def test_alarms_newest_first_with_rfc3339_times(office: Office, http: TestClient) -> None:
    office.book.apply([signal("bus-1"), signal("bus-2", at=NOON + 5 * SECOND, start=NOON + 5 * SECOND)])
    body = http.get(f"{V1}/alarms").json()
    assert [a["subject"] for a in body["alarms"]] == ["bus-2", "bus-1"]
    first = body["alarms"][0]
    assert first["raised_at"] == "2026-01-01T12:00:05Z" and first["ended_at"] is None
    assert first["evidence"]["fix"]["at"] == "2026-01-01T12:00:05Z"
    assert body["more"] is False


def test_alarms_filters_and_limit(office: Office, http: TestClient) -> None:
    office.book.apply([signal("bus-1"), signal("bus-2"), signal("bus-3")])
    office.book.act(signal("bus-2").alarm, "acknowledge", by="anna")
    by_state = http.get(f"{V1}/alarms", params={"state": "acknowledged"}).json()
    assert [a["subject"] for a in by_state["alarms"]] == ["bus-2"]
    by_subject = http.get(f"{V1}/alarms", params={"subject": "bus-3"}).json()
    assert [a["subject"] for a in by_subject["alarms"]] == ["bus-3"]
    cut = http.get(f"{V1}/alarms", params={"limit": 2}).json()
    assert len(cut["alarms"]) == 2 and cut["more"] is True


@pytest.mark.parametrize(
    ("query", "names"),
    [({"limit": "0"}, "limit"), ({"limit": "many"}, "limit"), ({"state": "burning"}, "state")],
)
def test_a_query_that_is_not_understood_names_the_parameter(
    http: TestClient, query: dict[str, str], names: str
) -> None:
    answer = http.get(f"{V1}/alarms", params=query)
    assert answer.status_code == 422
    assert f"query parameter {names}" in problem(answer)


def test_acknowledge_then_resolve_under_the_tokens_name(office: Office, http: TestClient) -> None:
    office.book.apply([signal()])
    where = f"{V1}/alarms/{signal().alarm}"
    refused = http.post(f"{where}/resolve", json={"note": "nothing"})
    assert refused.status_code == 409 and "acknowledge it first" in problem(refused)
    done = http.post(f"{where}/acknowledge", json={"note": "calling the driver"}).json()
    assert done["alarm"]["state"] == "acknowledged" and done["alarm"]["acknowledged_by"] == "operator"
    assert done["event"]["reason"] == "calling the driver"
    assert http.post(f"{where}/resolve").json()["alarm"]["state"] == "resolved"
    again = http.post(f"{where}/acknowledge").json()
    assert again["event"]["number"] == done["event"]["number"], "a repeated action gives the first event"


def test_each_person_may_have_a_token_of_their_own() -> None:
    assert users_of("anna:anna-secret, ben:ben-secret1") == {"anna-secret": "anna", "ben-secret1": "ben"}
    assert users_of("just-a-token") == {"just-a-token": "operator"}
    with pytest.raises(UserError, match="at least 8"):
        users_of("anna:short")
    office = Office(settings=Settings(api=Api(token="anna:anna-secret,ben:ben-secret1")))
    office.book.apply([signal()])
    with client(office, token="ben-secret1") as http:
        done = http.post(f"{V1}/alarms/{signal().alarm}/acknowledge").json()
    assert done["alarm"]["acknowledged_by"] == "ben"


@pytest.mark.parametrize("path", ["", "/explain"])
def test_an_unknown_alarm_is_404(http: TestClient, path: str) -> None:
    answer = http.get(f"{V1}/alarms/0123456789abcdef{path}")
    assert answer.status_code == 404 and "0123456789abcdef" in problem(answer)


def test_explain_tells_rule_model_scores_thresholds_and_what_was_held_back(
    office: Office, http: TestClient
) -> None:
    office.book.apply([sighting("ab" * 32)])
    office.book.act(sighting("").alarm, "acknowledge", by="anna", note="seen")
    why = http.get(f"{V1}/alarms/{sighting('').alarm}/explain").json()
    assert why["rule"] == {"name": "smoke-watch", "kind": "sighting", "version": "v2"}
    assert (why["model"], why["scores"]["best"], why["thresholds"]["open_score"]) == ("fire-smoke@1a2b", 0.9, 0.42)
    assert why["suppressed"][0]["detail"] == "best score 0.30, 0.42 needed" and why["clock"] == "synced"
    assert why["suppressed"][0]["first"] == "2026-01-01T11:59:00Z"
    assert [event["change"] for event in why["history"]] == ["raised", "acknowledged"]
    words = " ".join(why["sentences"])
    for part in ("smoke-watch", "tower-1 has seen smoke", "0.81, 0.42 needed", "Held back", "Anna acknowledged it"):
        assert part in words


def test_explain_says_so_when_the_devices_clock_was_wrong_and_how_long_it_lasted(
    office: Office, http: TestClient
) -> None:
    office.book.apply([signal(), signal(change=Change.ENDED, at=NOON + 200 * SECOND)])
    words = " ".join(http.get(f"{V1}/alarms/{signal().alarm}/explain").json()["sentences"])
    assert "clock was stepped" in words and "ended 3 min 20 s later" in words


# ---------------------------------------------------------------- units and tracks


def asked(**changes: str) -> dict[str, str]:
    return {"from": "2026-01-01T12:00:00Z", "to": "2026-01-01T12:00:05Z", "purpose": "incident"} | changes


def test_units_shows_only_enrolled_ones(office: Office, http: TestClient) -> None:
    office.store.write_positions([fixes("bus-1", 3), fixes("ghost", 3)])
    units = http.get(f"{V1}/units").json()["units"]
    assert [u["unit"] for u in units] == ["bus-1"]
    assert units[0]["at"] == "2026-01-01T12:00:02Z" and units[0]["course"] is None and units[0]["speed"] == 12.5


def test_the_live_view_is_audited_once_an_hour(office: Office, http: TestClient) -> None:
    for _ in range(3):
        http.get(f"{V1}/units")
    assert [entry["what"] for entry in office.book.audits()] == ["last positions"]
    office.now += 3600 * SECOND
    http.get(f"{V1}/units")
    assert len(office.book.audits()) == 2


def test_a_track_is_geojson_of_the_half_open_period(office: Office, http: TestClient) -> None:
    office.store.write_positions([fixes("bus-1", 10)])
    answer = http.get(f"{V1}/units/bus-1/track", params=asked())
    assert answer.headers["content-type"] == "application/geo+json"
    feature = answer.json()
    assert feature["type"] == "Feature" and feature["geometry"]["type"] == "LineString"
    assert feature["geometry"]["coordinates"][:2] == [[30.9, 62.9], [30.9001, 62.9]]
    properties = feature["properties"]
    assert properties["fixes"] == 5 and properties["times"][-1] == "2026-01-01T12:00:04.000Z"
    assert properties["speeds"] == [12.5] * 5 and properties["courses"] == [None] * 5
    assert properties["more"] is False


def test_a_track_of_one_fix_is_a_point_and_of_none_has_no_geometry(office: Office, http: TestClient) -> None:
    office.store.write_positions([fixes("bus-1", 1)])
    point = http.get(f"{V1}/units/bus-1/track", params=asked()).json()
    assert point["geometry"] == {"type": "Point", "coordinates": [30.9, 62.9]}
    assert http.get(f"{V1}/units/bus-2/track", params=asked()).json()["geometry"] is None


def test_a_track_cut_by_the_limit_says_so(office: Office, http: TestClient) -> None:
    office.store.write_positions([fixes("bus-1", 10)])
    cut = http.get(f"{V1}/units/bus-1/track", params=asked(limit="3")).json()["properties"]
    assert cut["fixes"] == 3 and cut["more"] is True


def test_a_track_is_on_the_audit_log_before_it_leaves(office: Office, http: TestClient) -> None:
    def away(**_: str) -> None:
        raise NotConnected("no audit log now")

    http.get(f"{V1}/units/bus-1/track", params=asked(purpose=" incident 7 "))
    entry = office.book.audits()[0]
    assert (entry["who"], entry["what"], entry["subject"]) == ("operator", "track", "bus-1")
    assert entry["purpose"] == "incident 7" and "2026-01-01T12:00:00Z to" in entry["detail"]
    office.book.audit = away  # type: ignore[method-assign]
    assert http.get(f"{V1}/units/bus-1/track", params=asked()).status_code == 503


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"from": "2026-01-01T12:00:00"}, 422, "from: time '2026-01-01T12:00:00' has no offset"),
        ({"to": "yesterday"}, 422, "to: "),
        ({"to": "2026-01-01T11:00:00Z"}, 422, "is not after from"),
        ({"to": "2026-03-01T11:00:00Z"}, 422, f"at most {LONGEST_PERIOD_S // 86_400} days"),
        ({"purpose": "   "}, 422, "purpose: say why"),
        ({"limit": "1000000"}, 422, "limit"),
    ],
)
def test_a_track_request_that_cannot_be(
    office: Office, http: TestClient, changes: dict[str, str], status: int, says: str
) -> None:
    answer = http.get(f"{V1}/units/bus-1/track", params=asked(**changes))
    assert answer.status_code == status and says in problem(answer)
    assert not office.book.audits(), "nothing was read, so nothing is on the audit log"


def test_a_track_without_a_purpose_or_of_a_stranger_is_refused(office: Office, http: TestClient) -> None:
    office.store.write_positions([fixes("ghost", 3)])
    query = asked()
    del query["purpose"]
    assert "purpose" in problem(http.get(f"{V1}/units/bus-1/track", params=query))
    answer = http.get(f"{V1}/units/ghost/track", params=asked())
    assert answer.status_code == 404 and "enrolled" in problem(answer)


# ---------------------------------------------------------------- devices, evidence, health


def test_devices_and_what_ails_them(office: Office, http: TestClient) -> None:
    seen = {"received": NOON, "state": "running"}
    office.book.report_devices(
        [
            {"device": "cam-1", **seen, "frame_scored": NOON - 2 * SECOND, "waiting": 4},
            {"device": "cam-2", **seen, "frame_scored": NOON - 190 * SECOND},
            {"device": "gps-1", "received": NOON - 500 * SECOND, "state": "running"},
            {"device": "gps-2", "received": NOON, "state": "lost"},
            {"device": "cam-3", "received": NOON, "state": "online", "detail": "rtsp://x: cannot be opened"},
        ]
    )
    found = {d["device"]: d for d in http.get(f"{V1}/devices").json()["devices"]}
    assert {name: d["state"] for name, d in found.items()} == {
        "cam-1": "ok",
        "cam-2": "blind",
        "cam-3": "ailing",
        "gps-1": "silent",
        "gps-2": "lost",
    }
    assert found["cam-1"]["waiting"] == 4 and found["cam-1"]["scored_s"] == 2.0
    assert "3 min 10 s" in found["cam-2"]["why"]
    assert found["cam-3"]["why"] and found["cam-3"]["detail"] == "rtsp://x: cannot be opened"
    assert http.get("/healthz").json()["devices"] == {
        "ok": 1,
        "ailing": 1,
        "silent": 1,
        "blind": 1,
        "lost": 1,
        "finished": 0,
    }


def test_a_device_is_silent_while_an_alarm_about_its_silence_stands(office: Office, http: TestClient) -> None:
    """A rule may be quicker than the board's own limit: nothing is green while the alarm stands."""
    office.book.report_devices([{"device": "gps-1", "received": NOON - 31 * SECOND, "state": "finished"}])
    health = {"state": "finished", "why": "it has sent everything and ended"}
    assert http.get(f"{V1}/devices").json()["devices"][0].items() >= health.items()
    silence = msgspec.structs.replace(signal("gps-1"), kind="device_silence", place="")
    office.book.apply([silence])
    assert http.get(f"{V1}/devices").json()["devices"][0]["state"] == "silent"
    office.book.act(silence.alarm, "acknowledge", by="olga")
    (found,) = http.get(f"{V1}/devices").json()["devices"]
    assert (found["state"], found["why"]) == ("silent", "an alarm about its silence stands; not heard for 31 s")
    assert http.get("/healthz").json()["devices"]["silent"] == 1
    office.book.apply([msgspec.structs.replace(silence, change=Change.ENDED, at=NOON + 1)])
    assert http.get(f"{V1}/devices").json()["devices"][0]["state"] == "finished"


def test_a_camera_is_blind_with_its_cause_while_an_alarm_says_so(office: Office, http: TestClient) -> None:
    """Its frames are still scored; what it shows is still nothing."""
    office.book.report_devices([{"device": "cam-1", "received": NOON - SECOND, "frame_scored": NOON - SECOND}])
    words = {"cause": "frozen", "camera": "cam-1"}
    frozen = msgspec.structs.replace(
        signal("cam-1"), kind="blind", place="", reason="cam-1 is blind, frozen: the same picture", evidence=words
    )
    assert http.get(f"{V1}/devices").json()["devices"][0]["state"] == "ok"
    office.book.apply([frozen])
    (found,) = http.get(f"{V1}/devices").json()["devices"]
    assert (found["state"], found["cause"]) == ("blind", "frozen")
    assert found["why"] == "an alarm about it stands: cam-1 is blind, frozen: the same picture"
    body = http.get("/healthz").json()
    assert (body["devices"]["blind"], body["blind_cameras"]) == (1, {"frozen": 1})
    office.book.apply([msgspec.structs.replace(frozen, change=Change.ENDED, at=NOON + 1)])
    assert http.get(f"{V1}/devices").json()["devices"][0]["state"] == "ok"
    assert http.get("/healthz").json()["blind_cameras"] == {}


def test_quarantine_counts_and_lists(office: Office, http: TestClient) -> None:
    refusals = [Refusal("d", "t", "latitude_range", f"{n}", NOON, b"raw") for n in (95, 96)]
    office.book.refuse([*refusals, Refusal("d", "t", "not_json", "", NOON)])
    body = http.get(f"{V1}/quarantine", params={"reason": "latitude_range"}).json()
    assert body["counts"] == {"latitude_range": 2, "not_json": 1}
    assert {r["detail"] for r in body["refusals"]} == {"95", "96"} and body["refusals"][0]["raw_bytes"] == 3


def test_evidence_is_a_jpeg_and_audited(office: Office, http: TestClient) -> None:
    key = office.blobs.put(b"\xff\xd8picture")
    answer = http.get(f"{V1}/evidence/{key}")
    assert answer.content == b"\xff\xd8picture" and answer.headers["content-type"] == "image/jpeg"
    assert office.book.audits()[0]["subject"] == key
    assert http.get(f"{V1}/evidence/{'0' * 64}").status_code == 404
    assert http.get(f"{V1}/evidence/..%2F..%2Fetc%2Fpasswd").status_code == 404


def test_healthz_is_503_and_says_who_is_blind(office: Office, stranger: TestClient) -> None:
    answer = stranger.get("/healthz")
    assert answer.status_code == 503 and answer.json()["status"] == "blind"
    assert "bridge: it has never said anything: not running" in answer.json()["blind"]
    office.all_beat()
    assert stranger.get("/healthz").status_code == 200
    office.pulse.beat("worker-vision", "host:1", {"ready": True, "trouble": "store is away"})
    assert stranger.get("/healthz").json()["blind"] == ["worker-vision: store is away"]
    office.now += 20 * SECOND
    blind = stranger.get("/healthz").json()["blind"]
    assert any(why.startswith("bridge: last heard of") for why in blind)


def test_the_server_itself_is_blind_when_it_cannot_read_the_book() -> None:
    class Away(MemoryBook):
        def events_after(self, number: int, *, limit: int = 500) -> list[Any]:
            raise NotConnected("database is away")

    office = Office()
    object.__setattr__(office.desk, "book", Away())
    office.all_beat()
    with client(office) as http:
        assert any("api: cannot read the alarm book" in w or "api: has not read" in w for w in _blind(http))


def _blind(http: TestClient) -> list[str]:
    answer = http.get("/healthz")
    assert answer.status_code == 503
    found: list[str] = answer.json()["blind"]
    return found


def test_when_no_device_is_heard_at_all_the_system_does_not_see() -> None:
    def board(*ages_s: int) -> list[str]:
        rows = [{"device": f"d{n}", "received": NOON - s * SECOND, "state": "online"} for n, s in enumerate(ages_s)]
        return [why for why in judge([], rows, now=NOON).blind if why.startswith("devices")]

    assert board(3600, 3600) == ["devices: none of 2 is heard"]
    assert board(3600, 1) == board(3600) == board() == []


def test_an_old_instance_of_a_part_does_not_count_once_it_is_replaced() -> None:
    old = {"part": "bridge", "instance": "a:1", "beaten": NOON - 3600 * SECOND, "ready": True}
    new = {"part": "bridge", "instance": "a:2", "beaten": NOON, "ready": True}
    kept = [p.instance for p in judge([old, new], [], now=NOON).parts if p.part == "bridge"]
    assert kept == ["a:2"]
    alone = [p.why for p in judge([old], [], now=NOON).parts if p.part == "bridge"]
    assert alone == ["last heard of 3600 s ago"]


# ---------------------------------------------------------------- gate


@pytest.mark.parametrize(
    "path", [f"{V1}/alarms", f"{V1}/alarms/stream", f"{V1}/openapi.json", "/metrics", f"{V1}/docs", "/", "/x"]
)
def test_everything_but_health_needs_the_token(stranger: TestClient, path: str) -> None:
    assert stranger.get(path).status_code == 401
    assert stranger.get(path, headers={"Authorization": "Bearer wrong-token"}).status_code == 401


def test_a_page_without_a_token_is_a_form_and_a_wrong_one_says_so(stranger: TestClient) -> None:
    page = stranger.get("/", headers={"Accept": "text/html"})
    assert page.status_code == 401 and '<form method="post" action="/login">' in page.text
    wrong = stranger.post("/login", data={"token": "wrong-token"}, headers={"Origin": "http://127.0.0.1:8080"})
    assert wrong.status_code == 401 and "not known" in wrong.text
    assert stranger.get("/assets/login.css").status_code == 200


def test_the_token_in_the_address_becomes_a_cookie_and_leaves_the_address(stranger: TestClient) -> None:
    answer = stranger.get(f"{V1}/alarms?limit=5&token={TOKEN}", follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"] == f"{V1}/alarms?limit=5"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and TOKEN not in cookie
    assert stranger.get(f"{V1}/alarms").status_code == 200, "the cookie is enough from now on"
    assert stranger.get("//evil.example/?token=" + TOKEN, follow_redirects=False).headers["location"][:2] != "//"


def test_a_post_by_cookie_from_another_site_is_refused(office: Office, stranger: TestClient) -> None:
    office.book.apply([signal()])
    stranger.get(f"/?token={TOKEN}", follow_redirects=False)
    where = f"{V1}/alarms/{signal().alarm}/acknowledge"
    for origin in ("http://evil.example", "http://127.0.0.1:9999", "null"):
        assert stranger.post(where, headers={"Origin": origin}).status_code == 403
    assert stranger.post(where, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert office.book.alarms()[0].state == "raised"
    assert stranger.post(where, headers={"Origin": "http://127.0.0.1:8080"}).status_code == 200


def test_a_name_rebound_by_dns_is_not_answered(http: TestClient) -> None:
    for host in ("evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "[::1"):
        assert http.get("/healthz", headers={"Host": host}).status_code == 421
    for host in ("localhost:8080", "127.0.0.1", "[::1]:8080"):
        assert http.get(f"{V1}/alarms", headers={"Host": host}).status_code == 200


def test_bound_to_all_addresses_any_name_is_answered_but_the_token_is_still_needed() -> None:
    office = Office(settings=Settings(api=Api(host="0.0.0.0", token=TOKEN)))
    with client(office, token=None) as http:
        named = {"Host": "console.region.example"}
        assert http.get(f"{V1}/alarms", headers=named).status_code == 401
        assert http.get(f"{V1}/alarms", headers=named | BEARER).status_code == 200


def test_a_websocket_needs_token_and_origin(stranger: TestClient) -> None:
    from starlette.websockets import WebSocketDisconnect

    ours = {"Origin": "http://127.0.0.1:8080"}
    with (
        pytest.raises(WebSocketDisconnect) as refused,
        stranger.websocket_connect("/_nicegui_ws/socket.io/", headers=ours),
    ):
        pass
    assert refused.value.code == 1008
    stranger.get(f"/?token={TOKEN}", follow_redirects=False)
    evil = {"Origin": "http://evil.example"}
    with (
        pytest.raises(WebSocketDisconnect) as refused,
        stranger.websocket_connect("/_nicegui_ws/socket.io/", headers=evil),
    ):
        pass
    assert refused.value.code == 1008


def test_pages_may_not_be_framed_nor_reach_another_host(http: TestClient) -> None:
    headers = http.get(f"{V1}/docs").headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "http" not in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "same-origin"


# ---------------------------------------------------------------- OpenAPI


class Addresses(HTMLParser):
    """Everything a page would load or link to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("src", "href") and value]


def test_the_openapi_page_names_every_route_and_loads_nothing_from_elsewhere(http: TestClient) -> None:
    spec = http.get(f"{V1}/openapi.json").json()
    page = http.get(f"{V1}/docs").text
    assert len(spec["paths"]) >= 13
    assert all(f"<code>{path}</code>" in page for path in spec["paths"])
    for methods in spec["paths"].values():
        for operation in methods.values():
            assert "application/problem+json" in operation["responses"]["default"]["content"]
    parser = Addresses()
    parser.feed(page)
    assert parser.found and all(re.match(r"[/#]", address) for address in parser.found)


def test_an_unknown_route_says_where_the_known_ones_are(http: TestClient) -> None:
    answer = http.get(f"{V1}/alarmz")
    assert answer.status_code == 404 and "/api/v1/docs" in problem(answer)
