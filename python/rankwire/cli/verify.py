"""``rankwire verify``: proves that what a server shows is what is stored."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from rankwire.cli._api import Api, LostError, ProblemError, UnreachableError
from rankwire.cli._options import (
    examples,
    key,
    load_settings,
    server_url,
    some_settings,
)
from rankwire.cli._output import Failure, console
from rankwire.cli._progress import Progress
from rankwire.storage import StorageError, proof
from rankwire.storage.source import open_source

if TYPE_CHECKING:
    from pathlib import Path

    from rankwire.storage.proof import Report, State
    from rankwire.storage.source import Source


@click.command(
    "verify",
    short_help="Prove that a server's boards are what is stored.",
    epilog=examples(
        'rankwire verify --key "$(cat operator.key)"',
        "rankwire verify --server http://10.0.0.7:7700"
        " --storage-url postgresql://rankwire@db/rankwire",
        "rankwire verify --offline --storage-path /var/lib/rankwire",
    ),
)
@server_url
@key
@click.option("--offline", is_flag=True, help="Ask no server: check the storage by itself.")
@some_settings("storage.path", "storage.url")
def command(
    *,
    url: str,
    key: str | None,
    offline: bool,
    config_file: Path | None,
    **flags: str | None,
) -> None:
    """Compare a running server's memory with its checkpoint and journal, board by board.

    Asks the server for digests of its boards (a key needs the scope operator), builds the same
    boards from the storage, as far as the server had come, and prints what differs. With --offline
    it checks that the storage can be recovered, the checksums of all of the journal and, where the
    journal goes back to its beginning, that replaying it from nothing gives the same boards. Reads
    only, and needs as much memory as a server. The exit code is 1 if anything differs.
    """
    settings = load_settings(config_file, flags)
    progress = Progress()

    def tell(words: str, done: int) -> None:
        progress.say(f"{words}: {done:,}")

    source: Source | None = None
    try:
        with progress.shown():
            source = open_source(settings.storage)
            if offline:
                report = proof.offline(source, tell)
            else:
                report = proof.against(source, lambda: asyncio.run(_state(url, key)), tell)
    except (StorageError, proof.AheadError) as error:
        raise Failure(str(error)) from error
    except (ProblemError, UnreachableError, LostError) as error:
        raise Failure(f"the server gives no digest: {error}") from error
    finally:
        if source is not None:
            source.close()
    _show(report, "the journal from nothing" if offline else "the server")
    if report.differences:
        raise SystemExit(Failure.exit_code)


async def _state(url: str, key: str | None) -> State:
    async with Api(url, key=key) as api:
        digest = await api.digest()
    return proof.State(
        {int(origin): number for origin, number in digest.vector.items() if number},
        {
            int(board.id, 16): proof.BoardDigest(board.board, board.total, board.digest)
            for board in digest.boards
        },
    )


def _show(report: Report, other: str) -> None:
    size = f"{report.boards:,} boards with {report.members:,} members, {report.batches:,} batches"
    if not report.differences:
        click.echo(f"No difference: {size}.")
        for note in report.notes:
            click.echo(f"Note: {note}.")
        return
    table = Table("what", f"expected, as {other} has it", "in the storage")
    for difference in report.differences:
        words = (difference.what, difference.expected, difference.found)
        table.add_row(*(Text(word, overflow="fold") for word in words))
    console().print(table)
    click.echo(f"{len(report.differences):,} differences in {size}.")
