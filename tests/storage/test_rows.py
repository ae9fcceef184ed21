"""Checkpoint rows: plain SQL that agrees with the engine, for every kind of board."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from fix_engine import Kept, boards_sql

_MIN, _MAX = -(2**63), 2**63 - 1
_STANDINGS = "SELECT rank, member, score FROM standings WHERE board = ? ORDER BY rank"
_INTS = [0, 1, -1, 2**53, 2**53 + 1, -(2**53) - 1, _MIN, _MIN + 1, _MAX, _MAX - 1]
_FLOATS = [
    0.0,
    1.5,
    -1.5,
    1e300,
    -1e300,
    0.1,
    -0.1,
    1e-300,
    5e-324,
    -5e-324,
    1.7976931348623157e308,
]


@pytest.mark.parametrize("order", ["desc", "asc"])
@pytest.mark.parametrize(("score", "values"), [("int64", _INTS), ("float64", _FLOATS)])
def test_every_score_is_stored_exactly_and_sorts_best_first(
    directory: Path, score: str, values: list[float], order: str
) -> None:
    with Kept(directory) as kept:
        kept.create("a", score=score, order=order)
        for value in values:
            kept.submit("a", repr(value), value)
        kept.checkpoint()
        before = kept.boards
        table = boards_sql(directory, "SELECT member, score FROM members ORDER BY code")
        assert [member for member, _ in table] == [
            repr(value) for value in sorted(values, reverse=order == "desc")
        ]
        kind = {"int64": int, "float64": float}[score]
        for member, stored in table:
            assert type(stored) is kind
            # SQLite's own reading of a decimal may be off in the last bits; codes are exact.
            assert stored == pytest.approx(kind(member), rel=1e-15)
            if score == "int64":
                assert repr(stored) == member
    with Kept(directory) as kept:
        assert kept.boards == before
        assert kept.boards["a"]["rows"] == [
            (rank, repr(value), value)
            for rank, value in enumerate(sorted(values, reverse=order == "desc"), 1)
        ]


def test_negative_zero_is_zero(directory: Path) -> None:
    with Kept(directory) as kept:
        kept.create("a", score="float64")
        kept.submit("a", "ann", 0.0)
        kept.submit("a", "bob", -0.0)
        kept.submit("a", "cem", -0.0)
        kept.checkpoint()
        codes = boards_sql(directory, "SELECT DISTINCT code FROM members")
        assert len(codes) == 1
        before = kept.boards
    assert [repr(score) for _, _, score in before["a"]["rows"]] == ["0.0"] * 3
    with Kept(directory) as kept:
        assert kept.boards == before


@pytest.mark.parametrize("ties", ["first", "last", "member"])
@pytest.mark.parametrize("order", ["desc", "asc"])
@pytest.mark.parametrize("policy", ["best", "last", "sum"])
def test_standings_agree_with_the_engine(
    directory: Path, policy: str, order: str, ties: str
) -> None:
    """Heavy ties, equal times and names whose order tempts: bytes decide, not letters."""
    chance = random.Random(f"{policy} {order} {ties}")
    names = [
        "a",
        "A",
        "ab",
        "a b",
        "ä",
        "Z",
        "é",
        "e\u0301",
        "日本",
        "\uffff",
        "\U0001f600",
        "10",
        "9",
    ]
    with Kept(directory) as kept:
        for board in ("one", "two"):
            kept.create(board, policy=policy, order=order, ties=ties)
        for _ in range(150):
            board, member = chance.choice(["one", "two"]), chance.choice(names)
            at_ms = chance.choice([None, chance.randrange(3), -62_135_596_800_000])
            kept.submit(board, member, chance.randrange(-1, 2), at_ms)
            if chance.random() < 0.1:
                kept.checkpoint()
        kept.checkpoint()
        for board in ("one", "two"):
            rows = kept.boards[board]["rows"]
            assert len(rows) > len({score for _, _, score in rows}), "there are ties"
            assert boards_sql(directory, _STANDINGS, board) == rows


def test_a_removed_member_keeps_its_generation_and_leaves_the_standings(directory: Path) -> None:
    with Kept(directory) as kept:
        kept.create("a")
        kept.submit("a", "ann", 5)
        kept.submit("a", "bob", 4)
        kept.checkpoint()
        kept.remove("a", "ann")
        kept.checkpoint()
    columns = "member, score, code, stamp, generation"
    ((*bob_score, bob_generation),) = boards_sql(
        directory, f"SELECT {columns} FROM members WHERE member = 'bob'"
    )
    assert bob_score[:2] == ["bob", 4]
    assert bob_generation == 0
    assert boards_sql(directory, f"SELECT {columns} FROM members WHERE member = 'ann'") == [
        ("ann", None, None, None, 1)
    ]
    assert boards_sql(directory, _STANDINGS, "a") == [(1, "bob", 4)]


def test_a_dropped_board_leaves_no_rows(directory: Path) -> None:
    with Kept(directory) as kept:
        for board in ("a", "b"):
            kept.create(board)
            kept.submit(board, "ann", 1)
        kept.checkpoint()
        kept.drop("a")
        kept.checkpoint()
        assert boards_sql(directory, "SELECT name FROM boards") == [("b",)]
        assert boards_sql(directory, "SELECT count(*) FROM members") == [(1,)]


@pytest.mark.parametrize("checkpoints", [*itertools.product([False, True], repeat=3)])
def test_a_board_that_is_dropped_and_made_again_is_another(
    directory: Path, checkpoints: tuple[bool, bool, bool]
) -> None:
    """Also under the same name, whatever of it a checkpoint has seen."""
    with Kept(directory) as kept:
        first, second, third = checkpoints
        kept.create("a", policy="sum")
        kept.submit("a", "ann", 5)
        kept.submit("a", "bob", 5)
        if first:
            kept.checkpoint()
        kept.drop("a")
        if second:
            kept.checkpoint()
        kept.create("a", policy="last", order="asc")
        kept.submit("a", "ann", 1)
        if third:
            kept.checkpoint()
            assert boards_sql(directory, "SELECT name, policy FROM boards") == [("a", "last")]
            assert boards_sql(directory, "SELECT member, score FROM members") == [("ann", 1)]
        before = kept.boards
    with Kept(directory) as kept:
        assert kept.boards == before
        assert before["a"]["rows"] == [(1, "ann", 1)]


def test_a_board_that_lives_within_one_batch_leaves_nothing(directory: Path) -> None:
    with Kept(directory) as kept:
        kept.engine.create_board("a", "int64", "desc", "best", "first")
        kept.engine.submit("a", "ann", 1)
        kept.engine.drop_board("a")
        kept.commit()
        kept.checkpoint()
        assert kept.boards == {}
    assert boards_sql(directory, "SELECT * FROM boards") == []
    with Kept(directory) as kept:
        assert kept.boards == {}


def test_a_checkpoint_writes_only_what_changed(directory: Path) -> None:
    with Kept(directory) as kept:
        kept.create("a")
        kept.create("b")
        kept.submit("a", "ann", 1)
        kept.submit("b", "ann", 1)
        kept.checkpoint()
        # What is not written again keeps this mark.
        boards_sql(directory, "UPDATE members SET score = 99")
        kept.submit("a", "bob", 2)
        kept.checkpoint()
    assert boards_sql(directory, "SELECT member, score FROM members ORDER BY 1, 2") == [
        ("ann", 99),
        ("ann", 99),
        ("bob", 2),
    ]


def test_a_checkpoint_of_many_members_comes_back_in_pieces(directory: Path) -> None:
    """More than are written and read at a time, and not a multiple of it."""
    count = 45_001
    with Kept(directory) as kept:
        kept.create("a")
        for start in range(0, count, 5000):
            numbers = range(start, min(start + 5000, count))
            kept.engine.submit_batch("a", [(f"m{n}", n % 1000, None) for n in numbers])
            kept.commit()
        kept.checkpoint()
        before = kept.boards
    assert len(before["a"]["rows"]) == count
    with Kept(directory) as kept:
        assert kept.boards == before
