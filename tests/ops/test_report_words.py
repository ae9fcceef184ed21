"""How reports write what they know, what they do not, and what is hostile."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankwire.ops.report import words


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (None, "ratio", "unknown"),
        (math.nan, "s", "unknown"),
        (math.inf, "s", "no bound"),
        (0.0, "ratio", "0 %"),
        (0.9, "ratio", "90 %"),
        (1.0, "ratio", "100 %"),
        (0.00042, "ratio", "0.042 %"),
        (0.0, "s", "0 s"),
        (0.0000004, "s", "400 ns"),
        (0.25, "s", "250 ms"),
        (90.0, "s", "1.5 min"),
        (7200.0, "s", "2 h"),
        (172_800.0, "s", "2 d"),
        (1023.0, "B", "1,023 B"),
        (1536.0, "B", "1.5 KiB"),
        (2.0**70, "B", "1,048,576 PiB"),
        (3.5, "1/s", "3.5/s"),
        (12345.6, "watchers", "12,346 watchers"),
        (0.125, "", "0.125"),
        (1e300, "", "1e+300"),
        (-4.0, "1/min", "-4 a minute"),
    ],
)
def test_figures_have_their_units(value: float | None, unit: str, expected: str) -> None:
    assert words.figure(value, unit) == expected


@given(st.floats(1e-4, 1e14) | st.floats(-1e14, -1e-4))
def test_a_written_number_is_right_to_three_digits(value: float) -> None:
    written = float(words.number(value).replace(",", ""))
    assert written == pytest.approx(value, rel=0.005)


@pytest.mark.parametrize(
    ("dollars", "expected"),
    [(None, "no price"), (0.0, "$0.00"), (2800.0, "$2,800.00"), (-3.456, "-$3.46")],
)
def test_money_has_cents_or_no_price(dollars: float | None, expected: str) -> None:
    assert words.money(dollars) == expected


@given(st.text())
def test_nothing_in_a_text_steers_a_terminal(text: str) -> None:
    line = words.plain(text)
    assert line.isprintable()
    assert len(line) <= words.TEXT_CHARACTERS
    assert all(part.isprintable() for part in words.block(text).split("\n"))


def test_hostile_texts_are_shown_for_what_they_are() -> None:
    assert words.plain("a\x1b[2J\u202eb\n\tc") == "a\ufffd[2J\ufffdb c"
    assert words.plain("x" * 500) == "x" * 399 + "…"
    assert words.block("a\x1b\n  b") == "a\ufffd\n  b"
    assert len(words.block("y\n" * 9000)) == words.BLOCK_CHARACTERS
