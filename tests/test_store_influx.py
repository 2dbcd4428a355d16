"""The InfluxDB store against a server of the test's own making, that says what a real one says in bad weather.

What a real server does is in tests/contract/test_store.py and below, where `influxdb` is asked for.
"""

import http.server
import json
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from pipeline.message import Reading, Refusal
from pipeline.ports import NotConnected, Retryable, UserError
from pipeline.settings import Settings, StoreTable
from pipeline.store import lines, open_store
from pipeline.store.influx import InfluxStore, between, quoted
from pipeline.store.rows import in_order, rows_of
from tests.contract.test_store import EVER, T0, batch, bucket, record, scored
from tests.live.process import free_port
from tests.live.servers import InfluxDB

Answer = tuple[int, dict[str, str], str]


@dataclass
class Weather:
    """A small HTTP server that answers writes by `answer(lines)`, and keeps what it was sent."""

    answer: Callable[[list[str]], Answer] = lambda _: (204, {}, "")
    requests: list[list[str]] = field(default_factory=list)
    encodings: list[str | None] = field(default_factory=list)
    port: int = 0

    def take(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        plain = handler.headers["Content-Encoding"] != "gzip"
        sent = (body if plain else zlib.decompress(body, 31)).decode().split("\n")
        self.requests.append(sent)
        self.encodings.append(handler.headers["Content-Encoding"])
        status, headers, text = self.answer(sent)
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(text))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(text.encode())


@pytest.fixture
def weather() -> Iterator[Weather]:
    made = Weather()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            made.take(self)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield made
        server.shutdown()
        thread.join()


@pytest.fixture
def refused() -> list[Refusal]:
    return []


@pytest.fixture
def store(weather: Weather, refused: list[Refusal]) -> Iterator[InfluxStore]:
    table = StoreTable(engine="influxdb", url=f"http://127.0.0.1:{weather.port}", token="t")
    made = InfluxStore(table, refused.extend, clock=lambda: 77)
    yield made
    made.close()


def problem(message: str) -> str:
    return json.dumps({"code": "invalid", "message": message})


def fixes(n: int) -> list[tuple[str, int, float, float]]:
    return [(f"u{i}", T0 + i, 1.0, 2.0) for i in range(n)]


def test_requests_are_compressed_and_hold_at_most_5000_lines(store: InfluxStore, weather: Weather) -> None:
    store.write_positions([batch(fixes(12_000))])
    assert sorted(map(len, weather.requests)) == [2000, 5000, 5000]
    assert len({line for request in weather.requests for line in request}) == 12_000
    assert set(weather.encodings) == {"gzip"}


def test_nothing_is_sent_for_nothing(store: InfluxStore, weather: Weather) -> None:
    store.write_positions([batch([])])
    store.write_frames([])
    store.write_readings([record("d")])
    assert weather.requests == []


@pytest.mark.parametrize(
    ("status", "headers", "after"),
    [(503, {"Retry-After": "12"}, 12.0), (429, {"Retry-After": "0.5"}, 0.5), (500, {}, 5.0), (503, {}, 5.0)],
)
def test_the_server_asks_for_time(
    store: InfluxStore, weather: Weather, status: int, headers: dict[str, str], after: float
) -> None:
    weather.answer = lambda _: (status, headers, problem("busy"))
    with pytest.raises(Retryable, match=f"{status}: busy") as caught:
        store.write_positions([batch(fixes(3))])
    assert caught.value.after == after
    assert len(weather.requests) == 1, "the wait is the engine's, not the store's"


@pytest.mark.parametrize(("status", "named"), [(401, "VEDETTE_STORE_TOKEN"), (404, r"store\.bucket")])
def test_what_a_person_must_mend_is_named(store: InfluxStore, weather: Weather, status: int, named: str) -> None:
    weather.answer = lambda _: (status, {}, problem("no such thing"))
    with pytest.raises(UserError, match=named):
        store.write_positions([batch(fixes(1))])


def test_a_deletion_that_is_refused_is_an_error_that_says_so(store: InfluxStore, weather: Weather) -> None:
    weather.answer = lambda _: (400, {}, problem("not on this server"))
    with pytest.raises(UserError, match=r"InfluxDB at http://127.*: not on this server"):
        store.forget(T0)


def test_nobody_there_is_not_connected(refused: list[Refusal]) -> None:
    store = InfluxStore(StoreTable(url=f"http://127.0.0.1:{free_port()}"), refused.extend)
    for call in (lambda: store.write_positions([batch(fixes(1))]), store.latest, lambda: store.forget(T0)):
        with pytest.raises(NotConnected, match="InfluxDB at http://127"):
            call()
    store.close()


@pytest.mark.parametrize("status", [400, 422])
def test_the_bad_line_is_found_and_the_rest_is_written(
    store: InfluxStore, weather: Weather, refused: list[Refusal], status: int
) -> None:
    stored: set[str] = set()

    def answer(sent: list[str]) -> Answer:
        if any("unit=u13 " in line for line in sent):
            return status, {}, problem("field type conflict")
        stored.update(sent)
        return 204, {}, ""

    weather.answer = answer
    store.write_positions([batch(fixes(100))])
    assert len(stored) == 99
    (refusal,) = refused
    assert (refusal.device, refusal.reason, refusal.detail, refusal.received) == (
        "u13",
        "store_refused",
        "field type conflict",
        77,
    )
    assert refusal.raw.startswith(b"position,unit=u13 lat=1.0,lon=2.0,")


def test_a_refusal_does_not_show_where_a_unit_was_though_the_server_quotes_the_line(
    store: InfluxStore, weather: Weather, refused: list[Refusal]
) -> None:
    weather.answer = lambda sent: (400, {}, problem(f"unable to parse '{sent[0]}': bad timestamp"))
    store.write_positions([batch(fixes(1))])
    assert [r.detail for r in refused] == ["unable to parse '...': bad timestamp"]


def test_a_request_too_large_is_halved(store: InfluxStore, weather: Weather, refused: list[Refusal]) -> None:
    weather.answer = lambda sent: (413, {}, problem("too large")) if len(sent) > 30 else (204, {}, "")
    store.write_positions([batch(fixes(100))])
    assert sum(len(sent) for sent in weather.requests if len(sent) <= 30) == 100
    assert refused == []


@pytest.mark.parametrize("name", ["a\nposition,unit=other lat=1,lon=1 1", "", "trailing\\", "nul\x00"])
def test_a_name_that_could_break_out_of_its_line_is_refused(
    store: InfluxStore, weather: Weather, refused: list[Refusal], name: str
) -> None:
    store.write_positions([batch([("good", T0, 1.0, 2.0), (name, T0, 3.0, 4.0)])])
    store.write_readings([record("d", Reading(name, T0, 1.0), Reading("t", T0, 2.0))])
    sent = [line for request in weather.requests for line in request]
    assert [line.split(" ")[0] for line in sent] == ["position,unit=good", "reading,device=d,channel=t"]
    assert [(r.device, r.reason) for r in refused] == [(name, "store_refused")] * 2


def position_lines(*rows: tuple[str, int, float, float], speed: list[float] | None = None) -> list[str]:
    names, made = rows_of([batch(rows, speed=speed)])
    return list(lines.position_lines(names, in_order(made)))


def test_absent_values_are_left_out_and_types_are_fixed() -> None:
    nan = float("nan")
    assert position_lines(("a b,c=d", T0, 1.0, -2.5), ("e", T0, 3.0, 4.0), speed=[nan, 7.0]) == [
        rf"position,unit=a\ b\,c\=d lat=1.0,lon=-2.5,clock=0i {T0}",
        f"position,unit=e lat=3.0,lon=4.0,speed=7,clock=0i {T0}",
    ]


def test_a_line_says_whom_it_is_about() -> None:
    assert lines.owner(position_lines(("a b,c=d", T0, 1.0, 2.0))[0]) == "a b,c=d"
    assert lines.owner("nonsense") == ""


def test_a_frame_carries_the_best_score_of_each_label() -> None:
    (line,) = lines.frame_lines([scored("c", T0, 0.25, 0.75, 0.5)])
    assert ",score_smoke=0.75 " in line
    assert r"model=\"" not in line
    assert r'model="fire-smoke@3f \"q\" \\"' in line


def test_queries_cannot_be_broken_out_of() -> None:
    assert quoted("it's \\ a\nb") == r"'it\'s \\ a\nb'"
    assert between(0, 10) == "time >= 0 AND time < 10000"
    assert between(*EVER) == f"time >= {-(2**63) + 2} AND time < {2**63 - 2}"


def test_open_store_gives_it_by_setting() -> None:
    store = open_store(Settings(store=StoreTable(engine="influxdb")))
    assert isinstance(store, InfluxStore)
    store.close()


# ---------------------------------------------------------------- a real server


def test_a_real_type_conflict_costs_one_line(influxdb: InfluxDB, refused: list[Refusal]) -> None:
    store = InfluxStore(bucket(influxdb), refused.extend)
    elsewhere = T0 + 60 * 86_400 * 1_000_000  # types hold for a shard, and one of these is a week
    store._link.post([f"position,unit=u9 lat=1i,lon=1i {elsewhere}"])
    store.write_positions([batch([*fixes(3), ("u3", elsewhere, 1.0, 2.0), *fixes(5)[4:]])])
    assert [r.device for r in refused] == ["u3"]
    assert "conflict" in refused[0].detail
    assert [p.unit for p in store.latest() if p.lon == 2.0] == ["u0", "u1", "u2", "u4"]
    store.close()


def test_a_real_server_refuses_infinity_and_keeps_the_rest(influxdb: InfluxDB, refused: list[Refusal]) -> None:
    store = InfluxStore(bucket(influxdb), refused.extend)
    store.write_readings([record("d", *(Reading("t", T0 + i, np.inf if i == 3 else i) for i in range(8)))])
    assert store.series("d", "t", *EVER)[1].tolist() == [0, 1, 2, 4, 5, 6, 7]
    assert len(refused) == 1
    store.close()


def test_a_wrong_token_and_a_missing_bucket_are_named(influxdb: InfluxDB) -> None:
    for table, named in (
        (StoreTable(url=influxdb.url, token="wrong", org=influxdb.org, bucket=influxdb.bucket), "token"),
        (StoreTable(url=influxdb.url, token=influxdb.token, org=influxdb.org, bucket="nowhere"), "nowhere"),
    ):
        store = InfluxStore(table)
        with pytest.raises(UserError, match=named):
            store.write_positions([batch(fixes(1))])
        with pytest.raises(UserError, match=named):
            store.latest()
        store.close()


def test_what_was_answered_outlives_kill_9() -> None:
    with InfluxDB() as server:
        store = InfluxStore(StoreTable(url=server.url, token=server.token, org=server.org, bucket=server.bucket))
        store.write_positions([batch(fixes(2000))])
        server.kill()
        with pytest.raises(NotConnected):
            store.write_positions([batch(fixes(1))])
        server.start()
        assert len(store.latest()) == 2000
        store.close()
