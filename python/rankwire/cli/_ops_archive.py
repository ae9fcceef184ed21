"""``rankwire ops archive``: the old journal, from the database into an archive and back."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.table import Table
from rich.text import Text

from rankwire.cli._options import examples, load_settings, some_settings
from rankwire.cli._output import Failure, WrongSettings, console
from rankwire.cli._progress import Progress
from rankwire.ops.lifecycle import FAILURES, Lifecycle, stop_archiving
from rankwire.storage.archive_restore import Restored, SqliteRestored

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rankwire.settings import Settings
    from rankwire.storage.archiver import Outcome, Plan

_MOST_REASON: Final = 500
_DAYS: Final = click.IntRange(1, 3650)
_MOMENT: Final = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"])
_URL: Final = "--ops-archive-url file:///archive/rankwire"

_settings = some_settings("storage.path", "storage.url", "storage.journal_days", "ops.archive_url")
_cluster = click.option(
    "--cluster",
    metavar="ID",
    callback=lambda _ctx, _option, value: _checked_cluster(value),
    help="The archive of another database, which does not have to be there any more. Its id is the "
    "first part of the names in the store. [default: the storage's own]",
)


def _checked_cluster(cluster: str | None) -> str | None:
    if cluster is not None and not (len(cluster) == 32 and set(cluster) <= set("0123456789abcdef")):  # noqa: PLR2004 - of a UUID
        raise click.BadParameter("an id has 32 characters from 0 to 9 and a to f")
    return cluster


@click.group(
    "archive",
    short_help="Archive the old journal, check it, bring it back.",
    epilog=examples(
        f"rankwire ops archive run --dry-run {_URL}",
        "rankwire ops archive list",
        "rankwire ops archive hold 'case 4711'",
        "rankwire ops archive restore march.sqlite --from 2026-03-01 --to 2026-04-01",
    ),
)
def command() -> None:
    """Keep the journal beyond storage.journal_days, outside of the database.

    Batches older than that go into the place that ops.archive_url names: a directory or a bucket.
    They are stored, read back, compared with the journal row by row, and only then dropped. A
    server with ops.archive_url does so by itself; these commands work beside running servers. Once
    a journal is archived, no server drops anything of it unarchived, until 'stop'.
    """


@command.command(
    "run",
    short_help="Archive and drop what is old enough.",
    epilog=examples(
        f"rankwire ops archive run {_URL}",
        "rankwire ops archive run --dry-run --older-than 30",
        "rankwire ops archive run --ops-archive-url 's3://games/journal?region=eu-west-1'",
    ),
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@click.option(
    "--older-than", "days", type=_DAYS, metavar="DAYS", help="In place of storage.journal_days."
)
@_settings
def run(*, dry_run: bool, days: int | None, config_file: Path | None, **flags: str | None) -> None:
    """Archive what is older than some days and in the last checkpoint, and drop it.

    With PostgreSQL, whole weeks go. It may be broken off at any time and run again. While there is
    a legal hold, everything is archived and nothing is dropped.
    """
    with _lifecycle(config_file, flags) as lifecycle:
        if dry_run:
            _show_plan(lifecycle.plan(days), days or lifecycle.days, lifecycle.store.where)
        else:
            _show_outcome(lifecycle.run(days), lifecycle.store.where)


@command.command(
    "list",
    short_help="List what is archived.",
    epilog=examples(f"rankwire ops archive list {_URL}"),
)
@_cluster
@_settings
def list_(*, cluster: str | None, config_file: Path | None, **flags: str | None) -> None:
    """List the archived weeks, and the legal holds.

    Times are those at which the batches were committed, in UTC.
    """
    with _lifecycle(config_file, flags) as lifecycle:
        weeks: dict[str, list[int]] = {}
        for manifest in lifecycle.manifests(cluster):
            week = weeks.setdefault(manifest.segment.split("/")[1], [0, 0, 0, 0, 2**63, 0])
            sizes = (1, manifest.batches, manifest.batch_bytes, manifest.stored_bytes)
            for index, size in enumerate(sizes):
                week[index] += size
            week[4] = min(week[4], manifest.first_us)
            week[5] = max(week[5], manifest.last_us)
        holds = lifecycle.holds(cluster)
    table = Table("week", "segments", "batches", "bytes", "stored", "from", "to")
    for name, (segments, batches, size, stored, first, last) in sorted(weeks.items()):
        counts = (f"{segments:,}", f"{batches:,}", f"{size:,}", f"{stored:,}")
        table.add_row(name, *counts, _time(first), _time(last))
    console().print(table if weeks else Text("Nothing is archived."))
    for hold in holds:
        click.echo(f"Held since {_time(hold.placed_ms * 1000)}: {hold.reason}")


@command.command(
    "verify",
    short_help="Read all of the archive again, and look for damage and gaps.",
    epilog=examples(f"rankwire ops archive verify {_URL}"),
)
@_cluster
@_settings
def verify(*, cluster: str | None, config_file: Path | None, **flags: str | None) -> None:
    """Read every segment, check it against its manifest, and look for gaps.

    The batches of every run of a server are numbered; none may be missing between segments, nor
    between the archive and the journal. The exit code is 1 if anything is wrong.
    """
    with _lifecycle(config_file, flags) as lifecycle:
        found = lifecycle.verify(cluster)
    for problem in found.problems:
        click.echo(f"Problem: {problem}.")
    for note in found.notes:
        click.echo(f"Note: {note}.")
    counted = found.counted
    click.echo(
        f"{counted.segments:,} segments are good: {counted.batches:,} batches of "
        f"{counted.batch_bytes:,} bytes, stored in {counted.stored_bytes:,}."
    )
    if found.problems:
        raise SystemExit(Failure.exit_code)


@command.command(
    "restore",
    short_help="Bring archived batches back to where they can be asked.",
    epilog=examples(
        "rankwire ops archive restore march.sqlite --from 2026-03-01 --to 2026-04-01",
        "rankwire ops archive restore --into-database --from 2026-03-01 --to 2026-03-01T12:00:00",
    ),
)
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "--into-database",
    is_flag=True,
    help="Restore into the tables journal_restored and journal_restored_records of storage.url.",
)
@click.option("--from", "first", type=_MOMENT, required=True, help="First moment, in UTC.")
@click.option("--to", "end", type=_MOMENT, required=True, help="First moment after it, in UTC.")
@_cluster
@_settings
def restore(
    *,
    file: Path | None,
    into_database: bool,
    first: datetime,
    end: datetime,
    cluster: str | None,
    config_file: Path | None,
    **flags: str | None,
) -> None:
    """Bring back what was committed in some time, into a new SQLite FILE or into PostgreSQL.

    One table has the batches as they were in the journal, one what they say: boards, members and
    scores. Boards do not change, and neither does the journal. Segments are checked before they
    are used.
    """
    if (file is None) != into_database:
        raise click.UsageError("name a FILE, or say --into-database")
    if first >= end:
        raise click.UsageError("--from has to be before --to")
    with _lifecycle(config_file, flags) as lifecycle:
        target = _target(file, load_settings(config_file, flags))
        counted = lifecycle.restore(_microseconds(first), _microseconds(end), target, cluster)
        click.echo(
            f"Restored {counted.batches:,} batches from {counted.segments:,} segments into "
            f"{target.where}."
        )


@command.command(
    "hold",
    short_help="Place a legal hold: nothing is dropped.",
    epilog=examples("rankwire ops archive hold 'case 4711, ask legal@example.com'"),
)
@click.argument("reason")
@_settings
def hold(*, reason: str, config_file: Path | None, **flags: str | None) -> None:
    """Keep everything in the journal from now on, for REASON, whoever would drop it.

    It holds as soon as this command is done, also for servers without an archive. Batches are
    still archived meanwhile.
    """
    if not reason.strip() or len(reason) > _MOST_REASON:
        raise click.UsageError(f"a reason has 1 to {_MOST_REASON} characters")
    with _lifecycle(config_file, flags) as lifecycle:
        placed = lifecycle.hold(reason)
    click.echo(f"Hold {placed.id} is placed: nothing of the journal is dropped.")


@command.command(
    "release",
    short_help="End all legal holds.",
    epilog=examples("rankwire ops archive release"),
)
@_settings
def release(*, config_file: Path | None, **flags: str | None) -> None:
    """End all legal holds; the next run drops what is archived and old enough."""
    with _lifecycle(config_file, flags) as lifecycle:
        holds = lifecycle.release()
    for ended in holds:
        click.echo(f"Released: {ended.reason}")
    if not holds:
        click.echo("There was no hold.")


@command.command(
    "stop",
    short_help="Archive no more: forget the old journal again.",
    epilog=examples("rankwire ops archive stop"),
)
@some_settings("storage.path", "storage.url")
def stop(*, config_file: Path | None, **flags: str | None) -> None:
    """Let servers without ops.archive_url drop the old journal again, without archiving it.

    Take ops.archive_url from all servers first: one that still has it, or 'run', begins again.
    What is archived stays where it is.
    """
    with _failing():
        was_archived = stop_archiving(load_settings(config_file, flags).storage)
    if not was_archived:
        click.echo("The journal was not archived.")
        return
    click.echo(
        "From now on the old journal is dropped unarchived. What is archived stays, and a server "
        "with ops.archive_url archives again."
    )


@contextmanager
def _lifecycle(config_file: Path | None, flags: Mapping[str, object]) -> Iterator[Lifecycle]:
    """Give the lifecycle of the settings, with progress; its failures end the command."""
    settings = load_settings(config_file, flags)
    if not settings.ops.archive_url:
        raise WrongSettings(["ops.archive_url: found nothing, allowed is the place of an archive"])
    progress = Progress()
    with _failing(), progress.shown():
        yield Lifecycle(settings, progress.say)


@contextmanager
def _failing() -> Iterator[None]:
    """Let failures end the command with their words."""
    try:
        yield
    except FAILURES as error:
        raise Failure(str(error.args[0])) from error


def _target(file: Path | None, settings: Settings) -> Restored:
    if file is not None:
        return SqliteRestored(file)
    if not settings.storage.url:
        raise click.UsageError("--into-database is for PostgreSQL: name storage.url, or a FILE")
    # SQLite does without PostgreSQL's library.
    from rankwire.storage.archive_postgres import PostgresRestored  # noqa: PLC0415

    return PostgresRestored(settings.storage)


def _show_plan(plan: Plan, days: int, where: str) -> None:
    if not plan.due:
        click.echo(f"Nothing is older than {days} days and in the last checkpoint.")
    for due in plan.due:
        extent = due.extent
        assert extent.first_us is not None  # noqa: S101 - for the types: what is due has batches
        assert extent.last_us is not None  # noqa: S101
        click.echo(
            f"{due.piece}: would archive {extent.batches:,} batches of {extent.batch_bytes:,} bytes"
            f" into {where}, from {_time(extent.first_us)} to {_time(extent.last_us)}"
            + (", and keep them" if plan.holds else ", and drop them")
        )
    for held in plan.holds:
        click.echo(f"Held since {_time(held.placed_ms * 1000)}: {held.reason}")


def _show_outcome(done: Outcome, where: str) -> None:
    click.echo(
        f"{done.batches:,} batches of {done.batch_bytes:,} bytes are in {where}, compared with the "
        f"journal: {done.segments_stored:,} segments of {done.stored_bytes:,} bytes are new, "
        f"{done.segments_found:,} were there."
    )
    click.echo(
        f"Dropped {done.dropped_batches:,} batches of {done.dropped_bytes:,} bytes; "
        f"{done.dropped_tables:,} tables gave {done.freed_bytes:,} bytes of disk back. It took "
        f"{done.seconds:.1f} s."
    )
    if done.is_held:
        click.echo("There is a legal hold, so nothing is dropped: see 'rankwire ops archive list'.")
    for left in done.left:
        click.echo(f"Left for the next run: {left}.")


def _time(microseconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(microseconds // 1_000_000))


def _microseconds(moment: datetime) -> int:
    return int(moment.replace(tzinfo=UTC).timestamp()) * 1_000_000
