"""``rankwire ops report``: how a server does, for the terminal or as one HTML file."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec
from rich.live import Live

from rankwire.cli._api import Api, LostError, ProblemError, UnreachableError
from rankwire.cli._options import examples, key, server_url
from rankwire.cli._output import Failure, console
from rankwire.ops.report import html, terminal
from rankwire.ops.report.bundle import Bundle

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

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
    help="Write one HTML file with plots, which needs nothing else to be read.",
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
    api = Api(url, key=key)
    if watch:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_watch(api, as_json=as_json))
        return
    bundle = asyncio.run(_once(api))
    if html_file is not None:
        _write(html_file, html.render(bundle))
        click.echo(f"Written: {html_file}")
    elif as_json:
        click.echo(msgspec.json.encode(bundle).decode())
    else:
        console().print(terminal.render(bundle), soft_wrap=False)


async def _once(api: Api) -> Bundle:
    async with api:
        return await _ask(api)


async def _watch(api: Api, *, as_json: bool) -> None:
    with contextlib.ExitStack() as stack:
        show = _print_json if as_json else _page(stack)
        async with api:
            while True:
                show(await _ask(api))
                await asyncio.sleep(WATCH_SECONDS)


def _page(stack: contextlib.ExitStack) -> Callable[[Bundle], None]:
    """Draw each report over the one before, or below it where there is no terminal."""
    screen = console()
    if not screen.is_terminal:
        return lambda bundle: screen.print(terminal.render(bundle), soft_wrap=False)
    screen.soft_wrap = False
    live = stack.enter_context(Live(console=screen, screen=True, auto_refresh=False))

    def draw(bundle: Bundle) -> None:
        page: RenderableType = terminal.render(bundle)
        live.update(page, refresh=True)

    return draw


def _print_json(bundle: Bundle) -> None:
    click.echo(msgspec.json.encode(bundle).decode())


async def _ask(api: Api) -> Bundle:
    try:
        return await api.ask(PATH, Bundle)
    except ProblemError as error:
        if error.is_not_found:
            raise Failure("this server has no report; it is of an older version") from error
        raise Failure(str(error)) from error
    except (UnreachableError, LostError) as error:
        raise Failure(str(error)) from error


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from error
