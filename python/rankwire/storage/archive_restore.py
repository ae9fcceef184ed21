"""Where archived batches are brought back to, so that they can be asked again with SQL.

They do not go back into the journal, whose beginning stays where it is: they get tables beside it.
One has the batches as they were, row for row, the other what they say. The places are an SQLite
file of its own, and tables of the PostgreSQL database.
"""

from __future__ import annotations

import sqlite3
import struct
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Final, Protocol

from rankwire import _core
from rankwire.storage import StorageError
from rankwire.storage.backup import sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rankwire.storage.archive import Row

Record = tuple[
    int,
    int,
    int,
    int,
    int,
    str,
    int,
    str | None,
    str | None,
    int | None,
    float | None,
    int | None,
    int | None,
]
"""Seq, origin, number, place in the batch, time in microseconds, type, board, name of a new board,
member, the score as one and as the other type, stamp in milliseconds since 1970, generation."""

_WORD: Final = struct.Struct("<Q")
_INT64: Final = struct.Struct("<q")
_FLOAT64: Final = struct.Struct("<d")

_TABLES: Final = """
CREATE TABLE batches (
    seq          INTEGER NOT NULL,
    origin       INTEGER NOT NULL,     -- the run of a server that wrote it
    number       INTEGER NOT NULL,     -- 1, 2, 3 … of that origin
    committed_us INTEGER NOT NULL,     -- microseconds since 1970
    batch        BLOB NOT NULL,        -- records, in the journal's format
    PRIMARY KEY (origin, number)
) STRICT;

-- What the batches say. Of a score, the one of the two numbers holds that the board's type names.
CREATE TABLE records (
    seq          INTEGER NOT NULL,
    origin       INTEGER NOT NULL,
    number       INTEGER NOT NULL,
    place        INTEGER NOT NULL,     -- in the batch
    committed_us INTEGER NOT NULL,
    type         TEXT NOT NULL,        -- create | drop | score | delete
    board        INTEGER NOT NULL,     -- its id
    name         TEXT,                 -- of a board that is created
    member       TEXT,
    int64        INTEGER,
    float64      REAL,
    stamp_ms     INTEGER,              -- when the score was reached, milliseconds since 1970
    generation   INTEGER,
    PRIMARY KEY (origin, number, place)
) STRICT, WITHOUT ROWID;

CREATE INDEX records_by_member ON records (member, seq);
"""
_BATCH: Final = "INSERT INTO batches VALUES (?, ?, ?, ?, ?)"
_RECORD: Final = "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Restored(Protocol):
    """A place for batches that come back. Methods raise StorageError."""

    where: str
    """For people."""

    def open(self) -> AbstractContextManager[None]:
        """Begin; what was added is durable when the block has ended well."""
        ...

    def add(self, rows: Sequence[Row], records: Sequence[Record]) -> None:
        """Add batches and what they say."""
        ...


class SqliteRestored:
    """A file that has its name when all is in it."""

    def __init__(self, file: Path) -> None:
        """Take a file that is not there yet."""
        self.where = str(file)
        self._file = file

    @contextmanager
    def open(self) -> Iterator[None]:
        """See `Restored.open`."""
        if self._file.exists():
            raise StorageError(f"{self._file} is there already")
        hidden = self._file.with_name(f".{self._file.name}.part")
        try:
            hidden.unlink(missing_ok=True)
            # The file is made with the rights that it is to have: it holds members' data.
            hidden.touch(mode=0o600, exist_ok=False)
            self._database = sqlite3.connect(hidden, isolation_level=None, check_same_thread=False)
            try:
                self._database.executescript(_TABLES)
                yield
            finally:
                self._database.close()
            hidden.rename(self._file)
            sync_directory(self._file.parent)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"cannot write {self._file}: {error}") from error
        finally:
            with suppress(OSError):
                hidden.unlink(missing_ok=True)

    def add(self, rows: Sequence[Row], records: Sequence[Record]) -> None:
        """See `Restored.add`."""
        self._database.execute("BEGIN")
        self._database.executemany(_BATCH, rows)
        self._database.executemany(_RECORD, records)
        self._database.execute("COMMIT")


def records_of(rows: Sequence[Row]) -> list[Record]:
    """Tell what batches say. Raises CorruptError."""
    return [
        _record((seq, origin, number, place, committed_us), record)
        for seq, origin, number, committed_us, batch in rows
        for place, record in enumerate(_core.records(origin, number, batch))
    ]


def _record(place: tuple[int, int, int, int, int], record: dict[str, object]) -> Record:
    bits = record.get("bits")
    word = None if bits is None else _WORD.pack(bits)
    return (  # type: ignore[return-value]  # the core's dictionary says what is in it
        *place,
        record["type"],
        record["board"],
        record.get("name"),
        record.get("member"),
        None if word is None else _INT64.unpack(word)[0],
        None if word is None else _FLOAT64.unpack(word)[0],
        record.get("stamp_ms"),
        record.get("generation"),
    )
