"""Why was there no alarm? Answered from what was stored, over in-memory ports, at the prompt and over HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from pipeline.__main__ import cli
from pipeline.alarms.book import open_book
from pipeline.api.whynot import Asked, WhyNot, answer, gather, shown
from pipeline.message import SECOND, Change, HeldBack, Refusal, ScoredFrame, Signal
from pipeline.ports import UserError
from pipeline.rules.head import Scope
from pipeline.rules.sighting import Confirmation, Sighting
from pipeline.settings import Api, load
from pipeline.store import open_store
from tests.desk import NOON, TOKEN, Office, client
from tests.doubles import MemoryBook, MemoryStore
from tests.moving import head

MINUTE = 60 * SECOND
BOX = (100.0, 100.0, 140.0, 140.0)


def rule(scope: Scope | None = None) -> Sighting:
    terms = Confirmation("fire", 0.5, 0.3, 3 * SECOND, 3, 0.5, 10 * SECOND, 3, 600 * SECOND)
    return Sighting(head("sighting", name="fire-watch", scope=scope), terms)


def frame(t: float, *scores: float, camera: str = "tower") -> ScoredFrame:
    at = NOON + round(t * SECOND)
    return ScoredFrame(camera, at, at, 640, 480, "m@1", [("fire", score, BOX) for score in scores])


def held(reason: str = "constant", start: int = -20, end: int = 10) -> HeldBack:
    first, last = NOON + start * SECOND, NOON + end * SECOND
    return HeldBack(
        first, last, BOX, 0.61, reason, "because so", "fire-watch", "fire", "tower", "19% across, 25% down", 0.5
    )


def saw(*, change: Change = Change.BEGAN, t: int = -10, kind: str = "sighting", **evidence: object) -> Signal:
    at, start = NOON + t * SECOND, NOON - 10 * SECOND
    return Signal(kind, kind, "v1", "tower", "left", change, at, start, f"{kind} of tower", evidence=evidence)


def why(frames: list[ScoredFrame], book: MemoryBook | None = None, *, within: float = 60.0) -> WhyNot:
    store, book = MemoryStore(), book or MemoryBook()
    store.write_frames(frames)
    book.report_devices([{"device": "tower", "received": NOON}])
    asked = Asked.of("tower", NOON, within)
    return answer(gather(book, shown(store, asked), [rule()], asked))


def steady(*scores: float) -> list[ScoredFrame]:
    """A frame every two seconds for two minutes around NOON, and before and after that."""
    return [frame(t, *scores) for t in range(-90, 91, 2)]


def test_nothing_was_seen_at_all() -> None:
    found = why(steady())
    assert found.answer == "no fire was seen at all, not even faintly"
    assert (found.frames, found.alarms, found.trouble) == (61, [], [])


def test_what_was_seen_too_faintly_is_told_with_what_was_needed() -> None:
    found = why([*steady(0.12), frame(7.5, 0.22)])
    (best,) = found.best
    assert (best.score, best.at, best.needed, best.holds) == (0.22, "2026-01-01T12:00:07.5Z", 0.5, 0.3)
    assert found.answer.startswith("the best score of fire was 0.22 at 2026-01-01T12:00:07.5Z: 0.50 needed")


@pytest.mark.parametrize(
    ("reason", "words"),
    [("constant", "it does not move, as a lamp"), ("mask", "masked"), ("cool_down", "had only just ended")],
)
def test_what_was_held_back_is_the_answer_with_its_reason(reason: str, words: str) -> None:
    book = MemoryBook()
    book.hold_back([held(reason), held("score", 40, 50), held("score", 400, 500)])
    found = why(steady(0.6), book)
    assert found.answer.startswith("fire at 19% across, 25% down of the picture from 2026-01-01T11:59:40Z")
    assert words in found.answer and "because so" in found.answer
    assert [h.reason for h in found.held_back] == [reason, "score"], "nearest first, and none from another time"


def test_an_alarm_did_open() -> None:
    book = MemoryBook()
    book.apply([saw()])
    found = why(steady(0.9), book)
    assert found.alarms == [saw().alarm]
    assert found.answer.startswith(f"an alarm did open: {saw().alarm}, rule sighting")


def test_an_alarm_that_ended_before_that_time_is_none() -> None:
    book = MemoryBook()
    book.apply([saw(), saw(change=Change.ENDED, t=-5)])
    assert why(steady(0.9), book, within=4).alarms == []


def test_an_alarm_that_another_camera_began_counts_too() -> None:
    book = MemoryBook()
    members = {"revision": 1, "going_on": 2, "members": [{"camera": "ridge"}, {"camera": "tower"}]}
    book.apply([msgspec.structs.replace(saw(fire=members), subject="ridge")])
    assert len(why(steady(0.9), book).alarms) == 1


def test_a_camera_that_was_blind_then() -> None:
    book = MemoryBook()
    book.apply([saw(kind="blind")])
    found = why(steady(), book)
    assert found.answer.startswith("blind from 2026-01-01T11:59:50Z and it goes on")
    assert found.trouble == [found.answer]


def test_no_frame_came_at_all() -> None:
    found = why([frame(-200), frame(100)])
    assert found.answer == (
        "no frame was scored within 1 min 0 s of that time: the last one before is of 2026-01-01T11:56:40Z, "
        "the next one of 2026-01-01T12:01:40Z"
    )


def test_missing_frames_are_told_but_not_those_that_are_still_to_come() -> None:
    gap = [f for f in steady() if not NOON - 5 * SECOND <= f.at <= NOON + 15 * SECOND]
    assert why(gap).answer == "no frame for 22 s from 2026-01-01T11:59:54Z"
    assert why([f for f in steady() if f.at <= NOON]).trouble == []
    assert why([f for f in steady() if f.at >= NOON]).trouble == []


def test_a_frame_a_minute_is_no_gap() -> None:
    assert why([frame(60.0 * t) for t in range(-20, 21)], within=600).trouble == []


def test_refused_pictures_are_counted() -> None:
    book = MemoryBook()
    book.refuse([Refusal("tower", "t", "cut", "", NOON + 5), Refusal("yard", "t", "cut", "", NOON + 5)])
    assert why(steady(), book).trouble == ["1 messages of the camera were refused: cut"]


def test_an_unknown_camera_and_a_span_that_cannot_be_are_refused() -> None:
    asked = Asked.of("tover", NOON, 60.0)
    book = MemoryBook()
    book.report_devices([{"device": "tower"}])
    with pytest.raises(UserError, match="no camera tover: devices are tower"):
        gather(book, shown(MemoryStore(), asked), [rule()], asked)
    for seconds in (0.0, -1.0, 4000.0, float("nan")):
        with pytest.raises(UserError, match="within"):
            Asked.of("tower", NOON, seconds)


def test_no_rule_is_about_the_camera() -> None:
    store, asked = MemoryStore(), Asked.of("tower", NOON, 60.0)
    store.write_frames(steady(0.9))
    found = answer(gather(MemoryBook(), shown(store, asked), [rule(Scope(["yard-*"]))], asked))
    assert found.answer == "no sighting rule is about tower"


def test_over_http() -> None:
    office = Office(settings=msgspec.structs.replace(load(environ={}), api=Api(token=TOKEN)))
    office.store.write_frames(steady(0.1))
    office.book.hold_back([held()])
    with client(office) as http:
        query = {"camera": "tower", "at": "2026-01-01T12:00:00Z"}
        body = http.get("/api/v1/alarms/why-not", params=query).json()
        assert body["held_back"][0]["reason"] == "constant" and body["frames"] == 61
        assert http.get("/api/v1/alarms/why-not", params={**query, "camera": "nobody"}).status_code == 404
        assert http.get("/api/v1/alarms/why-not", params={**query, "at": "noon"}).status_code == 422
        assert http.get("/api/v1/alarms/why-not", params={**query, "within": "0"}).status_code == 422


def test_at_the_prompt(tmp_path: Path) -> None:
    settings = load(data=tmp_path, environ={})
    book, store = open_book(settings), open_store(settings)
    book.hold_back([held()])
    store.write_frames(steady(0.1))
    book.close()
    store.close()
    words = ["alarms", "why-not", "tower", "--at", "2026-01-01T12:00:00Z", "--data", str(tmp_path)]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    assert "tower at 2026-01-01T12:00:00Z, 61 frames within 60 s" in done.output
    assert "held back by rule fire-watch: it does not move" in done.output
    plain = json.loads(CliRunner().invoke(cli, [*words, "--json"]).output)
    assert plain["held_back"][0]["box"] == list(BOX)
    assert CliRunner().invoke(cli, [*words[:4], "yesterday", *words[5:]]).exit_code == 2
