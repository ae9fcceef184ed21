"""``rankwire serve``: the server, with every setting as a flag."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rankwire.cli._options import examples, load_settings, settings_options
from rankwire.cli._output import Failure, WrongSettings
from rankwire.settings import SettingsError

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    "serve",
    short_help="Run the server.",
    epilog=examples(
        "rankwire serve",
        "rankwire serve --config /etc/rankwire.toml --log-format json",
        "rankwire serve --http-host 0.0.0.0 --live-host 0.0.0.0 --auth-mode keys"
        " --storage-path /var/lib/rankwire",
    ),
)
@settings_options
def command(*, config_file: Path | None, **flags: str | None) -> None:
    """Run the server until SIGTERM or Ctrl-C.

    Each setting may also stand in a TOML file (--config, else rankwire.toml in the working
    directory) or in the environment: --http-port is [http] port and RANKWIRE_HTTP_PORT. Flags win
    over the environment, and the environment over the file.

    In mode open, the default, everybody may do everything; it is refused at addresses that other
    machines reach. Make a key with 'rankwire keys create' and use --auth-mode keys there.
    """
    settings = load_settings(config_file, flags)
    # Only now: wrong settings and --help answer without loading the server.
    from rankwire import server  # noqa: PLC0415
    from rankwire.access import AccessError  # noqa: PLC0415
    from rankwire.storage import StorageError  # noqa: PLC0415

    try:
        server.run(settings)
    except AccessError as error:
        raise WrongSettings([str(error)]) from error
    except SettingsError as error:
        raise WrongSettings(error.problems) from error
    except (StorageError, OSError) as error:
        raise Failure(str(error)) from error
