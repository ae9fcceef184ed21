"""The benchmarks behind the capacity planner: how units are fitted and predictions judged."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import msgspec
import pytest

import bench_predictions
import pacer
import units_fit
import units_requests
import units_views
from bench_predictions import Options, Row
from fix_units import UNITS
from rankwire.ops.capacity.model import gathered
from units_fit import Sample


def test_planted_costs_are_found() -> None:
    chance = random.Random(1)
    planted = {"a": 5e-5, "b": 2e-4, "nothing": 0.0}
    samples = []
    for _ in range(8):
        counts = {name: chance.uniform(100, 4000) for name in planted}
        cores = sum(counts[name] * cost for name, cost in planted.items())
        samples.append(Sample(counts, cores * chance.uniform(0.99, 1.01)))
    costs, error = units_fit.fit(samples, [*planted])
    assert costs["a"] == pytest.approx(5e-5, rel=0.05)
    assert costs["b"] == pytest.approx(2e-4, rel=0.05)
    assert 0 <= costs["nothing"] < 3e-6
    assert error < 0.01


def test_no_cost_is_below_zero() -> None:
    samples = [Sample({"a": 100, "b": 1}, 0.1), Sample({"a": 100, "b": 100}, 0.05)]
    costs, _ = units_fit.fit(samples, ["a", "b"])
    assert costs["b"] == 0
    assert costs["a"] > 0


def test_reads_and_how_they_wake_the_server_are_told_apart() -> None:
    planted = {"read_top": 2e-5, "read_member": 1.5e-5, "read_around": 3e-5}
    levels = [{name: 3000.0} for name in planted]
    levels += [dict.fromkeys(planted, rate / 3) for rate in (400, 1500, 4000)]
    samples = [
        Sample(
            level,
            sum(planted[name] * count for name, count in level.items())
            + 1.3e-4 * gathered(sum(level.values()), 0.0016),
        )
        for level in levels
    ]
    found = units_requests.fit_reads(samples)
    assert found["wake_seconds"] == pytest.approx(0.0016, rel=0.1)
    assert found["cpu_wake"] == pytest.approx(130, rel=0.1)
    assert found["cpu_read_around"] == pytest.approx(30, rel=0.1)


@pytest.mark.parametrize("seconds", [0.0002, 0.001, 0.01])
def test_the_time_of_a_commit_is_found_from_commits(seconds: float) -> None:
    commits = {rate: gathered(rate, seconds) for rate in (400.0, 4000.0)}
    assert units_requests.commit_seconds(commits) == pytest.approx(seconds, rel=0.01)


def test_how_often_a_view_changes_is_found_from_deliveries() -> None:
    told = {"deliveries_per_second_each": gathered(0.002 * 100, 5)}
    assert units_views.changed(told, 5, 100) == pytest.approx(0.002)
    always = units_views.changed({"deliveries_per_second_each": 0.2}, 5, 100)
    assert 0 < always < 1
    assert units_views.changed({"deliveries_per_second_each": 0.0}, 5, 100) == 0


OPTIONS = Options(2000, 10, 10, games=30, reads=300, seconds=5, units="units.json")


def test_requests_are_mixed_in_their_shares() -> None:
    games: Iterator[tuple[int, int]] = ((number % 2000, number) for number in itertools.count())
    made = bench_predictions.requests(games, OPTIONS, random.Random(1))
    first = list(itertools.islice(made, 3150))
    submits = [request for request in first if request.method == "POST"]
    assert bench_predictions.submit_share(OPTIONS) == pytest.approx(15 / 315)
    assert len(submits) == pytest.approx(150, abs=1)
    assert {request.path for request in submits[:2]} == {
        "/v1/boards/global/scores",
        "/v1/boards/cohort-0/scores",
    }
    asked = [request.path.rsplit("/", 1)[-1].partition("?")[0] for request in first]
    assert asked.count("top") == pytest.approx(1000, abs=1)
    assert asked.count("around") == pytest.approx(1000, abs=1)


def test_a_prediction_is_right_within_a_fifth() -> None:
    ratios = {0.79: False, 0.81: True, 1.0: True, 1.19: True, 1.21: False}
    for ratio, is_right in ratios.items():
        assert Row("x", "y", predicted=ratio, measured=1).is_right is is_right
    assert not Row("x", "y", predicted=1, measured=0).is_right
    assert Row("hit rate", "", 0.54, 0.5, most_difference=0.05).is_right
    assert not Row("hit rate", "", 0.95, 0.89, most_difference=0.05).is_right


def test_watchers_of_a_quiet_game_are_predicted_to_get_the_frames_of_pings() -> None:
    seconds = 1e12
    result = {"seconds": seconds, "driver": {"receipts": {"count": 0}}}
    answers = pacer.Result(1, 1, 0, seconds, 100, 1.0, 1.0)
    found = bench_predictions.predict(result, answers, OPTIONS, UNITS)
    pings = OPTIONS.watchers * UNITS["pings_per_second"]
    assert found.frame_bytes == pytest.approx(pings * UNITS["bytes_frame"], rel=1e-3)


def test_the_result_says_what_was_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Row("fine", "s", 1.1, 1.0), Row("off", "s", 2.0, 1.0)]
    with pytest.raises(SystemExit, match="too far off: off"):
        bench_predictions.report(rows, 0.0, OPTIONS)
    line = msgspec.json.decode(capsys.readouterr().out.splitlines()[-1])
    assert line["wrong"] == ["off"]
    assert [row["ratio"] for row in line["rows"]] == [1.1, 2.0]
    bench_predictions.report(rows[:1], 0.0, OPTIONS)


def test_a_request_is_what_http_asks_for() -> None:
    body: dict[str, object] = {"member": "a", "score": 1}
    read, submit = pacer.Request("GET", "/x"), pacer.Request("POST", "/y", body)
    assert read.encode() == b"GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    assert submit.encode().endswith(b'Content-Length: 24\r\n\r\n{"member":"a","score":1}')
