"""Quantities are what Kubernetes' own package makes of the same texts.

golden/quantities.json was made by that package; golden/generate says how.
"""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankwire.autoscale.quantity import (
    MOST_CHARACTERS,
    MOST_EXPONENT,
    Format,
    Quantity,
    QuantityError,
    from_float,
    parse,
)

_ROWS: Final[list[tuple[str, Any, Any, Any]]] = json.loads(
    (Path(__file__).parent / "golden" / "quantities.json").read_text()
)
_NANO: Final = 10**9
_FORMATS: Final[tuple[Format, ...]] = ("DecimalSI", "BinarySI", "DecimalExponent")


def test_texts_mean_what_they_mean_to_kubernetes() -> None:
    assert len(_ROWS) == 1200
    for text, canonical, milli, form in _ROWS:
        if canonical is None:
            with pytest.raises(QuantityError):
                parse(text)
            continue
        quantity = parse(text)
        assert (str(quantity), quantity.format) == (canonical, form), text
        if milli is not None:
            assert quantity.milli == milli, text


@given(st.integers(-(10**27), 10**27), st.sampled_from(_FORMATS))
def test_what_is_written_is_read_back(nano: int, form: Format) -> None:
    quantity = Quantity(nano, form)
    assert parse(str(quantity)).nano == nano
    assert str(parse(str(quantity))) == str(quantity)


@given(st.floats(-1e12, 1e12))
def test_measured_numbers_are_rounded_up_to_thousandths(value: float) -> None:
    written = Fraction(Decimal(repr(value)))
    made = Fraction(from_float(value).nano, _NANO)
    assert 0 <= made - written < Fraction(1, 1000)
    assert from_float(value).milli == made * 1000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.57, "570m"),
        (0.1 + 0.2, "301m"),
        (18750, "18750"),
        (0.0, "0"),
        (1e-300, "1m"),
        (-0.5, "-500m"),
    ],
)
def test_a_number_is_taken_as_it_is_written(value: float, text: str) -> None:
    assert str(from_float(value)) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e16, -1e16])
def test_what_is_no_quantity_is_none(value: float) -> None:
    with pytest.raises(QuantityError):
        from_float(value)


@pytest.mark.parametrize(
    "text", ["", f"1e{MOST_EXPONENT + 1}", f"1e-{MOST_EXPONENT + 1}", "1" * (MOST_CHARACTERS + 1)]
)
def test_a_text_cannot_fill_the_memory(text: str) -> None:
    with pytest.raises(QuantityError):
        parse(text)


def test_a_thousand_exa_keep_their_suffix() -> None:
    assert str(parse("1000E")) == "1000E"
