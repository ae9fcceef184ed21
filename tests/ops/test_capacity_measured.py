"""Load tests of scenarios: their file, how the plan tells of them, and how they come there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

import publish
from fix_units import UNITS
from game import COHORT_TOP, STANDING, TOP
from harness import BenchError
from rankwire.cli._ops_capacity import command
from rankwire.ops.capacity import text
from rankwire.ops.capacity.measured import (
    SHIPPED,
    LoadTest,
    LoadTestFile,
    MeasuredError,
    load_tests,
)
from rankwire.ops.capacity.plan import CapacityPlanner
from rankwire.ops.capacity.scenario import load_scenario
from rankwire.ops.prices import Catalogue

PLANNER_PARTS = (Catalogue.load(), UNITS)
MEDIUM, LARGE = load_scenario("medium"), load_scenario("large")

WHOLE: dict[str, Any] = {
    "date": "2026-12-01",
    "machine": "AMD EPYC, 2 cores",
    "target": "make loadtest-medium",
    "source": "2026-12-01-medium.json",
    "users": 100_000,
    "connections": 75_000,
    "updates_per_minute": 50_000,
    "reads_per_update": 10,
    "api_p99_ms": 42.0,
    "delivery_p99_ms": 180.0,
}


def _test(**changed: object) -> LoadTest:
    return msgspec.convert(WHOLE | changed, LoadTest)


# The plan.


def test_a_load_test_of_the_whole_demand_is_shown_with_its_date_and_cores() -> None:
    plan = CapacityPlanner(*PLANNER_PARTS, {"medium": [_test()]}).plan(MEDIUM)
    assert plan.unmeasured == ""
    requests, messages = plan.claims[-2:]
    assert (requests.label, requests.ms, requests.wanted_ms) == ("measured", 42, 200)
    assert (messages.label, messages.ms, messages.wanted_ms) == ("measured", 180, 200)
    shown = text.markdown(plan)
    assert (
        "load test of 2026-12-01 on AMD EPYC, 2 cores, clients included (2026-12-01-medium.json)"
        in shown
    )
    assert ", the whole demand" in shown
    assert "Not measured" not in shown


def test_a_part_of_the_demand_is_not_taken_for_the_whole() -> None:
    part = _test(users=1_000_000, source="2026-12-01-large.json", delivery_p99_ms=None)
    plan = CapacityPlanner(*PLANNER_PARTS, {"large": [part]}).plan(LARGE)
    assert plan.unmeasured.startswith("the whole demand")
    assert (
        "a part: 75,000 of 750,000 connections, 50,000 of 500,000 updates" in plan.claims[-1].basis
    )
    assert [claim.label for claim in plan.claims] == ["model", "model", "measured"]


@pytest.mark.parametrize(
    "less",
    [
        {"users": 99_999},
        {"connections": 74_999},
        {"updates_per_minute": 49_999},
        {"reads_per_update": 9},
        {"batch": 2},
    ],
)
def test_anything_less_is_a_part(less: dict[str, object]) -> None:
    assert _test().carries(MEDIUM.demand)
    assert not _test(**less).carries(MEDIUM.demand)


def test_without_a_load_test_only_the_model_speaks() -> None:
    plan = CapacityPlanner(*PLANNER_PARTS, {"large": [_test()]}).plan(MEDIUM)
    assert {claim.label for claim in plan.claims} == {"model"}
    assert "no load test" in plan.unmeasured


# The file.


def test_shipped_load_tests_are_what_the_results_that_are_kept_give(tmp_path: Path) -> None:
    shipped = load_tests().tests
    assert shipped.keys() == {"medium", "large"}
    results = Path(publish.__file__).parent / "results"
    data = tmp_path / "loadtests.json"
    data.write_bytes(b'{"tests": {}}')
    for (source,) in ({test.source for test in tests} for tests in shipped.values()):
        publish.publish(results / source, data)
    assert data.read_bytes() == SHIPPED.read_bytes()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"date": "lately"}, "date"),
        ({"source": "../x.json"}, "source"),
        ({"api_p99_ms": -1}, "api_p99_ms"),
        ({"sockets": 1}, "sockets"),
        ({"machine": ""}, "machine"),
    ],
)
def test_wrong_load_tests_are_refused(
    tmp_path: Path, changed: dict[str, object], words: str
) -> None:
    file = tmp_path / "loadtests.json"
    file.write_bytes(msgspec.json.encode({"tests": {"medium": [WHOLE | changed]}}))
    with pytest.raises(MeasuredError, match=words) as raised:
        load_tests(file)
    assert str(file) in str(raised.value)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MeasuredError, match="cannot be read"):
        load_tests(tmp_path / "none.json")
    file = tmp_path / "loadtests.json"
    for content in (b"{", b'{"tests": {"medium": []}}', b'{"tests": {}, "more": 1}'):
        file.write_bytes(content)
        with pytest.raises(MeasuredError, match="no file of load tests"):
            load_tests(file)


def test_the_command_reads_the_shipped_file() -> None:
    shown = CliRunner().invoke(command, ["plan", "--scenario", "medium", "--json"]).output
    claims = msgspec.json.decode(shown)["claims"]
    measured = [claim["ms"] for claim in claims if claim["label"] == "measured"]
    (test,) = load_tests().tests["medium"]
    assert measured == [test.api_p99_ms, test.delivery_p99_ms]


# How they come there.


def _result(tmp_path: Path, *tests: dict[str, Any], name: str = "2026-12-01-medium.json") -> Path:
    file = tmp_path / name
    result = {"scenario": "medium", "tests": tests, "steps": [{"anything": 1}]}
    file.write_bytes(msgspec.json.encode(result))
    return file


def test_a_result_replaces_what_was_known_of_its_scenario(tmp_path: Path) -> None:
    data = tmp_path / "loadtests.json"
    large = _test(source="2026-12-01-large.json")
    old = LoadTestFile(tests={"large": [large], "medium": [_test(date="2020-01-01")]})
    data.write_bytes(msgspec.json.encode(old))
    publish.publish(_result(tmp_path, WHOLE), data)
    assert load_tests(data).tests == {"large": [large], "medium": [_test()]}


_NONE = {"count": 0, "p99_ms": 999.0}
PLAYED: dict[str, Any] = {
    "scenario": "medium",
    "ok": True,
    "noisy": False,
    "date": "2026-12-01T07:00:00+00:00",
    "machine": "AMD EPYC, 2 cores",
    "checks": [],
    "load": {
        "game": {"users": 100_000, "games_per_minute": 50_000, "reads_per_game": 10},
        "sockets": {"count": 75_000, "opened_per_second": 1500},
        "phases": [{"name": "steady", "seconds": 60, "factor": 1.0}, {"name": "b", "factor": 2.0}],
    },
    "generator": {
        "phases": [
            {
                "api": {"all": {"count": 9, "p99_ms": 42.0}, "top": {"count": 1, "p99_ms": 1.0}},
                "delivery": {"by_template": {TOP: {"count": 5, "p99_ms": 30.0}, COHORT_TOP: _NONE}},
            },
            {
                "api": {"all": {"count": 9, "p99_ms": 7.0}},
                "delivery": {
                    "by_template": {
                        TOP: {"count": 5, "p99_ms": 30.0},
                        COHORT_TOP: {"count": 5, "p99_ms": 180.0},
                        STANDING: {"count": 5, "p99_ms": 990.0},
                    }
                },
            },
        ]
    },
}


def test_a_played_scenario_is_taken_by_its_worst_phase(tmp_path: Path) -> None:
    data, file = tmp_path / "loadtests.json", tmp_path / "2026-12-01-medium.json"
    data.write_bytes(b'{"tests": {}}')
    file.write_bytes(msgspec.json.encode(PLAYED))
    publish.publish(file, data)
    assert load_tests(data).tests == {"medium": [_test()]}


def test_a_played_scenario_whose_checks_were_missed_is_refused(tmp_path: Path) -> None:
    data, file = tmp_path / "loadtests.json", tmp_path / "2026-12-01-medium.json"
    data.write_bytes(b'{"tests": {}}')
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"ok": False}, "check was missed"),
        ({"scenario": "burst"}, "scenarios"),
    ]
    for changed, words in wrong:
        file.write_bytes(msgspec.json.encode(PLAYED | changed))
        with pytest.raises(BenchError, match=words):
            publish.publish(file, data)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"users": 99_999}, "99,999 users played"),
        ({"noisy": True}, "other programs"),
        ({"source": "2026-11-30-medium.json"}, "not of 2026-12-01-medium"),
        ({"date": "lately"}, "no result of a load test"),
    ],
)
def test_what_should_not_be_kept_is_refused(
    tmp_path: Path, changed: dict[str, object], words: str
) -> None:
    data = tmp_path / "loadtests.json"
    data.write_bytes(b'{"tests": {}}')
    with pytest.raises(BenchError, match=words):
        publish.publish(_result(tmp_path, WHOLE | changed), data)
    assert load_tests(data).tests == {}


def test_a_result_without_a_test_or_a_scenario_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "loadtests.json"
    data.write_bytes(b'{"tests": {}}')
    with pytest.raises(BenchError, match="no test that was carried"):
        publish.publish(_result(tmp_path), data)
    with pytest.raises(BenchError, match="cannot be read"):
        publish.publish(tmp_path / "none.json", data)
    file = _result(tmp_path, WHOLE)
    file.write_bytes(file.read_bytes().replace(b'"medium"', b'"huge"', 1))
    with pytest.raises(BenchError, match="the scenarios are"):
        publish.publish(file, data)
