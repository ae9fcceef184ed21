"""The ``rankwire`` command.

Promises: exit code 0 is success, 1 is failure, 2 is wrong usage or wrong settings. ``--help`` of
every command ends with an example that can be pasted. Commands are imported when they are called,
so ``rankwire --help`` and ``rankwire serve`` never load the client libraries of the others.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, cast

import click

from rankwire import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMANDS: Mapping[str, str] = {
    "serve": "Run the server.",
    "demo": "Watch a real server rank a history of goals.",
    "replay": "Stream a CSV or NDJSON file of scores into a server.",
    "top": "Print the top of a board, or watch it move.",
    "keys": "Create, list and revoke API keys.",
    "tokens": "Make keys for players' tokens, and tokens to try them.",
    "verify": "Prove that a server's boards are what is stored.",
    "backup": "Write boards, profiles and keys into one file.",
    "restore": "Put a backup into an empty storage.",
    "migrate": "Bring the schema of a storage up to this version.",
    "health": "Ask a server once whether it is ready.",
    "doctor": "Check settings, storage, ports and limits before a start.",
    "regions": "See, compare and move what several regions hold.",
    "metrics-server": "Give a Kubernetes autoscaler the nodes' metrics.",
    "ops": "See how a server does, what limits it and what it costs.",
}
"""Name and one-line help of every command; ``rankwire.cli.NAME`` holds its ``command``.

The module's name has ``_`` where the command's has ``-``.
"""


class LazyGroup(click.Group):
    """Lists the commands of a table and imports one only to run it."""

    def __init__(self, *args: Any, table: Mapping[str, str], module: str, **more: Any) -> None:
        """Take names with one-line helps; each ``command`` is in a module ``{module}NAME``."""
        super().__init__(*args, **more)
        self._table = table
        self._module = module

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table, which is that of a first visit."""
        del ctx
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        del ctx
        if cmd_name not in self._table:
            return None
        module = importlib.import_module(f"{self._module}{cmd_name.replace('-', '_')}")
        return cast("click.Command", module.command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(self._table.items()))


def _print_version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"rankwire {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    module="rankwire.cli.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Begin with 'rankwire demo'. Each command explains itself: 'rankwire serve --help'.",
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Print the version and exit.",
)
def main() -> None:
    """Rankwire: ranked boards that answer at once and push every change to who watches."""
