"""Scenarios and units as files, and the command that plans with them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from fix_units import UNITS
from rankwire.cli._ops_capacity import command
from rankwire.ops.capacity import text
from rankwire.ops.capacity.plan import CapacityPlanner, Plan
from rankwire.ops.capacity.scenario import (
    NAMES,
    Scenario,
    ScenarioError,
    load_scenario,
)
from rankwire.ops.capacity.units import NEEDED, SHIPPED, UnitError, UnitFile, Units
from rankwire.ops.prices import Catalogue
from rankwire.ops.report import words

CATALOGUE = Catalogue.load()
MEDIUM, LARGE = load_scenario("medium"), load_scenario("large")


# Files.


def test_shipped_scenarios_ask_what_was_stated() -> None:
    for scenario, users, updates, connections, ms, stated in (
        (MEDIUM, 1e5, 5e4, 75_000, 200, 2800),
        (LARGE, 1e6, 5e5, 750_000, 150, 18_500),
    ):
        demand = scenario.demand
        assert (demand.users, demand.updates_per_minute) == (users, updates)
        assert (demand.connections, demand.response_ms) == (connections, ms)
        assert scenario.stated is not None
        assert scenario.stated.monthly == stated


_LEAST = "name='x'\n[demand]\nusers=1000\nupdates_per_minute=60\nconnections=10\nresponse_ms=100\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (_LEAST + "user=1\n", "user"),
        (_LEAST.replace("users=1000", "users=0"), "users"),
        (_LEAST.replace("name='x'", ""), "name"),
        (_LEAST + "views={top=0.9,cohort=0.9,standing=0}\n", r"demand\.views add up to 1\.8"),
        (_LEAST + "reads={top=0.1,member=0.1,around=0.1}\n", r"demand\.reads add up to 0\.3"),
        (_LEAST + "cohort=2000\n", "cohort is larger"),
        (_LEAST + "[fleet]\nutilisation=1.5\n", "utilisation"),
        ("= nothing", "no scenario"),
    ],
)
def test_wrong_scenarios_are_refused(tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "game.toml"
    file.write_text(content)
    with pytest.raises(ScenarioError, match=words) as raised:
        load_scenario(str(file))
    assert str(file) in str(raised.value)


def test_a_scenario_needs_little(tmp_path: Path) -> None:
    file = tmp_path / "game.toml"
    file.write_text(_LEAST)
    plan = CapacityPlanner(CATALOGUE, UNITS).plan(load_scenario(str(file)))
    assert (plan.references, plan.stated, plan.availability) == ([], None, None)
    assert "what was stated" not in text.markdown(plan)
    with pytest.raises(ScenarioError, match="the scenarios are medium, large"):
        load_scenario("huge")


def test_shipped_units_are_whole_and_say_how_they_came() -> None:
    units = Units.load().file.units
    assert units.keys() >= NEEDED.keys()
    assert all(unit.machine and unit.target == "make bench-units" for unit in units.values())


def test_wrong_units_are_refused(tmp_path: Path) -> None:
    content = msgspec.json.decode(SHIPPED.read_bytes())
    file = tmp_path / "units.json"

    def refused(words: str) -> None:
        file.write_bytes(msgspec.json.encode(content))
        with pytest.raises(UnitError, match=words):
            Units.load(file)

    content["units"]["cpu_read_top"]["unit"] = "s"
    refused("cpu_read_top is in s, wanted is µs")
    content["units"]["cpu_read_top"]["value"] = -1
    refused("no file of units")
    del content["units"]["cpu_read_top"]
    refused("missing, run `make bench-units`: cpu_read_top")
    with pytest.raises(UnitError, match="cannot be read"):
        Units.load(tmp_path / "none.json")


# The command.


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_is_printed_in_three_ways(name: str) -> None:
    run = CliRunner().invoke
    as_json = run(command, ["plan", "--scenario", name, "--json"])
    plan = msgspec.json.decode(as_json.output, type=Plan)
    assert plan.scenario == name
    as_text = run(command, ["plan", "--scenario", name], env={"COLUMNS": "300"})
    as_markdown = run(command, ["plan", "--scenario", name, "--markdown"])
    for shown in (as_text.output, as_markdown.output):
        assert words.money(plan.monthly) in shown
        for reference in plan.references:
            assert words.money(reference.monthly) in shown
    assert "days old" in as_text.output
    other = run(command, ["plan", "--scenario", name, "--arch", "x86", "--json"])
    assert msgspec.json.decode(other.output)["arch"] == "x86_64"


def test_what_nobody_has_measured_is_unknown_in_a_plan() -> None:
    shown = CliRunner().invoke(command, ["plan", "--scenario", "medium", "--markdown"]).output
    (row,) = [line for line in shown.splitlines() if line.startswith("| cache |")]
    assert row.split(" | ")[3:5] == ["unknown", "unknown"]


def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path) -> None:
    run = CliRunner().invoke
    done = run(command, ["plan", "--scenario", "huge"])
    assert done.exit_code == 1
    assert done.stderr == "Error: there is no file huge, and the scenarios are medium, large\n"
    done = run(command, ["plan", "--scenario", "medium", "--json", "--markdown"])
    assert done.exit_code == 2
    done = run(command, ["plan", "--scenario", "medium", "--units", str(tmp_path / "no.json")])
    assert done.exit_code == 1
    assert "cannot be read" in done.stderr


def test_units_are_printed_with_how_to_measure_them() -> None:
    run = CliRunner().invoke
    shown = run(command, ["units"], env={"COLUMNS": "300"}).output
    assert all(name in shown for name in NEEDED)
    assert "make bench-units" in shown
    file = msgspec.json.decode(run(command, ["units", "--json"]).output, type=UnitFile)
    assert file == Units.load().file


@pytest.mark.parametrize("scenario", [MEDIUM, LARGE])
def test_documented_plans_are_those_of_the_shipped_files(scenario: Scenario) -> None:
    plan = CapacityPlanner(CATALOGUE, Units.load()).plan(scenario)
    page = (Path(__file__).parents[2] / "docs" / "analytics.md").read_text(encoding="utf-8")
    section = page.partition("### The two scenarios")[2].partition("### Prices")[0]
    for tier in plan.tiers:
        assert f"{tier.instances} x {tier.sku}," in section
    for figure in (plan.monthly, plan.egress):
        assert words.money(figure) in section
    lines = [line for line in section.splitlines() if line.startswith("| with")]
    rows = [(row, line) for row in plan.sensitivity for line in lines if f" {row.name} " in line]
    assert len(rows) >= len(plan.sensitivity) // 3
    for row, line in rows:
        assert words.money(row.monthly) in line
    for reference in plan.references[1:]:
        assert words.money(reference.monthly) in section
