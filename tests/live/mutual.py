"""mosquitto as `vedette devices broker` sets it up: mutual TLS, the shipped access list, a revocation list."""

import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.devices.desk import Desk
from pipeline.settings import Settings, load
from tests.live import install
from tests.live.process import Server, accepts, free_port


class MutualMosquitto(Server):
    """Only who has a certificate gets in. `settings` are those of the pipeline beside it; `desk` enrols."""

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()

    @property
    def settings(self) -> Settings:
        """SIGHUP goes to this very process."""
        data, devices = self.folder, self.folder / "devices"
        environ = {
            "VEDETTE_MQTT_HOST": "localhost",
            "VEDETTE_MQTT_PORT": str(self.port),
            "VEDETTE_MQTT_TLS": "true",
            "VEDETTE_MQTT_CA_FILE": str(devices / "ca.crt"),
            "VEDETTE_MQTT_CERT_FILE": str(devices / "bridge.crt"),
            "VEDETTE_MQTT_KEY_FILE": str(devices / "bridge.key"),
            "VEDETTE_DEVICES_RELOAD": f"kill -HUP {self.pid}" if self.child else "",
            "VEDETTE_LOG_RECEIPT_DELAY_S": "0.1",
        }
        return load(data=data, environ=environ)

    @property
    def desk(self) -> Desk:
        return Desk(self.settings, "tests", lambda: time.time_ns() // 1000)

    def prepare(self) -> None:
        install.debian("mosquitto", "mosquitto")
        self.desk.set_up_broker(("localhost", "127.0.0.1"), self.port)
        config = self.folder / "broker" / "mosquitto.conf"
        text = config.read_text().replace("/var/lib/mosquitto/", f"{self.folder}/")
        # Started by root it would become `mosquitto`, who may not read this folder.
        (self.folder / "mosquitto.conf").write_text("user root\n" + text)

    def command(self) -> Sequence[str | Path]:
        return [install.need("mosquitto", "Debian: mosquitto"), "-c", self.folder / "mosquitto.conf"]

    def ready(self) -> bool:
        return accepts(self.port)
