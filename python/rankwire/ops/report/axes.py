"""Axes of plots: where values lie, and where the marks go.

Marks are at 1, 2 or 5 times a power of ten, so that people can read between them: Heckbert, "Nice
numbers for graph labels", Graphics Gems, 1990. Those of time are at whole steps of clocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

_STEPS: Final = (1.0, 2.0, 5.0, 10.0)
_CLOCK: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200)
_DAY: Final = 86_400
_MINUTE: Final = 60
# What is smaller is drawn as nothing.
_LEAST: Final = 1e-12


class Scale(msgspec.Struct, frozen=True):
    """Maps values from `low` to `high` onto places from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    by_power: bool = False
    """Whether equal ratios, not differences, have equal room; `low` is above zero then."""

    def __call__(self, value: float) -> float:
        """Give the place of a value; what is outside is put on the nearest end."""
        value = min(max(value, self.low), self.high)
        if self.high <= self.low:
            return self.start
        part = (value - self.low) / (self.high - self.low)
        if self.by_power:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + part * (self.end - self.start)


def nice_step(span: float, count: int) -> float:
    """Give the distance of marks that divides a span into so many parts at most."""
    if span < _LEAST:
        return 1.0
    least = span / count
    power = 10.0 ** math.floor(math.log10(least))
    # A hair of room: ten times a power may be found as 9.999999.
    return next((step * power for step in _STEPS if step * power >= least * (1 - 1e-9)), 10 * power)


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Give the marks from `low` to `high`, at most `count` + 1 of them."""
    step = nice_step(high - low, count)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def nice_top(value: float, count: int = 4) -> float:
    """Give the mark at or above a value that an axis from zero ends at."""
    if value < _LEAST:
        return 1.0
    step = nice_step(value, count)
    return math.ceil(value / step - 1e-9) * step


def power_ticks(low: float, high: float) -> list[float]:
    """Give the powers of ten from `low` to `high`, or the ends if there are less than two."""
    powers = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
    marks = [10.0**power for power in powers]
    return marks if len(marks) > 1 else [low, high]


def clock_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Give whole minutes, hours and so on between two moments."""
    least = (high - low) / count
    step = next((step for step in _CLOCK if step >= least), math.ceil(least / _DAY) * _DAY)
    return [float(number * step) for number in range(math.ceil(low / step), int(high // step) + 1)]


def clock(at: float, marks: Sequence[float]) -> str:
    """Write the moment of a mark, in UTC, as exactly as its neighbours need."""
    day = len(marks) > 1 and marks[1] - marks[0] >= _DAY
    seconds = any(mark % _MINUTE for mark in marks)
    form = "%d %b" if day else "%H:%M:%S" if seconds else "%H:%M"
    return datetime.fromtimestamp(at, UTC).strftime(form)
