r"""The format of archives of the journal: segments, and a manifest for each.

A segment is one object with some batches of one week, in the order of the journal:

* the 16 bytes `RANKWIRE-JOURNAL` and the number of the format, 4 bytes;
* the size of what follows before compression, 4 bytes, and a gzip stream: a MessagePack array of
  rows, see `Row`;
* the SHA-256 of everything before it.

Numbers are big-endian. The manifest is JSON, see `Manifest`, and is stored last: a segment without
one does not exist. Names are the same for the same rows, whoever makes them, and sort by time:

    <cluster>/<Monday of the week>/<time>-<first seq>-<last seq>-<hash>.segment and .json

This module makes and reads bytes. It knows neither stores nor databases. A reader believes nothing
before the checksum does.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAGIC: Final = b"RANKWIRE-JOURNAL"

FORMAT: Final = 1
"""The newest format, and the one that is written."""

SEGMENT_BYTES: Final = 8 * 1024**2
"""Bytes of batches in a segment, but for a batch that is larger."""

SEGMENT_ROWS: Final = 20_000
"""Most batches in a segment: so few that handling them holds up no other thread for long."""

MOST_SEGMENT_BYTES: Final = 2**31 - 1
"""Size of the largest segment that is read, before and after compression."""

MOST_MANIFEST_BYTES: Final = 16 * 1024**2

SEGMENT_SUFFIX: Final = ".segment"
MANIFEST_SUFFIX: Final = ".json"

Row = tuple[int, int, int, int, bytes]
"""Seq, origin, number, when it was committed in microseconds since 1970, bytes of the batch."""

Run = tuple[int, int]
"""Numbers of batches from the first to the last, without gaps."""

_HEAD: Final = struct.Struct(">16sII")
_HASH_BYTES: Final = 32
# Archives are written once and kept for years, so size counts more than time.
_LEVEL: Final = 6
_GZIP: Final = 16 + zlib.MAX_WBITS
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAME: Final = re.compile(
    r"(?P<cluster>[0-9a-f]{32})/(?P<week>\d{8})/\d{8}T\d{9}Z-(?P<first>\d{19})-(?P<last>\d{19})"
    r"-[0-9a-f]{16}"
)

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(list[Row])


class ArchiveError(Exception):
    """What is archived is not what it should be, or nothing can be archived now."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of a segment beside it."""

    format: int
    cluster: str
    """Which database the batches are from."""
    segment: str
    """Name of the object."""
    sha256: str
    """Of the whole object."""
    stored_bytes: int
    """Size of the object."""
    batches: int
    batch_bytes: int
    """Bytes of the batches themselves."""
    first_seq: int
    last_seq: int
    first_us: int
    """When the earliest of them was committed, in microseconds since 1970."""
    last_us: int
    origins: dict[str, list[Run]]
    """Numbers of the batches of each origin, in order."""


_manifests: Final = msgspec.json.Decoder(Manifest)


class Name(msgspec.Struct, frozen=True):
    """The name of a segment without its suffix, and what it tells."""

    cluster: str
    stem: str
    """Cluster, week and what tells segments of a week apart."""
    week: str
    first_seq: int
    last_seq: int

    @property
    def segment(self) -> str:
        """Name of the segment's object."""
        return self.stem + SEGMENT_SUFFIX

    @property
    def manifest(self) -> str:
        """Name of the manifest's object."""
        return self.stem + MANIFEST_SUFFIX

    def meets(self, first_seq: int, last_seq: int) -> bool:
        """Whether it may have batches from the one seq to the other."""
        return self.first_seq <= last_seq and first_seq <= self.last_seq


def read_name(manifest: str) -> Name | None:
    """Take the name of a manifest's object apart; None for objects that are none."""
    stem, suffix, rest = manifest.rpartition(MANIFEST_SUFFIX)
    found = _NAME.fullmatch(stem)
    if not suffix or rest or found is None:
        return None
    return Name(found["cluster"], stem, found["week"], int(found["first"]), int(found["last"]))


def week_of(microseconds: int) -> str:
    """Give the Monday of the week of a moment, in UTC, as `YYYYMMDD`."""
    day = (_EPOCH + timedelta(microseconds=microseconds)).date()
    return f"{day - timedelta(days=day.weekday()):%Y%m%d}"


def cut(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Cut rows where the week changes."""
    for _, some in groupby(rows, lambda row: week_of(row[3])):
        yield list(some)


def name_of(cluster: str, rows: Sequence[Row], content: bytes) -> Name:
    """Name a segment of these rows, given what `encode_rows` makes of them."""
    first_us = min(row[3] for row in rows)
    moment = _EPOCH + timedelta(microseconds=first_us)
    time = f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03}Z"
    week, first, last = week_of(first_us), rows[0][0], rows[-1][0]
    digest = hashlib.sha256(content).hexdigest()[:16]
    stem = f"{cluster}/{week}/{time}-{first:019}-{last:019}-{digest}"
    return Name(cluster, stem, week, first, last)


def encode_rows(rows: Sequence[Row]) -> bytes:
    """Give rows as MessagePack."""
    return _encoder.encode(rows)


def encode(content: bytes) -> bytes:
    """Make a segment of what `encode_rows` has made. Raises ArchiveError if it is too large."""
    if len(content) > MOST_SEGMENT_BYTES:
        raise ArchiveError("a batch of the journal is too large for an archive")
    head = _HEAD.pack(MAGIC, FORMAT, len(content))
    before = head + zlib.compress(content, _LEVEL, _GZIP)
    return before + hashlib.sha256(before).digest()


def decode(segment: bytes, name: str) -> list[Row]:
    """Give the rows of a segment. Raises ArchiveError when it is not whole or not understood."""
    if len(segment) < _HEAD.size + _HASH_BYTES or not segment.startswith(MAGIC):
        raise ArchiveError(f"{name} is not a segment of an archive")
    _, form, size = _HEAD.unpack_from(segment)
    if form != FORMAT:
        raise ArchiveError(
            f"{name} has format {form}, and this version of Rankwire knows {FORMAT} only: it was "
            "written by a newer one, or is damaged"
        )
    if hashlib.sha256(segment[:-_HASH_BYTES]).digest() != segment[-_HASH_BYTES:]:
        raise ArchiveError(f"{name} is damaged: its checksum does not match")
    if size > MOST_SEGMENT_BYTES:
        raise ArchiveError(f"{name} is damaged: it says that it is larger than any segment")
    unpacker = zlib.decompressobj(_GZIP)
    try:
        content = unpacker.decompress(segment[_HEAD.size : -_HASH_BYTES], max(size, 1))
        rows = _decoder.decode(content)
    except (zlib.error, msgspec.DecodeError) as error:
        raise ArchiveError(f"{name} is damaged: it cannot be read") from error
    if len(content) != size or not unpacker.eof or unpacker.unused_data:
        raise ArchiveError(f"{name} is damaged: it has another size than it says")
    return rows


def describe(name: Name, segment: bytes, rows: Sequence[Row]) -> Manifest:
    """Make the manifest of a segment, given its object and its rows."""
    return Manifest(
        format=FORMAT,
        cluster=name.cluster,
        segment=name.segment,
        sha256=hashlib.sha256(segment).hexdigest(),
        stored_bytes=len(segment),
        batches=len(rows),
        batch_bytes=sum(len(row[4]) for row in rows),
        first_seq=rows[0][0],
        last_seq=rows[-1][0],
        first_us=min(row[3] for row in rows),
        last_us=max(row[3] for row in rows),
        origins=_runs(rows),
    )


def encode_manifest(manifest: Manifest) -> bytes:
    """Give a manifest as JSON with a line for each field."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def decode_manifest(content: bytes, name: str) -> Manifest:
    """Read a manifest. Raises ArchiveError."""
    try:
        manifest = _manifests.decode(content)
    except msgspec.DecodeError as error:
        raise ArchiveError(f"{name} is damaged: it is no manifest") from error
    if manifest.format != FORMAT:
        raise ArchiveError(f"{name} has format {manifest.format}: a newer Rankwire wrote it")
    return manifest


def check(manifest: Manifest, segment: bytes, name: Name) -> list[Row]:
    """Give the rows of a segment that is in everything what its manifest says.

    Raises ArchiveError.
    """
    rows = decode(segment, name.segment)
    if not rows or manifest != describe(name, segment, rows):
        raise ArchiveError(f"{name.segment} is not what {name.manifest} says")
    if any(later[0] <= row[0] for row, later in pairwise(rows)):
        raise ArchiveError(f"{name.segment} has batches out of order")
    return rows


def _runs(rows: Sequence[Row]) -> dict[str, list[Run]]:
    numbers: dict[str, list[int]] = {}
    for _, origin, number, *_ in rows:
        numbers.setdefault(str(origin), []).append(number)
    return {origin: list(runs_of(sorted(found))) for origin, found in sorted(numbers.items())}


def runs_of(numbers: Sequence[int]) -> Iterator[Run]:
    """Give numbers in order as runs. A number that comes twice begins a run of its own."""
    start = 0
    for index in range(1, len(numbers) + 1):
        if index == len(numbers) or numbers[index] != numbers[index - 1] + 1:
            yield numbers[start], numbers[index - 1]
            start = index
