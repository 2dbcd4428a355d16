"""A look at a source: what it is, how fast, what it shows; and a source that shows nothing."""

import json
import os
import pty
import socket
import threading
import time
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner

from edge.__main__ import cli
from edge.errors import SourceError
from edge.probe import fourcc, listen, look
from edge.settings import Gps
from tests.test_gps import gga, rmc
from tests.videos import video


def test_codec_size_and_rate_of_a_file(tmp_path: Path) -> None:
    seen = look(str(video(tmp_path / "v.mp4", frames=40)), seconds=5)
    assert (seen.codec, seen.width, seen.height, seen.frames) == ("fmp4", 640, 480, 40)
    assert seen.declared_fps == 10 and seen.fps > 10, "a file is read as fast as it can be"
    assert seen.trouble == "" and seen.image.shape == (480, 640, 3)


@pytest.mark.parametrize(("grey", "says"), [(0, "black"), (120, "single shade")])
def test_a_picture_that_shows_nothing_is_told(tmp_path: Path, grey: int, says: str) -> None:
    assert says in look(str(video(tmp_path / "v.mp4", frames=5, grey=grey)), seconds=0.2).trouble


def test_what_is_no_video_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_text("no video")
    for url in (str(tmp_path / "v.mp4"), str(tmp_path / "none.mp4"), "/dev/video99"):
        with pytest.raises(SourceError, match="cannot be opened"):
            look(url, seconds=0.1)


def test_an_address_that_hangs_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://user:secret@127.0.0.1:{silent.getsockname()[1]}/"
        start = time.monotonic()
        with pytest.raises(SourceError, match="no answer in 1 s") as error:
            look(url, seconds=0.1, patience_s=0.9)
        assert time.monotonic() - start < 5
        assert "secret" not in str(error.value)


def test_letters_of_a_codec() -> None:
    assert fourcc(cv2.VideoWriter.fourcc(*"H264")) == "h264"
    assert (fourcc(0), fourcc(-1)) == ("", "ÿÿÿÿ")


def test_a_receiver_with_a_fix() -> None:
    ours, theirs = pty.openpty()
    lines = (gga("123519.00") + "\r\n" + rmc("123519.00") + "\r\n").encode()
    stop = threading.Event()

    def talk() -> None:
        while not stop.wait(0.3):
            os.write(ours, lines)

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        heard = listen(Gps(url=f"serial://{os.ttyname(theirs)}"), seconds=8)
    finally:
        stop.set()
        thread.join()
    assert heard.lines > 0
    assert heard.fix is not None and heard.fix.lat == pytest.approx(48.1173, abs=1e-4)
    os.close(ours)
    os.close(theirs)


def test_a_silent_receiver_is_heard_out() -> None:
    ours, theirs = pty.openpty()
    heard = listen(Gps(url=f"serial://{os.ttyname(theirs)}"), seconds=0.5)
    assert (heard.lines, heard.fix) == (0, None)
    os.close(ours)
    os.close(theirs)


def test_the_command_writes_the_picture_it_saw(tmp_path: Path) -> None:
    picture = tmp_path / "seen.jpg"
    source = str(video(tmp_path / "v.mp4"))
    done = CliRunner().invoke(cli, ["probe", source, "--picture", str(picture), "--seconds", "0.5"])
    assert done.exit_code == 0, done.output
    assert "640 x 480" in done.output and cv2.imread(str(picture)).shape == (480, 640, 3)
    done = CliRunner().invoke(cli, ["probe", source, "--picture", str(picture), "--seconds", "0.5", "--json"])
    assert json.loads(done.output)["codec"] == "fmp4"


def test_the_command_fails_for_what_shows_nothing(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["probe", str(tmp_path / "none.mp4")])
    assert done.exit_code == 1 and "cannot be opened" in done.output
    dark = str(video(tmp_path / "v.mp4", frames=5, grey=0))
    done = CliRunner().invoke(cli, ["probe", dark, "--picture", str(tmp_path / "p.jpg"), "--seconds", "0.2"])
    assert done.exit_code == 1 and "take the cap off" in done.output
