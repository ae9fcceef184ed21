"""Rows of files: what becomes a submit, what is skipped, and how bad rows are named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rankwire.cli import _rows
from rankwire.cli._rows import (
    BadRow,
    Condition,
    InputError,
    Row,
    RowReader,
    Selection,
    SkippedRow,
    Submit,
)

if TYPE_CHECKING:
    from pathlib import Path

WHO_PTS = Selection("who", "pts")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rows"


def read(file: Path, content: str | bytes, selection: Selection) -> list[Row]:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(RowReader(file, selection))


def reasons(rows: list[Row]) -> dict[int, str]:
    return {row.line: row.reason for row in rows if isinstance(row, BadRow)}


def test_csv_rows_become_submits(file: Path) -> None:
    rows = read(file, "who,pts\nAnn,5\nJosé,-7.5\n", WHO_PTS)
    assert rows == [Submit(2, "Ann", 5), Submit(3, "José", -7.5)]


def test_ndjson_rows_become_submits(file: Path) -> None:
    content = '{"who":"Ann","pts":5}\n\n{"pts":"6","who":7,"more":null}\n'
    assert read(file, content, WHO_PTS) == [Submit(1, "Ann", 5), Submit(3, "7", 6)]


def test_a_constant_needs_no_score_column(file: Path) -> None:
    rows = read(file, "who\nAnn\n", Selection("who", points=3))
    assert rows == [Submit(2, "Ann", 3)]


def test_csv_with_mark_windows_lines_and_line_breaks_in_fields(file: Path) -> None:
    content = b'\xef\xbb\xbfwho,pts\r\n"An\nn, jr.",5\r\n\r\nBob,6'
    assert read(file, content, WHO_PTS) == [Submit(2, "An\nn, jr.", 5), Submit(5, "Bob", 6)]


def test_integers_stay_exact_and_others_are_doubles(file: Path) -> None:
    top = 2**63 - 1
    rows = read(file, f"who,pts\na,{top}\nb,{top + 1}\nc,1e3\nd,+4\n", WHO_PTS)
    scores = [row.score for row in rows if isinstance(row, Submit)]
    assert scores == [top, float(2**63), 1000.0, 4]
    assert [type(score) for score in scores] == [int, float, float, int]


def test_times_are_rfc_3339_or_dates_at_midnight_utc(file: Path) -> None:
    content = "who,at\na,1916-07-02\nb,2020-01-01T10:00:00+02:00\nc,2020-01-01T10:00:00.5Z\n"
    rows = read(file, content, Selection("who", at="at"))
    assert [row.at for row in rows if isinstance(row, Submit)] == [
        "1916-07-02T00:00:00Z",
        "2020-01-01T10:00:00+02:00",
        "2020-01-01T10:00:00.5Z",
    ]


@pytest.mark.parametrize(
    "time", ["", "yesterday", "2020-02-30", "2020-01-01T10:00:00", "0000-01-01", "20200101"]
)
def test_other_times_are_bad_rows(file: Path, time: str) -> None:
    rows = read(file, f"who,at\nAnn,{time}\n", Selection("who", at="at"))
    what = "is neither YYYY-MM-DD nor RFC 3339 with a time zone"
    assert reasons(rows) == {2: f"the time {time!r} {what}"}


def test_conditions_keep_rows_and_count_the_others(file: Path) -> None:
    where = (Condition.parse("own=FALSE"), Condition.parse("who!=NA"))
    rows = read(file, "who,own\na,FALSE\nb,TRUE\nNA,FALSE\n", Selection("who", where=where))
    assert rows == [Submit(2, "a", 1), SkippedRow(3), SkippedRow(4)]


def test_conditions_compare_json_values_as_text(file: Path) -> None:
    content = '{"who":"a","own":false,"n":1}\n{"who":"b","own":true,"n":1}\n{"who":"c","n":1}\n'
    where = (Condition("own", "false"), Condition("n", "1"))
    rows = read(file, content, Selection("who", where=where))
    assert rows == [Submit(1, "a", 1), SkippedRow(2), SkippedRow(3)]


def test_a_condition_may_hold_any_value() -> None:
    assert Condition.parse("a=b=c") == Condition("a", "b=c")
    assert Condition.parse("a=") == Condition("a", "")
    assert Condition.parse("a!=") == Condition("a", "", equal=False)
    for wrong in ("a", "=b", "!=b", ""):
        with pytest.raises(InputError, match="is not COLUMN=VALUE"):
            Condition.parse(wrong)


def test_bad_csv_rows_are_named_by_line_and_spoil_no_other(file: Path) -> None:
    content = (
        b"who,pts\n"
        b",1\n"
        b"Ann,\n"
        b"Ann,five\n"
        b"Ann,1_0\n"
        b"Ann,nan\n"
        b"Ann,1e999\n"
        b"Ann\n"
        b"Ann,1,2\n"
        b"\xff,1\n"
        b"  ,1\n"
        b'"Ann"x,1\n'
        b"Bob,2\n"
    )
    rows = read(file, content, WHO_PTS)
    assert rows[-1] == Submit(13, "Bob", 2)
    assert reasons(rows) == {
        2: "the member is empty",
        3: "the score '' is not a number",
        4: "the score 'five' is not a number",
        5: "the score '1_0' is not a number",
        6: "the score 'nan' is not a number",
        7: "the score '1e999' is not a number",
        8: "has 1 columns, the header has 2",
        9: "has 3 columns, the header has 2",
        10: "the member is not UTF-8",
        11: "the member is empty",
        12: "is not CSV: ',' expected after '\"'",
    }


def test_bad_ndjson_rows_are_named_by_line(file: Path) -> None:
    content = (
        b'{"who":"Ann","pts":1}\n'
        b'{"who":\n'
        b"[1]\n"
        b'{"pts":1}\n'
        b'{"who":true,"pts":1}\n'
        b'{"who":["a"],"pts":1}\n'
        b'{"who":"a","pts":true}\n'
        b'{"who":"a"}\n'
        b'{"who":"\xff","pts":1}\n'
    )
    found = reasons(read(file, content, WHO_PTS))
    assert found.pop(2).startswith("is not JSON: ")
    assert found.pop(9).startswith("is not JSON: ")
    assert found == {
        3: "is not a JSON object",
        4: "the member is empty",
        5: "the member is true, not a text",
        6: 'the member is ["a"], not a text',
        7: "the score 'true' is not a number",
        8: "the score '' is not a number",
    }


def test_a_missing_column_is_named_with_the_nearest(file: Path) -> None:
    for column, hint in (("hwo", "did you mean 'who'?"), ("x", "columns are: who, pts")):
        with pytest.raises(InputError) as caught:
            read(file, "who,pts\n", Selection(column))
        assert str(caught.value) == f"no column {column!r}; {hint}"
    with pytest.raises(InputError, match="no column 'kind'"):
        read(file, "who,pts\n", Selection("who", where=(Condition("kind", "x"),)))
    with pytest.raises(InputError, match="'who' stands twice"):
        read(file, "who,who\n", Selection("who"))
    with pytest.raises(InputError, match="no column 'who'"):
        read(file, "", Selection("who"))


def test_files_that_are_something_else_are_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one JSON array"):
        read(file, '[{"who":"a"}]', WHO_PTS)
    with pytest.raises(InputError, match="line 2 is longer than 1 MiB"):
        read(file, "who,pts\n" + "x" * _rows.LINE_LIMIT_BYTES, WHO_PTS)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        list(RowReader(tmp_path / "missing", WHO_PTS))


def test_a_check_finds_a_wrong_file_without_using_up_the_reader(file: Path) -> None:
    file.write_text("who,pts\nAnn,1\n", encoding="utf-8")
    reader = RowReader(file, WHO_PTS)
    reader.check()
    assert list(reader) == [Submit(2, "Ann", 1)]
    with pytest.raises(InputError):
        RowReader(file, Selection("nobody")).check()


def test_the_file_is_read_only_as_far_as_rows_are_taken(file: Path) -> None:
    file.write_text("who,pts\n" + "Ann,1\n" * 1000, encoding="utf-8")
    reader = RowReader(file, WHO_PTS)
    rows = iter(reader)
    next(rows)
    assert reader.bytes_read == len("who,pts\nAnn,1\n")
    assert len(list(rows)) == 999
    assert reader.bytes_read == reader.size()
