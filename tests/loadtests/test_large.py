"""The steps of the large game: what is begun, what counts as carried, and what is told of it."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

import game
import harness
import large
import large_report
import large_rows
from harness import BenchError
from large_load import Found, Servers, Step
from large_machine import LEAST_FREE, Used, Watch, available, family
from large_rows import Before, Row, row_of
from pacer import Result
from rankwire.ops.capacity.measured import LoadTest
from rankwire.ops.capacity.units import Units

UNITS = Units.load()
STEP = Step("games", 100, 10.0, seconds=10.0)
_USED = Used(10.0, 5e9, 3e6, 4e6, {"hub-0": 0.2, "postgres": 0.3, "clients": 0.4})


def _summary(count: int, p99: float) -> dict[str, float]:
    return {"count": count, "p99_ms": p99, "max_ms": 2 * p99}


def _result(**changed: Any) -> dict[str, Any]:
    """Give what the generator tells of a step in which all went well."""
    phase = {
        "name": "measured",
        "api": {"all": _summary(1300, 20.0), "submit_http": _summary(100, 30.0)},
        "delivery": {
            "by_template": {
                game.TOP: _summary(50, 50.0),
                game.COHORT_TOP: _summary(50, 60.0),
                game.STANDING: _summary(50, 990.0),
            }
        },
        "deliveries_per_second": 5.0,
        "cpu": {"api-0": 0.1, "hub-0": 0.25, "all": 3.5},
    }
    warm = {"name": "warm", "api": {"all": _summary(1, 999.0)}, "delivery": {}, "cpu": {}}
    hub = {"before": {"anon_kb": 1000}, "opened": {"anon_kb": 1100}, "after": {"rss_kb": 2000}}
    told = {
        "ok": True,
        "sockets": 100,
        "phases": [warm, phase],
        "stale": 0,
        "errors": {},
        "checked": {"subscriptions": 100, "wrong": 0},
        "memory": {"processes": {"hub-0": hub, "api-0": hub}},
    }
    return told | changed


def _found(result: Any, *, trouble: str = "", batches: Result | None = None) -> Found:
    return Found(result, batches, _USED, 0.0, trouble)


def _row(result: Any, **found: Any) -> Row:
    return row_of(STEP, 1, 1000, _found(result, **found), Before(1e6), UNITS)


def test_a_step_in_which_all_goes_well_is_carried() -> None:
    row = _row(_result())
    assert (row.carried, row.limit) == (True, "")
    assert (row.api_p99_ms, row.delivery_p99_ms, row.standing_p99_ms) == (20, 60, 990)
    assert row.top_max_ms == 100
    # The generator's figures are those of the phase; PostgreSQL has processes that it cannot see.
    assert (row.api_cores, row.hub_cores, row.database_cores) == (0.1, 0.25, 0.3)
    assert row.busiest.startswith("nothing; most have clients with 0.40")
    assert row.own_bytes == 100 * 1024 / 100
    assert row.kernel_bytes == 2e6 / 100 / 2
    assert row.client_bytes == 4e6 / 100
    assert row.hub_memory == 2000 * 1024


def test_memory_of_a_socket_counts_from_before_the_first_ones() -> None:
    before = Before(1e6)
    for anon_kb, each in ((1000, 1024), (1090, 1024)):
        result = _result()
        result["memory"]["processes"]["hub-0"]["before"] = {"anon_kb": anon_kb}
        row = row_of(STEP, 1, 1000, _found(result), before, UNITS)
        # What the sockets before have left to the second is theirs as well.
        assert row.own_bytes == each


def _phases(**changed: Any) -> dict[str, Any]:
    told = _result()
    told["phases"][1] |= changed
    return told


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (_phases(api={"all": _summary(1300, 150.0)}), "99 % of the requests within 150 ms"),
        (_result(stale=3), "3 stale"),
        (_result(errors={"closed": 2, "refused": 1}), "3 errors"),
        (_result(checked={"subscriptions": 100, "wrong": 4}), "4 wrong"),
        (_result(sockets=99), "99 of 100 sockets"),
        (_phases(api={"submit_http": _summary(90, 1.0)}), "90% of the submits"),
    ],
)
def test_a_step_that_misses_a_bound_is_a_limit(result: Any, words: str) -> None:
    row = _row(result)
    assert not row.carried
    assert words in row.limit


def test_a_step_without_a_result_says_why_and_knows_nothing() -> None:
    row = _row(None, trouble="memory came to its end")
    assert (row.carried, row.limit) == (False, "memory came to its end")
    assert (row.api_p99_ms, row.own_bytes, row.errors, row.wrong) == (None,) * 4


def test_batches_that_fail_or_are_late_are_a_limit() -> None:
    failed = Result(10, 8, 2, 5.0, 100, 1.0, 2.0)
    assert "2 batches failed" in _row(_result(), batches=failed).limit
    late = Result(10, 10, 0, 5.0, 100, 1.0, 151.0)
    assert "99 % of the requests within 151 ms" in _row(_result(), batches=late).limit


def test_too_little_memory_left_is_a_limit() -> None:
    used = msgspec.structs.replace(_USED, available=LEAST_FREE - 1.0)
    found = Found(_result(), None, used, 0.0, "")
    assert "less than 2 GiB" in row_of(STEP, 1, 1000, found, Before(1e6), UNITS).limit


@pytest.mark.parametrize(
    ("cores", "free", "words"),
    [
        ({"api-0": 0.96, "clients": 0.2}, 9e9, "api-0, which has 0.96"),
        (
            {"api-0": 0.5 * (os.cpu_count() or 1), "clients": 0.5 * (os.cpu_count() or 1)},
            9e9,
            "all",
        ),
        ({"api-0": 0.1}, 2.5e9, "memory"),
        ({"api-0": 0.1}, 9e9, "nothing"),
    ],
)
def test_what_is_nearest_to_its_end_is_named(
    cores: dict[str, float], free: float, words: str
) -> None:
    assert large_rows.busiest(cores, free).startswith(words)


def test_what_a_step_lacks_is_said_before_it_begins() -> None:
    def lacks(**changed: float) -> str:
        enough = {"needed": 1e9, "room": 2e9, "seconds": 10, "left": 20}
        return large.hindrance(**(enough | changed))

    assert lacks() == ""
    assert lacks(left=9) == "not tried: the time of the run was up"
    assert lacks(needed=3 * 1024**3, room=1024**3).startswith("not tried: 3.0 GiB of memory")


# What the model says.


def test_more_of_a_step_is_predicted_to_cost_more() -> None:
    def predicted(step: Step, hubs: int = 1) -> large_rows.Prediction:
        return large_rows.predict(step, hubs, 100_000, UNITS)

    few, batched = predicted(STEP), predicted(msgspec.structs.replace(STEP, batched=1000))
    assert batched.api_cores > few.api_cores
    assert batched.hub_cores > few.hub_cores
    many = msgspec.structs.replace(STEP, sockets=19_000)
    assert predicted(many).deliveries_per_second > few.deliveries_per_second
    assert predicted(many).last_seen_ms > predicted(many, 2).last_seen_ms > 100
    idle = predicted(msgspec.structs.replace(STEP, games=0.0, reads=False))
    assert idle.deliveries_per_second == pytest.approx(0, abs=1e-6)


# The sizes.


def test_the_whole_run_asks_for_the_stated_game() -> None:
    given = argparse.Namespace(quick=False, factor=1.0, seconds=20, minutes=25)
    options = large.sized(given)
    assert options.users == 1_000_000
    assert options.games[-1] * 60 == pytest.approx(500_000, rel=0.001)
    assert options.sockets[-1] == 750_000


def test_batches_are_of_one_cohort_each() -> None:
    servers = Servers(1050)
    for _ in range(50):
        games = servers.together(20)
        assert len(games) == 20
        assert len({game.cohort(user) for user, _ in games}) == 1
        assert all(0 <= user < 1050 for user, _ in games)


# The machine.


def test_the_machine_is_looked_at_while_a_block_runs() -> None:
    with Watch({}, 60.0) as watch:
        pass
    used = watch.used()
    assert 0 < used.available <= available() * 1.5
    assert watch.killed == ""
    assert os.getpid() in family([os.getpid()])


def test_clients_that_take_too_long_are_killed(tmp_path: Path) -> None:
    with (
        harness.running(("sleep", "600"), tmp_path / "client.log") as client,
        Watch({}, 0.0) as watch,
    ):
        watch.add_client(client)
        with pytest.raises(BenchError, match="client ended"):
            client.wait(lambda: False)
    assert watch.killed == "not done within 0 s"


# What is told.


def _options() -> large.Options:
    return large.sized(argparse.Namespace(quick=True, factor=1.0, seconds=1, minutes=1))


def _rows() -> list[Row]:
    carried = _row(_result())
    idle = msgspec.structs.replace(carried, step=Step("idle", 900, 0.0), api_p99_ms=None)
    more = msgspec.structs.replace(carried, step=Step("games", 100, 50.0))
    missed = msgspec.structs.replace(
        more, step=Step("games", 100, 500.0), carried=False, limit="99 %"
    )
    never = large_rows.not_tried(Step("sockets", 10**6, 10.0), 53, "not tried: 9 GiB are needed")
    return [carried, more, missed, never, idle]


def test_only_the_last_step_that_was_carried_is_published() -> None:
    (test,) = large_report.tests_of(_rows(), _options(), "2026-12-01-large.json", "2026-12-01")
    assert isinstance(test, LoadTest)
    assert (test.updates_per_minute, test.connections, test.reads_per_update) == (3000, 100, 10)
    assert (test.api_p99_ms, test.delivery_p99_ms) == (20, 60)
    msgspec.json.decode(msgspec.json.encode(test), type=LoadTest)


def test_the_report_has_the_steps_the_fleet_and_what_was_stated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large_report.report(_rows(), _options(), tmp_path, 61.0)
    (written,) = tmp_path.glob("*-large.json")
    result = json.loads(written.read_text())
    assert len(result["steps"]) == 5
    assert result["stated"]["machines"] == 51
    assert result["fleet"]["machines"] == sum(
        tier["instances"] for tier in result["fleet"]["plan"]["tiers"]
    )
    (text,) = (file.read_text() for file in tmp_path.glob("*-large.md"))
    assert "Smallest fleet by the planner" in text
    assert "Stated: 51 machines: 20 API, 15 WebSocket, 9 Redis, 7 PostgreSQL" in text
    assert "not tried: 9 GiB are needed" in text
    assert "### Bill" in text
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["name"] == "loadtest-large"
    assert last["tests"] == result["tests"]
