"""``rankwire migrate``: brings the schema of a storage up to this version, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rankwire.cli._options import examples, load_settings, some_settings
from rankwire.cli._output import Failure
from rankwire.storage import StorageError, schema

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    "migrate",
    short_help="Bring the schema of a storage up to this version.",
    epilog=examples(
        "rankwire migrate --storage-url postgresql://rankwire@db/rankwire",
        "rankwire migrate --check --storage-path /var/lib/rankwire",
    ),
)
@click.option("--check", is_flag=True, help="Change nothing; exit code 1 if anything is lacking.")
@some_settings("storage.path", "storage.url")
def command(*, check: bool, config_file: Path | None, **flags: str | None) -> None:
    """Apply the migrations that this version has and the storage lacks.

    Servers do that by themselves when they start. As a step of its own, before the first server of
    a new version, it shows what changes, and a failure stops an upgrade while the old servers still
    run. Several may run at once on PostgreSQL: one applies, the others wait. A SQLite storage must
    not be in use. A storage of a newer version is refused.
    """
    settings = load_settings(config_file, flags)
    try:
        names = schema.lacking(settings.storage) if check else schema.bring_up(settings.storage)
    except StorageError as error:
        raise Failure(str(error)) from error
    for name in names:
        click.echo(name)
    if not names:
        click.echo("The schema is that of this version.")
    elif check:
        raise Failure(f"Migrations to apply: {len(names)}.")
    else:
        click.echo(f"Migrations applied: {len(names)}.")
