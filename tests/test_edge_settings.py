"""The agent's settings: shipped files load and show every key; a mistake is one sentence that names it."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from edge import settings
from edge.errors import SetupError
from edge.settings import Camera, Mqtt, Tracks, load

SHIPPED = ("camera", "gateway", "gps", "sensor", "tracks", "demo-gps", "demo-camera")


def write(folder: Path, text: str) -> Path:
    path = folder / "edge.toml"
    path.write_text(text, "utf-8")
    return path


def minimal(folder: Path, *, more: str = "", source: str = 'kind = "demo-fleet"') -> Path:
    return write(folder, f'device = "tower-1"\n[source]\n{source}\n{more}\n')


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_loads_as_it_is_and_with_every_key_uncommented(
    name: str, root: Path, tmp_path: Path
) -> None:
    path = root / f"config/edge.{name}.toml"
    as_it_is = load(path, environ={})
    text = re.sub(r"^# (\w+ = )", r"\1", path.read_text("utf-8"), flags=re.MULTILINE)
    tree = tomllib.loads(text)
    source = settings.SOURCES[tree["source"]["kind"]]
    assert set(tree) == set(settings.Settings.__struct_fields__)
    for table, kind in (
        ("source", source),
        ("mqtt", Mqtt),
        ("spool", settings.SpoolTable),
        ("publish", settings.Publish),
    ):
        assert set(tree[table]) - {"kind"} == set(kind.__struct_fields__), table
    whole = load(write(tmp_path, text), environ={})
    relative = ("data", "source")  # their paths begin in another folder now
    for field in settings.Settings.__struct_fields__:
        assert field in relative or getattr(whole, field) == getattr(as_it_is, field), "a shown default is not one"
    shown = {k: v for k, v in msgspec.to_builtins(whole.source).items() if k not in ("url", "files")}
    assert shown.items() <= msgspec.to_builtins(as_it_is.source).items()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('devise = "a"\n[source]\nkind = "demo-fleet"', "unknown key 'devise'; did you mean 'device'?"),
        ('device = "a"\n[source]\nkind = "demo-fleet"\nsede = 2', "unknown key 'sede'; did you mean 'seed'?"),
        (
            'device = "a"\n[source]\nkind = "demo-fleet"\n[mqtt]\nhots = "x"',
            "[mqtt]: unknown key 'hots'; did you mean 'host'?",
        ),
        ('device = "a"\n[source]\nkind = "radar"', "'kind' must be one of 'camera', 'gps'"),
        ('device = "a"', "[source]: 'kind' must be one of"),
        ('device = "a b"\n[source]\nkind = "demo-fleet"', "device 'a b': use 1 to 63 letters"),
        ('device = "a/b"\n[source]\nkind = "demo-fleet"', "device 'a/b'"),
        ('device = "a"\n[source]\nkind = "tracks"', "missing required field `files`"),
        ('device = "a"\n[source]\nkind = "camera"\nurl = "x"\nmax_side = 0', "max_side = 0: must be more than 0"),
        ('device = "a"\n[source]\nkind = "camera"\nurl = "x"\nspeed = -1', "speed must not be negative"),
        (
            'device = "a"\n[source]\nkind = "tracks"\nfiles = []\nbatch = 1001',
            "batch = 1001: must be 1,000 at the most",
        ),
        (
            'device = "a"\n[source]\nkind = "demo-fleet"\n[mqtt]\nport = "x"',
            "Expected `int`, got `str` - at `$.mqtt.port`",
        ),
        (
            'device = "a"\n[source]\nkind = "demo-fleet"\n[mqtt]\ncert_file = "x"',
            "cert_file and key_file belong together",
        ),
        ("device = ", "not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SetupError) as caught:
        load(path, environ={})
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_says_where_examples_are(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"no settings file .*none\.toml: see config/edge"):
        load(tmp_path / "none.toml")


def test_the_environment_lies_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("word\n")
    path = minimal(tmp_path, more='[mqtt]\nhost = "a"\nusername = "u"')
    environ = {
        "VEDETTE_EDGE_MQTT_HOST": "broker",
        "VEDETTE_EDGE_MQTT_PORT": "8883",
        "VEDETTE_EDGE_MQTT_PASSWORD_FILE": str(tmp_path / "secret"),
        "VEDETTE_EDGE_DATA": "somebody else's",
    }
    mqtt = load(path, environ=environ).mqtt
    assert (mqtt.host, mqtt.port, mqtt.username, mqtt.password) == ("broker", 8883, "u", "word")


def test_an_unknown_or_unreadable_name_in_the_environment_is_an_error(tmp_path: Path) -> None:
    path = minimal(tmp_path)
    with pytest.raises(SetupError, match="no setting VEDETTE_EDGE_MQTT_HOTS; did you mean 'host'"):
        load(path, environ={"VEDETTE_EDGE_MQTT_HOTS": "x"})
    with pytest.raises(SetupError, match="VEDETTE_EDGE_MQTT_PASSWORD_FILE=/none: cannot read the secret"):
        load(path, environ={"VEDETTE_EDGE_MQTT_PASSWORD_FILE": "/none"})


def test_paths_are_taken_from_the_files_folder_and_addresses_are_left_alone(tmp_path: Path) -> None:
    tracks = load(minimal(tmp_path, source='kind = "tracks"\nfiles = ["a.csv"]'), environ={})
    assert isinstance(tracks.source, Tracks)
    assert tracks.source.files == [str(tmp_path.resolve() / "a.csv")]
    assert tracks.data == str(tmp_path.resolve() / "data/tower-1")
    for url, expected in (("rtsp://a/b", "rtsp://a/b"), ("/dev/video0", "/dev/video0"), ("v.mp4", None)):
        camera = load(minimal(tmp_path, source=f'kind = "camera"\nurl = "{url}"'), environ={}).source
        assert isinstance(camera, Camera)
        assert camera.url == (expected or str(tmp_path.resolve() / "v.mp4"))


def test_a_data_folder_given_by_hand_lies_over_the_file(tmp_path: Path) -> None:
    assert load(minimal(tmp_path), data=tmp_path / "here", environ={}).data == str((tmp_path / "here").resolve())
