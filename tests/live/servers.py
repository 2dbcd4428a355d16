"""The real servers that tests start: brokers, logs, stores. Each is a `Server` with its addresses as attributes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.live import install
from tests.live.process import Server, accepts, alive, answers, children, free_port, wait_until

__all__ = ["InfluxDB", "Kafka", "Mosquitto", "Nats", "PostgreSQL"]

LOOPBACK = "127.0.0.1"


class Nats(Server):
    """nats-server from the wheel: MQTT 3.1.1 broker and JetStream log in one process, as in the embedded system.

    `port` speaks NATS (`url`), `mqtt_port` MQTT. Data stay over `kill` and `start`.
    """

    def __init__(
        self, *, max_payload: int = 2 << 20, sync_interval: str = "500ms", max_file: int = 4 << 30
    ) -> None:
        super().__init__()
        self.port, self.mqtt_port, self.monitor_port = free_port(), free_port(), free_port()
        self.limits = {"max_payload": max_payload, "sync_interval": sync_interval, "max_file": max_file}

    @property
    def url(self) -> str:
        """What nats-py connects to."""
        return f"nats://{LOOPBACK}:{self.port}"

    def prepare(self) -> None:
        store = {"store_dir": str(self.folder / "store")}
        kept = {name: self.limits[name] for name in ("sync_interval", "max_file")}
        settings = {
            "server_name": "vedette-test",  # MQTT sessions are kept under it
            "listen": f"{LOOPBACK}:{self.port}",
            "http": f"{LOOPBACK}:{self.monitor_port}",
            "max_payload": self.limits["max_payload"],
            "jetstream": {**store, **kept},
            "mqtt": {"listen": f"{LOOPBACK}:{self.mqtt_port}", "max_ack_pending": 10_000},
        }
        (self.folder / "nats.conf").write_text(json.dumps(settings))

    def command(self) -> Sequence[str | Path]:
        return [Path(sys.executable).with_name("nats-server"), "-c", self.folder / "nats.conf"]

    def ready(self) -> bool:
        return answers(f"http://{LOOPBACK}:{self.monitor_port}/healthz") and accepts(self.mqtt_port)


class Mosquitto(Server):
    """mosquitto from Debian: MQTT 3.1.1 and 5, with queued messages kept over `kill`.

    `users` (name to password) closes it to everyone else; `tls=True` makes it speak TLS only, with a certificate
    for localhost and 127.0.0.1 that `ca` vouches for.
    """

    def __init__(self, *, users: Mapping[str, str] | None = None, tls: bool = False) -> None:
        super().__init__()
        self.host, self.port = LOOPBACK, free_port()
        self.users = dict(users or {})
        self.tls = tls
        self.ca = self.folder / "ca.crt"

    def prepare(self) -> None:
        install.debian("mosquitto", "mosquitto")
        lines = [
            f"listener {self.port} {self.host}",
            f"allow_anonymous {'false' if self.users else 'true'}",
            "user root",  # started by root it would become `mosquitto` and could not read this folder
            "persistence true",
            f"persistence_location {self.folder}/",
            "autosave_interval 1",
            "autosave_on_changes true",  # so kill -9 loses nothing that was acknowledged
            "max_queued_messages 1000000",
            "max_inflight_messages 1000",
            *(self.secure() if self.tls else ()),
            *(self.admit() if self.users else ()),
        ]
        (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def admit(self) -> list[str]:
        """Write the password file; return the settings that use it."""
        passwords = self.folder / "passwords"
        passwords.write_text("".join(f"{name}:{word}\n" for name, word in self.users.items()))
        install.run([install.need("mosquitto_passwd", "it comes with mosquitto"), "-U", passwords])
        return [f"password_file {passwords}"]

    def secure(self) -> list[str]:
        """Make a certificate that signs itself; return the settings that use it."""
        key = self.folder / "server.key"
        make = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        install.run([install.debian("openssl", "openssl"), *make, *names, "-keyout", key, "-out", self.ca])
        return [f"certfile {self.ca}", f"keyfile {key}"]

    def command(self) -> Sequence[str | Path]:
        return [install.need("mosquitto", "Debian: mosquitto"), "-c", self.folder / "mosquitto.conf"]

    def ready(self) -> bool:
        return accepts(self.port)


class Kafka(Server):
    """Apache Kafka, one node in KRaft mode; `bootstrap` is its address. Topics are not created by themselves."""

    def __init__(self, *, partitions: int = 4) -> None:
        super().__init__()
        self.port, self.controller_port = free_port(), free_port()
        self.partitions = partitions
        self.libs = self.folder

    @property
    def bootstrap(self) -> str:
        """host:port, as aiokafka and Faust's broker setting want it."""
        return f"{LOOPBACK}:{self.port}"

    def prepare(self) -> None:
        self.libs = install.kafka_jars()
        (self.folder / "server.properties").write_text(self.properties())
        cluster = "AAAAAAAAQACAAAAAAAAAAQ"  # any 16 bytes in base64
        config = str(self.folder / "server.properties")
        install.run([*self.java(), "kafka.tools.StorageTool", "format", "-t", cluster, "-c", config])

    def properties(self) -> str:
        """The configuration file's text."""
        all_of_them = {**KAFKA_PROPERTIES, **self.addresses(), "num.partitions": self.partitions}
        return "".join(f"{key}={value}\n" for key, value in all_of_them.items())

    def addresses(self) -> dict[str, str]:
        """The properties that differ from one test run to the next."""
        controller = f"{LOOPBACK}:{self.controller_port}"
        return {
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.quorum.voters": f"1@{controller}",
            "log.dirs": str(self.folder / "data"),
        }

    def java(self) -> list[str]:
        """The JVM with Kafka on its class path; it expands the star itself."""
        small = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        java = install.debian("java", "default-jre-headless")
        return [str(java), *small, "-cp", f"{self.libs}/*"]

    def command(self) -> Sequence[str | Path]:
        return [*self.java(), "kafka.Kafka", self.folder / "server.properties"]

    def ready(self) -> bool:
        return accepts(self.port)


KAFKA_PROPERTIES: Mapping[str, str | int] = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "message.max.bytes": 4 << 20,
    "replica.fetch.max.bytes": 4 << 20,
    "offsets.topic.num.partitions": 1,
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    "broker.heartbeat.interval.ms": 500,
    "broker.session.timeout.ms": 3000,  # a broker that was killed may not come back before its session ends
    "log.cleaner.dedupe.buffer.size": 16_777_216,
}


class InfluxDB(Server):
    """InfluxDB 2 with an organisation, a bucket and an all-access token: `url`, `org`, `bucket`, `token`."""

    org, bucket = "vedette", "vedette"

    def __init__(self, *, token: str = "") -> None:
        super().__init__()
        self.port = free_port()
        self.token = token or os.urandom(24).hex()
        self.binary = self.folder

    @property
    def url(self) -> str:
        """The base address of the v2 API."""
        return f"http://{LOOPBACK}:{self.port}"

    def prepare(self) -> None:
        self.binary = install.influxd()

    def command(self) -> Sequence[str | Path]:
        paths = {"bolt-path": "influxd.bolt", "sqlite-path": "influxd.sqlite", "engine-path": "engine"}
        places = [f"--{key}={self.folder / name}" for key, name in paths.items()]
        return [self.binary, f"--http-bind-address={LOOPBACK}:{self.port}", *places, "--reporting-disabled"]

    def ready(self) -> bool:
        return answers(f"{self.url}/health")

    def start(self) -> Self:
        super().start()
        self.set_up()
        return self

    def set_up(self) -> None:
        """Make the first user, organisation, bucket and token; only a fresh server allows it."""
        with urllib.request.urlopen(f"{self.url}/api/v2/setup", timeout=10) as response:
            fresh = json.load(response)["allowed"]
        if fresh:
            names = {"username": "vedette", "org": self.org, "bucket": self.bucket}
            body = json.dumps({**names, "password": os.urandom(12).hex(), "token": self.token}).encode()
            request = urllib.request.Request(f"{self.url}/api/v2/setup", body, {"Content-Type": "application/json"})
            urllib.request.urlopen(request, timeout=30).close()


class PostgreSQL(Server):
    """PostgreSQL from Debian with one empty database; `url` is for SQLAlchemy with psycopg."""

    database = "vedette"
    stop_signal = signal.SIGINT  # SIGTERM would wait for its clients to leave

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()
        self.home = self.folder
        self.user = "postgres" if os.geteuid() == 0 else None

    @property
    def url(self) -> str:
        """The SQLAlchemy address."""
        return f"postgresql+psycopg://{self.database}@{LOOPBACK}:{self.port}/{self.database}"

    def prepare(self) -> None:
        self.home = install.postgresql()
        if self.user:
            shutil.chown(self.folder, self.user, self.user)
        make: list[str | Path] = [
            self.home / "initdb",
            "-D",
            "data",
            "-U",
            self.database,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        self.as_user([*make, "--no-sync"])

    def as_user(self, command: Sequence[str | Path]) -> None:
        """Run a step in the server's folder as the server's user."""
        before: list[str | Path] = ["runuser", "-u", self.user, "--"] if self.user else []
        install.run([*before, *command], cwd=self.folder)

    def command(self) -> Sequence[str | Path]:
        where: list[str | Path] = ["-D", "data", "-p", str(self.port), "-k", self.folder]
        return [self.home / "postgres", *where, "-c", f"listen_addresses={LOOPBACK}"]

    def ready(self) -> bool:
        ask: list[str | Path] = [self.home / "pg_isready", "-q", "-h", LOOPBACK, "-p", str(self.port)]
        return subprocess.run(ask, check=False, timeout=30).returncode == 0

    def kill(self) -> None:
        """kill -9 the first process; the others notice, and the next start needs them gone."""
        backends = children(self.pid) if self.child and self.child.poll() is None else []
        super().kill()
        wait_until(lambda: not any(map(alive, backends)), 30, "the end of PostgreSQL's backends")

    def start(self) -> Self:
        fresh = not self.prepared
        super().start()
        if fresh:
            self.as_user(
                [self.home / "createdb", "-h", LOOPBACK, "-p", str(self.port), "-U", self.database, self.database]
            )
        return self
