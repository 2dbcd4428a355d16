"""rules.toml: the shipped file is the manual, and every mistake is told with line, rule, key, reason and fix."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from pipeline.ports import UserError
from pipeline.rules.config import RuleSet, inspect, load
from pipeline.rules.fleet import Fleet, load_fleet
from pipeline.rules.kinds import KINDS
from pipeline.rules.tables import RulesError, read_tables
from tests.moving import F, run

SQUARE = [[10.0, 50.0], [10.1, 50.0], [10.1, 50.1], [10.0, 50.1], [10.0, 50.0]]


def rules_file(tmp_path: Path, text: str) -> Path:
    feature = {
        "type": "Feature",
        "properties": {"id": "depot"},
        "geometry": {"type": "Polygon", "coordinates": [SQUARE]},
    }
    (tmp_path / "depot.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    path = tmp_path / "rules.toml"
    path.write_text(text, "utf-8")
    return path


def rule(kind: str, *lines: str, name: str = "r") -> str:
    return "\n".join(["[[rule]]", f'name = "{name}"', f'kind = "{kind}"', *lines]) + "\n"


def mistakes(path: Path) -> list[tuple[int, str, str]]:
    """(line, key, the sentence) of each finding."""
    return [(f.line, f.key, str(f)) for f in inspect(path)[1]]


def test_the_shipped_rules_load_and_make_rules(root: Path) -> None:
    rules = load(root / "config" / "rules.toml")
    tables, _findings = read_tables(root / "config" / "rules.toml")
    assert {table.spec.kind for table in tables} == set(KINDS)
    assert len(rules.telemetry()) == 3
    assert len(rules.devices()) == 2
    assert len(rules.sightings({"fire": 0.4, "smoke": 0.5})) == 3


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_shipped_file_shows_every_key(root: Path, kind: str) -> None:
    text = (root / "config" / "rules.toml").read_text("utf-8")
    for field in msgspec.structs.fields(KINDS[kind]):
        assert re.search(rf"^#?\s*`?{field.name}\b", text, re.M) or f"`{field.name}`" in text, field.name


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        (rule("spead"), 3, "kind", 'did you mean "speed"?'),
        ('[[rule]]\nname = "r"\n', 1, "kind", "is missing"),
        (rule("speed", "limit_khm = 3"), 4, "limit_khm", 'did you mean "limit_kmh"?'),
        (rule("speed"), 1, "limit_kmh", "given twice, or not at all"),
        (rule("speed", "limit = 3", "limit_kmh = 9"), 5, "limit_kmh", "given twice, or not at all"),
        (rule("speed", "limit = -3"), 4, "limit", "-3 does not fit: expected `float` > 0"),
        (rule("speed", "limit = 3", "hysteresis = 3.0"), 5, "hysteresis", "would never end"),
        (rule("silence"), 1, "limit_s", "is missing"),
        (rule("silence", 'limit_s = "ten"'), 4, "limit_s", "'ten' does not fit: expected `float`, got `str`"),
        (rule("silence", "limit_s = 9", 'severity = "grave"'), 5, "severity", "'grave' does not fit"),
        (rule("silence", "limit_s = 9", name="a b"), 2, "name", "'a b' is no name"),
        (rule("geofence"), 1, "fences", "is missing"),
        (rule("geofence", 'fences = "nowhere.geojson"'), 4, "fences", "there is no file"),
        (rule("geofence", "fences = []"), 4, "fences", "names no file"),
        (rule("geofence", 'fences = "depot.geojson"', 'on = "dwell"'), 1, "dwell_s", "needs a time"),
        (rule("geofence", 'fences = "depot.geojson"', "dwell_s = 9"), 5, "dwell_s", "has no meaning"),
        (rule("geofence", 'fences = "depot.geojson"', 'only = ["depto"]'), 5, "only", 'did you mean "depot"?'),
        (rule("geofence", 'fences = "depot.geojson"', "within_s = 9"), 5, "within_s", "has no meaning"),
        (
            rule("geofence", 'fences = "depot.geojson"', 'on = "cross"', "accuracy = true"),
            6,
            "accuracy",
            "no meaning",
        ),
        (
            rule("geofence", 'fences = "depot.geojson"', 'on = "cross"', 'direction = "left-to-right"'),
            6,
            "direction",
            "fence depot is no line",
        ),
        (rule("geofence", 'fences = "depot.geojson"', 'hours = "workdays"'), 5, "hours", "is not like Mon-Fri"),
        (rule("geofence", 'fences = "depot.geojson"', 'calendar = "no.ics"'), 5, "calendar", "there is no file"),
        (rule("speed", "limit = 9", 'time_zone = "UTC"'), 5, "time_zone", "without hours or calendar"),
        (
            rule("speed", "limit = 9", 'hours = "06:00-07:00"', 'time_zone = "Mars"'),
            6,
            "time_zone",
            "is no time zone",
        ),
        (rule("speed", 'fences = "depot.geojson"'), 4, "fences", "fence depot names no speed limit"),
        (
            rule("geofence", 'fences = "depot.geojson"', "floor_m = 9", "ceiling_m = 9"),
            4,
            "fences",
            "not below its",
        ),
        (rule("sighting", 'label = "fire"', "min_share = 2"), 5, "min_share", "2 does not fit"),
        (rule("sighting", 'label = "fire"', "open_score = 0.3", "hold_score = 0.4"), 6, "hold_score", "above open"),
        (rule("silence", "limit_s = 9") * 2, 6, "name", "is used by an earlier rule"),
        ("[[rules]]\nx = 1\n", 1, "rules", "begin each rule with [[rule]]"),
        ("[rule]\nx = 1\n", 0, "rule", "is not a list"),
        ("[[rule]\n", 1, "", "is not TOML"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_fix(
    tmp_path: Path, text: str, line: int, key: str, words: str
) -> None:
    path = rules_file(tmp_path, text)
    ((found_line, found_key, sentence),) = mistakes(path)
    assert (found_line, found_key) == (line, key)
    assert words in sentence
    assert sentence.startswith(f"{path}:{line}: " if line else f"{path}: ")


def test_all_mistakes_are_found_at_once_and_load_names_the_first(tmp_path: Path) -> None:
    path = rules_file(
        tmp_path, rule("spead") + rule("silence", name="b") + rule("silence", "limit_s = 9", name="c")
    )
    assert len(mistakes(path)) == 2
    with pytest.raises(RulesError, match=r"rules.toml:3: rule r: kind: .* \(and 1 more: vedette check\)"):
        load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.toml: there is no rules file: name one with --rules"):
        load(tmp_path / "none.toml")


def test_a_fence_that_crosses_itself_is_told_with_rule_fence_and_place(tmp_path: Path) -> None:
    path = rules_file(tmp_path, rule("geofence", 'fences = "depot.geojson"'))
    crossing = SQUARE[:2] + SQUARE[3:1:-1] + SQUARE[4:]
    text = (tmp_path / "depot.geojson").read_text().replace(json.dumps(SQUARE), json.dumps(crossing))
    (tmp_path / "depot.geojson").write_text(text)
    ((line, key, sentence),) = mistakes(path)
    assert (line, key) == (4, "fences")
    assert "rule r: fences: depot.geojson: fence depot: crosses itself near 50.050000, 10.050000" in sentence
    path.write_text(path.read_text() + "repair = true\n")
    assert mistakes(path) == []


def test_a_rule_that_is_not_enabled_is_checked_and_not_run(tmp_path: Path) -> None:
    assert load(rules_file(tmp_path, rule("silence", "limit_s = 9", "enabled = false"))).telemetry() == []
    assert mistakes(rules_file(tmp_path, rule("silence", "enabled = false"))) != []


def test_a_limit_in_kmh_is_the_limit_in_metres_a_second(tmp_path: Path) -> None:
    rows = [F("a", t, 50, 10, 25.1) for t in (0, 10)]

    def said(text: str) -> int:
        ((quick, _kind),) = load(rules_file(tmp_path, rule("speed", text))).telemetry()
        return len(run(quick, rows))

    assert (said("limit = 25"), said("limit_kmh = 90")) == (1, 1)
    assert (said("limit = 25.2"), said("limit_kmh = 91")) == (0, 0)


def test_severity_is_by_kind_and_label_unless_named(tmp_path: Path) -> None:
    text = rule("silence", "limit_s = 100", name="quiet") + rule("silence", "limit_s = 100", 'severity = "info"')
    severities = []
    for quiet, _kind in load(rules_file(tmp_path, text)).telemetry():
        began, _ended = run(quiet, [F("a", 0, 50, 10), F("a", 500, 50, 10)])
        severities.append((began.rule, began.severity))
    assert severities == [("quiet", "warning"), ("r", "info")]


def test_the_version_changes_with_the_table_and_the_fences_not_with_the_folder(tmp_path: Path) -> None:
    def version(folder: Path, extra: str = "") -> str:
        return load(rules_file(folder, rule("geofence", 'fences = "depot.geojson"', extra))).versions["r"]

    other = tmp_path / "other"
    other.mkdir()
    first = version(tmp_path)
    assert version(other) == first
    assert version(other, 'severity = "info"') != first
    (other / "depot.geojson").write_text((other / "depot.geojson").read_text().replace("10.1", "10.2"))
    (other / "rules.toml").write_text(rule("geofence", 'fences = "depot.geojson"'))
    assert load(other / "rules.toml").versions["r"] != first


def test_thresholds_come_from_the_card_unless_the_rule_names_them(tmp_path: Path) -> None:
    def scores(*lines: str) -> tuple[float, float]:
        rules = load(rules_file(tmp_path, rule("sighting", 'label = "fire"', *lines)))
        ((sighting, _kind),) = rules.sightings({"fire": 0.4})
        confirmation = sighting._rule
        return confirmation.open_score, confirmation.hold_score

    assert scores() == (0.4, 0.24)
    assert scores("open_score = 0.5", "hold_score = 0.1") == (0.5, 0.1)


def test_a_label_the_model_does_not_know_is_refused(tmp_path: Path) -> None:
    rules = load(rules_file(tmp_path, rule("sighting", 'label = "steam"')))
    with pytest.raises(UserError, match="rule r: label 'steam' is not one the model sees: it sees fire, smoke"):
        rules.sightings({"fire": 0.4, "smoke": 0.5})


def test_groups_come_from_the_fleet(tmp_path: Path) -> None:
    rules = load(rules_file(tmp_path, rule("geofence", 'fences = "depot.geojson"', 'groups = ["hazmat"]')))
    ((fence, _kind),) = rules.telemetry(Fleet({"t1": "hazmat", "b1": "bus"}))
    signals = run(fence, [F("t1", 0, 50.05, 10.05), F("b1", 0, 50.05, 10.05)])
    assert [s.reason.split(" at ")[0] for s in signals] == ["hazmat t1 was first seen inside depot"]
    assert rules.groups() == {"r": ["hazmat"]}


def test_a_rule_set_of_nothing_makes_no_rules() -> None:
    rules = RuleSet(Path("none.toml"), ())
    assert (rules.telemetry(), rules.devices(), rules.sightings({})) == ([], [], [])


# ---------------------------------------------------------------- the fleet


def test_a_fleet_file_names_units_and_groups(tmp_path: Path) -> None:
    path = tmp_path / "fleet.csv"
    path.write_text("unit,group,operator,purpose\n2228,bus,CapMetro,traffic\nt-1,,x,y\n", "utf-8")
    fleet = load_fleet(path)
    assert fleet.units == {"2228", "t-1"}
    assert (fleet.group("2228"), fleet.group("t-1"), fleet.group("nobody")) == ("bus", "", "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,group\nx,bus\n", "line 1 must name the column `unit`"),
        ("unit\nbus 7\n", "line 2: 'bus 7' is no unit name"),
        ("unit\nx\nx\n", "line 3: unit x is listed twice"),
        ("", "line 1"),
    ],
)
def test_a_bad_fleet_file_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "fleet.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(UserError, match=re.escape(words)):
        load_fleet(path)


def test_a_missing_fleet_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no fleet file"):
        load_fleet(tmp_path / "fleet.csv")
