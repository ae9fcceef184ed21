"""The comparison with others says what was measured, and what was not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bench_ranklist
import compare
import compare_centrifugo
import compare_fanout
import compare_job
import compare_lines
import compare_runs
import harness
from bench_ranklist import Board, Row
from compare_lines import Line, line
from compare_runs import Run
from harness import BenchError


def test_centrifugo_that_is_missing_is_told_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(harness, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CENTRIFUGO", raising=False)
    reason = compare_centrifugo.find()
    assert isinstance(reason, str)
    assert "no Go toolchain" in reason
    assert "make centrifugo" in reason
    outcome = compare.Outcome()
    compare.fanout(tmp_path, tmp_path, compare.QUICK.fanout, outcome)
    assert (outcome.lines, outcome.skipped) == ([], [f"fan-out: {reason}"])
    monkeypatch.setenv("CENTRIFUGO", str(tmp_path / "nothing"))
    with pytest.raises(BenchError, match="no program"):
        compare_centrifugo.find()


def test_the_version_of_centrifugo_is_that_of_its_module(tmp_path: Path) -> None:
    program = tmp_path / "centrifugo"
    program.write_bytes(b"\x7fELF\0mod\tgithub.com/centrifugal/centrifugo/v6\tv6.9.1\th1:x\n\0")
    assert compare_centrifugo.version_of(program) == "v6.9.1"
    program.write_bytes(b"#!/bin/sh\n")
    assert compare_centrifugo.version_of(program) == "unknown"


def test_a_ratio_says_how_many_times_better_ours_is() -> None:
    more = line(("part", "games/s"), 100.0, "peer", 25.0, less=False)
    less = line(("part", "ms"), 50.0, "peer", 10.0, less=True)
    assert (more.ratio, less.ratio) == (4, 0.2)


@pytest.mark.parametrize(("ours", "theirs"), [(None, 1.0), (1.0, None), (0.0, 1.0), (1.0, 0.0)])
def test_what_was_not_measured_has_no_ratio(ours: float | None, theirs: float | None) -> None:
    made = line(("part", "what"), ours, "peer", theirs, less=True)
    assert made.ratio is None
    _, row = compare_lines.table([made]).splitlines()
    assert row.split()[-1] == "-"
    assert "None" not in row


@given(st.integers(1, 20_000), st.integers(1, 2000), st.integers(0, 8))
def test_the_highest_rate_that_is_carried_is_found(limit: int, start: int, steps: int) -> None:
    asked: list[int] = []

    def carries(rate: int) -> bool:
        asked.append(rate)
        return rate <= limit

    found = compare_lines.highest(carries, start, steps)
    assert found <= limit
    assert found in asked
    refused = min(rate for rate in asked if rate > limit)
    # Each step takes the root of the factor between both, but for the rounding.
    assert found == limit or refused <= max(found * 2 ** (1 / 2**steps) * 1.01 + 1, found + 1)


def test_a_server_that_carries_nothing_has_carried_nothing() -> None:
    assert compare_lines.highest(lambda _rate: False, 80, 3) == 0


def _run(side: str = "rankwire", **changes: Any) -> Run:
    run = Run(
        *(side, "game", 10, 60),
        due=120,
        requests=120,
        api_p50_ms=2.0,
        api_p99_ms=100.0,
        deliveries=50,
        deliveries_per_second=50.0,
        delivery_p50_ms=60.0,
        delivery_p99_ms=200.0,
        cpu_seconds=0.006,
        cpu_share=0.006,
        is_right=True,
        errors={},
    )
    return msgspec.structs.replace(run, **changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({}, "", id="all well"),
        pytest.param({"delivery_p99_ms": None, "deliveries": 0}, "", id="nothing to deliver"),
        pytest.param({"api_p99_ms": 201.0}, "answers 201.0 ms", id="late answers"),
        pytest.param({"delivery_p99_ms": 301.0}, "deliveries 301.0 ms", id="late deliveries"),
        pytest.param({"requests": 110}, "only 110 of 120", id="too few"),
        pytest.param({"is_right": False, "errors": {"lost": 1}}, "lost", id="errors"),
    ],
)
def test_a_rate_is_carried_only_if_all_was_right_and_in_time(
    changes: dict[str, Any], reason: str
) -> None:
    told = compare_job.why_not(_run(**changes))
    assert reason in told
    assert bool(told) is bool(reason)


def test_a_run_with_errors_has_no_figures() -> None:
    wrong = _run("peer", is_right=False)
    made = list(compare_runs.lines("part", compare_runs.REQUESTS, _run(), wrong, "10 games/s"))
    assert [(one.theirs, one.ratio) for one in made] == [(None, None)] * 3
    assert [one.ours for one in made] == [50, 2, 100]


def test_the_whole_job_is_told_beside_each_peer() -> None:
    ours = compare_job.Side("rankwire", "yes", _run(), [_run(), _run(sockets=120)], 200.0, [_run()])
    ours.carried = 600
    double = {"cpu_seconds": 0.012, "api_p99_ms": 50.0}
    best = compare_job.Side(
        *("fastapi", "no", _run("fastapi", **double)),
        [_run("fastapi", deliveries_per_second=25.0), _run("fastapi", is_right=False)],
        *(20_000.0, [], 150),
    )
    kept = compare_job.Side("fastapi, everysec", "some", _run("fastapi, everysec"), carried=100)
    made = list(compare_job.lines([ours, best, kept]))
    by_peer = {(one.peer, one.what): one.ratio for one in made}
    assert by_peer["fastapi", "games/s carried, 60 watchers"] == 4
    assert by_peer["fastapi, everysec", "games/s carried, 60 watchers"] == 6
    assert by_peer["fastapi", "CPU µs/request, 10 games/s"] == 2
    assert by_peer["fastapi", "p99 ms of a request, 10 games/s"] == 0.5
    assert by_peer["fastapi", "deliveries/s, 60 watchers, 10 changes/s"] == 2
    assert by_peer["fastapi", "deliveries/s, 120 watchers, 10 changes/s"] is None
    assert by_peer["fastapi", "bytes of memory/connection, 60 idle"] == 100
    assert sum(one.peer == "fastapi, everysec" for one in made) == 4
    outcome = compare.Outcome(lines=made)
    told = compare.result(outcome)
    assert (told["ours"], told["ratio"]) == (600, {"fastapi": 4, "fastapi, everysec": 6})


def test_fan_out_is_told_for_both_of_our_settings() -> None:
    storm = compare_fanout.Storm(4.0, 100.0, is_right=True, errors={})
    sides = compare_fanout.Sides(
        compare_fanout.Side("rankwire", 200.0, _run(), None, storm),
        compare_fanout.Side("soon", None, _run(delivery_p99_ms=20.0), _run(rate=20)),
        compare_fanout.Side(
            *("centrifugo", 10_000.0, _run("centrifugo", delivery_p99_ms=40.0)),
            _run("centrifugo", rate=20),
            compare_fanout.Storm(2.0, None, is_right=True, errors={}),
        ),
    )
    made = list(compare_fanout.lines(sides, compare.QUICK.fanout))
    ratios = {one.what: one.ratio for one in made}
    assert ratios["bytes of memory/connection, 300 idle"] == 50
    assert ratios["p99 ms to a delivery, 60 watchers, 10 changes/s, as it comes"] == 0.2
    assert ratios["p99 ms to a delivery, 60 watchers, 10 changes/s, our tick 10 ms"] == 2
    assert ratios["seconds until 200 are back"] == 0.5
    assert ratios["p99 ms to the 50 that stay meanwhile"] is None
    assert len(made) == 1 + 3 * 3 + 2


def test_the_structure_is_told_beside_zadd() -> None:
    sides = [
        bench_ranklist.Side("log", "first", [Row(64, True, [600.0], 7)]),
        bench_ranklist.Side(
            "redis", "member", [Row(0, False, [200.0], 0), Row(0, True, [150.0], 7)]
        ),
    ]
    rows = bench_ranklist.summarize(Board("random", sides, others=0.0))
    plain, ranked = compare.structure_lines(rows, 10)
    assert (plain.ours, plain.theirs, plain.ratio) == (600, 200, 3)
    assert (ranked.theirs, ranked.ratio) == (150, 4)
    assert isinstance(plain, Line)


def _latencies(count: int, milliseconds: float) -> dict[str, float]:
    return {"count": count, "p50_ms": milliseconds, "p99_ms": 2 * milliseconds}


def test_a_result_of_the_generator_is_read() -> None:
    phase = {
        "seconds": 2.0,
        "api": {"all": _latencies(240, 3.0)},
        "delivery": {"all": _latencies(0, 0.0)},
        "deliveries_per_second": 0.0,
        "deliveries": 0,
        "cpu": {"uvicorn": 0.5, "redis": 0.1, "all": 0.6},
    }
    result = {
        "ok": True,
        "errors": {},
        "opening": {"asked": 60},
        "phases": [phase],
    }
    run = compare_runs.read("fastapi", ("game", 10), 120, result)
    assert (run.due, run.requests, run.api_p99_ms, run.sockets) == (240, 240, 6, 60)
    assert (run.cpu_seconds, run.cpu_us_per_request) == (1.2, 5000)
    assert (run.delivery_p99_ms, run.cpu_us_per_delivery) == (None, None)
    idle = {
        "memory_before": {"anon_kb": 1000},
        "steps": [{"memory": {"anon_kb": 1}}, {"memory": {"anon_kb": 1300}}],
        "sockets": 1024,
    }
    assert compare_runs.bytes_per_connection(idle) == 300
