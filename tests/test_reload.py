"""Changed rules under a running worker: taken between records with state, refused with a mistake, and told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline import wire
from pipeline.message import Signal
from pipeline.reload import Reload
from pipeline.rules.config import load
from pipeline.telemetry.fold import Fold
from pipeline.telemetry.stage import PositionStage
from tests.moving import F, batch_of, brief

SQUARE = [[10, 50], [11, 50], [11, 51], [10, 51], [10, 50]]
SPEED = '[[rule]]\nname = "fast"\nkind = "speed"\nlimit = 30\nmin_duration_s = {hold}\n'
FENCE = '[[rule]]\nname = "{name}"\nkind = "geofence"\nfences = "depot.geojson"\n'


class NoStore:
    """Takes rows and forgets them."""

    def write_positions(self, batches: Any) -> None:
        """Nothing to keep."""


class Desk:
    """A stage with its state as the engine holds them, over files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.changes = folder, 0
        self.place(SQUARE)
        self.rules(SPEED.format(hold=0) + FENCE.format(name="keep-out"))
        rules = load(folder / "rules.toml")
        self.stage: Any = PositionStage(Fold(rules.telemetry()), NoStore())  # type: ignore[arg-type]
        self.state = self.stage.initial()
        self.reload = Reload(rules, lambda stage, rules: stage.under(Fold(rules.telemetry())))
        self.t = 0.0

    def rules(self, text: str) -> None:
        self._write("rules.toml", text)

    def place(self, ring: Any) -> None:
        geometry = {"type": "Polygon", "coordinates": [ring]}
        self._write(
            "depot.geojson", json.dumps({"type": "Feature", "properties": {"id": "depot"}, "geometry": geometry})
        )

    def _write(self, name: str, text: str) -> None:
        """With a time of its own, however coarse the clock of the file system."""
        path = self.folder / name
        path.write_text(text)
        self.changes += 1
        os.utime(path, (1_700_000_000 + self.changes,) * 2)

    def look(self) -> bool:
        renewed = self.reload.renewed(self.stage, [self.state])
        if renewed is not None:
            self.stage, (self.state,) = renewed
        return renewed is not None

    def fix(self, lat: float = 50.9998, speed: float = 5) -> list[tuple[str, str, str, float, float]]:
        """What one more fix of the unit says."""
        self.t += 10
        row = batch_of([F("a", self.t, lat, 10.5, speed)], seq=[round(self.t)])
        self.state, done = self.stage.handle(self.state, [wire.encode_positions(row)])
        signals: list[Signal] = done.signals
        return brief(signals)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_nothing_changed_is_nothing_to_do(desk: Desk) -> None:
    assert not desk.look()
    assert desk.reload.trouble == ""


def test_states_go_over_by_name_and_a_new_rule_begins_at_the_next_fix(desk: Desk) -> None:
    assert desk.fix(speed=40) == [("a", "", "began", 10, 10), ("a", "depot", "began", 10, 10)]
    desk.rules(SPEED.format(hold=60) + FENCE.format(name="keep-out") + FENCE.format(name="also"))
    assert desk.look()
    assert desk.fix(speed=40) == [("a", "depot", "began", 20, 20)]  # of the new rule; the others go on
    assert desk.fix(lat=51.0002) == [
        ("a", "", "ended", 30, 10),
        ("a", "depot", "ended", 30, 10),
        ("a", "depot", "ended", 30, 20),
    ]


def test_a_fence_file_is_watched_too(desk: Desk) -> None:
    assert len(desk.fix()) == 1
    desk.place([[lon, lat - 5] for lon, lat in SQUARE])
    assert desk.look()
    assert [word[2] for word in desk.fix()] == ["ended"]


def test_a_mistake_is_not_taken_and_said_until_it_is_mended(desk: Desk) -> None:
    desk.fix()
    desk.rules(SPEED.format(hold=0) + FENCE.format(name="keep-out") + "dwel_s = 3\n")
    assert not desk.look()
    path = desk.folder / "rules.toml"
    assert desk.reload.trouble == (
        f"rules.toml changed at 2023-11-14T22:13:23Z, not taken, the rules before go on: {path}:10: rule keep-out: "
        'dwel_s: no such key in a geofence rule: did you mean "dwell_s"?'
    )
    assert [word[2] for word in desk.fix(lat=51.0002)] == ["ended"]  # by the old rules
    assert not desk.look()
    assert desk.reload.trouble
    desk.rules(SPEED.format(hold=0))
    assert desk.look()
    assert desk.reload.trouble == ""
    assert desk.fix() == []


def test_a_file_that_was_missing_is_taken_when_it_comes(desk: Desk) -> None:
    depot = (desk.folder / "depot.geojson").read_text()
    desk.rules(FENCE.format(name="keep-out").replace("depot.geojson", "new.geojson"))
    assert not desk.look()
    assert "there is no file" in desk.reload.trouble
    desk._write("new.geojson", depot)
    assert desk.look()
    assert [word[2] for word in desk.fix()] == ["began"]


def test_rules_that_are_gone_are_told(desk: Desk) -> None:
    (desk.folder / "rules.toml").unlink()
    assert not desk.look()
    assert desk.reload.trouble.startswith("rules.toml is gone, not taken")


EDGED = '[[rule]]\nname = "keep-out"\nkind = "geofence"\nfences = "depot.geojson"\n{edge}\n'


@pytest.mark.parametrize("edge", ["hysteresis_m = 5", "hysteresis_s = 5", "accuracy = true"])
@pytest.mark.parametrize("beside", ["", FENCE.format(name="other")])
def test_an_alarm_goes_on_under_another_edge_and_ends(desk: Desk, edge: str, beside: str) -> None:
    """Also where a rule with the edge before, or after, is beside it."""
    desk.rules(FENCE.format(name="keep-out") + beside)
    assert desk.look()
    assert {word[2] for word in desk.fix()} == {"began"}
    desk.rules(EDGED.format(edge=edge) + beside)
    assert desk.look()
    assert desk.fix() == [], "no second alarm"
    said = [word for fix in (desk.fix(51.0003), desk.fix(51.0004), desk.fix(51.0005)) for word in fix]
    assert [(word[2], word[4]) for word in said] == [("ended", 10)] * (2 if beside else 1)


def test_an_alarm_that_does_not_stand_by_the_new_edge_ends_at_the_next_fix(desk: Desk) -> None:
    desk.rules(EDGED.format(edge="hysteresis_m = 200"))
    assert desk.look()
    assert [word[2] for word in desk.fix()] == ["began"]
    assert desk.fix(51.0005) == [], "within the band"
    desk.rules(EDGED.format(edge=""))
    assert desk.look()
    assert [word[2:] for word in desk.fix(51.0005)] == [("ended", 30, 10)]
    assert [word[2] for word in desk.fix()] == ["began"]
