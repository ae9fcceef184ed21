"""``rankwire regions verify`` and ``repair``: whether regions hold the same, and how they come to.

A server compares; these commands ask it to, tell how far it is, and show what it found.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import click
import msgspec
from rich.table import Table
from rich.text import Text

from rankwire.cli._asking import run
from rankwire.cli._options import examples, key, server_url
from rankwire.cli._output import Failure, show
from rankwire.cli._progress import Progress
from rankwire.cli._regions_asking import PATH
from rankwire.model_regions import Verify, Verifying

if TYPE_CHECKING:
    from rankwire.cli._api import Api
    from rankwire.sync.regions.report import BoardReport, Held, PeerReport, Report
    from rankwire.sync.regions.report import Progress as Known

_LOOK_SECONDS: Final = 0.5
# A balancer may send each question to another node; so often the right one should be among them.
_MOST_LOOKS: Final = 60
# The server answers within 20 s, how far it is if not what it found.
_ANSWER_SECONDS: Final = 60.0
_MOST_BOARDS: Final = 20
# To repair, to repair what that brought about, and to see that nothing is left; and one to spare.
_MOST_REPAIRS: Final = 4

_boards = click.option(
    "--board",
    "boards",
    multiple=True,
    metavar="NAME",
    help="Only this board. Repeatable. [default: all boards]",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")


@click.command(
    "verify",
    short_help="Compare what the regions hold.",
    epilog=examples(
        'rankwire regions verify --key "$(cat regions.key)"',
        "rankwire regions verify --board season-1 --json",
    ),
)
@server_url
@key
@_boards
@_json
def verify(*, url: str, key: str | None, boards: tuple[str, ...], as_json: bool) -> None:
    """Compare what the region of this server holds with each of the others, and change nothing.

    Boards are compared by hashes, and only what differs is looked at, so little is sent. Writes go
    on: a member counts as different only when both regions had taken in the same. The exit code is
    1 if anything differs, or if not everything could be compared.
    """
    _end(_compare(url, key, Verify(boards=list(boards) or None), as_json=as_json))


@click.command(
    "repair",
    short_help="Make what differs between regions the same.",
    epilog=examples(
        "rankwire regions repair",
        "rankwire regions repair --board season-1 --source eu",
    ),
)
@server_url
@key
@_boards
@click.option(
    "--source",
    metavar="REGION",
    help="Region whose amounts count on boards that sum. [default: what most regions hold, or the "
    "primary]",
)
@_json
def repair(
    *, url: str, key: str | None, boards: tuple[str, ...], source: str | None, as_json: bool
) -> None:
    """Compare, and make what differs the same, in the region of this server and in the others.

    Best and last scores are merged as ever, so it does not matter where they were right. Sums
    cannot be merged: one region's amount counts. As a repair with one region may make another one
    differ, it goes on until nothing is found; --json prints a line for each time. The exit code is
    1 unless all is equal in the end.
    """
    wanted = Verify(boards=list(boards) or None, repair=True, source=source)
    for _ in range(_MOST_REPAIRS):
        report = _compare(url, key, wanted, as_json=as_json)
        if not report.resolved:
            break
    else:
        raise Failure(f"something was repaired each of {_MOST_REPAIRS} times: run this once more")
    _end(report)


def _compare(url: str, key: str | None, wanted: Verify, *, as_json: bool) -> Report:
    progress = Progress()
    with progress.shown():
        report = run(url, key, lambda api: _report(api, wanted, progress))
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        _show(report)
    return report


def _end(report: Report) -> None:
    """End with the exit code that a report stands for."""
    if not report.is_equal:
        raise SystemExit(Failure.exit_code)


async def _report(api: Api, wanted: Verify, progress: Progress) -> Report:
    progress.say("comparing")
    answer = await api.order("POST", f"{PATH}/verify", wanted, _ANSWER_SECONDS)
    told = api.decode(answer, Verifying)
    since_ms = told.progress.since_ms if told.progress else 0
    while told.progress is not None:
        progress.say(_words(told.progress))
        told = await _of_node(api, told.node)
    if told.last is None or told.last.at_ms < since_ms:
        raise Failure("the comparison failed, the server's log tells why: run this once more")
    return told.last


async def _of_node(api: Api, node: str) -> Verifying:
    """Ask again, until the node that compares is the one that answers."""
    for _ in range(_MOST_LOOKS):
        await asyncio.sleep(_LOOK_SECONDS)
        told = await api.ask(f"{PATH}/verify", Verifying)
        if told.node == node:
            return told
    raise Failure(
        "the server that compares does not answer any more, others do or it was started again: run "
        "this once more, and name one server with --server"
    )


def _words(known: Known) -> str:
    return (
        f"comparing with {known.peer or 'the others'} ({known.peers_done} of {known.peers} done): "
        f"{known.boards_compared:,} boards, {known.found:,} differences"
    )


def _show(report: Report) -> None:
    for peer in report.peers:
        _show_peer(report.region, peer)
    size = (
        f"{report.members_compared:,} members in {report.seconds:.1f} s, "
        f"{report.bytes_sent + report.bytes_received:,} bytes"
    )
    if report.is_equal:
        repaired = f"Repaired {report.resolved:,}. " if report.resolved else ""
        click.echo(f"{repaired}No difference: {size}.")
        return
    words = f"{report.found:,} differences"
    if report.repair:
        words += f", {report.resolved:,} repaired, {report.failed:,} not"
    if report.unsettled:
        words += f"; {report.unsettled:,} members changed each time that they were looked at"
    click.echo(f"{words}: {size}.")


def _show_peer(own: str, peer: PeerReport) -> None:
    if peer.trouble is not None:
        click.echo(f"{peer.region}: not compared to the end: {peer.trouble}.")
    if peer.is_stopped:
        click.echo(f"{peer.region}: so much differs that not all was looked at; run this again.")
    if not peer.boards:
        return
    table = Table("board", "member", own, peer.region, "outcome")
    for board in peer.boards[:_MOST_BOARDS]:
        for row in _rows(board):
            table.add_row(*(Text(word, overflow="fold") for word in row))
    show(table)
    if len(peer.boards) > _MOST_BOARDS:
        click.echo(f"And {len(peer.boards) - _MOST_BOARDS:,} boards more; --json names them.")


def _rows(board: BoardReport) -> list[tuple[str, str, str, str, str]]:
    """Say what differs on a board: some members, and how many others."""
    if board.missing_in is not None:
        return [(board.board, "the board itself", "", "", f"missing in {board.missing_in}")]
    rows = [
        (board.board, each.member, _held(each.here), _held(each.there), each.outcome)
        for each in board.samples
    ]
    others = board.found - len(board.samples)
    if others > 0:
        rows.append((board.board, f"and {others:,} others", "", "", ""))
    if board.unsettled:
        rows.append((board.board, f"{board.unsettled:,} members", "", "", "unsettled"))
    return rows


def _held(held: Held) -> str:
    score = "no score" if held.score is None else f"{held.score:,}"
    return f"{score}, removed {held.removals} times" if held.removals else score
