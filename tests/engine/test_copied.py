"""Rows of PostgreSQL's binary COPY: read in pieces of any size, refused when they are damaged."""

from __future__ import annotations

import struct
from typing import Final

import pytest

from rankwire import _core

LIMIT: Final = 100
_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = struct.pack("!h", -1)
_Row = tuple[str | None, int | None, int | None, int | None]
_ROWS: Final[list[_Row]] = [
    ("ann", -11, 1 << 40, 0),
    ("zoë", -(2**63), 2, 2**32 - 1),
    ("gone", None, None, 3),
]


def _field(value: str | int | None) -> bytes:
    if value is None:
        return struct.pack("!i", -1)
    content = value.encode() if isinstance(value, str) else struct.pack("!q", value)
    return struct.pack("!i", len(content)) + content


def _tuple(row: tuple[str | int | None, ...]) -> bytes:
    return struct.pack("!h", len(row)) + b"".join(map(_field, row))


_WHOLE: Final = _HEADER + b"".join(map(_tuple, _ROWS)) + _END


def _read(content: bytes, size: int) -> _core.Engine:
    recovery = _core.Recovery([])
    recovery.board(1, "a", "int64", "desc", "best", "first", bytes(16), 5, 0)
    for start in range(0, len(content), size):
        recovery.copied(content[start : start + size])
    return recovery.finish(1, LIMIT, LIMIT)


@pytest.mark.parametrize("size", [*range(1, 40), 1000])
def test_pieces_of_any_size_give_the_same(size: int) -> None:
    engine = _read(_WHOLE, size)
    assert (
        b'{"rank":1,"member":"zo\xc3\xab","score":9223372036854775807}' in engine.page("a", 0, 9)[0]
    )
    assert b'{"rank":2,"member":"ann","score":10}' in engine.page("a", 0, 9)[0]
    assert engine.stats()["members"] == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_WHOLE[:-1], "the rows break off"),
        (_WHOLE[:-3], "the rows break off"),
        (_WHOLE + b"\0", "rows after the end"),
        (b"PGCOPY\n\xff\r\n\1" + _WHOLE[11:], "another format"),
        (_HEADER + _tuple(("ann", 1, 1)) + _END, "another number of fields"),
        (_HEADER + _tuple((None, 1, 1, 0)) + _END, "no name"),
        (_HEADER + _tuple(("ann", "x", 1, 0)) + _END, "not an int8"),
        (_HEADER + _tuple(("ann", 1, 1, -1)) + _END, "out of range"),
        (_HEADER + _tuple(("ann", 1, 1, None)) + _END, "no generation"),
        (_HEADER + _tuple(("ann", 1, 1, 0)).replace(b"ann", b"\xff\xfe\xfd") + _END, "not UTF-8"),
        (_HEADER + struct.pack("!hi", 4, -2) + _END, "no length"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_damage_is_noticed(content: bytes, reason: str, size: int) -> None:
    with pytest.raises(_core.CorruptError, match=reason):
        _read(content, size)


def test_nothing_is_no_rows() -> None:
    assert _read(b"", 1).stats()["members"] == 0


# Enough rows that they are entered into the board while more of them are read.
_MANY: Final = [(f"m{number:05}", number, number, number % 3) for number in range(20_000)]


def _begun() -> _core.Recovery:
    recovery = _core.Recovery([])
    recovery.board(1, "a", "int64", "asc", "best", "first", bytes(16), 5, 0)
    return recovery


def test_a_large_board_is_the_same_however_its_rows_come() -> None:
    engines = []
    for size in (3, 4096, 7000, len(_MANY)):
        recovery = _begun()
        for start in range(0, len(_MANY), size):
            recovery.members(_MANY[start : start + size])
        engines.append(recovery.finish(1, LIMIT, LIMIT))
    copied = _begun()
    copied.copied(_HEADER + b"".join(map(_tuple, _MANY)) + _END)
    engines.append(copied.finish(1, LIMIT, LIMIT))
    (first, *others) = [engine.digest() for engine in engines]
    assert first[1][0][3] == len(_MANY)
    assert others == [first] * 4


@pytest.mark.parametrize("place", [0, 5000, len(_MANY)])
@pytest.mark.parametrize(
    ("row", "reason"),
    [(("m00042", 1, 1, 0), "two rows"), (("x" * 256, 1, 1, 0), "too long")],
)
def test_a_bad_row_of_a_large_board_is_noticed(
    place: int, row: tuple[str, int, int, int], reason: str
) -> None:
    recovery = _begun()
    rows = [*_MANY[:place], row, *_MANY[place:]]
    for start in range(0, len(rows), 1000):
        recovery.members(rows[start : start + 1000])
    with pytest.raises(_core.CorruptError, match=reason):
        recovery.finish(1, LIMIT, LIMIT)


def test_boards_of_all_sizes_follow_each_other() -> None:
    recovery = _core.Recovery([])
    sizes = [0, 5000, 3, 20_000, 4096, 1]
    for number, size in enumerate(sizes):
        name = f"b{number}"
        recovery.board(number + 1, name, "int64", "asc", "best", "first", bytes(16), 5, 0)
        for start in range(0, size, 256):
            recovery.members(_MANY[start : min(start + 256, size)])
    _, boards = recovery.finish(1, LIMIT, LIMIT).digest()
    assert [members for _, _, _, members, _ in boards] == sizes
