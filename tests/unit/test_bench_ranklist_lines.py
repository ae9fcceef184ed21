"""The last lines of the ranked list's benchmarks say what was measured."""

from __future__ import annotations

import msgspec
import pytest

import bench_memory
import bench_ranklist
import bench_ranklist_10m
import bench_snapshot
import bench_threads
from bench_ranklist import Board, Row, Side
from harness import BenchError


def _board(name: str = "random", *, redis_sum: int = 7) -> Board:
    ours = [Row(64, True, [900, 600, 100], 7), Row(1, True, [300], 8)]
    theirs = [Row(0, True, [150], redis_sum), Row(0, False, [200], 0, inside=[400])]
    return Board(name, [Side("log", "first", ours), Side("redis", "member", theirs)], others=0.2)


def test_moves_in_batches_are_compared_with_moves_that_tell_no_rank() -> None:
    rows = bench_ranklist.summarize(_board())
    options = bench_ranklist.Options(members=10, slice=5, boards=["random"])
    line = msgspec.json.decode(bench_ranklist.result_line(rows, 0.2, options))
    assert (line["ours"], line["against"]) == (600, {"redis": 200, "redis-inside": 400})
    assert line["ratio"] == {"redis": 3, "redis-inside": 1.5}
    assert line["with_ranks"]["ratio"] == {"redis": 4}
    assert line["noisy"] is True


@pytest.mark.parametrize(
    ("board", "redis_sum", "agree"),
    [
        pytest.param("random", 7, True, id="same sums"),
        pytest.param("random", 6, False, id="other sums"),
        pytest.param("tied", 6, True, id="other ties"),
    ],
)
def test_sides_that_rank_alike_must_agree(board: str, redis_sum: int, agree: bool) -> None:
    if agree:
        bench_ranklist.check(_board(board, redis_sum=redis_sum))
        return
    with pytest.raises(BenchError, match="differ"):
        bench_ranklist.check(_board(board, redis_sum=redis_sum))


def test_the_clock_is_taken_off_each_rank() -> None:
    idle, export, writer = (
        bench_ranklist_10m.Samples([p50], [p99], [0])
        for p50, p99 in ((120, 220), (130, 420), (140, 320))
    )
    latency = bench_ranklist_10m.Latency([20, 20, 90], idle, export, writer)
    rows = bench_ranklist.summarize(_board())
    options = bench_ranklist.Options(members=10, slice=5, boards=["random"])
    line = msgspec.json.decode(bench_ranklist_10m.result_line(rows, latency, 0.1, options))
    assert (line["rank"]["idle"]["p50_ns"], line["clock_ns"]) == (100, 20)
    assert (line["p99_beside_export"], line["p50_beside_writer"]) == (2, 1.2)


def test_memory_line_compares_what_is_left_after_the_moves() -> None:
    large = [
        bench_memory.Large("draft", loaded=90, moved=50, layout=40),
        bench_memory.Large("redis", loaded=100, moved=100, layout=75),
    ]
    options = bench_memory.Options(members=10, boards=5, million=0)
    line = msgspec.json.decode(bench_memory.result_line(large, [], 0.0, options))
    assert (line["ours"], line["layout"]) == (50, 40)
    assert line["ratio"] == {"redis": 2, "redis-used": 1.5}


def test_scores_are_those_of_the_example() -> None:
    scores = [bench_memory.score(number) for number in (0, 1, 12_345_678)]
    assert scores == [1_000_000_000, 8_667_391_832, 3_640_155_081]


def test_redis_is_given_every_member_once() -> None:
    sent = b"".join(bench_memory.commands(2, 100))
    assert sent.count(b"ZADD") == 4
    assert all(sent.count(b"member-%013d\r\n" % number) == 1 for number in range(200))
    assert (sent.count(b"board-0000000"), sent.count(b"*130\r\n")) == (2, 2)


@pytest.mark.parametrize(("peak", "within"), [(2.1, True), (2.11, False)])
def test_memory_is_also_looked_at_after_the_snapshot(peak: float, within: bool) -> None:
    rows = [
        bench_snapshot.Row("log", "without", 200, 9, 9),
        bench_snapshot.Row("log", "with", 100, 1.5, 1.5),
        bench_snapshot.Row("log", "after", 200, peak, 1.0),
    ]
    options = bench_snapshot.Options(members=10, seconds=1)
    line = msgspec.json.decode(bench_snapshot.result_line(rows, 0.0, options))
    assert (line["ours"], line["within"], line["rate"]) == (peak, within, {"log": 0.5})


def test_threads_are_compared_with_one_and_with_no_writer() -> None:
    rows = [
        bench_threads.Row(job, threads, writer, rate, 0)
        for job, threads, writer, rate in (
            ("rank", 1, False, 100),
            ("rank", 4, False, 400),
            ("rank", 1, True, 80),
            ("rank", 4, True, 160),
        )
    ]
    options = bench_threads.Options(members=10, rounds=1, seconds=1)
    line = msgspec.json.decode(bench_threads.result_line(rows, 0.0, options))
    assert (line["ours"], line["threads"]) == (160, 4)
    assert line["scaling"] == {"rank": 4, "rank-beside-writer": 2}
    assert line["beside_writer"] == {"rank-1": 0.8, "rank-4": 0.4}
