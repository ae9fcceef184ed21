"""The books notice whatever a cluster may do wrong. Wrong books must fail."""

from __future__ import annotations

import random

import pytest

from cluster_books import BOARDS, MESS, Best, Books, Newest, Scores, Sum, draw

Contents = dict[str, Scores]


def _books() -> tuple[Books, Contents]:
    """Books with a write of every kind acknowledged and another one open, and what is there."""
    books, contents = Books(), {board: Scores() for board in (*BOARDS, MESS)}
    for board in BOARDS:
        book = books.of(board, "ann")
        book.begin(5)
        book.acknowledge(5)
        book.begin(90)
        contents[board]["ann"] = 5
    books.groups["ann", "bob"] = "ann"
    contents["batch"]["bob"] = 5
    life = books.life("life-1")
    life.begin(0)
    life.acknowledge(0)
    contents["life-1"] = {}
    books.made["race-1"] = [200, 201, 200]
    contents["race-1"] = {}
    contents[MESS] = {"anybody": 1}
    return books, contents


def _fails(books: Books, contents: Contents, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        books.settle(contents)


def test_what_was_acknowledged_is_there() -> None:
    books, contents = _books()
    books.settle(contents)
    books.settle(contents)


@pytest.mark.parametrize("board", BOARDS)
def test_an_open_write_may_have_counted_and_is_settled_then(board: str) -> None:
    books, contents = _books()
    after = 95 if BOARDS[board]["policy"] == "sum" else 90
    before = dict(contents[board])
    contents[board] = dict.fromkeys(before, after)
    books.settle(contents)
    books.settle(contents)
    contents[board] = before
    _fails(books, contents, board)


@pytest.mark.parametrize("board", BOARDS)
def test_an_open_write_that_did_not_count_does_not_count_later(board: str) -> None:
    books, contents = _books()
    books.settle(contents)
    contents[board] = dict.fromkeys(contents[board], 95)
    _fails(books, contents, board)


@pytest.mark.parametrize("board", BOARDS)
def test_a_lost_write(board: str) -> None:
    books, contents = _books()
    contents[board] = {}
    _fails(books, contents, board)


@pytest.mark.parametrize("board", ["sum", "batch"])
@pytest.mark.parametrize("wrong", [10, 185, 100])
def test_a_doubled_write(board: str, wrong: int) -> None:
    """The acknowledged one twice, the open one twice, the acknowledged one twice and the open."""
    books, contents = _books()
    contents[board] = dict.fromkeys(contents[board], wrong)
    _fails(books, contents, "beside what was acknowledged")


def test_an_older_write_comes_back() -> None:
    books, contents = _books()
    book = books.of("last", "ann")
    book.begin(7)
    book.acknowledge(7)
    _fails(books, contents, "last")


def test_a_removed_member_comes_back() -> None:
    books, contents = _books()
    books.settle(contents)
    book = books.of("gone", "ann")
    book.begin(None)
    book.acknowledge(None)
    _fails(books, contents, "gone")
    del contents["gone"]["ann"]
    books.settle(contents)


@pytest.mark.parametrize("board", BOARDS)
def test_a_member_that_nobody_wrote(board: str) -> None:
    books, contents = _books()
    contents[board]["eve"] = 1
    _fails(books, contents, f"nobody else is on {board}")


def test_half_a_batch() -> None:
    for bob in ({}, {"bob": 95}):
        books, contents = _books()
        contents["batch"] = {"ann": 5, **bob}
        _fails(books, contents, "half a batch")


def test_boards() -> None:
    books, contents = _books()
    del contents["life-1"]
    _fails(books, contents, "life-1")
    books, contents = _books()
    contents["life-1"] = {"only": 3}
    _fails(books, contents, "life-1")
    books, contents = _books()
    del contents["race-1"]
    _fails(books, contents, "race-1 is lost")
    books, contents = _books()
    books.made["race-1"].append(201)
    _fails(books, contents, "created more than once")
    books, contents = _books()
    contents["other"] = {}
    _fails(books, contents, "nobody made")


def test_random_histories_that_lose_or_double_one_write() -> None:
    """Amounts are such that no open write looks like the fault."""
    chance = random.Random("books")
    for _ in range(200):
        book, found, acknowledged = Sum(), 0, []
        for _ in range(20):
            amount = draw(chance)
            book.begin(amount)
            counts = chance.random() < 0.8
            found += amount * counts
            if counts and chance.random() < 0.7:
                book.acknowledge(amount)
                acknowledged.append(amount)
        wrong = chance.choice(acknowledged) * chance.choice((1, -1))
        with pytest.raises(AssertionError):
            book.settle(found + wrong)
        book.settle(found)


def test_best_and_newest_by_hand() -> None:
    best = Best()
    for score, answered in ((5, True), (3, False), (9, False), (7, True)):
        best.begin(score)
        if answered:
            best.acknowledge(score)
    for wrong in (None, 3, 5, 16):
        with pytest.raises(AssertionError):
            best.settle(wrong)
    best.settle(9)
    newest = Newest()
    newest.begin(5)
    for wrong in (0, 4):
        with pytest.raises(AssertionError):
            newest.settle(wrong)
    newest.settle(None)
    with pytest.raises(AssertionError):
        newest.settle(5)
