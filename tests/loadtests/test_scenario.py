"""Scenarios of the load tests: what a file may say, and what becomes of it at another size."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import pytest

import game
import scenario
from harness import BenchError

_GOOD: Final = """
about = "a test"
[game]
users = 400
games_per_minute = 600
reads_per_game = 10
[sockets]
count = 300
opened_per_second = 100
reconnects_per_minute = 6
[[phases]]
name = "first"
seconds = 10
[[phases]]
name = "second"
seconds = 20
factor = 0.5
[cut]
phase = "second"
stay = 10
at_once = 5
[slow]
sockets = 30
seconds = 20
[[requests]]
phase = "second"
method = "DELETE"
path = "/v1/boards/global"
"""


def _read(text: str, directory: Path) -> scenario.Scenario:
    file = directory / "one.toml"
    file.write_text(text)
    return scenario.read(file)


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    read = _read(_GOOD, tmp_path)
    assert [phase.factor for phase in read.phases] == [1, 0.5]
    assert (read.seconds, read.games_per_second, read.games) == (30, 10, 200)
    assert read.bounds == scenario.Bounds(api_p99_ms=200, load_error=0.02, stale_seconds=5)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        pytest.param('about = "a test"', "", "about", id="missing"),
        pytest.param("users = 400", "users = 400\nsize = 1", "size", id="unknown"),
        pytest.param("users = 400", "users = 99", "users", id="too few"),
        pytest.param("count = 300", "count = 1_000_001", "count", id="too many"),
        pytest.param("count = 300", "count = 300.5", "count", id="no whole number"),
        pytest.param("factor = 0.5", "factor = -1.0", "factor", id="negative"),
        pytest.param("factor = 0.5", "factor = nan", "factor", id="not a number"),
        pytest.param("seconds = 10", "seconds = 881", "901 s", id="too long together"),
        pytest.param('name = "second"', 'name = "first"', "same name", id="twice"),
        pytest.param('name = "first"', 'name = "a:b"', "name", id="separator in a name"),
        pytest.param('phase = "second"\nstay', 'phase = "third"\nstay', "third", id="no phase"),
        pytest.param("stay = 10", "stay = 300", "cut", id="cut of nobody"),
        pytest.param("sockets = 30", "sockets = 301", "slow", id="slow ones that are not there"),
        pytest.param("30\nseconds = 20", "30\nseconds = 21", "slow", id="slow beyond the end"),
        pytest.param("/v1/boards/global", "http://example.com/", "path", id="elsewhere"),
        pytest.param("/v1/boards/global", "/v1/x?y", "path", id="query"),
        pytest.param("DELETE", "GET", "method", id="method"),
        pytest.param("[cut]", "[bounds]\nload_error = 2.0\n[cut]", "load_error", id="bound"),
        pytest.param("[game]", "[game", "one.toml", id="no toml"),
    ],
)
def test_what_a_file_may_not_say_is_refused_by_name(
    old: str, new: str, named: str, tmp_path: Path
) -> None:
    assert old in _GOOD
    with pytest.raises(BenchError, match=named):
        _read(_GOOD.replace(old, new), tmp_path)


def test_a_scenario_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(BenchError, match=r"nothing\.toml; scenarios are burst, medium, "):
        scenario.named("nothing")


def test_numbers_are_scaled_and_times_are_not(tmp_path: Path) -> None:
    read = _read(_GOOD, tmp_path)
    twice = read.scaled(2)
    assert (twice.game.users, twice.game.games_per_minute, twice.sockets.count) == (800, 1200, 600)
    assert (twice.sockets.opened_per_second, twice.game.reads_per_game) == (100, 10)
    assert (twice.sockets.reconnects_per_minute, twice.seconds) == (12, 30)
    assert twice.cut is not None
    assert twice.slow is not None
    assert (twice.cut.stay, twice.slow.sockets, twice.slow.seconds) == (20, 60, 20)
    small = read.scaled(0.001, 3)
    assert (small.game.users, small.game.games_per_minute, small.sockets.count) == (100, 1, 1)
    assert [phase.seconds for phase in small.phases] == [3, 3]
    assert small.sockets.reconnects_per_minute == 6
    assert small.slow is not None
    assert small.slow.seconds == 3


def test_a_size_over_the_limits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="10000 times the scenario"):
        _read(_GOOD, tmp_path).scaled(10_000)


@pytest.mark.parametrize("name", scenario.names())
def test_scenarios_that_come_with_it_fit_a_cohort_and_a_machine(name: str) -> None:
    read = scenario.named(name)
    assert read.game.users % game.COHORT == 0
    assert read.sockets.count * 4 == pytest.approx(read.game.users * 3, rel=0.01)
    assert read.sockets.reconnects_per_minute == read.sockets.count * 0.02
    opening = read.sockets.count / read.sockets.opened_per_second
    assert read.seconds + opening <= (700 if name == "medium" else 120)


def test_games_of_the_game_are_submitted_to_both_boards(tmp_path: Path) -> None:
    file = tmp_path / "submits.ndjson"
    game.write(file, [(7, 1200), (150, 30)])
    assert file.read_text().splitlines() == [
        '{"board":"global","member":"player-7","score":1200}',
        '{"board":"cohort-0","member":"player-7","score":1200}',
        '{"board":"global","member":"player-150","score":30}',
        '{"board":"cohort-1","member":"player-150","score":30}',
    ]
    assert game.boards(400) == ["global", "cohort-0", "cohort-1", "cohort-2", "cohort-3"]
    mix, cohorts = game.audience_of(400)[1], game.audience_of(400)[-1]
    assert (mix.count("%"), mix.count("board:"), cohorts) == (3, 3, "4")


def test_the_short_form_of_medium_is_shorter_and_nothing_else() -> None:
    short, whole = scenario.named("medium-short"), scenario.named("medium")
    same = msgspec.structs.replace(short, about=whole.about, phases=whole.phases)
    sockets = msgspec.structs.replace(whole.sockets, opened_per_second=1)
    assert msgspec.structs.replace(same, sockets=sockets) == msgspec.structs.replace(
        whole, sockets=sockets
    )
    assert short.sockets.count == whole.sockets.count
