"""The connection to InfluxDB 2, by influxdb-client: one call a request, errors as the ports name them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from influxdb_client.service.write_service import WriteService
from urllib3.exceptions import HTTPError

from pipeline.ports import NotConnected, Retryable, UserError
from pipeline.settings import StoreTable

TIMEOUT_MS = 30_000
RETRY_S = 5.0
GZIP_LEVEL = 1
GZIP_WBITS = 31


class Series(msgspec.Struct, frozen=True):
    """One series of an InfluxQL answer; the first column is the time in nanoseconds."""

    values: list[list[Any]]
    tags: dict[str, str] = {}


class _Result(msgspec.Struct, frozen=True):
    series: list[Series] = []
    error: str = ""


class _Answer(msgspec.Struct, frozen=True):
    results: list[_Result] = []
    error: str = ""


_ANSWER = msgspec.msgpack.Decoder(_Answer)


class _Refused(UserError):
    """The server will never take this; `said` are its own words. For lines that is no error: see `post`."""

    def __init__(self, where: str, said: str) -> None:
        super().__init__(f"{where} refuses the request: {said}")
        self.said = said


class Link:
    """One bucket. Connects at the first call; may be used from several threads.

    Every call raises NotConnected, Retryable, or UserError for a token, bucket or organisation that is wrong.
    """

    def __init__(self, table: StoreTable) -> None:
        self._table = table
        self._where = f"InfluxDB at {table.url}"
        self._client = InfluxDBClient(table.url, table.token, org=table.org, timeout=TIMEOUT_MS)
        self._write: Any = WriteService(self._client.api_client)  # type: ignore[no-untyped-call]

    def post(self, lines: Sequence[str]) -> str | None:
        """One request. None when the lines are in the WAL and synced, else what the server has against them."""
        body = zlib.compress("\n".join(lines).encode(), GZIP_LEVEL, GZIP_WBITS)
        how = {"precision": "us", "content_encoding": "gzip", "content_type": "text/plain; charset=utf-8"}
        try:
            with self._judged():
                self._write.post_write(self._table.org, self._table.bucket, body, **how)
        except _Refused as refused:
            return refused.said
        return None

    def query(self, influxql: str) -> list[Series]:
        """Run InfluxQL on the bucket, by the name InfluxDB maps to it of itself: database[/retention policy]."""
        database, _, policy = self._table.bucket.partition("/")
        names = [("db", database), ("epoch", "ns"), ("q", influxql)] + ([("rp", policy)] if policy else [])
        api: Any = self._client.api_client
        with self._judged():
            response = api.call_api(
                "/query",
                "GET",
                query_params=names,
                header_params={"Accept": "application/x-msgpack"},
                _return_http_data_only=True,
                _preload_content=False,
            )
            data = response.data
        return self._found(_ANSWER.decode(data))

    def _found(self, answer: _Answer) -> list[Series]:
        result = answer.results[0] if answer.results else _Result()
        problem = answer.error or result.error
        if "not found" in problem:
            raise UserError(f"{self._where}: {problem}: make the bucket, or check store.bucket")
        if problem:
            raise Retryable(RETRY_S, f"{self._where}: {problem}")
        return result.series

    def delete(self, measurement: str, start: str, stop: str) -> None:
        """Delete what lies between two RFC 3339 times, both included."""
        with self._judged():
            self._client.delete_api().delete(
                start, stop, f'_measurement="{measurement}"', bucket=self._table.bucket
            )

    def close(self) -> None:
        client: Any = self._client
        client.close()

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """Turn the client's errors into what the caller can act on."""
        try:
            yield
        except ApiException as error:
            raise self._judgement(error) from None
        except (HTTPError, OSError) as error:
            raise NotConnected(f"{self._where}: {error}") from None

    def _judgement(self, error: ApiException) -> Exception:
        said = _message(error)
        if not error.status:
            return NotConnected(f"{self._where}: {error.reason}")
        if error.status in (401, 403):
            return UserError(f"{self._where} does not accept the token ({said}): set VEDETTE_STORE_TOKEN")
        if error.status == 404:
            return UserError(f"{self._where}: {said}: check store.org and store.bucket")
        if error.status == 429 or error.status >= 500:
            return Retryable(_retry_after(error), f"{self._where} answered {error.status}: {said}")
        return _Refused(self._where, said)


def _message(error: ApiException) -> str:
    """The server's own words out of its JSON answer, else its status line."""
    try:
        return str(msgspec.json.decode(error.body or b"{}", type=dict[str, Any])["message"])
    except (msgspec.MsgspecError, KeyError):
        return str(error.reason)


def _retry_after(error: ApiException) -> float:
    headers: Any = error.headers or {}
    value = str(headers.get("Retry-After", ""))
    return float(value) if value.replace(".", "", 1).isdigit() else RETRY_S
