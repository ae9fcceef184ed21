"""The last lines of the benchmarks of live views say what was measured."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import bench_fanout
import bench_idle
import bench_live_bytes
import bench_storm
import bench_ws_submit
import swarm
from game import Game
from harness import BenchError


def test_fanout_line_compares_medians() -> None:
    calm = bench_fanout.Calm(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.5, others=0.2)
    rounds = [
        bench_fanout.Round(side, per_cpu_second=rate, per_second=1.0, bytes=9, others=0.0)
        for side, rates in (("rankwire", (10.0, 90.0, 20.0)), ("bare", (25.0,)))
        for rate in rates
    ]
    options = bench_fanout.Options(watchers=1, rounds=1, seconds=1)
    line = msgspec.json.decode(bench_fanout.result_line(rounds, [1.0, 7.0, 9.0], calm, options))
    assert (line["ours"], line["against"], line["ratio"]) == (20, {"bare": 25}, {"bare": 0.8})
    assert (line["p99_ms"], line["rpc_p99_ms"], line["rpc_saturated_p99_ms"]) == (2, 6, 7)
    assert line["noisy"] is True


def test_idle_line_compares_with_what_was_wanted() -> None:
    result: dict[str, Any] = {
        "bytes_per_socket": 100.0,
        "memory_before": {"anon_kb": 1000},
        "sockets": 1024,
        "server": {"cpu_share": 0.01},
        "pings": 5,
        "steps": [{"memory": {"anon_kb": 9999}}, {"memory": {"anon_kb": 1300}}],
    }
    options = bench_idle.Options(steps=[1], seconds=1)
    line = msgspec.json.decode(bench_idle.result_line(result, 0.0, options))
    assert (line["ours"], line["ratio"], line["cpu_share"]) == (300, {"wanted": 2.0}, 0.01)
    assert line["slope"] == 100
    assert line["noisy"] is False


def test_storm_line_compares_those_who_stay() -> None:
    def latency(p99: float) -> dict[str, Any]:
        return {"from_sent": {"p99_ms": p99}}

    result: dict[str, Any] = {
        "back": {"seconds": 4.0, "sockets": 400},
        "latency": {"before": latency(100.0), "during": latency(125.0), "after": latency(90.0)},
    }
    options = bench_storm.Options(400, 100, 2)
    line = msgspec.json.decode(bench_storm.result_line(result, 0.0, options))
    assert (line["ours"], line["ratio"], line["back_seconds"]) == (125, {"before": 0.8}, 4)


def test_submit_line_compares_the_first_number_of_sockets() -> None:
    def one(door: str, sockets: int, rate: float) -> bench_ws_submit.Round:
        return bench_ws_submit.Round(door, sockets, rate, 1.0, 2.0, 3.0, others=0.0)

    rounds = [
        *(one("http", 64, rate) for rate in (10.0, 100.0, 20.0)),
        *(one("websocket", 64, rate) for rate in (100.0, 120.0, 900.0)),
        one("websocket", 1, 50.0),
    ]
    options = bench_ws_submit.Options(1, 1, 1, [64, 1], 64)
    rows = bench_ws_submit.medians(rounds)
    line = msgspec.json.decode(bench_ws_submit.result_line(rows, options))
    assert (line["ours"], line["against"], line["ratio"]) == (120, {"http": 20}, {"http": 6.0})
    assert len(line["rows"]) == 3


def _watched(receipts: int) -> dict[str, Any]:
    return {
        "seconds": 10.0,
        "driver": {"receipts": {"count": receipts}},
        "traffic": {
            "frame_bytes_per_second_each": 30.0,
            "deliveries_per_second": 7.0,
            "templates": {"board:global:top:10": {"message_bytes_per_second_each": 20.0}},
        },
        "latency": {"from_sent": {"p50_ms": 1.0, "p99_ms": 2.0}},
        "server": {"threads": {"rankwire-hub-0": 1.0, "python": 5.0}},
    }


def test_bytes_line_tells_the_smallest_variant() -> None:
    options = bench_live_bytes.Options(1, 1, games_per_second=100, history=1, seconds=10)
    row = bench_live_bytes.row_of("json", _watched(2000), 0.0, options)
    rows = [msgspec.structs.replace(row, bytes_per_second=80.0), row]
    line = msgspec.json.decode(bench_live_bytes.result_line(rows, options))
    assert (line["ours"], line["ratio"]) == (30, {"wanted": 1.333})
    assert line["rows"][0]["hub_share"] == 0.1


def test_a_driver_that_was_too_slow_is_refused() -> None:
    options = bench_live_bytes.Options(1, 1, games_per_second=100, history=1, seconds=10)
    with pytest.raises(BenchError, match="90 games a second"):
        bench_live_bytes.row_of("json", _watched(1800), 0.0, options)


def test_games_are_the_same_in_every_run_and_have_ties() -> None:
    first, second = ([*game.history(2), *game.games(500)] for game in (Game(1000), Game(1000)))
    assert first == second
    assert {user for user, _ in first[:1000]} == set(range(1000))
    scores = [score for _, score in first]
    assert len(set(scores)) < len(scores) / 2
    assert max(scores) > 3 * sorted(scores)[len(scores) // 2]


def test_a_hub_without_threads_of_its_own_is_noticed() -> None:
    with pytest.raises(BenchError, match="no threads"):
        swarm.hub_seconds({"server": {"threads": {"python": 1.0}}})
