"""``rankwire demo``: a real server ranks a history of goals while a watcher looks on.

Promises: the table at the end is compared with a plain count of the file, and the demo fails when
they differ. The server is stopped however the demo ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.live import Live

from rankwire.cli._api import Api, BoardShape, LostError, Page, ProblemError, UnreachableError
from rankwire.cli._child import ChildError, running_server
from rankwire.cli._options import examples
from rankwire.cli._output import Failure, console, ranked_table, ranked_text
from rankwire.cli._ranking import Line, View, lines
from rankwire.cli._replaying import Plan, Replay, Report, Troubles
from rankwire.cli._rows import Condition, InputError, RowReader, Selection, Submit
from rankwire.cli._watch import Watcher, WatchError
from rankwire.cli.top import MovingTable, caption
from rankwire.sample import write_sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from rich.console import Console

    from rankwire.cli._child import Child
    from rankwire.cli._rows import Row
    from rankwire.cli._watch import Audience

BOARD = "goals"
SHOWN = 10
SNAPSHOT_SECONDS = 2.0
LAST_VIEW_SECONDS = 5.0
"""How long the watcher may take to see the last goal; it should be one tick."""

GOALS = Selection(
    member="scorer",
    points=1,
    at="date",
    where=(
        Condition("own_goal", "FALSE"),
        Condition("scorer", "NA", equal=False),
        Condition("scorer", "", equal=False),
    ),
)


class Run(msgspec.Struct, frozen=True):
    """What a demo found, to be told when the table stands still."""

    report: Report
    page: Page
    updates: int
    seen: bool
    """Whether the watcher came to see the version that the API answers."""


@click.command(
    "demo",
    short_help="Watch a real server rank a history of goals.",
    epilog=examples("rankwire demo", "rankwire demo goalscorers.csv", "rankwire demo --rate 500"),
)
@click.argument(
    "file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--storage",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the server's data here. [default: a temporary directory]",
)
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Most goals a second.")
def command(*, file: Path | None, storage: Path | None, rate: float | None) -> None:
    """Start a server, replay a history of goals into it, and watch its top 10 move.

    Each goal is one live submit, in the order of the file, answered when it is durable. FILE is CSV
    with the columns date, team, scorer, own_goal and so on; without it a made-up history of 20,000
    goals is used. Own goals and goals without a scorer do not count.
    """
    with tempfile.TemporaryDirectory(prefix="rankwire-demo-") as directory:
        work = Path(directory)
        if file is None:
            file = work / "sample.csv"
            write_sample(file)
        try:
            RowReader(file, GOALS).check()
            asyncio.run(_demo(file, storage or work / "data", work / "server.log", rate))
        except InputError as error:
            raise click.UsageError(str(error)) from error
        except (ChildError, ProblemError, UnreachableError, LostError, WatchError) as error:
            raise Failure(str(error)) from error
        except (KeyboardInterrupt, asyncio.CancelledError):
            raise Failure("interrupted; the server is stopped") from None


async def _demo(file: Path, storage: Path, log: Path, rate: float | None) -> None:
    main = asyncio.current_task()
    if main:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, main.cancel)
    screen = console()
    goals: Counter[str] = Counter()
    async with running_server(storage, log) as child:
        screen.print(f"server {child.process_id} is ready at {child.url}, its data in {storage}")
        run = await _replay(child, screen, _counted(RowReader(file, GOALS), goals), rate)
        _tell(screen, run)
        _compare(run, goals)
        screen.print("the table equals a plain count of the file")
        screen.print("sending SIGTERM to the server")
    screen.print("the server has stopped with exit code 0")


async def _replay(child: Child, screen: Console, rows: Iterable[Row], rate: float | None) -> Run:
    plan = Plan(BOARD, rate=rate)
    async with Api(child.url, plan.connections) as api:
        if not await api.create_board(BOARD, BoardShape(policy="sum")):
            raise Failure(f"this storage holds a board {BOARD!r} already; give an empty directory")
        replay = Replay(api, rows, plan, Troubles(screen.print))
        with _audience(screen) as audience:
            watcher = Watcher(child.live_url, BOARD, SHOWN, audience)
            async with _watching(watcher):
                await replay.run()
                page = await api.top(BOARD, SHOWN)
                seen = await _sees(watcher, page)
        return Run(replay.report(), page, watcher.updates, seen)


@contextlib.contextmanager
def _audience(screen: Console) -> Iterator[Audience]:
    if not screen.is_terminal:
        yield Snapshots(screen)
        return
    with Live(console=screen, auto_refresh=False, transient=True) as live:
        yield MovingTable(live)


@contextlib.asynccontextmanager
async def _watching(watcher: Watcher) -> AsyncIterator[None]:
    """Watch while the block runs, from before its first step."""
    task = asyncio.create_task(watcher.run())
    try:
        await watcher.first_view()
        yield
        if task.done():
            # It runs until it is cancelled: it ended with the reason why nobody watches.
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _sees(watcher: Watcher, page: Page) -> bool:
    """Wait for the watcher to see what the page has.

    Versions need not agree: a change that a view does not show is not published.
    """

    def shown(of: View | Page) -> tuple[int, list[tuple[str, int | float]]]:
        return of.total, [(entry.member, entry.score) for entry in of.entries]

    deadline = time.monotonic() + LAST_VIEW_SECONDS
    while time.monotonic() < deadline:
        if watcher.view and shown(watcher.view) == shown(page):
            return True
        await asyncio.sleep(0.02)
    return False


def _counted(rows: Iterable[Row], goals: Counter[str]) -> Iterator[Row]:
    """Pass the rows on and count what the server should come to."""
    for row in rows:
        if isinstance(row, Submit):
            goals[row.member] += 1
        yield row


def _tell(screen: Console, run: Run) -> None:
    shown = [Line(entry.rank, entry.member, entry.score) for entry in run.page.entries]
    foot = f"{run.page.total:,} scorers, version {run.page.version}"
    screen.print(ranked_table(shown, "all-time top scorers", foot))
    screen.print(run.report.text())
    screen.print(f"{run.updates:,} live updates seen")


def _compare(run: Run, goals: Counter[str]) -> None:
    entries = run.page.entries
    if not run.report.succeeded:
        message = "not every goal was accepted"
    elif not run.seen:
        message = f"the watcher did not see the top of version {run.page.version}"
    elif run.page.total != len(goals):
        message = f"the board holds {run.page.total} scorers, the file {len(goals)}"
    elif [goals[entry.member] for entry in entries] != [n for _, n in goals.most_common(SHOWN)]:
        message = "the top differs from a plain count of the file"
    elif any(entry.score != goals[entry.member] for entry in entries):
        message = "a score differs from a plain count of the file"
    else:
        return
    raise Failure(message)


class Snapshots:
    """Prints a line about every two seconds, for logs and pipes."""

    def __init__(self, screen: Console) -> None:
        """Print on ``screen``."""
        self._screen = screen
        self._shown: View | None = None
        self._shown_at = float("-inf")

    def on_view(self, view: View, _previous: View | None) -> None:
        """Print a view if the last one printed is old enough, with what moved since that one."""
        now = time.monotonic()
        if not view.entries or now - self._shown_at < SNAPSHOT_SECONDS:
            return
        text = ranked_text(lines(view, self._shown))
        self._screen.print(f"{view.board} ({caption(view)}): {text}")
        self._shown, self._shown_at = view, now

    def on_status(self, words: str) -> None:
        """Print a sentence about the connection."""
        self._screen.print(words)
