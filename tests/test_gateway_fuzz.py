"""Changed messages through the gateway's own logic: a turn or a refusal, in bounded memory."""

import asyncio
import random
import tracemalloc
from collections.abc import Callable

import pytest

from edge.gateway.desk import Desk
from edge.gateway.jt808 import Jt808Talk
from edge.gateway.request import Refusal, parsed, read
from edge.gateway.talk import Gt06Talk, Talk
from tests.gateways import desk
from tests.trackers import LOGIN, change, mutations

HEAD = b"POST /owntracks?u=me&d=phone HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody"


@pytest.mark.parametrize(("protocol", "make", "first"), [("jt808", Jt808Talk, b""), ("gt06", Gt06Talk, LOGIN)])
def test_changed_frames_are_kept_or_refused(protocol: str, make: Callable[[Desk], Talk], first: bytes) -> None:
    counting = desk(unknown="pass", auth_secret="")
    talk, heard, answered = make(counting), 0, 0
    talk.hear(first)
    tracemalloc.start()
    try:
        for raw in mutations(protocol, 1000, seed=11):
            turns = talk.hear(raw)
            heard += any(turn.heard for turn in turns)
            answered += any(turn.reply for turn in turns)
            assert all(not turn.ends for turn in turns[:-1]), "an end is the last"
            if turns and turns[-1].ends:
                talk = make(counting)
                talk.hear(first)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 100 < heard < 1000
    assert answered
    assert kept < 3_000_000


def test_changed_requests_are_read_or_refused() -> None:
    chance = random.Random(4)

    async def ask(data: bytes) -> bool:
        reader = asyncio.StreamReader(limit=8192)
        reader.feed_data(data)
        reader.feed_eof()
        try:
            return await read(reader, None) is not None  # type: ignore[arg-type]
        except Refusal as refusal:
            assert refusal.status.value >= 400
            assert str(refusal)
            return False

    async def all_of() -> int:
        good = 0
        for _ in range(1000):
            data = bytearray(HEAD)
            for _ in range(chance.randint(1, 4)):
                change(data, chance)
            good += await ask(bytes(data))
        return good

    assert 100 < asyncio.run(all_of()) < 1000


@pytest.mark.parametrize("head", [b"", b"\r\n\r\n", b" ", b"GET", b"GET /", b"GET  HTTP/1.1", b"\xff" * 100])
def test_no_request_line_is_a_refusal(head: bytes) -> None:
    with pytest.raises(Refusal):
        parsed(head)
