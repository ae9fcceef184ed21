"""Options that several commands share; those of settings come from the table of settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rankwire import settings
from rankwire.cli._output import WrongSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def examples(*commands: str) -> str:
    """Return the end of a help page: command lines to paste, kept as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--config`` and one flag for each setting; the values arrive as text, or None.

    Checking them is left to :func:`rankwire.settings.load`, so that a wrong flag reads like any
    other wrong setting and all of them are reported at once.
    """
    for field in reversed(settings.FIELDS):
        kind = "|".join(field.choices) or getattr(field.kind, "__name__", "text").upper()
        command = click.option(
            field.flag,
            field.parameter,
            metavar={"STR": "TEXT"}.get(kind, kind),
            help=f"{field.description} [{field.allowed}; default: {field.default}]",
        )(command)
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        help="TOML file of settings. [default: rankwire.toml, if it is there]",
    )(command)


def load_settings(config_file: Path | None, flags: Mapping[str, object]) -> settings.Settings:
    """Load the settings of a command, or end it with every problem."""
    try:
        return settings.load(config_file, os.environ, flags)
    except settings.SettingsError as error:
        raise WrongSettings(error.problems) from error


def _checked(*schemes: str) -> Callable[[click.Context, click.Parameter, str], str]:
    def check(_ctx: click.Context, _option: click.Parameter, url: str) -> str:
        scheme, separator, rest = url.partition("://")
        if scheme not in schemes or not separator or not rest.strip("/"):
            raise click.BadParameter(
                f"{url!r} does not begin with {' or '.join(f'{s}://' for s in schemes)}"
            )
        return url

    return check


http_url = click.option(
    "--url",
    default="http://127.0.0.1:7700",
    show_default=True,
    callback=_checked("http", "https"),
    help="Address of the server's HTTP API.",
)

live_url = click.option(
    "--live-url",
    default="ws://127.0.0.1:7701/connection/websocket",
    show_default=True,
    callback=_checked("ws", "wss"),
    help="Address of the server's live listener.",
)
