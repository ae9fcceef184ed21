"""Quantities as Kubernetes writes them: ``850m``, ``2Ki``, ``1e3``.

Promises the values and the canonical form of apimachinery's package ``resource``: exact decimal
arithmetic down to nano, anything finer rounded away from zero, the largest suffix that loses
nothing. As there, a missing number is zero. Three things
differ on purpose: an exponent beyond ``MOST_EXPONENT`` is refused, as it could fill memory; 10^21
is written "1000E", where the original drops the suffix; and what is beyond 64 bits of thousandths
is not cut to 64 bits. Pure; touches nothing.
"""

from __future__ import annotations

import math
import re
from decimal import ROUND_CEILING, Context, Decimal
from typing import Final, Literal

import msgspec

Format = Literal["DecimalSI", "BinarySI", "DecimalExponent"]
"""Which kind of suffix a quantity came with, and is written with."""

MOST_EXPONENT: Final = 300
MOST_CHARACTERS: Final = 400
"""Limits of a quantity's text; a longer one is an error."""

_NANO: Final = 10**9
_MILLI_IN_NANO: Final = 10**6
_MOST_INTEGER: Final = 2**63 - 1
_MOST_MILLI: Final = _MOST_INTEGER
_TEXT: Final = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([A-Za-z]*)([+-]?[0-9]*)")
_DECIMAL: Final = {
    "n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18,
}  # fmt: skip
_DECIMAL_SUFFIXES: Final = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_BINARY_STEP: Final = 1024
_THOUSAND: Final = 3
# Beyond any double's digits, so that its shortest decimal form is taken exactly.
_EXACT: Final = Context(prec=800)


class QuantityError(ValueError):
    """A text is no quantity, or a number cannot be one."""


class Quantity(msgspec.Struct, frozen=True):
    """An exact number of 10^-9, and how it is to be written."""

    nano: int
    format: Format = "DecimalSI"

    @property
    def milli(self) -> int:
        """The value in thousandths, rounded away from zero: what the HPA calculates with."""
        return _away_from_zero(self.nano, _MILLI_IN_NANO)

    def __str__(self) -> str:
        """Write it in canonical form."""
        if self.nano == 0:
            return "0"
        whole, rest = divmod(abs(self.nano), _NANO)
        if self.format == "BinarySI" and not rest and whole >= _BINARY_STEP:
            return _sign(self.nano) + _binary(whole)
        return _sign(self.nano) + _decimal(abs(self.nano), exponents=self._has_exponents)

    @property
    def _has_exponents(self) -> bool:
        return self.format == "DecimalExponent"


def parse(text: str) -> Quantity:
    """Read a quantity in any of the three forms, or raise QuantityError."""
    if not text or len(text) > MOST_CHARACTERS:
        raise QuantityError(f"{text[:40]!r} is no quantity")
    found = _TEXT.fullmatch(text)
    if found is None:
        raise QuantityError(f"{text!r} is no quantity: it needs a number, and perhaps a suffix")
    minus, whole, part = found[1] == "-", found[2], found[3] or ""
    base, exponent, kind = _suffix(found[4], found[5], text)
    digits = int((whole + part) or "0")
    numerator, denominator = digits * base ** max(exponent, 0), 10 ** len(part)
    denominator *= base ** max(-exponent, 0)
    nano = _away_from_zero(numerator * _NANO, denominator)
    if kind == "BinarySI":
        nano = min(nano, _MOST_INTEGER * _NANO)
        # A fraction of one has no binary suffix that would not round it.
        kind = "DecimalSI" if 0 < nano < _NANO else kind
    return Quantity(-nano if minus else nano, kind)


def from_float(value: float) -> Quantity:
    """Make a quantity of a measured number, rounded up to thousandths.

    What is rounded is the number as people write it, the shortest decimal that means this double:
    0.57 becomes 570m, although the double is a little more. Raises QuantityError for what is no
    number, or is beyond 64 bits of thousandths.
    """
    if not math.isfinite(value):
        raise QuantityError(f"{value} is no quantity")
    scaled = _EXACT.multiply(Decimal(repr(value)), Decimal(1000))
    milli = int(scaled.to_integral_value(ROUND_CEILING, _EXACT))
    if abs(milli) > _MOST_MILLI:
        raise QuantityError(f"{value} is beyond what a quantity holds")
    return Quantity(milli * _MILLI_IN_NANO)


def _suffix(letters: str, digits: str, text: str) -> tuple[int, int, Format]:
    """Give base, exponent and format of what stands behind the number."""
    if not digits:
        if letters in _DECIMAL:
            return 10, _DECIMAL[letters], "DecimalSI"
        if letters in _BINARY:
            return 2, 10 * _BINARY.index(letters), "BinarySI"
    elif letters in {"e", "E"} and digits.lstrip("+-"):
        exponent = int(digits)
        if abs(exponent) > MOST_EXPONENT:
            raise QuantityError(f"{text!r} has an exponent beyond {MOST_EXPONENT}")
        return 10, exponent, "DecimalExponent"
    raise QuantityError(f"{text!r} has an unknown suffix {letters + digits!r}")


def _away_from_zero(numerator: int, denominator: int) -> int:
    quotient = -(-abs(numerator) // denominator)
    return -quotient if numerator < 0 else quotient


def _sign(number: int) -> str:
    return "-" if number < 0 else ""


def _decimal(nano: int, *, exponents: bool) -> str:
    number, exponent = nano, -9
    most = math.inf if exponents else max(_DECIMAL_SUFFIXES)
    while number % 1000 == 0 and exponent < most:
        number, exponent = number // 1000, exponent + _THOUSAND
    if exponents:
        return f"{number}e{exponent}" if exponent else str(number)
    return f"{number}{_DECIMAL_SUFFIXES[exponent]}"


def _binary(whole: int) -> str:
    steps = 0
    while whole % _BINARY_STEP == 0 and steps < len(_BINARY) - 1:
        whole, steps = whole // _BINARY_STEP, steps + 1
    return f"{whole}{_BINARY[steps]}"
