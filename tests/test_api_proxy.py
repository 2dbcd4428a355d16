"""The gate behind a reverse proxy: the public name of `[api] public_host`."""

import pytest
from fastapi.testclient import TestClient

from pipeline.settings import Api, Settings
from tests.desk import TOKEN, Office, client, signal

V1 = "/api/v1"


@pytest.mark.parametrize("named", ["console.example.org", "console.example.org:8443"])
@pytest.mark.parametrize("passes_host", [True, False], ids=["proxy passes Host on", "proxy puts its own Host"])
def test_through_a_proxy_the_public_name_is_answered_and_is_our_own_page(named: str, passes_host: bool) -> None:
    office = Office(settings=Settings(api=Api(token=TOKEN, public_host=named)))
    office.book.apply([signal()])
    where = f"{V1}/alarms/{signal().alarm}/acknowledge"
    host = {"Host": named if passes_host else "127.0.0.1:8080"}
    with client(office, token=None) as http:
        http.cookies.set("vedette-8080", _session_cookie(http, host))
        for origin in ("https://evil.example", "https://console.example.org:9999", "null", "https://"):
            assert http.post(where, headers=host | {"Origin": origin}).status_code == 403
        assert http.post(where, headers=host | {"Origin": f"https://{named}"}).status_code == 200
        assert http.get("/healthz", headers={"Host": "evil.example"}).status_code == 421


def _session_cookie(http: TestClient, host: dict[str, str]) -> str:
    answer = http.get(f"/?token={TOKEN}", headers=host, follow_redirects=False)
    assert answer.status_code == 303
    return str(answer.headers["set-cookie"]).partition("=")[2].partition(";")[0]
