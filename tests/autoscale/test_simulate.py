"""Autoscalers that are run through loads: known ways, properties, and what the command says."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from rankwire.autoscale.behavior import Behavior, History
from rankwire.autoscale.controller import Metric
from rankwire.autoscale.manifest import load
from rankwire.autoscale.simulate import Model, SimulateError, Simulation, simulate
from rankwire.autoscale.trace import Trace, TraceError, read, surge
from rankwire.cli import main

_MANIFESTS: Final = Path(__file__).parents[2] / "deploy" / "kubernetes"
_API: Final = _MANIFESTS / "hpa-api.yaml"
_CONNECTIONS: Final = "websocket_connections_per_pod"
_HOUR: Final = 3600.0
_UP: Final = [3, 7, 14, 28, 50]
_DOWN: Final = [50, 45, 40, 36, 32, 28, 25, 22, 19, 17, 15, 13, 11, 9, 8, 7, 6, 5, 4, 3]


def _simulate(trace: Trace, **model: Any) -> Simulation:
    return simulate(load(_API), trace, Model(**model))


def _path(done: Simulation) -> list[int]:
    return [done.start, *(change.after for change in done.changes)]


def test_a_surge_is_followed_up_and_down_on_the_known_way() -> None:
    done = _simulate(surge(_CONNECTIONS, 2_700_000, 50_000_000, 1200))
    assert _path(done) == [*_UP, *_DOWN[1:]]
    rises, falls = done.changes[: len(_UP) - 1], done.changes[len(_UP) - 1 :]
    # After the surge at 300 s: within the window of a minute, then with every turn.
    assert [change.seconds - 300 for change in rises] == [45, 60, 75, 90]
    # The surge ends at 1500 s: five minutes of window, then a step a minute.
    assert 270 <= falls[0].seconds - 1500 <= 300
    steps = [after.seconds - before.seconds for before, after in pairwise(falls)]
    assert steps == [60.0] * 18
    assert (done.most, done.last, len(falls)) == (50, 3, 19)


def test_nothing_changes_within_the_tolerance() -> None:
    for load_of_all in (2_700_001, 3_000_000, 3_300_000):
        done = _simulate(Trace([0, 1], {_CONNECTIONS: [load_of_all] * 2}, _HOUR))
        assert done.changes == []
        assert [strain.seconds_over for strain in done.strains] == [0]


def test_time_above_the_target_is_what_pods_lack_until_they_are_ready() -> None:
    trace = Trace([0, 300], {_CONNECTIONS: [3_000_000, 6_000_000]}, 1200)
    (quick,) = _simulate(trace, start_seconds=0).strains
    (slow,) = _simulate(trace, start_seconds=60).strains
    # Wanted at 300 s, and for a minute before that it was not: added at 345 s, and seen in the next
    # turn.
    assert (quick.seconds_over, quick.longest_over, quick.worst) == (60, 60, 2.0)
    assert slow.longest_over == quick.longest_over + 45


def test_hours_of_pods_are_counted_turn_by_turn() -> None:
    done = _simulate(Trace([0, 1], {_CONNECTIONS: [3_000_000] * 2}, _HOUR))
    assert done.replica_hours == pytest.approx(3.0)


def test_no_time_is_counted_beyond_the_end_of_a_trace() -> None:
    done = _simulate(Trace([0, 1], {_CONNECTIONS: [900_000_000] * 2}, 52), start_seconds=600)
    assert [(one.seconds_over, one.longest_over) for one in done.strains] == [(52, 52)]
    # The window of a minute lets nothing happen before.
    assert done.replica_hours == pytest.approx(3 * 52 / _HOUR)


def test_pods_that_start_carry_nothing_and_are_the_first_to_go() -> None:
    # Those that come for the surge are not ready before it is over and they have gone again.
    loads = [3_000_000, 9_000_000, 1_500_000]
    done = _simulate(Trace([0, 60, 300], {_CONNECTIONS: loads}, _HOUR), start_seconds=2 * _HOUR)
    # They count as pods without load, so no more are wanted than the load needs.
    assert (done.most, done.last) == (9, 3)
    # The three of the beginning are left: nothing is above the target after the surge.
    assert [(one.longest_over, one.worst) for one in done.strains] == [(240, 3.0)]


def test_what_the_tolerance_allows_is_not_above_the_target() -> None:
    load_of_all = [3_300_000, 3_330_000]
    done = _simulate(Trace([0, 60], {_CONNECTIONS: load_of_all}, 90), start_seconds=600)
    assert [(one.seconds_over, one.longest_over) for one in done.strains] == [(30, 30)]


def test_a_metric_in_percent_needs_what_pods_request() -> None:
    trace = Trace([0, 300], {"cpu": [1050, 4200]}, 900)
    with pytest.raises(SimulateError, match="cpu is a share of what pods request"):
        _simulate(trace)
    done = _simulate(trace, requests={"cpu": 500})
    # 4.2 cores of 0.35 each.
    assert done.last == 12
    assert done.left_out == ["memory", _CONNECTIONS]


def test_a_trace_without_any_metric_is_refused() -> None:
    with pytest.raises(SimulateError, match="no column for any of its metrics: cpu, memory, web"):
        _simulate(Trace([0, 1], {"other": [1, 1]}, 60))
    with pytest.raises(SimulateError, match="turns"):
        _simulate(Trace([0, 1], {_CONNECTIONS: [1, 1]}, 1e6), sync_seconds=0.5)


_LOADS = st.lists(st.integers(0, 80_000_000), min_size=1, max_size=12)


@settings(deadline=None, max_examples=60)
@given(_LOADS, st.sampled_from([0, 15, 40, 200]))
def test_replicas_stay_within_the_bounds_and_steps_within_the_rates(
    loads: list[int], start: int
) -> None:
    times = [float(number * 240) for number in range(len(loads))]
    done = _simulate(Trace(times, {_CONNECTIONS: loads}, times[-1] + 900), start_seconds=start)
    for change in done.changes:
        assert 3 <= change.after <= 50
        if change.after > change.before:
            assert change.after <= max(2 * change.before, change.before + 4)
        else:
            assert change.after >= int(change.before * 0.9)


@settings(deadline=None, max_examples=40)
@given(_LOADS, st.integers(0, 20_000_000))
def test_more_load_never_ends_with_fewer_replicas(loads: list[int], more: int) -> None:
    times = [float(number * 240) for number in range(len(loads))]
    # Held for long enough that both are where they want to be.
    end = times[-1] + 4 * _HOUR
    less = _simulate(Trace(times, {_CONNECTIONS: loads}, end))
    larger = [load + more for load in loads]
    much = _simulate(Trace(times, {_CONNECTIONS: larger}, end))
    assert much.most >= less.most
    # Both rest somewhere within the tolerance of what they want.
    assert much.last * 1.1 * 1.1 + 1 >= less.last


def test_of_changes_that_are_too_old_the_last_makes_room() -> None:
    history = History()
    history.ups = [(0, 1), (10, 2), (95, 4)]
    history.changed(100, 5, 8, Behavior())
    assert history.ups == [(0, 1), (100, 3), (95, 4)]


# The command.


def _run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["ops", "hpa", *arguments])
    return result.exit_code, result.output


def test_the_command_shows_changes_strain_and_cost() -> None:
    code, out = _run(
        "simulate", "--manifest", str(_API), "--surge", "50k", "--sku", "ec2:c7g.large"
    )
    assert code == 0
    for words in (
        "3 → 7",
        "28 → 50",
        "4 → 3",
        "websocket_connections_per_pod: above its target for 120 s",
        "27.4 hours of pods in 1:25:00: 50 at most, 3 at the end.",
        "$1.99 with ec2:c7g.large",
        "Left out, as the load says nothing of them: cpu, memory.",
    ):
        assert words in out


def test_the_command_gives_json_of_a_trace(tmp_path: Path) -> None:
    file = tmp_path / "day.csv"
    file.write_text("seconds,websocket_connections_per_pod,cpu\n0,2700,500m\n300,50k,1\n1500,0,0\n")
    arguments = ("--manifest", str(_API), "--trace", str(file), "--request", "cpu=500m", "--json")
    code, out = _run("simulate", *arguments, "--replicas", "5")
    assert code == 0
    done = json.loads(out)["simulation"]
    assert (done["start"], done["left_out"]) == (5, ["memory"])
    assert [change["after"] for change in done["changes"]][:4] == [10, 20, 40, 50]


def test_the_command_refuses_what_makes_no_sense(tmp_path: Path) -> None:
    manifest = ("--manifest", str(_API))
    for arguments, words in (
        ((), "give one of --trace and --surge"),
        (("--surge", "1", "--trace", "x"), "give one of --trace and --surge"),
        (("--surge", "much"), "much"),
        (("--surge", "0"), "not more than 0"),
        (("--trace", str(tmp_path / "none.csv")), "cannot be read"),
        (("--surge", "9", "--name", "other"), "no HorizontalPodAutoscaler 'other'"),
        (("--surge", "9", "--request", "cpu"), "RESOURCE=QUANTITY"),
        (("--surge", "9", "--sku", "ec2:none"), "no 'ec2:none'"),
    ):
        code, out = _run("simulate", *manifest, *arguments)
        assert code != 0, arguments
        assert words in " ".join(out.split()), (arguments, out)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the first line has to be seconds"),
        ("time,a\n0,1\n", "the first line has to be seconds"),
        ("seconds\n0\n1\n", "the first line has to be seconds"),
        ("seconds,a,a\n0,1,1\n", "a name of its own"),
        ("seconds,a\n0,1\n", "two rows"),
        ("seconds,a\n0,1\n0,1\n", "line 3: times have to grow"),
        ("seconds,a\n0,1\n5,-1\n", "line 3: -1 is negative"),
        ("seconds,a\n0,1\n5,x\n", "line 3"),
        ("seconds,a\n0,1\n5\n", "line 3 has 1 cells instead of 2"),
        ("seconds,a\n0,1\n700000,1\n", "a week"),
    ],
)
def test_a_broken_trace_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "trace.csv"
    file.write_text(text)
    with pytest.raises(TraceError, match=words):
        read(file)


def test_a_row_holds_until_the_next(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("seconds,a\n10,1\n20,2.5\n")
    trace = read(file)
    assert [trace.at(time)["a"] for time in (0, 10, 19.9, 20, 99)] == [1000, 1000, 1000, 2500, 2500]
    assert trace.end == 20


def test_the_shipped_autoscaler_has_the_numbers_asked_of_it() -> None:
    autoscaler = load(_API)
    assert autoscaler.metrics == (
        Metric("resource_utilization", "cpu", 70),
        Metric("resource_utilization", "memory", 80),
        Metric("pods", _CONNECTIONS, 1_000_000),
    )
    assert (autoscaler.bounds.least, autoscaler.bounds.most) == (3, 50)
