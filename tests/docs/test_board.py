"""The examples of docs/board.md, run as they are written."""

from __future__ import annotations

import doctest
from pathlib import Path

_PAGE = Path(__file__).parents[2] / "docs" / "board.md"


def test_examples_print_what_is_promised() -> None:
    result = doctest.testfile(str(_PAGE), module_relative=False)
    assert result.failed == 0
    assert result.attempted > 10
