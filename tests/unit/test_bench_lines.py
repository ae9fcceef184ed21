"""The last lines of the benchmarks say what was measured."""

from __future__ import annotations

import msgspec
import pytest

import bench_http
import bench_restart
import harness
from bench_http import Load, Round

_OPTIONS = bench_http.Options(rounds=3, seconds=1, warmup=1, connections=[64])


def _rounds(*per_second: float) -> list[Round]:
    return [Round(rate, p50_ms=1.0, p99_ms=2.0, cpu_us=3.0, others=0.0) for rate in per_second]


@pytest.mark.parametrize(
    ("others", "noisy"), [pytest.param(0.1, False, id="quiet"), pytest.param(0.11, True, id="loud")]
)
def test_http_line_compares_medians_of_the_first_load(others: float, noisy: bool) -> None:
    few, many = Load("single", 64), Load("single", 256)
    rows = [
        bench_http.summarize("rankwire", few, _rounds(10, 1000, 30)),
        bench_http.summarize("asgi-echo", few, _rounds(60)),
        bench_http.summarize("rankwire", many, _rounds(70)),
        bench_http.summarize("asgi-echo", many, _rounds(80)),
    ]
    line = msgspec.json.decode(bench_http.result_line(rows, others, _OPTIONS))
    assert (line["ours"], line["against"], line["ratio"]) == (
        30,
        {"asgi-echo": 60},
        {"asgi-echo": 0.5},
    )
    assert line["noisy"] is noisy


def test_restart_line_says_how_many_times_faster_ours_is() -> None:
    ours = [bench_restart.Start(total, process=0.5, cpu=1.0, others=0.0) for total in (1, 2, 9)]
    theirs = [bench_restart.Start(4, process=0.0, cpu=1.0, others=0.2)]
    options = bench_restart.Options(["sqlite"], members=10, changes=5, restarts=3)
    line = msgspec.json.decode(
        bench_restart.result_line(
            {"sqlite": bench_restart.Kept(ours, disk_mib=1.0, tail_members=5)},
            bench_restart.Kept(theirs, disk_mib=1.0),
            options,
        )
    )
    assert (line["ours"], line["against"], line["ratio"]) == (2, 4, 2)
    assert (line["recovery_s"], line["noisy"]) == (1.5, True)


def test_table_aligns_names_left_and_numbers_right() -> None:
    shown = harness.table(("name", "rate"), [("a", 1234.5), ("long", 7)])
    assert shown.splitlines() == ["name   rate", "a     1,234", "long      7"]


def test_scores_of_members_and_changes_are_distinct() -> None:
    assert len({bench_restart.score(number) for number in range(20_000)}) == 20_000


def test_changes_name_only_members_and_each_at_most_once() -> None:
    options = bench_restart.Options(["sqlite"], members=100, changes=30, restarts=1)
    names = [name for name, _ in bench_restart.changed_scores(options)]
    assert len(set(names)) == 30
    assert set(names) <= {bench_restart.member(number) for number in range(100)}
