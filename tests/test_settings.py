"""Settings: the shipped file is the manual, unknown keys are named, the environment wins."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from pipeline import settings
from pipeline.ports import UserError

SHIPPED = Path(__file__).parent.parent / "config" / "vedette.toml"


def load(tmp_path: Path, text: str, **environ: str) -> settings.Settings:
    path = tmp_path / "vedette.toml"
    path.write_text(text)
    return settings.load(path, environ=environ)


def test_the_shipped_file_shows_every_key_with_its_default() -> None:
    tree = tomllib.loads(SHIPPED.read_text())
    assert tree.pop("data") == "../data"
    shown = {table: set(keys) for table, keys in tree.items()}
    assert shown == {table: set(keys) for table, keys in settings._keys().items()}
    assert settings.load(SHIPPED, data=Path("/d"), environ={}) == settings.load(data=Path("/d"), environ={})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[mqtt]\nhots = 'a'", r"unknown key 'hots' in \[mqtt\]; did you mean 'host'"),
        ("[mqqt]\nhost = 'a'", r"unknown key 'mqqt'; did you mean 'mqtt'"),
        ("[mqtt]\nport = 'x'", r"Expected `int`.*port"),
        ("[log]\nengine = 'pulsar'", r"Invalid enum value 'pulsar'.*engine"),
        ("mqtt = 3", r"mqtt"),
        ("[mqtt", r"not valid TOML"),
    ],
)
def test_bad_files_name_the_key(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        load(tmp_path, text)
    assert "vedette.toml" in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "no.toml"))):
        settings.load(tmp_path / "no.toml", environ={})


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    found = load(tmp_path, "[mqtt]\nport = 1884\nhost = 'a'", VEDETTE_MQTT_PORT="1885")
    assert (found.mqtt.host, found.mqtt.port) == ("a", 1885)


def test_a_misspelt_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="VEDETTE_MQTT_PROT; did you mean VEDETTE_MQTT_PORT"):
        load(tmp_path, "", VEDETTE_MQTT_PROT="1")


def test_a_secret_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    assert load(tmp_path, "", VEDETTE_STORE_TOKEN_FILE=str(tmp_path / "token")).store.token == "s3cret"
    with pytest.raises(UserError, match="VEDETTE_STORE_TOKEN_FILE"):
        load(tmp_path, "", VEDETTE_STORE_TOKEN_FILE=str(tmp_path / "none"))


def test_paths_start_at_the_file_s_folder_and_data_is_filled_in(tmp_path: Path) -> None:
    found = load(tmp_path, "data = 'd'\n[rules]\nfile = 'r.toml'")
    assert found.rules.file == str(tmp_path / "r.toml")
    assert found.alarms.url == f"sqlite:///{tmp_path}/d/alarms.db"


def test_providers_are_a_list_in_the_file_and_words_in_the_environment(tmp_path: Path) -> None:
    text = '[vision]\nproviders = ["A", "B"]\n'
    assert load(tmp_path, text).vision.providers == ("A", "B")
    assert load(tmp_path, text, VEDETTE_VISION_PROVIDERS="C,D").vision.providers == ("C", "D")
