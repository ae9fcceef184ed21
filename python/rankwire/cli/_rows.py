"""Rows of a CSV or NDJSON file as submits.

Promises: the file is read line by line and never held as a whole. Every row comes out as exactly
one of :class:`Submit`, :class:`BadRow` (with the reason) or :class:`SkippedRow`, each with the line
on which it starts. Only a file that cannot be read at all raises :class:`InputError`.
"""

from __future__ import annotations

import csv
import difflib
import math
import re
from datetime import date, datetime
from typing import IO, TYPE_CHECKING, Annotated, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LINE_LIMIT_BYTES = 1024**2
"""A longer line means that the file is something else, for example one large JSON array."""

INT64_END = 2**63

_INTEGER = re.compile(r"[+-]?[0-9]+")
_PLAIN_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class InputError(Exception):
    """The file or a column name is wrong, so that no row can be read."""


class Submit(msgspec.Struct, frozen=True):
    """A row to send; ``at`` is RFC 3339."""

    line: int
    member: str
    score: int | float
    at: str | None = None


class BadRow(msgspec.Struct, frozen=True):
    """A row that cannot be sent, and why."""

    line: int
    reason: str


class SkippedRow(msgspec.Struct, frozen=True):
    """A row that a condition left out."""

    line: int


Row = Submit | BadRow | SkippedRow
_Record = tuple[int, "Mapping[str, object] | str"]
"""Line and columns of a row, or line and what is wrong with it."""


class Condition(msgspec.Struct, frozen=True):
    """``COLUMN=VALUE`` or ``COLUMN!=VALUE``, compared as text."""

    column: str
    value: str
    equal: bool = True

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition as the command line spells it."""
        left, sign, value = text.partition("=")
        column = left.removesuffix("!")
        if not sign or not column:
            raise InputError(f"{text!r} is not COLUMN=VALUE or COLUMN!=VALUE")
        return cls(column, value, equal=column == left)

    def holds(self, record: Mapping[str, object]) -> bool:
        """Whether the row stays."""
        return (_text(record.get(self.column)) == self.value) == self.equal


class Selection(msgspec.Struct, frozen=True):
    """Which columns make a submit, and which rows stay."""

    member: str
    score: str | None = None
    """Column of the score; None gives every row :attr:`points`."""
    points: int | float = 1
    at: str | None = None
    where: tuple[Condition, ...] = ()

    def columns(self) -> set[str]:
        """Return every column the selection names."""
        named = {self.member, self.score, self.at, *(condition.column for condition in self.where)}
        return {column for column in named if column is not None}


class RowReader:
    """Iterates once over the rows of a file; :attr:`bytes_read` tells how far it is."""

    def __init__(self, path: Path, selection: Selection) -> None:
        """Remember what to read; the file is opened by the iteration."""
        self._path = path
        self._selection = selection
        self.bytes_read = 0

    def size(self) -> int:
        """Return how many bytes there are to read."""
        return self._path.stat().st_size

    def check(self) -> None:
        """Read the first row only, to find a wrong file or column before anything is sent.

        Raises:
            InputError: as the iteration would.

        """
        next(iter(RowReader(self._path, self._selection)), None)

    def __iter__(self) -> Iterator[Row]:
        """Read the rows.

        Raises:
            InputError: if the file cannot be read or lacks a column.

        """
        try:
            with self._path.open("rb") as file:
                yield from self._rows(file)
        except OSError as error:
            raise InputError(f"{self._path} cannot be read: {error.strerror}") from error

    def _rows(self, file: IO[bytes]) -> Iterator[Row]:
        start = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
        file.seek(0)
        if start.startswith(b"["):
            raise InputError("the file is one JSON array; NDJSON holds one object a line")
        lines = self._lines(file)
        is_ndjson = start.startswith(b"{")
        records = _ndjson(lines) if is_ndjson else _csv(lines, self._selection.columns())
        for line, record in records:
            if isinstance(record, str):
                yield BadRow(line, record)
            else:
                yield _pick(line, record, self._selection)

    def _lines(self, file: IO[bytes]) -> Iterator[str]:
        number = 0
        while line := file.readline(LINE_LIMIT_BYTES):
            number += 1
            self.bytes_read += len(line)
            if len(line) == LINE_LIMIT_BYTES:
                raise InputError(f"line {number} is longer than 1 MiB; is this CSV or NDJSON?")
            # Bytes that are not UTF-8 spoil their own row, which is reported, and no other.
            text = line.decode("utf-8", errors="surrogateescape")
            yield text.removeprefix("\ufeff") if number == 1 else text


def _ndjson(lines: Iterator[str]) -> Iterator[_Record]:
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            record = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeError) as error:
            yield number, f"is not JSON: {error}"
            continue
        yield number, record if isinstance(record, dict) else "is not a JSON object"


def _csv(lines: Iterator[str], wanted: set[str]) -> Iterator[_Record]:
    reader = csv.reader(lines, strict=True)
    header = _header(reader, wanted)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, f"is not CSV: {error}"
            continue
        if len(row) == len(header):
            yield line, dict(zip(header, row, strict=True))
        elif row:
            yield line, f"has {len(row)} columns, the header has {len(header)}"


def _header(reader: Iterator[list[str]], wanted: set[str]) -> list[str]:
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise InputError(f"the header is not CSV: {error}") from error
    for column in sorted(wanted - set(header)):
        close = difflib.get_close_matches(column, header, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"columns are: {', '.join(header)}"
        raise InputError(f"no column {column!r}; {hint}")
    for column in wanted:
        if header.count(column) > 1:
            raise InputError(f"column {column!r} stands twice in the header")
    return header


def _pick(line: int, record: Mapping[str, object], selection: Selection) -> Row:
    if not all(condition.holds(record) for condition in selection.where):
        return SkippedRow(line)
    try:
        return Submit(
            line=line,
            member=_member(record.get(selection.member)),
            score=_score(record.get(selection.score)) if selection.score else selection.points,
            at=_at(record.get(selection.at)) if selection.at else None,
        )
    except (ValueError, OverflowError) as error:
        return BadRow(line, str(error))


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


def _member(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, type(None))):
        raise ValueError(f"the member is {_text(value)}, not a text")  # noqa: TRY004 - every wrong row is a ValueError here
    member = _text(value)
    if not member.strip():
        raise ValueError("the member is empty")
    if not _is_unicode(member):
        raise ValueError("the member is not UTF-8")
    return member


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _score(value: object) -> int | float:
    score = parse_score(value) if isinstance(value, str) else value
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not math.isfinite(score):
        raise ValueError(f"the score {_shown(value)} is not a number")
    # Beyond 64 bits only a float64 board can hold it, and there as the nearest double.
    fits = isinstance(score, float) or -INT64_END <= score < INT64_END
    return score if fits else float(score)


def parse_score(text: str) -> int | float | None:
    """Return the number a text spells, or None; integers stay exact."""
    if _INTEGER.fullmatch(text.strip()):
        return int(text)
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _at(value: object) -> str:
    text = _text(value).strip()
    try:
        if _PLAIN_DATE.fullmatch(text):
            return f"{date.fromisoformat(text)}T00:00:00Z"
        msgspec.convert(text, _ZONED)
    except ValueError as error:
        raise ValueError(
            f"the time {_shown(value)} is neither YYYY-MM-DD nor RFC 3339 with a time zone"
        ) from error
    return text


_ZONED: Any = Annotated[datetime, msgspec.Meta(tz=True)]


def _shown(value: object) -> str:
    text = repr(_text(value))
    return text if len(text) <= 60 else text[:57] + "…'"  # noqa: PLR2004 - the width of a message
