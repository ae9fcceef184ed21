"""Where archives get the journal from: what both kinds of storage offer for it.

A source gives what is old enough and included in the last checkpoint, and takes away what it is
told has been archived. While there is a legal hold it takes nothing away, whoever asks; a hold that
is placed while something is taken away waits for it. It works beside running servers, and one
process at a time may use it. That a journal is archived stands in its database, so that a server
which was not told of the archive drops nothing either.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rankwire.settings import Storage
    from rankwire.storage.archive import Row


class HeldError(Exception):
    """There is a legal hold: nothing was taken away."""


class Piece(msgspec.Struct, frozen=True):
    """A part of the journal that may go once it is archived."""

    name: str
    """Of the table that it is in."""
    is_whole: bool
    """Whether it goes all at once, as a table of its own, or row by row."""
    is_detached: bool = False
    """Whether it is no part of the journal any more: an earlier run ended before it was dropped."""
    first_us: int | None = None
    """Of one that goes row by row: only batches committed from here on, if there is a bound."""
    end_us: int | None = None
    """Only batches committed before this."""


class Extent(msgspec.Struct, frozen=True):
    """How much a piece is."""

    batches: int
    batch_bytes: int
    first_us: int | None
    """When the earliest batch was committed, in microseconds since 1970; None without batches."""
    last_us: int | None


class Hold(msgspec.Struct, frozen=True):
    """A reason to keep everything."""

    id: int
    reason: str
    placed_ms: int
    """Milliseconds since 1970."""


class ArchiveSource(Protocol):
    """A storage whose journal is archived. Methods block, and raise StorageError."""

    kind: str
    """`sqlite` or `postgresql`."""

    cluster: str
    """Which storage this is, while it is open."""

    def open(self, *, to_change: bool = True) -> AbstractContextManager[None]:
        """Connect for the block.

        `to_change`: as the only one, and noting that this journal is archived from now on. Raises
        StorageError when another process archives now.
        """
        ...

    def pieces(self, days: int) -> list[Piece]:
        """List what is older than so many days and in the checkpoint.

        In the order in which it has to go, so that no origin's batches ever have a gap.
        """
        ...

    def extent(self, piece: Piece, days: int) -> Extent:
        """Measure a piece."""
        ...

    def rows(self, piece: Piece, days: int, after: int) -> list[Row]:
        """Give the next rows of a piece after a seq, at most enough for a segment."""
        ...

    def discard(self, piece: Piece, rows: Sequence[Row]) -> None:
        """Delete these rows of a piece that is not whole. Raises HeldError."""
        ...

    def detach(self, piece: Piece) -> bool:
        """Make a whole piece a table beside the journal, which nobody writes to any more.

        Returns whether it is one now: not while the journal is in use, nor when something came
        late that the checkpoint lacks. Raises HeldError.
        """
        ...

    def drop(self, piece: Piece) -> int | None:
        """Drop a detached piece, and tell how many bytes of disk it used. Raises HeldError.

        Returns None when somebody reads it now.
        """
        ...

    def firsts(self) -> dict[int, int]:
        """Give the first batch of each origin that the journal has."""
        ...

    def holds(self) -> list[Hold]:
        """List the legal holds."""
        ...

    def hold(self, reason: str) -> Hold:
        """Place one, durably; waits for what is being taken away."""
        ...

    def release(self) -> list[Hold]:
        """End all holds, and tell which these were: none that is placed meanwhile."""
        ...

    def stop(self) -> bool:
        """Note that this journal is not archived any more, and tell whether it was."""
        ...


def open_archive_source(storage: Storage) -> ArchiveSource:
    """Describe the journal that the settings name; it is not opened yet."""
    if storage.url:
        # SQLite does without PostgreSQL's library.
        from rankwire.storage.archive_postgres import PostgresArchive  # noqa: PLC0415

        return PostgresArchive(storage)
    from rankwire.storage.archive_sqlite import SqliteArchive  # noqa: PLC0415

    return SqliteArchive(storage.path)
