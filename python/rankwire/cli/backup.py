"""``rankwire backup``: everything that matters in one file, also while servers run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rankwire import _core
from rankwire.cli._options import examples, load_settings, some_settings
from rankwire.cli._output import Failure
from rankwire.cli._progress import Progress
from rankwire.storage import StorageError, transfer
from rankwire.storage.backup import BackupError, Counts, output
from rankwire.storage.source import open_source

if TYPE_CHECKING:
    from rankwire.storage.source import Source


@click.command(
    "backup",
    short_help="Write boards, profiles and keys into one file.",
    epilog=examples(
        "rankwire backup boards.rwb",
        "rankwire backup /backups/today.rwb --force --storage-path /var/lib/rankwire",
        "rankwire backup boards.rwb --storage-url postgresql://rankwire@db/rankwire",
    ),
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite FILE if it is there.")
@some_settings("storage.path", "storage.url")
def command(*, file: Path, force: bool, config_file: Path | None, **flags: str | None) -> None:
    """Write everything that is committed now into FILE, while servers go on.

    That is: the boards, the journal since the last checkpoint, profiles, and API keys as hashes.
    Not in it: answers to idempotency keys, the journal before, and files such as auth.tokens. FILE
    can be restored into SQLite and into PostgreSQL. It is there when it is whole, and only its
    owner can read it.
    """
    settings = load_settings(config_file, flags)
    progress = Progress()
    source: Source | None = None
    try:
        with progress.shown(), output(file, replace=force) as opened:
            source = open_source(settings.storage)
            counts = transfer.save(source, opened, lambda done: progress.say(words(done)))
    except (BackupError, StorageError) as error:
        raise Failure(str(error)) from error
    except _core.CorruptError as error:
        raise Failure(f"the storage is damaged: {error.args[0]}") from error
    except OSError as error:
        raise Failure(f"cannot write {file}: {error.strerror or error}") from error
    finally:
        if source is not None:
            source.close()
    click.echo(f"{file}: {words(counts)}, {file.stat().st_size / 1024**2:,.1f} MiB")


def words(counts: Counts) -> str:
    """Return what is in a backup, in words."""
    return (
        f"a checkpoint of {counts.boards:,} boards with {counts.members:,} rows of members, "
        f"{counts.batches:,} batches behind it, {counts.profiles:,} profiles, {counts.keys:,} keys"
    )
