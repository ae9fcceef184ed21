"""How many users of Locust there are, what is refused, and what counts as wrong."""

from __future__ import annotations

import argparse
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import game
from locust_users import checks
from locust_users import options as command_line
from locust_users.plan import MATCH, Kind, Plan
from locust_users.report import Row, problems_of
from locust_users.view import View

_MEDIUM = Plan(1.0, 360.0)
_RECEIPT = b'{"member":"a","score":5,"rank":1,"changed":true,"version":1}'


def _options(*words: str) -> command_line.Options:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host")
    parser.add_argument("--headless", action="store_true")
    command_line.add(parser)
    return command_line.read(parser.parse_args(words))


# The plan.


def test_medium_is_the_game() -> None:
    assert (_MEDIUM.members, _MEDIUM.cohorts) == (100_000, 1_000)
    assert _MEDIUM.kinds == {
        "player": Kind(2_500, pytest.approx(6.0)),  # type: ignore[arg-type]
        "browser": Kind(2_500, pytest.approx(6.0)),  # type: ignore[arg-type]
        "game_server": Kind(50, pytest.approx(6.0)),  # type: ignore[arg-type]
        "live": Kind(75_000, 0.0),
    }


@pytest.mark.parametrize(
    ("factor", "counts"),
    [
        (1.0, [80_050, 80_050, 120_075, 80_050]),
        (0.01, [801, 801, 1_202, 801]),
    ],
)
def test_users_ramp_stay_burst_and_go_back(factor: float, counts: list[int]) -> None:
    plan = Plan(factor, 360.0)
    at = [plan.at(second) for second in (0.0, 60.0, 240.0, 300.0)]
    assert [users for users, _ in filter(None, at)] == counts
    # Up in a sixth, and half as many more within a tenth of that.
    rates = [rate for _, rate in filter(None, at)]
    assert rates[0] == pytest.approx(counts[0] / 60)
    assert rates[2] == rates[3] == pytest.approx(counts[0] / 2 / 6)
    assert plan.at(360.0) is None
    assert plan.most_users == counts[2]


@given(second=st.floats(0, 400))
def test_large_is_ten_times_medium_at_every_moment(second: float) -> None:
    medium, large = _MEDIUM.at(second), Plan(10.0, 360.0).at(second)
    if medium is None:
        assert large is None
    else:
        assert large is not None
        assert large[0] == 10 * medium[0]
        assert large[1] == pytest.approx(10 * medium[1])


@given(factor=st.floats(1e-6, 10))
def test_rates_are_those_of_the_game_however_few_users_there_are(factor: float) -> None:
    kinds = Plan(factor, 360.0).kinds
    assert min(kind.count for kind in kinds.values()) >= 1
    a_minute = {name: 60 * kind.count / kind.pace for name, kind in kinds.items() if kind.pace}
    games = a_minute["player"] + MATCH * a_minute["game_server"]
    assert games == pytest.approx(50_000 * factor)
    # Eight reads of each player's game, twelve of a visit: ten for each game.
    assert 8 * a_minute["player"] + 12 * a_minute["browser"] == pytest.approx(10 * games)


# What is refused.


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--host", "http://example.com"], "http://example.com: name the host"),
        (["--live-url", "ws://10.0.0.1/x"], "ws://10.0.0.1/x: name the host"),
        (["--host", "http://127.0.0.1.example.com"], "name the host"),
        (["--seconds", "901"], "allowed is 1 to 900"),
        (["--factor", "2"], "allowed is more than 0 up to 1"),
        (["--factor", "nan"], "allowed is more than 0 up to 1"),
        (["--factor", "1"], "the burst has 120,075 users, --max-users is 5,000"),
        (["--scenario", "large", "--factor", "0.01"], "the burst has 12,008 users"),
    ],
)
def test_what_is_refused_is_said(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        _options("--headless", "--host", "http://localhost:7700", *words)
    assert ended.value.code == 2
    assert why in capsys.readouterr().err


def test_the_web_interface_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _options("--host", "http://[::1]:7700")
    assert "add --headless" in capsys.readouterr().err


def test_a_host_that_is_named_is_allowed() -> None:
    words = ("--headless", "--host", "https://staging.example.com", "--factor", "0.02")
    options = _options(*words, "--allow-host", "staging.example.com")
    assert options.plan == Plan(0.02, 360.0)


# What is wrong.


def _row(name: str, p99_ms: float, failures: int = 0) -> Row:
    return Row("WS", name, 10, failures, 1.0, 1.0, 2.0, p99_ms, p99_ms)


def test_failures_and_broken_bounds_are_problems() -> None:
    good = [_row("delivery top", 200), _row("delivery standing", 1200)]
    assert problems_of(good, 200) == []
    bad = [_row("delivery top", 201), _row("delivery standing", 1201), _row("state", 0, 3)]
    assert problems_of(bad, 200) == [
        "WS delivery top: p99 201 ms, allowed 200 ms",
        "WS delivery standing: p99 1201 ms, allowed 1200 ms",
        "WS state: 3 of 10 failed",
    ]
    assert problems_of([], 200) == ["there were no requests"]


def _page(scores: list[int], **more: Any) -> bytes:
    entries = [
        {"rank": rank, "member": f"player-{rank}", "score": score}
        for rank, score in enumerate(scores, start=1)
    ]
    return msgspec.json.encode({"version": 1, "total": len(scores), "entries": entries, **more})


@given(scores=st.lists(st.integers(0, 1000), max_size=10))
def test_a_page_is_good_if_the_best_come_first(scores: list[int]) -> None:
    in_order = scores == sorted(scores, reverse=True)
    assert (checks.page(_page(scores), first=1) is None) == in_order
    assert (not isinstance(checks.top_state(_page(scores), 10), str)) == in_order


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (checks.page(_page([2, 1]), first=11), "begins with rank 1, not 11"),
        (checks.page(_page([2, 1]), member="ann"), "ann is not among its neighbours"),
        (checks.page(_page([2, 1], total=1)), "more rows than members"),
        (checks.page(b"<html>"), "Page: "),
        (checks.page(_page([1, 1]).replace(b"-2", b"-1")), "a member is told twice"),
        (checks.page(_page([1, 1]).replace(b'k":2', b'k":3')), "ranks are [1, 3]"),
        (checks.top_state(_page([2, 1], total=3), 10), "2 rows of 3 members"),
        (checks.receipt(_RECEIPT, "a", 6), "is for 5 of a, not 6"),
        (checks.receipt(_RECEIPT, "b", 5), "not 5 of b"),
        (checks.batch(b'{"submitted":4,"changed":4,"version":9}', 5), "4 of 5 scores"),
        (checks.place(b'{"member":"a","score":5,"rank":3,"total":2}', "a"), "rank 3 of 2"),
        (checks.place(b'{"member":"a","score":5,"rank":1,"total":2}', "b"), "b was asked for"),
        (checks.standing_state(b'{"version":1,"total":2,"rank":1,"score":null}'), "score None"),
        (checks.standing_state(b'{"version":1,"total":2,"rank":3,"score":1}'), "rank 3 of 2"),
    ],
)
def test_what_is_wrong_is_said(wrong: str, why: str) -> None:
    assert why in wrong


def test_good_answers_pass() -> None:
    assert checks.receipt(_RECEIPT, "a", 4) is None
    assert checks.place(b'{"member":"a","score":5,"rank":2,"total":2}', "a") is None
    assert checks.batch(b'{"submitted":5,"changed":4,"version":9}', 5) is None
    off = checks.standing_state(b'{"version":1,"total":2,"rank":null,"score":null}')
    assert off == checks.Standing(1, 2, None, None)


@given(versions=st.lists(st.integers(0, 20), min_size=1))
def test_versions_only_go_forward(versions: list[int]) -> None:
    view, newest = View("global", None), -1
    for version in versions:
        told = view.take(_page([1], version=version))
        if version > newest:
            assert isinstance(told, set)
        else:
            assert told == f"version {version} came after {newest}"
        newest = max(newest, version)
    view.begin()
    assert view.take(_page([1], version=0)) == set()


@given(states=st.lists(st.dictionaries(st.sampled_from("abcde"), st.integers(0, 9))))
def test_news_are_the_rows_that_the_state_before_did_not_have(states: list[dict[str, int]]) -> None:
    view = View("global", None)
    before: set[tuple[str, int]] | None = None
    for version, scores in enumerate(states):
        rows = sorted(scores.items(), key=lambda row: -row[1])
        entries = [{"member": member, "score": score} for member, score in rows]
        state = {"version": version, "total": len(rows), "entries": entries}
        assert view.take(msgspec.json.encode(state)) == (
            set() if before is None else {*rows} - before
        )
        before = {*rows}


def test_a_member_has_news_when_its_own_score_changes() -> None:
    view = View("global", "ann")
    assert view.channel == "board:global:member:ann"
    told = [
        view.take(msgspec.json.encode({"version": n, "total": 9, "rank": rank, "score": score}))
        for n, (rank, score) in enumerate([(None, None), (3, 5), (4, 5), (1, 7)])
    ]
    assert told == [set(), {("ann", 5)}, set(), {("ann", 7)}]


def test_members_are_whole_cohorts() -> None:
    assert Plan(0.00001, 1).members == game.COHORT
    assert Plan(0.0123, 1).members == 12 * game.COHORT
