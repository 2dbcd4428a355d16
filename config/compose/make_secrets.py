"""Make the passwords and tokens of docker-compose.yml, once: `python3 config/compose/make_secrets.py`.

They go to the folder `secrets` beside this file, which git and the image leave out. What exists is kept, so a
second run only adds what is missing. Give a new device access with `--device NAME`.
"""

import argparse
import base64
import hashlib
import secrets
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "secrets"
USERS = {
    "vedette-bridge": "mqtt_bridge_password",
    "health": "mqtt_health_password",
    "demo-fleet": "mqtt_gps_password",
    "demo-tower": "mqtt_camera_password",
}
OTHERS = ("influxdb_password", "influxdb_token", "postgres_password", "api_token")
ITERATIONS = 101  # mosquitto 2.0's own default; these words are random, not a person's


def keep(folder: Path, name: str, text: str) -> str:
    """The secret `name`: what is there already, else `text`, written for the containers' users to read.

    A container runs as a user of its own, so a file must be readable by all; the folder is not.
    """
    path = folder / name
    if not path.exists():
        path.write_text(text)
        path.chmod(0o444)
    return path.read_text()


def mosquitto_line(user: str, password: str) -> str:
    """A line of mosquitto's password file: PBKDF2 with SHA-512, as mosquitto_passwd writes it."""
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
    parts = (str(ITERATIONS), base64.b64encode(salt).decode(), base64.b64encode(digest).decode())
    return f"{user}:$7${'$'.join(parts)}\n"


def make(folder: Path, devices: list[str]) -> None:
    """Fill the folder; the derived files are written anew each time."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    users = {**USERS, **{device: f"mqtt_device_{device}" for device in devices}}
    for path in folder.glob("mqtt_device_*"):
        users[path.name.removeprefix("mqtt_device_")] = path.name
    words = {name: keep(folder, name, secrets.token_urlsafe(24)) for name in (*users.values(), *OTHERS)}
    lines = [mosquitto_line(user, words[name]) for user, name in users.items()]
    replace(folder / "mqtt_passwords", "".join(lines))
    password = words["postgres_password"]
    replace(folder / "database_url", f"postgresql+psycopg://vedette:{password}@postgres/vedette")


def replace(path: Path, text: str) -> None:
    """Write a derived file in place: a container that mounts it keeps seeing this very file."""
    if path.exists():
        path.chmod(0o644)
    path.write_text(text)
    path.chmod(0o444)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to put them (default: %(default)s)")
    parser.add_argument("--device", action="append", default=[], help="also make a password for this device")
    arguments = parser.parse_args()
    make(arguments.folder, arguments.device)
    print(f"secrets are in {arguments.folder}; after adding a device: docker compose restart mosquitto")


if __name__ == "__main__":
    main()
