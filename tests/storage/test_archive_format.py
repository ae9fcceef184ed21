"""The format of archives: what was written stays readable, and damage is seen."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankwire.storage import archive
from rankwire.storage.archive import ArchiveError, Name, Row, cut, runs_of, week_of

_GOLDEN: Final = Path(__file__).parent / "golden"
_SEGMENT: Final = _GOLDEN / "archive-1.segment"
_MANIFEST: Final = _GOLDEN / "archive-1.json"
_CLUSTER: Final = "0123456789abcdef" * 2
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

ROWS: Final[list[Row]] = [
    (5, 2**63 - 1, 1, 1_788_220_800_000_001, b"first"),
    (6, 7, 3, 1_788_220_800_500_000, bytes(range(256))),
    (9, 2**63 - 1, 2, 1_788_220_799_999_999 + 1, b""),
    (10, 7, 5, 1_788_307_200_123_456, b"\x02" * 1000),
]
"""What the golden segment has: Tuesday 2026-09-01 and the day after."""


def _made(rows: list[Row]) -> tuple[Name, bytes]:
    content = archive.encode_rows(rows)
    return archive.name_of(_CLUSTER, rows, content), archive.encode(content)


def write_golden() -> None:
    """Write the golden segment. That is right only while nobody has archives."""
    name, segment = _made(ROWS)
    _SEGMENT.write_bytes(segment)
    _MANIFEST.write_bytes(archive.encode_manifest(archive.describe(name, segment, ROWS)))


def test_a_segment_of_the_first_format_is_read() -> None:
    manifest = archive.decode_manifest(_MANIFEST.read_bytes(), "m")
    name = archive.read_name(manifest.segment.replace(".segment", ".json"))
    assert name is not None
    assert archive.check(manifest, _SEGMENT.read_bytes(), name) == ROWS


def test_what_is_written_is_that_format() -> None:
    """Names and contents are golden; how gzip packs them is not ours."""
    name, segment = _made(ROWS)
    golden = _SEGMENT.read_bytes()
    assert segment[:24] == golden[:24]
    assert gzip.decompress(segment[24:-32]) == gzip.decompress(golden[24:-32])
    assert segment[-32:] == hashlib.sha256(segment[:-32]).digest()
    told = json.loads(archive.encode_manifest(archive.describe(name, segment, ROWS)))
    expected = json.loads(_MANIFEST.read_bytes())
    for size in ("sha256", "stored_bytes"):
        del told[size], expected[size]
    assert told == expected


def test_any_program_can_read_it() -> None:
    """By the description alone: 16 bytes, two numbers, gzip, MessagePack, SHA-256."""
    content = _SEGMENT.read_bytes()
    magic, form, size = struct.unpack(">16sII", content[:24])
    unpacked = gzip.decompress(content[24:-32])
    assert (magic, form, size) == (b"RANKWIRE-JOURNAL", 1, len(unpacked))
    assert [tuple(row) for row in msgspec.msgpack.decode(unpacked)] == ROWS
    manifest = json.loads(_MANIFEST.read_bytes())
    assert manifest["sha256"] == hashlib.sha256(content).hexdigest()
    assert manifest["origins"] == {"7": [[3, 3], [5, 5]], "9223372036854775807": [[1, 2]]}
    assert manifest["segment"].split("/")[:2] == [_CLUSTER, "20260831"]


def test_every_flipped_bit_is_noticed() -> None:
    manifest = archive.decode_manifest(_MANIFEST.read_bytes(), "m")
    name = archive.read_name(manifest.segment.replace(".segment", ".json"))
    assert name is not None
    content = _SEGMENT.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        with pytest.raises(ArchiveError):
            archive.decode(bytes(changed), "s")
    for size in range(0, len(content), 7):
        with pytest.raises(ArchiveError, match=r"is damaged|is not a segment"):
            archive.decode(content[:size], "s")
    # One that is good in itself, but another, is noticed by the manifest.
    _, other = _made(ROWS[:3])
    with pytest.raises(ArchiveError, match=r"is not what .*\.json says"):
        archive.check(manifest, other, name)


def _sealed(before: bytes) -> bytes:
    return before + hashlib.sha256(before).digest()


def test_what_claims_another_size_is_not_unpacked() -> None:
    rows = archive.encode_rows(ROWS)
    packed = gzip.compress(rows, mtime=0)
    for size in (0, len(rows) - 1, len(rows) + 1):
        head = struct.pack(">16sII", archive.MAGIC, 1, size)
        with pytest.raises(ArchiveError, match="is damaged"):
            archive.decode(_sealed(head + packed), "s")
    head = struct.pack(">16sII", archive.MAGIC, 1, len(rows))
    assert archive.decode(_sealed(head + packed), "s") == ROWS
    with pytest.raises(ArchiveError, match="is damaged"):
        archive.decode(_sealed(head + packed + b"more"), "s")


def test_a_newer_format_says_so() -> None:
    content = _SEGMENT.read_bytes()[:-32]
    newer = _sealed(content[:16] + struct.pack(">I", 2) + content[20:])
    with pytest.raises(ArchiveError, match=r"has format 2, .* knows 1 only"):
        archive.decode(newer, "s")
    told = json.loads(_MANIFEST.read_bytes()) | {"format": 2}
    with pytest.raises(ArchiveError, match="has format 2: a newer Rankwire wrote it"):
        archive.decode_manifest(json.dumps(told).encode(), "m")
    with pytest.raises(ArchiveError, match="m is damaged: it is no manifest"):
        archive.decode_manifest(b"{}", "m")


def test_batches_out_of_order_are_refused() -> None:
    rows = [ROWS[1], ROWS[0]]
    name, segment = _made(rows)
    manifest = archive.describe(name, segment, rows)
    with pytest.raises(ArchiveError, match="has batches out of order"):
        archive.check(manifest, segment, name)


def test_a_segment_that_says_it_is_too_large_is_not_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, segment = _made(ROWS)
    size = len(archive.encode_rows(ROWS))
    monkeypatch.setattr(archive, "MOST_SEGMENT_BYTES", size)
    assert archive.decode(segment, "s") == ROWS
    monkeypatch.setattr(archive, "MOST_SEGMENT_BYTES", size - 1)
    with pytest.raises(ArchiveError, match="it says that it is larger than any segment"):
        archive.decode(segment, "s")


_moments = st.integers(0, 4_000_000_000_000_000)
_row = st.tuples(
    st.integers(0, 2**63 - 1), st.integers(-(2**63), 2**63 - 1), st.integers(1, 2**63 - 1),
    _moments, st.binary(max_size=50),
)  # fmt: skip


@given(st.lists(_row, min_size=1, max_size=30, unique_by=lambda row: row[0]).map(sorted))
def test_segments_of_a_week_give_back_their_rows(rows: list[Row]) -> None:
    pieces = list(cut(rows))
    assert [row for piece in pieces for row in piece] == rows
    for piece in pieces:
        name, segment = _made(piece)
        assert {week_of(row[3]) for row in piece} == {name.week}
        assert archive.read_name(name.manifest) == name
        manifest = archive.describe(name, segment, piece)
        again = archive.decode_manifest(archive.encode_manifest(manifest), "m")
        assert archive.check(again, segment, name) == piece
        numbers = {
            origin: sum(b - a + 1 for a, b in runs) for origin, runs in again.origins.items()
        }
        assert sum(numbers.values()) == len(piece)


@given(_moments)
def test_weeks_begin_on_mondays(microseconds: int) -> None:
    monday = datetime.strptime(week_of(microseconds), "%Y%m%d").replace(tzinfo=UTC)
    moment = _EPOCH + timedelta(microseconds=microseconds)
    assert monday.weekday() == 0
    assert timedelta(0) <= moment - monday < timedelta(days=7)


@given(st.lists(st.integers(1, 60)).map(sorted))
def test_runs_are_all_numbers_and_no_gaps(numbers: list[int]) -> None:
    runs = list(runs_of(numbers))
    assert [n for first, last in runs for n in range(first, last + 1)] == numbers
    for (_, last), (first, _) in pairwise(runs):
        assert first != last + 1


def test_foreign_objects_have_no_name() -> None:
    name, _ = _made(ROWS)
    for foreign in (name.segment, "x.json", name.manifest + "x", f"a/{name.manifest}", ""):
        assert archive.read_name(foreign) is None
    assert archive.read_name(f"{_CLUSTER}/holds/{1:019}.json") is None
