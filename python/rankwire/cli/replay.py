"""``rankwire replay``: a file of scores becomes live submits to a running server."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from rankwire.cli._api import Api, BoardShape, LostError, ProblemError, UnreachableError
from rankwire.cli._options import examples, http_url, key
from rankwire.cli._output import Failure, console
from rankwire.cli._replaying import Plan, Replay, Troubles
from rankwire.cli._rows import Condition, InputError, RowReader, Selection, parse_score

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

REFRESH_SECONDS = 0.1


class Target(msgspec.Struct, frozen=True):
    """The server, and the board to create on it first, if any."""

    url: str
    create: BoardShape | None = None
    key: str | None = None


def _points(_ctx: click.Context, _option: click.Parameter, text: str | None) -> int | float | None:
    if text is None:
        return None
    points = parse_score(text)
    if points is None:
        raise click.BadParameter(f"{text!r} is not a number")
    return points


def _conditions(
    _ctx: click.Context, _option: click.Parameter, texts: tuple[str, ...]
) -> tuple[Condition, ...]:
    try:
        return tuple(Condition.parse(text) for text in texts)
    except InputError as error:
        raise click.BadParameter(str(error)) from error


@click.command(
    "replay",
    short_help="Stream a CSV or NDJSON file of scores into a server.",
    epilog=examples(
        "rankwire replay laps.csv --board laps --create --order asc"
        " --member driver --score milliseconds",
        "rankwire replay goals.csv --board goals --create --policy sum"
        " --member scorer --points 1 --at date --where own_goal=FALSE",
    ),
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@http_url
@key
@click.option("--board", required=True, help="Board that receives the scores.")
@click.option("--create", is_flag=True, help="Create the board first, unless it is there.")
@click.option("--policy", type=click.Choice(["best", "last", "sum"]), help="With --create.")
@click.option("--order", type=click.Choice(["desc", "asc"]), help="With --create.")
@click.option("--score-type", type=click.Choice(["int64", "float64"]), help="With --create.")
@click.option("--ties", type=click.Choice(["first", "last", "member"]), help="With --create.")
@click.option("--member", required=True, metavar="COLUMN", help="Column of the member.")
@click.option("--score", metavar="COLUMN", help="Column of the score.")
@click.option("--points", metavar="N", callback=_points, help="The same score for every row.")
@click.option(
    "--at", metavar="COLUMN", help="Column of the time: RFC 3339, or a date for its midnight UTC."
)
@click.option(
    "--where",
    multiple=True,
    metavar="COLUMN=VALUE",
    callback=_conditions,
    help="Keep only matching rows; COLUMN!=VALUE keeps the others. Repeatable.",
)
@click.option(
    "--connections",
    type=click.IntRange(1, 1024),
    default=16,
    show_default=True,
    help="Connections, each with one request under way.",
)
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Most rows a second.")
@click.option("--batch", type=click.IntRange(1, 10_000), help="Rows a call, instead of one.")
@click.option("--limit", type=click.IntRange(1), help="Most rows to send.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(  # noqa: PLR0913 - one parameter an option
    *,
    file: Path,
    url: str,
    key: str | None,
    board: str,
    create: bool,
    policy: str | None,
    order: str | None,
    score_type: str | None,
    ties: str | None,
    member: str,
    score: str | None,
    points: float | None,
    at: str | None,
    where: tuple[Condition, ...],
    connections: int,
    rate: float | None,
    batch: int | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Stream FILE, CSV with a header row or NDJSON, into a running server as live submits.

    Rows start in file order and each is answered when it is durable. Rows that cannot be sent or
    that the server refuses are reported with their line, and make the exit code 1.
    """
    if (score is None) == (points is None):
        raise click.UsageError("give one of --score COLUMN and --points N")
    reader = RowReader(file, Selection(member, score, points or 0, at, where))
    try:
        reader.check()
    except InputError as error:
        raise click.UsageError(str(error)) from error
    given = {"policy": policy, "order": order, "score": score_type, "ties": ties}
    target = Target(url, _shape(given, create=create), key)
    plan = Plan(board, connections, rate, batch, limit)
    _run(target, reader, plan, as_json=as_json)


def _shape(given: Mapping[str, str | None], *, create: bool) -> BoardShape | None:
    chosen = {name: value for name, value in given.items() if value is not None}
    if chosen and not create:
        raise click.UsageError(
            "--policy, --order, --score-type and --ties describe the board of --create"
        )
    return BoardShape(**chosen) if create else None


def _run(target: Target, reader: RowReader, plan: Plan, *, as_json: bool) -> None:
    screen = console(stderr=True)
    troubles = Troubles(screen.print)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeRemainingColumn(),
        console=screen,
        disable=not screen.is_terminal,
        transient=True,
    )
    api = Api(target.url, plan.connections, target.key)
    replay = Replay(api, reader, plan, troubles)
    try:
        asyncio.run(_replay(target, api, replay, _Bar(progress, reader, replay), plan.board))
    except KeyboardInterrupt:
        # Like any other end: with the report of what was done.
        replay.stop("interrupted")
    troubles.close()
    report = replay.report()
    click.echo(msgspec.json.encode(report).decode() if as_json else report.text())
    if not report.succeeded:
        raise SystemExit(Failure.exit_code)


async def _replay(target: Target, api: Api, replay: Replay, bar: _Bar, board: str) -> None:
    async with api:
        try:
            await _prepare(api, board, target.create)
        except (ProblemError, UnreachableError, LostError) as error:
            message = str(error)
            if isinstance(error, ProblemError) and error.is_not_found and not target.create:
                message += "; --create makes the board first"
            raise Failure(message) from error
        async with bar.moving():
            await replay.run()


async def _prepare(api: Api, board: str, create: BoardShape | None) -> None:
    """See before the first row that the server is there and has the board."""
    if create:
        await api.create_board(board, create)
    await api.describe(board)


class _Bar:
    """A progress bar that follows the bytes of the file."""

    def __init__(self, progress: Progress, reader: RowReader, replay: Replay) -> None:
        self._progress = progress
        self._reader = reader
        self._replay = replay
        self._task = progress.add_task("replay", total=reader.size(), rows=0)

    @contextlib.asynccontextmanager
    async def moving(self) -> AsyncIterator[None]:
        """Show the bar while the block runs."""
        with self._progress:
            mover = asyncio.create_task(self._move())
            try:
                yield
            finally:
                mover.cancel()

    async def _move(self) -> None:
        while True:
            self._progress.update(
                self._task, completed=self._reader.bytes_read, rows=self._replay.accepted
            )
            await asyncio.sleep(REFRESH_SECONDS)
