"""``rankwire ops report``: how a server does, for the terminal or as one HTML file."""

from __future__ import annotations

import contextlib
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec
from rich.live import Live

from rankwire.cli._asking import ask
from rankwire.cli._files import write_file
from rankwire.cli._options import examples, key, server_url
from rankwire.cli._output import console, show
from rankwire.ops.report import html, terminal
from rankwire.ops.report.bundle import Bundle

if TYPE_CHECKING:
    from collections.abc import Callable

PATH: Final = "/v1/ops/report"

WATCH_SECONDS: Final = 5.0
"""Between two reports of a watch: as often as a server looks unless it is told otherwise."""


@click.command(
    "report",
    short_help="Show how a server does, as a page or an HTML file.",
    epilog=examples(
        'rankwire ops report --key "$(cat operator.key)"',
        "rankwire ops report --server http://10.0.0.7:7700 --html report.html",
        "rankwire ops report --watch",
    ),
)
@server_url
@key
@click.option(
    "--html",
    "html_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write one HTML file with plots that needs nothing else. Its owner alone can read it.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print all of it as JSON; with --watch one a line."
)
@click.option("--watch", is_flag=True, help="Stay, and show a new report every 5 seconds.")
def command(
    *, url: str, key: str | None, html_file: Path | None, as_json: bool, watch: bool
) -> None:
    """Show what limits a running server, why, and what would help at which cost.

    Asks one node (a key needs the scope operator) and tells of that node. What a node could not
    ask, like a database that is away, is shown as unknown and never as zero. Ctrl-C ends a watch.
    """
    if html_file is not None and (as_json or watch):
        raise click.UsageError("--html writes one file; leave out --json and --watch")
    if watch:
        with contextlib.suppress(KeyboardInterrupt):
            _watch(lambda: ask(url, key, PATH, Bundle), as_json=as_json)
        return
    bundle = ask(url, key, PATH, Bundle)
    if html_file is not None:
        write_file(html_file, html.render(bundle).encode())
        click.echo(f"Written: {html_file}")
    elif as_json:
        _print_json(bundle)
    else:
        show(terminal.render(bundle))


def _watch(asked: Callable[[], Bundle], *, as_json: bool) -> None:
    is_over = threading.Event()

    def interrupt(*_: object) -> None:
        # Where Python has just run a destructor the exception goes nowhere.
        is_over.set()
        raise KeyboardInterrupt

    with contextlib.ExitStack() as stack:
        before = signal.signal(signal.SIGINT, interrupt)
        stack.callback(signal.signal, signal.SIGINT, before)
        draw = _print_json if as_json else _page(stack)
        while not is_over.is_set():
            draw(asked())
            is_over.wait(WATCH_SECONDS)


def _page(stack: contextlib.ExitStack) -> Callable[[Bundle], None]:
    """Draw each report over the one before, or below it where there is no terminal."""
    screen = console()
    if not screen.is_terminal:
        return lambda bundle: show(terminal.render(bundle))
    screen.soft_wrap = False
    live = stack.enter_context(Live(console=screen, screen=True, auto_refresh=False))
    return lambda bundle: live.update(terminal.render(bundle), refresh=True)


def _print_json(bundle: Bundle) -> None:
    click.echo(msgspec.json.encode(bundle).decode())
