"""Reading a storage from beside the servers that use it, for backups and for proofs.

A `Source` shows one consistent state and holds up nobody: it takes no lock that others wait for,
changes nothing, and reads from snapshots of the database. Its checkpoint is that of the moment when
it was opened, and so is its journal, until `refresh` takes the newest one.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rankwire import _core
    from rankwire.settings import Storage
    from rankwire.storage.backup import BatchRow, Board, KeyRow, MemberRow, ProfileRow, Regions

# Of an engine that nobody writes to.
_PENDING: Final = 10_000
_BOARDS: Final = 2**31


class Source(Protocol):
    """An open storage. Methods raise StorageError, or CorruptError when the journal has a hole."""

    kind: str
    """`sqlite` or `postgresql`."""

    vector: list[tuple[int, int]]
    """The last batch of each origin that the checkpoint includes."""

    dropped: list[int]
    """Ids of boards that are gone."""

    ends: dict[int, int]
    """The last batch of origins that have ended, as far as the storage notes it."""

    region: str
    """The region that it belongs to; empty if there are none."""
    identity: str
    """The database, as repairs name it that count nowhere else; empty if there are no regions."""

    def boards(self) -> list[Board]:
        """Give the boards of the checkpoint, by id."""
        ...

    def members(self) -> Iterator[tuple[int, list[MemberRow]]]:
        """Give the members of all boards, by the boards' ids, some thousands at a time."""
        ...

    def feed(self, recovery: _core.Recovery, board: int) -> None:
        """Give a recovery the members of a board."""
        ...

    def refresh(self) -> None:
        """Look at the journal as it is now."""
        ...

    def tail(self) -> Iterator[list[BatchRow]]:
        """Give the journal behind the checkpoint, every batch after those that it builds on."""
        ...

    def journal(self) -> Iterator[list[BatchRow]]:
        """Give all of the journal that there is, in the same order."""
        ...

    def profiles(self) -> Iterator[list[ProfileRow]]:
        """Give all profiles."""
        ...

    def keys(self) -> list[KeyRow]:
        """Give all API keys, revoked ones as well."""
        ...

    def regions(self) -> Regions | None:
        """Tell of the regions; None if there are none."""
        ...

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        ...


def open_source(storage: Storage) -> Source:
    """Open the storage that the settings name. Raises StorageError when it is not there."""
    if storage.url:
        # SQLite does without PostgreSQL's library.
        from rankwire.storage.source_postgres import PostgresSource  # noqa: PLC0415

        return PostgresSource(storage.url)
    from rankwire.storage.source_sqlite import SqliteSource  # noqa: PLC0415

    return SqliteSource(storage.path, storage.busy_seconds)


def engine_to_read(recovery: _core.Recovery, identity: str) -> _core.Engine:
    """Make an engine that only takes in what is stored, as nobody's origin, and notes nothing."""
    engine = recovery.finish(secrets.randbits(63) or 1, _PENDING, _BOARDS, region=identity)
    engine.track(False)
    return engine
