"""Backups and restores: from a storage into a file, and from a file into an empty storage.

A restore looks at the whole file before it writes anything: at its checksum, and whether the
journal in it fits its checkpoint. It writes all of it in one transaction, so that a storage is
either empty or restored. Both hold some megabytes at a time, and the boards' names.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

import msgspec

from rankwire import _core
from rankwire.storage import backup
from rankwire.storage.backup import (
    About,
    BackupError,
    Batches,
    Board,
    Counts,
    Keys,
    Members,
    Profiles,
    Record,
    Regions,
    Vector,
)
from rankwire.storage.source import Source, engine_to_read

if TYPE_CHECKING:
    from pathlib import Path

    from rankwire.settings import Storage

_KINDS: Final = (About, Vector, Board, Members, Batches, Profiles, Keys, Regions)
# Bytes of batches in one record, but for a larger batch.
_BATCH_BYTES: Final = 1024**2

Tell = Callable[[Counts], None]
"""Told how far it is."""


class Target(Protocol):
    """An empty storage in a transaction, which ends with `commit` or `close`.

    Methods raise StorageError; each is called once at most, in this order.
    """

    def vector(self, vector: Vector) -> None:
        """Store what the checkpoint includes."""
        ...

    def names(self, names: Iterable[tuple[int, str]]) -> None:
        """Store the boards' ids and names as they are behind the journal."""
        ...

    def boards(self, boards: Iterable[Board]) -> None:
        """Store boards of the checkpoint."""
        ...

    def members(self, members: Iterable[Members]) -> None:
        """Store their members."""
        ...

    def batches(self, batches: Iterable[Batches]) -> None:
        """Store the journal behind the checkpoint, in this order."""
        ...

    def profiles(self, profiles: Iterable[Profiles]) -> None:
        """Store profiles."""
        ...

    def keys(self, keys: Iterable[Keys]) -> None:
        """Store API keys. One that is there already stays as it is."""
        ...

    def regions(self, regions: Regions) -> None:
        """Store which region it is, if the backup is of one."""
        ...

    def commit(self) -> None:
        """Make everything durable at once."""
        ...

    def close(self) -> None:
        """Let go of everything; what is not committed is gone. Idempotent."""
        ...


class Contents(msgspec.Struct, frozen=True):
    """What the first look at a backup tells."""

    about: About
    counts: Counts
    names: list[tuple[int, str]]
    """Ids and names of the boards behind the journal."""
    rounding: list[str]
    """Boards whose scores depend on the order in which nodes add."""


def save(source: Source, file: BinaryIO, tell: Tell) -> Counts:
    """Write a backup of a storage. Raises StorageError, BackupError, CorruptError and OSError."""
    regions = source.regions()
    writer = backup.Writer(file, backup.FORMAT if regions else backup.FORMAT_WITHOUT_REGIONS)

    def add(record: Record) -> None:
        writer.add(record)
        tell(writer.counts)

    add(About(_core.__version__, source.kind, time.time_ns() // 1_000_000))
    add(Vector(source.vector, source.dropped))
    for board in source.boards():
        add(board)
    for board_id, members in source.members():
        add(Members(board_id, members))
    for batches in source.tail():
        for some in _pieces(batches):
            add(Batches(some))
    for profiles in source.profiles():
        add(Profiles(profiles))
    if keys := source.keys():
        add(Keys(keys))
    if regions:
        add(regions)
    writer.finish()
    return writer.counts


def _pieces(rows: list[backup.BatchRow]) -> Iterator[list[backup.BatchRow]]:
    """Cut rows into pieces of about a megabyte."""
    start = size = 0
    for index, (*_, batch) in enumerate(rows):
        size += len(batch)
        if size >= _BATCH_BYTES:
            yield rows[start : index + 1]
            start, size = index + 1, 0
    if start < len(rows):
        yield rows[start:]


def examine(path: Path, tell: Tell) -> Contents:
    """Look whether a file is a backup that can be restored.

    Raises BackupError, CorruptError when its journal does not fit its checkpoint, and OSError.
    """
    counts = backup.check(path)
    found = Counts()
    about: About | None = None
    recovery = _core.Recovery([])
    engine: _core.Engine | None = None
    rounding: list[str] = []
    place = 0
    for record in backup.read(path):
        kind = _KINDS.index(type(record))
        if kind < place or (kind > place and place < _KINDS.index(Vector) and kind != place + 1):
            raise BackupError(f"{path} has records out of order")
        place = kind
        found.add(record)
        tell(found)
        match record:
            case About():
                about = record
            case Vector(origins=origins, dropped=dropped):
                recovery = _core.Recovery(origins, dropped)
            case Board():
                # Names and creations are all that counts here, so it goes without members.
                recovery.board(*msgspec.structs.astuple(record))
                if (record.score, record.policy) == ("float64", "sum"):
                    rounding.append(record.name)
            case Batches(rows=rows):
                engine = engine or engine_to_read(recovery, "")
                _apply(engine, rows)
                rounding.extend(_rounding(rows))
    if about is None or found != counts:
        raise BackupError(f"{path} does not hold what its end says")
    _, boards = (engine or engine_to_read(recovery, "")).digest()
    names = [(board, name) for board, name, *_ in boards]
    there = {name for _, name in names}
    return Contents(about, counts, names, [name for name in rounding if name in there])


def restore(path: Path, contents: Contents, target: Target, tell: Tell) -> None:
    """Write a backup that was examined into an empty storage, which is committed then.

    Raises StorageError, BackupError and OSError; nothing is written in that case.
    """
    counts = Counts()

    def counted() -> Iterator[Record]:
        for record in backup.read(path):
            counts.add(record)
            tell(counts)
            yield record

    target.names(contents.names)
    for kind, records in groupby(counted(), type):
        _put(target, kind, records)
    if counts != contents.counts:
        raise BackupError(f"{path} has changed meanwhile")
    target.commit()


def _put(target: Target, kind: type, records: Iterator[Record]) -> None:
    if kind is Vector:
        target.vector(*records)  # type: ignore[arg-type]  # grouped by type
    elif kind is Board:
        target.boards(records)  # type: ignore[arg-type]
    elif kind is Members:
        target.members(records)  # type: ignore[arg-type]
    elif kind is Batches:
        target.batches(records)  # type: ignore[arg-type]
    elif kind is Profiles:
        target.profiles(records)  # type: ignore[arg-type]
    elif kind is Keys:
        target.keys(records)  # type: ignore[arg-type]
    elif kind is Regions:
        target.regions(*records)  # type: ignore[arg-type]


def open_target(storage: Storage) -> Target:
    """Open the storage that the settings name, which has to be empty.

    Raises StorageError; also when a server uses it.
    """
    if storage.url:
        # SQLite does without PostgreSQL's library.
        from rankwire.storage.target_postgres import PostgresTarget  # noqa: PLC0415

        return PostgresTarget(storage.url)
    from rankwire.storage.target_sqlite import SqliteTarget  # noqa: PLC0415

    return SqliteTarget(storage.path)


def _apply(engine: _core.Engine, rows: list[backup.BatchRow]) -> None:
    batches = [(origin, number, batch) for origin, number, _, batch in rows]
    count, stop = engine.apply(batches, trust=True)
    if stop:
        origin, number, _ = batches[count]
        raise BackupError(f"the backup lacks batches before number {number} of origin {origin}")


def _rounding(rows: list[backup.BatchRow]) -> Iterator[str]:
    for origin, number, _, batch in rows:
        for record in _core.records(origin, number, batch):
            if record["type"] == "create":
                score, _, policy, *_ = record["config"]
                if (score, policy) == ("float64", "sum"):
                    yield record["name"]
