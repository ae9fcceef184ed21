"""Options that several commands share; those of settings come from the table of settings."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rankwire import settings
from rankwire.cli._output import WrongSettings
from rankwire.model import BOARD_PATTERN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


SHORT_FLAGS: Mapping[str, tuple[str, ...]] = {"node.role": ("--role",)}
"""Other names of the flags of settings."""


def examples(*commands: str) -> str:
    """Return the end of a help page: command lines to paste, kept as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--config`` and one flag for each setting; see :func:`some_settings`."""
    return some_settings(*(field.name for field in settings.FIELDS))(command)


def some_settings(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add ``--config`` and the flags of these settings; the values arrive as text, or None.

    Checking them is left to :func:`rankwire.settings.load`, so that a wrong flag reads like any
    other wrong setting and all of them are reported at once.
    """
    fields = [field for field in settings.FIELDS if field.name in names]

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for field in reversed(fields):
            kind = "|".join(field.choices) or getattr(field.kind, "__name__", "text").upper()
            command = click.option(
                field.flag,
                *SHORT_FLAGS.get(field.name, ()),
                field.parameter,
                metavar={"STR": "TEXT", "TUPLE": "TEXT"}.get(kind, kind),
                help=f"{field.description} [{field.allowed}; default: {field.shown_default}]",
            )(command)
        return click.option(
            "--config",
            "config_file",
            type=click.Path(path_type=Path),
            help="TOML file of settings. [default: rankwire.toml, if it is there]",
        )(command)

    return add


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


def _http_url(*flags: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        *flags,
        "url",
        default="http://127.0.0.1:7700",
        show_default=True,
        callback=_checked("http", "https"),
        help="Address of the server's HTTP API.",
    )


http_url = _http_url("--url")

server_url = _http_url("--server", "--url")
"""The same for commands that have other addresses as well."""

key = click.option(
    "--key",
    envvar=settings.KEY_VARIABLE,
    show_envvar=True,
    help="API key or token, where the server asks for one.",
)

live_url = click.option(
    "--live-url",
    default="ws://127.0.0.1:7701/connection/websocket",
    show_default=True,
    callback=_checked("ws", "wss"),
    help="Address of the server's live listener.",
)


def _patterns(
    _ctx: click.Context, _option: click.Parameter, patterns: tuple[str, ...]
) -> tuple[str, ...]:
    for pattern in patterns:
        if pattern != "*" and not re.fullmatch(BOARD_PATTERN, pattern.removesuffix("*")):
            raise click.BadParameter(
                f"{pattern!r} is neither the name of a board nor the beginning of one and '*'"
            )
    return patterns


board_patterns = click.option(
    "--board",
    "boards",
    multiple=True,
    metavar="NAME|PREFIX*",
    callback=_patterns,
    help="Only for this board, or for those that begin so. Repeatable. [default: all boards]",
)
