"""The edge package by itself: it builds without a network, and runs where the server's packages are missing."""

import functools
import json
import operator
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline import wire
from pipeline.message import Fixes

BIG = 1_000_000
SERVER = (
    "faust",
    "fastapi",
    "sqlalchemy",
    "nats",
    "nicegui",
    "onnxruntime",
    "influxdb_client",
    "psycopg",
    "shapely",
)
BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError("not on a device: " + name)
sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools leaves its work in the folder, and would take old work for new."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("edge", "pipeline", "packaging"):
        shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("build", "__pycache__", "bench"))
    out = tmp_path_factory.mktemp("wheel")
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", str(out)]
    done = run([sys.executable, "-m", "pip", *build, str(copy / "packaging" / "edge")])
    assert done.returncode == 0, done.stderr
    (found,) = out.glob("vedette_edge-*.whl")
    return found


@pytest.fixture(scope="module")
def device(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment's bin folder: the wheel, what it needs from this machine, and nothing of the server."""
    home = tmp_path_factory.mktemp("device")
    venv.create(home, with_pip=False, symlinks=True)
    (site,) = home.glob("lib/python3*/site-packages")
    install = ["install", "--no-deps", "--no-index", "--quiet", "--prefix", str(home), str(wheel)]
    done = run([sys.executable, "-m", "pip", *install, "--ignore-installed"])
    assert done.returncode == 0, done.stderr
    (site / "existing.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    (site / "sitecustomize.py").write_text(BLOCKER.format(names=set(SERVER)))
    script = home / "bin" / "vedette-edge"
    python = home / "bin" / "python"
    script.write_text(f"#!{python}\nfrom edge.__main__ import main\nmain()\n")
    return home / "bin"


def run(command: Sequence[str | Path], *, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, timeout=100, check=False, cwd=folder)


def test_it_is_small_and_holds_the_agent_only(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    pipeline = {name for name in names if name.startswith("pipeline/")}
    assert pipeline == {f"pipeline/{name}.py" for name in ("__init__", "message", "wire", "trackfile")}
    assert {"edge/__main__.py", "edge/doctor/rounds.py", "edge/decode/cli.py"} <= set(names)
    assert wheel.name.endswith("-py3-none-any.whl")
    assert wheel.stat().st_size < BIG


def test_it_needs_what_the_whole_needs_and_nothing_of_the_server(root: Path) -> None:
    whole, edge = (
        set(tomllib.loads((root / name).read_text())["project"]["dependencies"])
        for name in ("pyproject.toml", "packaging/edge/pyproject.toml")
    )
    assert edge <= whole
    assert not [
        one for one in edge if one.startswith(("faust", "fastapi", "sqlalchemy", "nats", "uvicorn", "onnx"))
    ]


def test_the_commands_run_without_the_server_s_packages(device: Path, tmp_path: Path) -> None:
    done = run([device / "vedette-edge", "--help"], folder=tmp_path)
    assert done.returncode == 0 and "doctor" in done.stdout, done.stderr
    place = run(
        [device / "python", "-c", "import edge, pipeline; print(edge.__file__, pipeline.__path__)"], folder=tmp_path
    )
    assert str(device.parent) in place.stdout, "it is the wheel's code that ran"
    blocked = run([device / "python", "-c", "import fastapi"], folder=tmp_path)
    assert "not on a device" in blocked.stderr
    for command in ("run", "status", "install", "doctor", "probe"):
        done = run([device / "vedette-edge", command, "--help"], folder=tmp_path)
        assert done.returncode == 0, done.stderr


def test_decode_and_status_do_their_work(device: Path, tmp_path: Path) -> None:
    sentence = tmp_path / "nmea"
    words = "GPRMC,123519.00,A,4807.038,N,01131.000,E,022.4,084.4,230324,,,A"
    sentence.write_text(f"${words}*{functools.reduce(operator.xor, words.encode()):02X}\n")
    done = run([device / "vedette-edge", "decode", "nmea", sentence], folder=tmp_path)
    assert json.loads(done.stdout.splitlines()[0])["ok"] is True, done.stdout + done.stderr
    config = tmp_path / "edge.toml"
    tracks = tmp_path / "tracks.csv"
    tracks.write_text("unit,at,lat,lon\nbus-1,2026-01-31T12:00:00Z,47.0,8.0\n")
    source = f'kind = "tracks"\nfiles = ["{tracks}"]\nspeed = 0.0'
    config.write_text(f'device = "d-1"\ndata = "data"\n[mqtt]\nport = 1\n[source]\n{source}\n')
    agent = subprocess.Popen([device / "vedette-edge", "run", config], cwd=tmp_path, stderr=subprocess.PIPE)
    try:
        spooled_one(device, config, tmp_path)
    finally:
        agent.terminate()
        agent.communicate(timeout=20)
    done = run([device / "vedette-edge", "status", config], folder=tmp_path)
    assert done.returncode == 1 and "0 confirmed" in done.stdout and "not running since" in done.stdout


def spooled_one(device: Path, config: Path, folder: Path) -> None:
    """The agent keeps what it cannot send."""
    for _ in range(20):
        done = run([device / "vedette-edge", "status", "--json", config], folder=folder)
        if done.returncode in (0, 1) and done.stdout and json.loads(done.stdout)["waiting"] == 1:
            assert json.loads(done.stdout)["connected"] is False
            return
    pytest.fail(f"nothing was spooled: {done.stdout} {done.stderr}")


def test_the_shared_modules_speak_the_same_wire(device: Path, tmp_path: Path) -> None:
    code = "from pipeline import wire; from pipeline.message import Fixes; print(wire.encode_body(Fixes()).hex())"
    done = run([device / "python", "-c", code], folder=tmp_path)
    assert bytes.fromhex(done.stdout.strip()) == wire.encode_body(Fixes())
