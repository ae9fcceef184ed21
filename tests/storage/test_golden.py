"""Data of every version that first had a format opens, and means what it meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fix_engine import Boards, Kept, journal_tail
from storage import golden

# What is not in a stored format, and what it is taken for.
_FORMATS: dict[Path, dict[str, bool]] = {golden.FIRST: {"player_submits": False}, golden.NEWEST: {}}


def _expected(folder: Path) -> Boards:
    expected: Boards = json.loads((folder / golden.EXPECTED).read_text(encoding="utf-8"))
    for board in expected.values():
        board["rows"] = [tuple(row) for row in board["rows"]]
        board.update(_FORMATS[folder])
    return expected


@pytest.mark.parametrize("folder", _FORMATS, ids=lambda folder: folder.name)
def test_stored_data_of_every_format_opens(directory: Path, folder: Path) -> None:
    golden.load(folder, directory)
    assert journal_tail(directory) > 0, "part of it is only in the journal"
    with Kept(directory) as kept:
        assert kept.boards == _expected(folder)


@pytest.mark.parametrize("folder", _FORMATS, ids=lambda folder: folder.name)
def test_it_can_be_written_to_and_opened_again(directory: Path, folder: Path) -> None:
    golden.load(folder, directory)
    with Kept(directory) as kept:
        assert kept.submit("sum", "bob", 4)["score"] == 7
        assert kept.submit("best", "later", 7)["rank"] == 7
        kept.create("new", player_submits=True)
        kept.checkpoint()
        before = kept.boards
    assert before["new"]["player_submits"]
    with Kept(directory) as kept:
        assert kept.boards == before


def test_the_newest_format_has_what_the_first_lacks() -> None:
    boards = _expected(golden.NEWEST)
    submits = {name: board["player_submits"] for name, board in boards.items()}
    assert submits == {
        "best": False,
        "dropped": True,
        "last": False,
        "players": True,
        "sum": False,
    }
