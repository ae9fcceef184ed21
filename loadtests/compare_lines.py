"""The lines of `compare.py`: one figure of ours beside the same figure of somebody else.

Promises: a figure that was not measured is told as such, and a line in which ours is worse looks
like one in which it is better. Nothing is measured here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

import harness

_UNMEASURED: Final = "-"
# No side is asked for more than this.
_MOST: Final = 100_000


class Line(msgspec.Struct, frozen=True):
    """One figure on both sides; None where it could not be measured."""

    part: str
    what: str
    ours: float | None
    peer: str
    theirs: float | None
    less_is_better: bool = False
    ratio: float | None = None
    """How many times better ours is; below one, theirs is better."""


def line(
    what: tuple[str, str], ours: float | None, peer: str, theirs: float | None, *, less: bool
) -> Line:
    """Make a line of a part and what it measures; `less` says that less is better."""
    ratio = None
    if ours and theirs:
        ratio = harness.ratios(ours, {peer: theirs}, less_is_better=less)[peer]
    return Line(*what, ours, peer, theirs, less, ratio)


def table(lines: Iterable[Line]) -> str:
    """Show all lines."""
    head = ("part", "what", "rankwire", "peer", "theirs", "better is", "ratio")
    rows = (
        (
            *(one.part, one.what, _shown(one.ours), one.peer, _shown(one.theirs)),
            *("less" if one.less_is_better else "more", _shown(one.ratio)),
        )
        for one in lines
    )
    return harness.table(head, rows)


def _shown(value: float | None) -> float | str:
    return _UNMEASURED if value is None else value


def highest(carries: Callable[[int], bool], start: int, narrowings: int) -> int:
    """Return the highest rate that is carried, found by doubling and halving.

    From `start` on the rate is doubled until it is carried no more, or halved until it is; then
    the gap is narrowed so many times at its geometric middle. Each narrowing takes the root of the
    uncertainty, which is a factor of 2 before and of 1.19 after two. Zero if not even a rate of
    one is carried.
    """
    rate = start
    if carries(rate):
        while rate < _MOST and carries(rate * 2):
            rate *= 2
        low, high = rate, rate * 2
    else:
        while rate > 1 and not carries(rate // 2):
            rate //= 2
        low, high = rate // 2, rate
    for _ in range(narrowings if low else 0):
        middle = round(math.sqrt(low * high))
        if middle in {low, high}:
            break
        if carries(middle):
            low = middle
        else:
            high = middle
    return low


def each(seconds: float | None, count: int) -> float | None:
    """Return microseconds for each of some things; None without any."""
    return None if seconds is None or not count else round(seconds * 1e6 / count, 2)
