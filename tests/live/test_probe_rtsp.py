"""The look at a source on a real RTSP server: its rate is measured, not what had gathered while it opened."""

from collections.abc import Iterator

import pytest

from edge.probe import look
from tests.conftest import started
from tests.live.test_edge_rtsp import RtspCamera


@pytest.fixture
def rtsp() -> Iterator[RtspCamera]:
    yield from started(RtspCamera())


def test_codec_size_rate_and_picture(rtsp: RtspCamera) -> None:
    seen = look(rtsp.url, seconds=4)
    assert (seen.codec, seen.width, seen.height, seen.declared_fps) == ("mjpg", 320, 240, 10)
    assert seen.fps == pytest.approx(10, abs=2.5)
    assert 0 < seen.first_s < 20 and seen.spread > 4
