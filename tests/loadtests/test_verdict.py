"""What a load test holds to be right: nothing that is wrong in a result goes unnoticed."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pytest

import book
import game
import play
import verdict
from book import Door, Expected, Found
from scenario import Cut, Phase, Players, Request, Scenario, Slow, Sockets

_SCENARIO: Final = Scenario(
    about="a test",
    game=Players(users=400, games_per_minute=600, reads_per_game=10),
    sockets=Sockets(count=300, opened_per_second=100, reconnects_per_minute=60),
    phases=[Phase("first", 10), Phase("pause", 5, 0.0), Phase("second", 10, 2.0)],
    cut=Cut("second", stay=100, at_once=10),
    slow=Slow(30, seconds=5),
    requests=[
        Request("second", "DELETE", "/v1/boards/global"),
        Request("second", "PUT", "/v1/boards/global"),
    ],
)
_FOUND: Final = Found(members=800, wrong=0, examples=[], unlike=[], stored=True)


def _summary(count: int) -> dict[str, float]:
    return {"count": count, "p50_ms": 5.0, "p95_ms": 9.0, "p99_ms": 20.0, "max_ms": 30.0}


def _phase(name: str, games: int) -> dict[str, Any]:
    counts = dict.fromkeys(("submit_http", "submit_ws"), games)
    counts |= {"top": 4 * games, "around": 3 * games, "member": 3 * games}
    kinds = {kind: _summary(count) for kind, count in counts.items() if count}
    return {
        "name": name,
        "api": kinds | {"all": _summary(12 * games)},
        "delivery": {"all": _summary(50)},
        "deliveries": 50,
    }


def _good() -> dict[str, Any]:
    return {
        "ok": True,
        "errors": {},
        "opening": {"ready": 300},
        "sockets": 300,
        "checked": {"subscriptions": 300, "wrong": 0},
        "stale": 0,
        "churn": {"reconnects": 25},
        "cut": {"reconnects": 200},
        "slow": {"reconnects": 0},
        "at": [{}, {}],
        "driver": {"by_connection": [[150, 150], [150, 150]]},
        "driver_ws": {"by_connection": [[300, 300]]},
        "phases": [_phase("first", 100), _phase("pause", 0), _phase("second", 200)],
    }


def _failed(result: Any, found: Found = _FOUND) -> list[str]:
    return [one.what for one in verdict.judge(_SCENARIO, result, found) if not one.ok]


def test_a_good_run_passes() -> None:
    assert _failed(_good()) == []


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        (("ok",), False, "found nothing wrong"),
        (("errors", "closed"), 1, "errors of any kind"),
        (("opening", "ready"), 299, "sockets opened"),
        (("sockets",), 299, "sockets open in the end"),
        (("checked",), None, "subscriptions compared, channels with a wrong state"),
        (("checked", "subscriptions"), 299, "subscriptions compared"),
        (("checked", "wrong"), 1, "channels with a wrong state"),
        (("stale",), 1, "deliveries after more than 5 s"),
        (("churn",), None, "reconnects"),
        (("churn", "reconnects"), 21, "reconnects"),
        (("cut", "reconnects"), 199, "sockets cut that are back"),
        (("slow",), None, "slow sockets closed"),
        (("at",), [{}], "requests for events"),
        (("driver", "by_connection"), [[2, 2], [1, 0]], "over HTTP acknowledged"),
        (("driver_ws", "by_connection", 0, 1), 299, "over WebSocket acknowledged"),
        (("phases", 0, "api", "top", "p99_ms"), 200.0, "99th percentile of top"),
        (("phases", 2, "api", "all", "p99_ms"), 200.0, "99th percentile of all requests"),
        (("phases", 0, "api", "top", "count"), 370, "reads a second, first"),
        (("phases", 0, "api", "top", "count"), 440, "reads a second, first"),
        (("phases", 2, "api", "submit_ws", "count"), 180, "games a second, second"),
        (("phases", 1, "api", "submit_ws"), {"count": 10, "p99_ms": 1}, "games a second, pause"),
    ],
)
def test_whatever_is_wrong_in_a_result_is_noticed(
    path: tuple[str | int, ...], value: Any, what: str
) -> None:
    result: Any = _good()
    place = result
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    failed = _failed(result)
    wanted = what.split(", ") if path == ("checked",) else [what]
    assert [any(one in told for told in failed) for one in wanted] == [True] * len(wanted)
    assert len(failed) == len(wanted)


@pytest.mark.parametrize(
    "change", [{"members": 0}, {"wrong": 1}, {"unlike": ["hub-1"]}, {"stored": False}], ids=str
)
def test_whatever_is_wrong_on_the_boards_is_noticed(change: dict[str, Any]) -> None:
    assert len(_failed(_good(), msgspec.structs.replace(_FOUND, **change))) == 1


# What the boards have to hold.


def test_scores_that_cannot_be_are_found() -> None:
    expected = Expected(least={1: 50, 2: 50, 103: 70}, most={1: 50, 2: 80, 103: 70, 4: 10})
    right = {1: 50, 2: 60, 103: 70}

    def found(board: str, held: dict[int, int]) -> int:
        return len(book.differences(board, held, expected, game.players(board, 200)))

    assert found("global", right) == found("global", right | {4: 10}) == 0
    # Only members of its cohort have to be on a cohort's board.
    assert found("cohort-0", {1: 50, 2: 50}) == found("cohort-1", {103: 70}) == 0
    assert found("cohort-1", {103: 70, 2: 50}) == 1
    assert found("cohort-1", {}) == 1
    for wrong in (
        right | {1: 49},
        right | {1: 51},
        right | {2: 81},
        right | {4: 11},
        right | {5: 1},
        {1: 50, 2: 60},
    ):
        assert found("global", wrong) == 1


def test_all_submits_that_were_acknowledged_are_expected() -> None:
    # The second game's submit to its cohort was not sent any more.
    first = Door([(1, 150), (1, 190)], [(2, 2), (1, 1)])
    second = Door([(2, 50), (3, 7)], [(4, 4)])
    of_all, of_cohorts = book.expected({1: 100, 2: 100}, [first, second], 0)
    assert of_all == Expected(*[{1: 190, 2: 100, 3: 7}] * 2)
    assert of_cohorts == Expected(*[{1: 150, 2: 100, 3: 7}] * 2)


def test_submits_of_a_connection_that_failed_may_count_or_not() -> None:
    of_all, of_cohorts = book.expected({}, [Door([(1, 1), (2, 2)], [(2, 1), (2, 2)])], 0)
    assert of_all == Expected({}, {1: 1, 2: 2})
    assert of_cohorts == Expected(*[{1: 1, 2: 2}] * 2)


def test_a_board_made_anew_holds_only_what_came_later() -> None:
    # 100 games in the first phase, 50 through each door, of two submits; then the board ended.
    first = play.before_last_board(_SCENARIO)
    assert first == 100
    games = [(user, 10) for user in range(100)]
    of_all, of_cohorts = book.expected({0: 5, 60: 99}, [Door(games, [(200, 200)])], first)
    late = dict.fromkeys(range(50, 100), 10)
    assert of_all == Expected(late, late)
    assert of_cohorts.least == dict(games) | {60: 99}
    assert play.before_last_board(msgspec.structs.replace(_SCENARIO, requests=[])) == 0
