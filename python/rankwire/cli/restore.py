"""``rankwire restore``: a backup into an empty storage, of either kind."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rankwire import _core
from rankwire.cli._options import examples, load_settings, some_settings
from rankwire.cli._output import Failure
from rankwire.cli._progress import Progress
from rankwire.cli.backup import words
from rankwire.storage import StorageError, transfer
from rankwire.storage.backup import BackupError

if TYPE_CHECKING:
    from rankwire.settings import Storage
    from rankwire.storage.transfer import Contents


@click.command(
    "restore",
    short_help="Put a backup into an empty storage.",
    epilog=examples(
        "rankwire restore boards.rwb --storage-path /var/lib/rankwire",
        "rankwire restore boards.rwb --storage-url postgresql://rankwire@db/rankwire",
    ),
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@some_settings("storage.path", "storage.url")
def command(*, file: Path, config_file: Path | None, **flags: str | None) -> None:
    """Put the backup FILE into a storage that is empty and that no server uses.

    FILE may come from SQLite or PostgreSQL, whatever the storage is. All of it is checked before
    anything is written, and all of it is written or nothing. Start the servers afterwards.
    """
    settings = load_settings(config_file, flags)
    progress = Progress()
    try:
        with progress.shown():
            contents = transfer.examine(file, lambda done: progress.say(f"checking: {words(done)}"))
            _restore(file, contents, settings.storage, progress)
    except (BackupError, StorageError) as error:
        raise Failure(str(error)) from error
    except _core.RankwireError as error:
        raise Failure(f"{file} cannot be restored: {error.args[0]}") from error
    except OSError as error:
        raise Failure(f"cannot read {file}: {error.strerror or error}") from error
    about = contents.about
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(about.made_ms / 1000))
    click.echo(f"Restored {len(contents.names):,} boards: {words(contents.counts)}.")
    click.echo(f"{file} was made at {made} by Rankwire {about.rankwire} from {about.storage}.")


def _restore(file: Path, contents: Contents, storage: Storage, progress: Progress) -> None:
    if storage.url and contents.rounding:
        raise BackupError(
            f"board {contents.rounding[0]} adds up float64 scores: their rounding depends on the "
            "order of the submits, which is another on every node, so PostgreSQL does not take it"
        )
    target = transfer.open_target(storage)
    try:
        transfer.restore(
            file, contents, target, lambda done: progress.say(f"writing: {words(done)}")
        )
    finally:
        target.close()
