"""Which sizes of a cache are looked at, and which of them is worth its memory.

The knee is found as by Kneedle (Satopää, Albrecht, Irwin and Raghavan, "Finding a 'Kneedle' in a
Haystack", ICDCS workshops 2011): with sizes and hits both scaled to run from 0 to 1, it is the
point that lies farthest above the straight line from nothing to the budget. Beyond it an entry
brings fewer hits than the mean entry of the budget. Pure arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_SMALLEST: Final = 64
# Sizes grow by the square root of two.
_RATIO: Final = 2**0.5


def sizes(most: int) -> list[int]:
    """Give the sizes up to `most` entries that a curve is asked for, ascending; about 2 an octave.

    Empty if the budget is smaller than a cache can sensibly be.
    """
    found: list[int] = []
    size = float(_SMALLEST)
    while round(size) < most:
        found.append(round(size))
        size *= _RATIO
    return [*found, most] if most >= _SMALLEST else []


def knee(entries: Sequence[int], misses: Sequence[float]) -> int | None:
    """Give the size at the knee of a curve of miss ratios; None if more entries bring nothing.

    The curve begins with a cache of nothing, which misses everything.
    """
    if not entries:
        return None
    most, gain = entries[-1], 1.0 - min(misses)
    if gain <= 0.0:
        return None
    heights = [
        (1.0 - miss) / gain - size / most for size, miss in zip(entries, misses, strict=True)
    ]
    return entries[heights.index(max(heights))]
