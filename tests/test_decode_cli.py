"""`vedette-edge decode`: a line of JSON for each message, from files, pipes and streams, whatever is in them."""

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from edge.__main__ import cli
from edge.decode.base import LIMIT
from tests.trackers import LOGIN, NMEA_LINES, SEEDS, gt06, gt06_place, jt808, place


def rows(*words: str, given: bytes = b"") -> list[dict[str, Any]]:
    result = CliRunner().invoke(cli, ["decode", *words], input=given)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_hexadecimal_lines_of_a_file_one_answer_each(tmp_path: Path) -> None:
    file = tmp_path / "frames.txt"
    good = jt808(0x0200, place()).hex()
    file.write_text(f"{good.upper()}\n\n7e 00\r\nxyz\n  0x{good}\n(740,1,001,BASE,2,TIME)\n")
    answers = rows("jt808", str(file), "--json")
    assert [row["ok"] for row in answers] == [True, False, False, True, True]
    assert [row.get("reason") for row in answers[1:3]] == ["framing", "not_hex"]
    assert answers[0]["position"]["at"] == "2020-07-07T11:23:59Z"
    assert answers[0] == answers[3]


def test_a_wrong_check_code_is_refused_and_shown() -> None:
    frame = bytearray(gt06(0x12, gt06_place()))
    frame[-3] ^= 1
    (row,) = rows("gt06", given=frame.hex().encode())
    assert (row["ok"], row["reason"], "position" in row) == (False, "checksum", False)
    assert row["unverified"][0]["position"]["satellites"] == 5


def test_lines_stand_alone_unless_they_are_of_one_connection() -> None:
    given = LOGIN.hex().encode() + b"\n" + gt06(0x12, gt06_place()).hex().encode()
    assert [row["device"] for row in rows("gt06", given=given)] == ["123456789012345", None]
    assert [row["device"] for row in rows("gt06", "--session", given=given)] == ["123456789012345"] * 2


def test_a_recorded_stream(tmp_path: Path) -> None:
    file = tmp_path / "connection.bin"
    file.write_bytes(b"rubbish" + LOGIN + b"\0\0" + gt06(0x12, gt06_place()))
    answers = rows("gt06", str(file), "--stream")
    assert [(row["kind"], row["device"]) for row in answers] == [
        ("login", "123456789012345"),
        ("position", "123456789012345"),
    ]


@pytest.mark.parametrize("protocol", ["osmand", "owntracks"])
def test_text_lines(protocol: str) -> None:
    answers = rows(protocol, "-", given=b"\n".join(SEEDS[protocol]))
    assert [row["ok"] for row in answers] == [True] * len(SEEDS[protocol])
    assert all("position" in row for row in answers)


def test_sentences_of_an_epoch_are_one_position_and_damaged_ones_are_told() -> None:
    rmc, gga = NMEA_LINES
    answers = rows(
        "nmea", given=b"\r\n".join([rmc, gga, rmc.replace(b"123519", b"123518"), b"$GPGGA,1*00", b"hello"])
    )
    assert [(row["ok"], row.get("kind"), row.get("reason")) for row in answers] == [
        (False, None, "checksum"),
        (False, None, "checksum"),
        (True, "position", None),
    ]
    fix = answers[-1]["position"]
    assert (fix["at"], fix["alt"], fix["valid"]) == ("1994-03-23T12:35:19Z", 545.4, True)


def test_the_day_of_sentences_without_a_date_can_be_said() -> None:
    gga = NMEA_LINES[1]
    assert rows("nmea", given=gga)[0]["reason"] == "no_date"
    assert rows("nmea", "--date", "2008-05-29", given=gga)[0]["position"]["at"] == "2008-05-29T12:35:19Z"


def test_a_line_without_end_is_refused_and_the_next_one_read() -> None:
    given = b"7e" * (3 * LIMIT) + b"\n" + jt808(0x0002, b"").hex().encode()
    answers = rows("jt808", given=given)
    assert [(row["ok"], row.get("reason")) for row in answers] == [(False, "length"), (True, None)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["telex"], "telex"),
        (["gt06", "no/such/file"], "no/such/file"),
        (["nmea", "--stream"], "--stream is for"),
        (["gt06", "--date", "2020-01-01"], "--date is for nmea"),
        (["nmea", "--date", "yesterday"], "yesterday"),
    ],
)
def test_mistakes_are_named(words: list[str], said: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        cli.main(["decode", *words], standalone_mode=False)
    assert said in caught.value.format_message()


def test_help_is_that_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["decode", "-h"], standalone_mode=False)
    assert "--session" in capsys.readouterr().out
