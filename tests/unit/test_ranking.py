"""What moved between two views of a board, and how a line shows it."""

from __future__ import annotations

from rankwire.cli._output import ranked_text
from rankwire.cli._ranking import Entry, Line, View, lines


def view(*members: str) -> View:
    return View("b", 1, len(members), tuple(Entry(member, 10) for member in members))


def movements(previous: View | None, current: View) -> list[str]:
    return [line.movement for line in lines(current, previous)]


def test_a_first_look_is_no_news() -> None:
    assert movements(None, view("a", "b")) == ["", ""]


def test_after_an_empty_board_everyone_is_new() -> None:
    assert movements(view(), view("a", "b")) == ["new", "new"]


def test_movements_count_ranks() -> None:
    assert movements(view("a", "b", "c", "d"), view("c", "a", "x", "d")) == ["▲2", "▼1", "new", ""]


def test_ranks_count_from_one_or_the_offset() -> None:
    assert [line.rank for line in lines(view("a", "b"))] == [1, 2]
    assert [line.rank for line in lines(view("a", "b"), offset=10)] == [11, 12]


def test_a_line_of_text() -> None:
    shown = [Line(1, "Ann 2", 30), Line(2, "Bob", 2.5, "▲1")]
    assert ranked_text(shown) == "1 Ann 2 (30) | 2 ▲1 Bob (2.5)"
