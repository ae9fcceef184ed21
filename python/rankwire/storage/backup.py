r"""The format of backups: one file that either kind of storage can be restored from.

A file is, in this order:

* the 16 bytes `RANKWIRE-BACKUP\n` and the number of the format, 4 bytes;
* frames, each its length, 4 bytes, and a gzip stream of so many bytes: a MessagePack array of
  records;
* 4 bytes of zeros, the length of the trailer, 4 bytes, and the trailer: a MessagePack map with the
  number of rows of each kind;
* the SHA-256 of everything before it.

Numbers are big-endian. Records are the Structs below: `About` first, then vector, boards, members,
batches, profiles, keys and regions, each kind together. Format 2 is format 1 with the last of
these, and only written of a storage that belongs to a region. Answers to idempotency keys are not
among them: they live for a day, and belong to one storage. A reader holds one frame at a time.
`check` reads a file to its end and believes nothing before the checksum does; `read` is for files
that were checked.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import struct
import zlib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAGIC: Final = b"RANKWIRE-BACKUP\n"

FORMAT: Final = 2
"""The newest format."""

FORMAT_WITHOUT_REGIONS: Final = 1
"""The one that is written where there are none, so that older versions can read it."""

_NUMBER: Final = struct.Struct(">I")
_HASH_BYTES: Final = 32
# A frame is closed when it has so many bytes before compression.
_FRAME_BYTES: Final = 1024**2
# The largest record is the largest batch, which is bounded by `limits.pending_submits`.
_MOST_FRAME_BYTES: Final = 2**31 - 1
_MOST_TRAILER_BYTES: Final = 1024
# Bytes that are read at a time where only the checksum is wanted.
_READ_BYTES: Final = 1024**2
# Speed counts for more here than the last tenth of the size.
_LEVEL: Final = 1
_GZIP: Final = 16 + zlib.MAX_WBITS

MemberRow = tuple[str, int | float | None, int | None, int | None, int]
"""Member, score for people, code, stamp, generation; those between are None when it is gone."""

BatchRow = tuple[int, int, int, bytes]
"""Origin, number, when it was committed in milliseconds since 1970, bytes."""

ProfileRow = tuple[str, str | None, str | None, str, int]
"""Member, name, avatar, attributes as JSON, last change in microseconds since 1970."""

KeyRow = tuple[str, str, bytes, str, str, int, int | None]
"""The columns of the table of keys."""


class BackupError(Exception):
    """The file is no backup that can be used, or the storage cannot take it."""


class About(msgspec.Struct, frozen=True, array_like=True, tag="about"):
    """Where the backup comes from."""

    rankwire: str
    """Version of the program."""
    storage: str
    """`sqlite` or `postgresql`."""
    made_ms: int
    """Milliseconds since 1970."""


class Vector(msgspec.Struct, frozen=True, array_like=True, tag="vector"):
    """What the boards and members below include: the last batch of each origin."""

    origins: list[tuple[int, int]]
    dropped: list[int]
    """Ids of boards that are gone, of which batches may still tell."""


class Board(msgspec.Struct, frozen=True, array_like=True, tag="board"):
    """A board of the checkpoint; its members follow, after all boards."""

    id: int
    name: str
    score: str
    order: str
    policy: str
    ties: str
    seed: bytes
    version: int
    player_submits: int


class Members(msgspec.Struct, frozen=True, array_like=True, tag="members"):
    """Some members of a board."""

    board: int
    rows: list[MemberRow]


class Batches(msgspec.Struct, frozen=True, array_like=True, tag="batches"):
    """Some of the journal behind the checkpoint, in the order of the journal."""

    rows: list[BatchRow]


class Profiles(msgspec.Struct, frozen=True, array_like=True, tag="profiles"):
    """Some profiles."""

    rows: list[ProfileRow]


class Keys(msgspec.Struct, frozen=True, array_like=True, tag="keys"):
    """Some API keys: of their secrets, only hashes."""

    rows: list[KeyRow]


class Regions(msgspec.Struct, frozen=True, array_like=True, tag="regions"):
    """Which region the storage belongs to, and what it knows of the others."""

    region: str
    epoch: int
    primary: str
    origins: list[tuple[int, str]]
    """Those that ran in other regions, and which."""


Record = About | Vector | Board | Members | Batches | Profiles | Keys | Regions


class Counts(msgspec.Struct):
    """How many rows of each kind there are; members that are gone count as well."""

    boards: int = 0
    members: int = 0
    batches: int = 0
    profiles: int = 0
    keys: int = 0

    def add(self, record: Record) -> None:
        """Count a record."""
        match record:
            case Board():
                self.boards += 1
            case Members(rows=members):
                self.members += len(members)
            case Batches(rows=batches):
                self.batches += len(batches)
            case Profiles(rows=profiles):
                self.profiles += len(profiles)
            case Keys(rows=keys):
                self.keys += len(keys)


_decoder: Final = msgspec.msgpack.Decoder(list[Record])
_trailer: Final = msgspec.msgpack.Decoder(Counts)


class Writer:
    """Writes a backup into an open file."""

    def __init__(self, file: BinaryIO, number: int = FORMAT_WITHOUT_REGIONS) -> None:
        """Begin the file, in the format of that number."""
        self._file = file
        self._hash = hashlib.sha256()
        self._encoder = msgspec.msgpack.Encoder()
        self._records: list[bytes] = []
        self._size = 0
        self.counts = Counts()
        self._write(MAGIC + _NUMBER.pack(number))

    def add(self, record: Record) -> None:
        """Write a record, sooner or later."""
        self.counts.add(record)
        encoded = self._encoder.encode(record)
        self._records.append(encoded)
        self._size += len(encoded)
        if self._size >= _FRAME_BYTES:
            self._close_frame()

    def finish(self) -> None:
        """Write the end of the file."""
        self._close_frame()
        trailer = self._encoder.encode(self.counts)
        self._write(_NUMBER.pack(0) + _NUMBER.pack(len(trailer)) + trailer)
        self._file.write(self._hash.digest())

    def _close_frame(self) -> None:
        if not self._records:
            return
        # The head of a MessagePack array of so many, whose items are there already.
        array = b"\xdd" + _NUMBER.pack(len(self._records)) + b"".join(self._records)
        if len(array) > _MOST_FRAME_BYTES:
            raise BackupError("a batch of the journal is too large for a backup")
        packed = zlib.compress(array, _LEVEL, _GZIP)
        self._write(_NUMBER.pack(len(packed)))
        self._write(packed)
        self._records.clear()
        self._size = 0

    def _write(self, content: bytes) -> None:
        self._hash.update(content)
        self._file.write(content)


def check(path: Path) -> Counts:
    """Read a file to its end and tell what is in it.

    Raises BackupError when it is not whole, not a backup or newer than this program; OSError.
    """
    with path.open("rb") as file:
        reader = _Reader(file, path)
        reader.head()
        while size := reader.number():
            reader.skip(size)
        size = reader.number()
        if size > _MOST_TRAILER_BYTES:
            raise reader.damaged()
        trailer = reader.take(size)
        found = reader.hash.digest()
        if reader.take(_HASH_BYTES) != found or file.read(1):
            raise reader.damaged()
        try:
            return _trailer.decode(trailer)
        except msgspec.DecodeError as error:
            raise reader.damaged() from error


def read(path: Path) -> Iterator[Record]:
    """Give the records of a file that `check` has passed. Raises BackupError and OSError."""
    with path.open("rb") as file:
        reader = _Reader(file, path)
        reader.head()
        while size := reader.number():
            unpacker = zlib.decompressobj(_GZIP)
            try:
                records = unpacker.decompress(reader.take(size), _MOST_FRAME_BYTES)
                if not unpacker.eof or unpacker.unused_data:
                    raise reader.damaged("a frame cannot be read")
                yield from _decoder.decode(records)
            except (zlib.error, msgspec.DecodeError) as error:
                raise reader.damaged("a frame cannot be read") from error


class _Reader:
    """Takes bytes from a file and keeps their checksum."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self.hash = hashlib.sha256()

    def head(self) -> None:
        if self._file.read(len(MAGIC)) != MAGIC:
            raise BackupError(f"{self._path} is not a backup of Rankwire")
        self.hash.update(MAGIC)
        if not FORMAT_WITHOUT_REGIONS <= (found := self.number()) <= FORMAT:
            raise BackupError(
                f"{self._path} has format {found}, and this version of Rankwire knows formats up "
                f"to {FORMAT}: it was written by a newer one, or is damaged"
            )

    def number(self) -> int:
        (number,) = _NUMBER.unpack(self.take(_NUMBER.size))
        return int(number)

    def take(self, size: int) -> bytes:
        content = self._file.read(size)
        if len(content) < size:
            raise BackupError(f"{self._path} is damaged: it ends too early")
        self.hash.update(content)
        return content

    def skip(self, size: int) -> None:
        while size > 0:
            size -= len(self.take(min(size, _READ_BYTES)))

    def damaged(self, why: str = "its checksum does not match") -> BackupError:
        return BackupError(f"{self._path} is damaged: {why}")


@contextmanager
def output(path: Path, *, replace: bool) -> Iterator[BinaryIO]:
    """Open a file that gets its name, durably, when the block ends well, and otherwise never.

    Only its owner can read it. Raises BackupError when the name is taken, unless it may `replace`;
    OSError.
    """
    _refuse_taken(path, replace=replace)
    hidden = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _refuse_taken(path, replace=replace)
        hidden.replace(path)
    except BaseException:
        with suppress(OSError):
            hidden.unlink()
        raise
    sync_directory(path.parent)


def _refuse_taken(path: Path, *, replace: bool) -> None:
    if path.is_dir() or (path.exists() and not replace):
        raise BackupError(f"{path} is there already; --force overwrites a file")


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
