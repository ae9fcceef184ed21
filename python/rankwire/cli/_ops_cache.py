"""``rankwire ops cache``: what caching does on a running server, or would do, and why."""

from __future__ import annotations

from typing import Final

import click
import msgspec
from rich.console import Group

from rankwire.cli._asking import ask
from rankwire.cli._options import examples, key, server_url
from rankwire.cli._output import show
from rankwire.ops.caching import CachingReport
from rankwire.ops.report import terminal

PATH: Final = "/v1/ops/caching"


@click.command(
    "cache",
    short_help="Show what caching brings, and what it would.",
    epilog=examples(
        'rankwire ops cache --key "$(cat operator.key)"',
        "rankwire ops cache --server http://10.0.0.7:7700 --json",
    ),
)
@server_url
@key
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
def command(*, url: str, key: str | None, as_json: bool) -> None:
    """Show what a server reads most, which caches that is for, and what they are worth.

    Asks one node (a key needs the scope operator) and tells of that node. Whether caches are turned
    on is the setting ops.caching of the server. Time that is freed and money that is saved are two
    things: a bill falls only when a smaller server, or one less, carries what is left.
    """
    report = ask(url, key, PATH, CachingReport)
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        show(Group(*terminal.caching(report)))
