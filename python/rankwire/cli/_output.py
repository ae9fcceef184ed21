"""What the commands share to speak: consoles, failures and the look of a ranked table.

Names of members come from outside, so they are only ever printed as plain text: Rich's markup and
highlighting are off everywhere.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from rankwire.cli._ranking import Line


class Failure(click.ClickException):
    """The command could not do its work: exit code 1."""

    exit_code = 1


class WrongSettings(click.ClickException):
    """Settings are wrong: exit code 2, one problem a line."""

    exit_code = 2

    def __init__(self, problems: Sequence[str]) -> None:
        """Keep the problems for :meth:`show`."""
        super().__init__("; ".join(problems))
        self.problems = problems

    def show(self, file: IO[Any] | None = None) -> None:
        """Print every problem on standard error."""
        del file
        for problem in self.problems:
            click.echo(problem, err=True)


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)


def show(page: RenderableType) -> None:
    """Print a page whose tables fit the screen; only what is not to be wrapped goes beyond it."""
    console().print(page, soft_wrap=False, crop=False)


def ranked_table(lines: Sequence[Line], title: str, caption: str) -> Table:
    """Return a table of ranks, movements, members and scores."""
    table = Table(title=Text(title), caption=Text(caption), title_justify="left", min_width=40)
    table.add_column("#", justify="right")
    table.add_column("", width=4)
    table.add_column("member", ratio=1)
    table.add_column("score", justify="right")
    for line in lines:
        style = {"▲": "green", "▼": "red", "n": "cyan"}.get(line.movement[:1], "")
        table.add_row(
            str(line.rank), Text(line.movement, style=style), Text(line.member), str(line.score)
        )
    return table


def ranked_text(lines: Sequence[Line]) -> str:
    """Return the same in one line: ``1 Ann (30) | 2 ▲1 Bob (20)``."""
    return " | ".join(
        " ".join(filter(None, (str(line.rank), line.movement, line.member, f"({line.score})")))
        for line in lines
    )
