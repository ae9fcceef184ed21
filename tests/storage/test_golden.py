"""Data of the version that first had this format opens, and means what it meant."""

from __future__ import annotations

import json
from pathlib import Path

from fix_engine import Boards, Kept, journal_tail
from storage import golden


def _expected() -> Boards:
    expected: Boards = json.loads((golden.FOLDER / golden.EXPECTED).read_text(encoding="utf-8"))
    for board in expected.values():
        board["rows"] = [tuple(row) for row in board["rows"]]
    return expected


def test_stored_data_of_the_first_version_opens(directory: Path) -> None:
    golden.load(directory)
    assert journal_tail(directory) > 0, "part of it is only in the journal"
    with Kept(directory) as kept:
        assert kept.boards == _expected()


def test_it_can_be_written_to_and_opened_again(directory: Path) -> None:
    golden.load(directory)
    with Kept(directory) as kept:
        assert kept.submit("sum", "bob", 4)["score"] == 7
        assert kept.submit("best", "later", 7)["rank"] == 7
        kept.checkpoint()
        before = kept.boards
    with Kept(directory) as kept:
        assert kept.boards == before
