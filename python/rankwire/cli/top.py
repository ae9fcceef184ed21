"""``rankwire top``: the first entries of a board, once or as they move."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import click
import msgspec
from rich.live import Live

from rankwire.cli._api import Api, LostError, ProblemError, UnreachableError
from rankwire.cli._options import examples, http_url, key, live_url
from rankwire.cli._output import Failure, console, ranked_table, ranked_text
from rankwire.cli._ranking import Line, View, lines
from rankwire.cli._watch import Watcher, WatchError
from rankwire.model import PAGE_ENTRIES

if TYPE_CHECKING:
    from rankwire.cli._watch import Audience


WATCHED_ENTRIES = 100
"""Most entries of a live view, as the live listener says."""


@click.command(
    "top",
    short_help="Print the top of a board, or watch it move.",
    epilog=examples(
        "rankwire top goals --limit 20",
        "rankwire top goals --watch",
        "rankwire top goals --watch --for 60 --json > changes.ndjson",
    ),
)
@click.argument("board")
@click.option("--watch", is_flag=True, help="Stay and show every change.")
@http_url
@live_url
@key
@click.option(
    "--limit",
    type=click.IntRange(1, PAGE_ENTRIES),
    default=10,
    show_default=True,
    help="Entries to show.",
)
@click.option("--offset", type=click.IntRange(0), default=0, help="Entries to leave out first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --watch an object a line.")
@click.option(
    "--for", "seconds", type=click.FloatRange(0, min_open=True), help="With --watch: seconds."
)
def command(  # noqa: PLR0913 - one parameter an option
    *,
    board: str,
    watch: bool,
    url: str,
    live_url: str,
    key: str | None,
    limit: int,
    offset: int,
    as_json: bool,
    seconds: float | None,
) -> None:
    """Print the first entries of BOARD, or watch them move with --watch.

    ▲ and ▼ show how many ranks a member went since the previous state. In a terminal the table
    moves in place; elsewhere every change is one line. Ctrl-C ends the watch.
    """
    if watch and offset:
        raise click.UsageError("a watched board starts at its first entry; leave out --offset")
    if watch and limit > WATCHED_ENTRIES:
        raise click.UsageError(f"a watch shows at most {WATCHED_ENTRIES} entries; lower --limit")
    if seconds and not watch:
        raise click.UsageError("--for bounds a watch; add --watch")
    if not watch:
        asyncio.run(_print_once(Api(url, key=key), board, limit, offset, as_json=as_json))
        return
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_watch((live_url, key), board, limit, seconds, as_json=as_json))


async def _print_once(client: Api, board: str, limit: int, offset: int, *, as_json: bool) -> None:
    async with client as api:
        try:
            page = await api.top(board, limit, offset)
        except (ProblemError, UnreachableError, LostError) as error:
            raise Failure(str(error)) from error
    if as_json:
        click.echo(msgspec.json.encode(page).decode())
        return
    shown = [Line(entry.rank, entry.member, entry.score) for entry in page.entries]
    caption = f"{page.total:,} members, version {page.version}"
    console().print(ranked_table(shown, board, caption))


async def _watch(
    server: tuple[str, str | None], board: str, size: int, seconds: float | None, *, as_json: bool
) -> None:
    screen = console()
    with contextlib.ExitStack() as stack:
        audience: Audience
        if as_json:
            audience = JsonLines()
        elif screen.is_terminal:
            live = stack.enter_context(Live(console=screen, auto_refresh=False))
            audience = MovingTable(live)
        else:
            audience = TextLines()
        try:
            async with asyncio.timeout(seconds):
                url, key = server
                await Watcher(url, board, size, audience, key).run()
        except WatchError as error:
            raise Failure(str(error)) from error
        except TimeoutError:
            return


def caption(view: View) -> str:
    """Return the line under a watched table."""
    return f"{view.total:,} members, version {view.version}"


class MovingTable:
    """Draws every view over the one before."""

    def __init__(self, live: Live) -> None:
        """Draw on ``live``."""
        self._live = live

    def on_view(self, view: View, previous: View | None) -> None:
        """Draw a view with its movements."""
        table = ranked_table(lines(view, previous), view.board, caption(view))
        self._live.update(table, refresh=True)

    def on_status(self, words: str) -> None:
        """Print a sentence above the table."""
        self._live.console.print(words)


class TextLines:
    """Prints one line for every change of what is shown."""

    def on_view(self, view: View, previous: View | None) -> None:
        """Print a view, unless only members below it moved."""
        shown = (view.total, view.entries)
        if previous is None or shown != (previous.total, previous.entries):
            click.echo(f"{view.board} ({caption(view)}): {ranked_text(lines(view, previous))}")

    def on_status(self, words: str) -> None:
        """Print a sentence on standard error."""
        click.echo(words, err=True)


class JsonLines(TextLines):
    """Prints one JSON object for every version, as the server published it."""

    def on_view(self, view: View, previous: View | None) -> None:
        """Print a view, unless a reconnect only repeated it."""
        if view != previous:
            click.echo(msgspec.json.encode(view).decode())
