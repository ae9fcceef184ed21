"""The board in memory: against a simple model, on threads, its snapshots and its refusals."""

from __future__ import annotations

import copy
import itertools
import pickle
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rankwire
from rankwire import (
    Board,
    Column,
    Difference,
    Entry,
    InvalidError,
    Ranks,
    Snapshot,
    Standings,
    Submitted,
)

_SECONDS: Final = 60.0
_INT64: Final = range(-(2**63), 2**63)
_SEED: Final = bytes(range(16))

_Numbers: TypeAlias = tuple[float, ...]


# The model: a dictionary, and sorting it for every question.


@dataclass
class _Model:
    columns: list[Column]
    policy: str
    ties: str
    members: dict[str, tuple[_Numbers, int]] = field(default_factory=dict)
    writes: int = 0
    version: int = 0

    def worth(self, numbers: _Numbers) -> _Numbers:
        """What ascends where scores get worse."""
        return tuple(
            -number if column.order == "desc" else number
            for column, number in zip(self.columns, numbers, strict=True)
        )

    def score(self, numbers: _Numbers) -> Any:
        return numbers[0] if len(numbers) == 1 else numbers

    def rows(self) -> list[Entry]:
        def place(member: str) -> tuple[_Numbers, int, bytes]:
            numbers, stamp = self.members[member]
            time = {"first": stamp, "last": -stamp, "member": 0}[self.ties]
            return self.worth(numbers), time, member.encode()

        ordered = enumerate(sorted(self.members, key=place), 1)
        return [Entry(rank, name, self.score(self.members[name][0])) for rank, name in ordered]

    def rank(self, member: str) -> int | None:
        return next((row.rank for row in self.rows() if row.member == member), None)

    def ranks(self, member: str) -> Ranks | None:
        if member not in self.members:
            return None
        own = self.worth(self.members[member][0])
        worths = [self.worth(numbers) for numbers, _ in self.members.values()]
        better = [worth for worth in worths if worth < own]
        others = len(worths) - 1
        return Ranks(
            ordinal=self.rank(member) or 0,
            competition=len(better) + 1,
            dense=len(set(better)) + 1,
            modified=sum(worth <= own for worth in worths),
            percentile=(others - len(better)) * 100.0 / others if others else 100.0,
        )

    def combined(self, held: _Numbers, offered: _Numbers) -> _Numbers | None:
        """The score afterwards, held itself if nothing changes, or nothing if it is refused."""
        if self.policy == "best":
            return offered if self.worth(offered) < self.worth(held) else held
        if self.policy == "last":
            return tuple(offered)
        total = tuple(a + b for a, b in zip(held, offered, strict=True))
        for column, number in zip(self.columns, total, strict=True):
            if column.type == "int64" and number not in _INT64:
                return None
            if column.type == "float64" and abs(number) == float("inf"):
                return None
        return held if total == held else total

    def submit(self, member: str, offered: _Numbers) -> Submitted | None:
        self.writes += 1
        previous = self.members.get(member)
        previous_rank = self.rank(member)
        after = offered if previous is None else self.combined(previous[0], offered)
        if after is None:
            return None
        changed = previous is None or after is not previous[0]
        if changed:
            self.members[member] = (after, self.writes)
            self.version += 1
        return Submitted(
            score=self.score(after),
            rank=self.rank(member) or 0,
            previous_score=None if previous is None else self.score(previous[0]),
            previous_rank=previous_rank,
            changed=changed,
            version=self.version,
        )

    def remove(self, member: str) -> bool:
        self.writes += 1
        was_there = self.members.pop(member, None) is not None
        self.version += was_there
        return was_there

    def count(self, low: _Numbers, high: _Numbers) -> int:
        best, worst = (high, low) if self.columns[0].order == "desc" else (low, high)
        worths = (self.worth(numbers) for numbers, _ in self.members.values())
        return sum(self.worth(best) <= worth <= self.worth(worst) for worth in worths)


# Few members and scores, so that every kind of tie comes up, and the ends of the ranges.
_MEMBERS = st.sampled_from(["ada", "bob", "cyd", "Émile", "日本", "a"])
_NUMBERS: Final[dict[str, st.SearchStrategy[float]]] = {
    "int64": st.integers(-2, 2) | st.sampled_from([_INT64[0], _INT64[-1]]),
    "float64": st.sampled_from([-1.5, 0.0, 0.25, 1e308, -1e308]),
}
_COLUMNS = st.lists(
    st.builds(Column, st.sampled_from(["int64", "float64"]), st.sampled_from(["desc", "asc"])),
    min_size=1,
    max_size=3,
)


@st.composite
def _runs(draw: st.DrawFn) -> tuple[_Model, list[list[tuple[str, _Numbers | None]]]]:
    """A board's settings, and groups of offers; an offer of nothing is a removal."""
    columns = draw(_COLUMNS)
    policy = draw(st.sampled_from(["best", "last", "sum"]))
    ties = draw(st.sampled_from(["first", "last", "member"]))
    numbers = st.tuples(*(_NUMBERS[column.type] for column in columns))
    offers = st.tuples(_MEMBERS, numbers | numbers | numbers | st.none())
    groups = draw(st.lists(st.lists(offers, min_size=1, max_size=5), max_size=8))
    return _Model(columns, policy, ties), groups


def _write(board: Board, model: _Model, group: list[tuple[str, _Numbers | None]]) -> None:
    """A group is submitted at once if it can be."""
    offers = [(member, model.score(numbers)) for member, numbers in group if numbers is not None]
    expected = [
        model.remove(member) if numbers is None else model.submit(member, numbers)
        for member, numbers in group
    ]
    if len(offers) < len(group):
        for (member, numbers), told in zip(group, expected, strict=True):
            if numbers is None:
                assert board.remove(member) is told
            elif told is None:
                with pytest.raises(InvalidError, match="leave the range"):
                    board.submit(member, model.score(numbers))
            else:
                assert board.submit(member, model.score(numbers)) == told
    elif None in expected:
        with pytest.raises(InvalidError, match="leave the range") as caught:
            board.submit_many(offers)
        assert caught.value.args[1:] == ("score", expected.index(None))
    else:
        assert board.submit_many(offers) == expected


def _check(standings: Standings, model: _Model) -> None:
    rows = model.rows()
    assert [*standings.entries()] == rows
    assert [*standings] == [row.member for row in rows]
    assert (len(standings), standings.version) == (len(rows), model.version)
    assert standings.top(2) == rows[:2]
    assert standings.page(1, 3) == rows[1:4]
    for row in rows:
        member, index = row.member, row.rank - 1
        ranks = model.ranks(member)
        assert ranks is not None
        assert member in standings
        assert standings.standing(member) == standings.select(row.rank) == row
        assert standings.ranks(member) == ranks
        assert standings.rank(member) == row.rank
        assert standings.rank(member, "ordinal") == ranks.ordinal
        assert standings.rank(member, "competition") == ranks.competition
        assert standings.rank(member, mode="dense") == ranks.dense
        assert standings.rank(member, mode="modified") == ranks.modified
        assert standings.around(member, 1) == rows[max(index - 1, 0) : index + 2]
    scores = [numbers for numbers, _ in model.members.values()]
    for low, high in itertools.product(scores, repeat=2):
        assert standings.count(model.score(low), model.score(high)) == model.count(low, high)
    assert standings.count() == len(rows)


@settings(deadline=None)
@given(run=_runs())
def test_a_board_is_its_model(run: tuple[_Model, list[list[tuple[str, _Numbers | None]]]]) -> None:
    model, groups = run
    board = Board(columns=model.columns, policy=model.policy, ties=model.ties)
    kept: list[tuple[Snapshot, _Model]] = []
    for group in groups:
        _write(board, model, group)
        _check(board, model)
        kept.append((board.snapshot(), copy.deepcopy(model)))
    for (snapshot, then), (other, later) in itertools.pairwise(kept):
        _check(snapshot, then)
        _check_differences(snapshot, then, other, later)


def _check_differences(here: Snapshot, then: _Model, there: Snapshot, later: _Model) -> None:
    def score(model: _Model, member: str) -> Any:
        found = model.members.get(member)
        return None if found is None else model.score(found[0])

    names = sorted(then.members.keys() | later.members.keys(), key=str.encode)
    differ = [name for name in names if then.members.get(name) != later.members.get(name)]
    expected = [Difference(name, score(then, name), score(later, name)) for name in differ]
    assert here.differences(there) == expected
    assert (here.digest() == there.digest()) is (expected == [])


# What it is by default, and what it answers about nobody.


def test_the_simplest_board() -> None:
    board = Board()
    assert board.submit("ada", 300) == Submitted(300, 1, None, None, changed=True, version=1)
    assert board.submit("bob", 300).rank == 2
    again = board.submit("ada", 200)
    assert again == Submitted(300, 1, 300, 1, changed=False, version=2)
    assert type(again.score) is int
    assert board.submit_many([]) == []
    assert repr(board) == "<Board of 2 members, version 2>"
    assert repr(board.snapshot()) == "<Snapshot of 2 members, version 2>"
    rank, member, score = board.top(1)[0]
    assert (rank, member, score) == (1, "ada", 300)


def test_nobody_is_nowhere() -> None:
    board = Board()
    board.submit("ada", 1)
    for standings in (board, board.snapshot()):
        for nobody in ("eve", "", "x" * 1000):
            assert nobody not in standings
            assert standings.rank(nobody) is standings.rank(nobody, "dense") is None
            assert standings.ranks(nobody) is None
            assert standings.standing(nobody) is None
            assert standings.around(nobody, 5) == []
        for no_member in (1, None, b"ada", "\ud800"):
            assert no_member not in standings
        assert standings.select(2) is None
        assert standings.page(1, 5) == standings.page(0, 0) == standings.top(0) == []
    assert board.remove("eve") is board.remove("x" * 1000) is False


def test_numbers_are_those_of_their_columns() -> None:
    board = Board(columns=[Column("int64"), Column("float64", "asc"), ("float64", "desc")])
    score = board.submit("ada", (5.0, 1, -0.0)).score
    assert score == (5, 1.0, 0.0)
    assert [type(number) for number in score] == [int, float, float]
    assert str(score[2]) == "0.0"
    assert Board().submit("ada", True).score == 1


# Snapshots.


def test_a_snapshot_outlives_its_board_and_all_that_happened_to_it() -> None:
    board = Board()
    board.submit_many([(f"m{n}", n) for n in range(1000)])
    snapshot = board.snapshot()
    before = [*snapshot.entries()]
    for n in range(1000):
        board.remove(f"m{n}")
    board.submit_many([(f"n{n}", n) for n in range(1000)])
    del board
    assert [*snapshot.entries()] == before
    assert snapshot.rank("m999") == 1
    assert len(snapshot) == 1000


def test_an_iteration_over_a_board_is_one_instant() -> None:
    board = Board()
    board.submit_many([(f"m{n}", n) for n in range(1000)])
    iteration = iter(board)
    first = next(iteration)
    for n in range(999):
        board.remove(f"m{n}")
    assert [first, *iteration] == [f"m{n}" for n in reversed(range(1000))]
    assert next(iteration, None) is None


def test_differences_have_a_limit_and_need_one_kind_of_board() -> None:
    board = Board(seed=_SEED)
    before = board.snapshot()
    board.submit_many([(f"m{n}", n) for n in range(10)])
    after = board.snapshot()
    every = [Difference(f"m{n}", n, None) for n in range(10)]
    assert after.differences(before) == after.differences(before, 10) == every
    some = after.differences(before, limit=3)
    assert len(some) == 3
    assert set(some) <= set(every)
    assert some == sorted(some)
    others: list[Board] = [
        Board(),
        Board(seed=bytes(16)),
        Board(seed=_SEED, ties="last"),
        Board(seed=_SEED, columns=[Column("float64")]),
        Board(seed=_SEED, columns=[Column(), Column()]),
    ]
    for other in others:
        with pytest.raises(InvalidError, match="can be compared") as caught:
            after.differences(other.snapshot())
        assert caught.value.args[1:] == ("other", None)
    twin = Board(seed=_SEED)
    twin.submit_many([(f"m{n}", n) for n in range(10)])
    assert twin.digest() == board.digest() != before.digest()
    assert twin.snapshot().differences(after) == []


# Refusals.


_REFUSALS: Final[dict[str, tuple[Callable[[Board], object], str, str, int | None]]] = {
    "empty id": (lambda b: b.submit("", 1), "member id", "member", None),
    "long id": (lambda b: b.submit("x" * 129, 1), "member id", "member", None),
    "control character": (lambda b: b.submit("a\n", 1), "member id", "member", None),
    "fraction": (lambda b: b.submit("x", 1.5), "integer", "score", None),
    "not a number": (lambda b: b.submit("x", float("nan")), "finite", "score", None),
    "too large": (lambda b: b.submit("x", 2**63), "64 bits", "score", None),
    "text": (lambda b: b.submit("x", "1"), "integer or a float", "score", None),  # type: ignore[arg-type]
    "two columns": (lambda b: b.submit("x", (1, 2)), "each column", "score", None),
    "four columns": (lambda b: b.submit("x", (1,) * 4), "one to three", "score", None),
    "no column": (lambda b: b.submit("x", ()), "one to three", "score", None),
    "item's id": (lambda b: b.submit_many([("x", 1), ("", 1)]), "member id", "member", 1),
    "item's score": (lambda b: b.submit_many([("x", 1), ("y", 1.5)]), "integer", "score", 1),
    "item's size": (lambda b: b.submit_many([("x", 2**63)]), "64 bits", "score", 0),
    "item's columns": (lambda b: b.submit_many([("x", (1,) * 4)]), "one to three", "score", 0),
    "bound": (lambda b: b.count(1.5), "integer", "score", None),
    "bound's columns": (lambda b: b.count(None, (1, 2)), "each column", "score", None),
    "mode": (lambda b: b.rank("ada", "best"), "a mode is", "mode", None),  # type: ignore[arg-type]
    "rank": (lambda b: b.select(0), "count from 1", "rank", None),
    "offset": (lambda b: b.page(-1, 1), "not negative", "offset", None),
    "limit": (lambda b: b.page(0, -1), "not negative", "limit", None),
    "n": (lambda b: b.top(-1), "not negative", "n", None),
    "radius": (lambda b: b.around("ada", -1), "not negative", "radius", None),
    "differences": (
        lambda b: b.snapshot().differences(b.snapshot(), -1), "not negative", "limit", None
    ),
    "policy": (lambda _: Board(policy="worst"), "`worst`", "policy", None),
    "ties": (lambda _: Board(ties="none"), "`none`", "ties", None),
    "seed": (lambda _: Board(seed=b"x"), "16 bytes", "seed", None),
    "type": (lambda _: Board(columns=[Column("int32")]), "`int32`", "columns", None),
    "order": (lambda _: Board(columns=[("int64", "up")]), "`up`", "columns", None),
    "no columns": (lambda _: Board(columns=[]), "one to three", "columns", None),
    "columns": (lambda _: Board(columns=[Column()] * 4), "one to three", "columns", None),
}  # fmt: skip


@pytest.mark.parametrize("name", _REFUSALS)
def test_refusals_carry_message_field_and_index(name: str) -> None:
    call, text, where, index = _REFUSALS[name]
    board = Board()
    board.submit("ada", 1)
    with pytest.raises(InvalidError) as caught:
        call(board)
    message, *rest = caught.value.args
    assert text in message
    assert rest == [where, index]
    assert [*board.entries()] == [(1, "ada", 1)]
    assert board.version == 1


def test_a_sum_out_of_range_is_refused_and_the_rest_of_a_group_counts() -> None:
    board = Board(columns=[Column(), Column()], policy="sum")
    board.submit("ada", (1, _INT64[-1]))
    items = [("ada", (1, 1)), ("bob", (2, 2)), ("ada", (1, -1)), ("ada", (1, 2))]
    with pytest.raises(InvalidError, match="leave the range") as caught:
        board.submit_many(items)
    assert caught.value.args[1:] == ("score", 0)
    assert [*board.entries()] == [(1, "ada", (2, _INT64[-2])), (2, "bob", (2, 2))]


def test_what_cannot_be_done_with_the_types() -> None:
    board = Board()
    board.submit("ada", 1)
    for thing in (board, board.snapshot()):
        with pytest.raises(TypeError, match="pickle"):
            pickle.dumps(thing)
        with pytest.raises(AttributeError):
            thing.note = 1  # type: ignore[union-attr]  # that is the point
    for kind in (Standings, Snapshot):
        with pytest.raises(TypeError):
            kind()
    no_items: list[Any] = [[1], [["ada", 1]], iter([])]
    for items in no_items:
        with pytest.raises(TypeError):
            board.submit_many(items)
    with pytest.raises(TypeError):
        Board([Column()])  # type: ignore[call-arg]  # settings have names
    answers = [board.top(1), board.ranks("ada"), board.submit("ada", 2), Column(), Difference]
    assert pickle.loads(pickle.dumps(answers)) == answers
    assert all(hasattr(rankwire, name) for name in rankwire.__all__)


# Size and threads.


def test_a_large_page_is_whole_and_in_order() -> None:
    size = 100_000
    board = Board(columns=[Column("int64", "asc")])
    done = board.submit_many([(f"m{n}", n * 7919 % size) for n in range(size)])
    assert sum(each.changed for each in done) == size
    page = board.page(0, 2 * size)
    assert page == [*board.entries()]
    assert [entry.rank for entry in page] == [*range(1, size + 1)]
    assert [entry.score for entry in page] == [*range(size)]
    assert board.around("m0", size) == page


def _together(*tasks: Callable[[], None]) -> None:
    """Run tasks at once; the first fault of any is the fault of all."""
    faults: list[BaseException] = []
    start = threading.Barrier(len(tasks))

    def run(task: Callable[[], None]) -> None:
        try:
            start.wait(_SECONDS)
            task()
        except BaseException as fault:  # noqa: BLE001  # shown by the test's own thread
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_SECONDS)
    assert not any(thread.is_alive() for thread in threads)
    assert faults == []


def test_eight_threads_submit_and_read_at_once() -> None:
    board = Board(policy="sum")
    told: list[list[Submitted]] = [[] for _ in range(8)]

    def work(worker: int) -> None:
        mine = told[worker]
        for turn in range(200):
            mine.append(board.submit("all", 1))
            others = [(f"m{n}", 1) for n in range(0, 300, 1 + turn % 3)]
            mine.append(board.submit_many([("all", 1), *others])[0])
            snapshot = board.snapshot()
            page = snapshot.page(0, 1000)
            assert len(page) == len(snapshot)
            scores = [entry.score for entry in page]
            assert scores == sorted(scores, reverse=True)
            assert board.version >= snapshot.version >= mine[-1].version

    _together(*(lambda worker=worker: work(worker) for worker in range(8)))
    assert board.standing("all") == Entry(board.rank("all") or 0, "all", 8 * 400)
    sums = sorted(each.score for mine in told for each in mine)
    assert sums == [*range(1, 8 * 400 + 1)], "each submit saw a sum of its own"
    for mine in told:
        assert all(a.version < b.version for a, b in itertools.pairwise(mine))


def test_threads_may_share_an_iteration() -> None:
    board = Board()
    board.submit_many([(f"m{n}", n) for n in range(5000)])
    iteration = iter(board)
    parts: list[list[str]] = [[] for _ in range(4)]
    _together(*(lambda part=part: part.extend(iteration) for part in parts))
    assert sorted(itertools.chain(*parts)) == sorted(f"m{n}" for n in range(5000))
