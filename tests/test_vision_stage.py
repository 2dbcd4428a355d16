"""The vision worker's stage, over in-memory ports."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.message import SECOND, Detections, ScoredFrame
from pipeline.vision.picture import Decoded
from pipeline.vision.stage import Seen, Sinks, VisionStage
from tests.doubles import MemoryBlobs, MemoryBook, MemoryStore

NOON = 1_767_268_800 * SECOND
HOUR = 3600 * SECOND


class Nothing:
    """A detector that sees nothing."""

    def __init__(self) -> None:
        self.model = "nothing@0"
        self.thresholds: dict[str, float] = {}

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        return [Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ()) for _ in images]


def blank(_data: bytes) -> Decoded:
    return Decoded(np.zeros((8, 8, 3), np.uint8), 8, 8)


@pytest.mark.parametrize(
    ("at", "received", "fresh_as_of"),
    [(NOON - 6 * HOUR, NOON, NOON - 6 * HOUR), (NOON + HOUR, NOON, NOON)],
    ids=["a backlog being drained is as old as its pictures", "a clock that is ahead makes nothing fresher"],
)
def test_the_board_shows_how_old_the_newest_scored_picture_is(at: int, received: int, fresh_as_of: int) -> None:
    book = MemoryBook()
    sinks = Sinks(MemoryStore(), MemoryBlobs(), book)
    stage = VisionStage(Nothing(), [], sinks, decode=blank, batch=4, max_age_s=10.0, now=lambda: NOON)
    stage.commit([Seen(frames=[ScoredFrame("cam-1", at, received, 8, 8, "nothing@0", [])])])
    assert book.devices() == [{"device": "cam-1", "frame_scored": fresh_as_of}]
