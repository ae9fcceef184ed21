"""How reports write figures, times, money and texts that come from outside.

Names of members, statements and error messages are hostile: what is not printable is shown as a
replacement character, so that nothing steers a terminal or turns the direction of a line, and long
texts are cut. What is not known is called that and is never a number.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from rankwire.ops.findings import Known

UNKNOWN: Final = "unknown"
TEXT_CHARACTERS: Final = 400
"""Most characters of a text in a line of a report."""

BLOCK_CHARACTERS: Final = 4000
"""Most characters of a text that stands by itself, like a statement to apply."""

# Of a text that is much too long no more than so many times of what is shown is looked at.
_SLACK: Final = 4

_BYTES: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_KIB: Final = 1024
# Numbers outside of these are written with a power of ten.
_LEAST: Final = 1e-4
_MOST: Final = 1e15
_SPANS: Final = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"))
_SHORT_SPANS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def plain(text: str, most: int = TEXT_CHARACTERS) -> str:
    """Give a text in one line of printable characters."""
    beginning = " ".join(text[: _SLACK * most].split())
    return _cut("".join(map(_printable, beginning)), most)


def block(text: str, most: int = BLOCK_CHARACTERS) -> str:
    """Give a text with its lines, otherwise of printable characters."""
    lines = text[: _SLACK * most].splitlines()
    return _cut("\n".join("".join(map(_printable, line)) for line in lines), most)


def _printable(character: str) -> str:
    return character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def figure(value: Known, unit: str) -> str:
    """Write a figure with its unit, as short as three digits allow."""
    if value is None or math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return "no bound" if value > 0 else "-∞"
    write = _WRITERS.get(unit)
    if write is not None:
        return write(value)
    return f"{number(value)} {plain(unit)}".rstrip()


def mark(value: float, unit: str) -> str:
    """Write the mark of an axis: without a unit that is a word, as its title has that."""
    return "0" if value == 0 else _WRITERS.get(unit, number)(value)


def number(value: float) -> str:
    """Write a number with three digits, or with all of them before the point."""
    if value == 0:
        return "0"
    if not _LEAST <= abs(value) < _MOST:
        return f"{value:.3g}"
    digits = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    if digits <= 0:
        return f"{round(value):,}"
    return f"{rounded:.{digits}f}".rstrip("0").rstrip(".")


def ratio(value: float) -> str:
    """Write a ratio in percent."""
    return f"{number(value * 100)} %"


def span(seconds: float) -> str:
    """Write a time that passes."""
    for size, name in (*_SPANS, *_SHORT_SPANS):
        if abs(seconds) >= size:
            return f"{number(seconds / size)} {name}"
    return "0 s" if seconds == 0 else f"{number(seconds * 1e9)} ns"


def size(value: float) -> str:
    """Write a number of bytes."""
    power = 0
    while abs(value) >= _KIB and power < len(_BYTES) - 1:
        value, power = value / _KIB, power + 1
    return f"{number(value)} {_BYTES[power]}"


def money(dollars: Known) -> str:
    """Write dollars, with cents; None has no price."""
    if dollars is None:
        return "no price"
    sign = "-" if dollars < 0 else ""
    return f"{sign}${abs(dollars):,.2f}"


def moment(at: float) -> str:
    """Write a moment, in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def source(name: str) -> str:
    """Shorten where a price comes from to who said it, for a column of a table."""
    return name.partition(",")[0].partition(" (")[0]


def named(name: str) -> str:
    """Write the name of a figure as words: `database.pool_utilization` is `pool utilization`."""
    return plain(name.rpartition(".")[2].replace("_", " "))


_WRITERS: Final[dict[str, Callable[[float], str]]] = {
    "ratio": ratio,
    "s": span,
    "B": size,
    "B/s": lambda value: f"{size(value)}/s",
    "1/s": lambda value: f"{number(value)}/s",
    "1/min": lambda value: f"{number(value)} a minute",
    "$": money,
    "$/month": lambda value: f"{money(value)} a month",
}
"""How a figure of each unit is written; another unit is a word behind the number."""
