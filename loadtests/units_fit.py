"""Fits costs to what was measured under several loads. No cost is ever below zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

_ROUNDS: Final = 4000
_STEPS: Final = 60


class Sample(msgspec.Struct, frozen=True):
    """One load and what it cost."""

    counts: Mapping[str, float]
    """How much of each there was in a second."""
    cores: float
    """Processor time a second, without what is known already."""


def fit(samples: Sequence[Sample], names: Sequence[str]) -> tuple[dict[str, float], float]:
    """Find the seconds of each that explain the samples best, and the mean relative error.

    Least squares of relative errors, by coordinate descent with every cost held at 0 or more; it
    converges as the problem is convex.
    """
    rows = [
        [sample.counts.get(name, 0.0) / sample.cores for name in names]
        for sample in samples
        if sample.cores > 0
    ]
    costs = [0.0] * len(names)
    left = [1.0] * len(rows)
    squares = [sum(row[column] ** 2 for row in rows) for column in range(len(names))]
    for turn in range(_ROUNDS):
        column = turn % len(names)
        if not squares[column]:
            continue
        along = sum(row[column] * rest for row, rest in zip(rows, left, strict=True))
        moved = max(0.0, costs[column] + along / squares[column]) - costs[column]
        costs[column] += moved
        left = [rest - row[column] * moved for row, rest in zip(rows, left, strict=True)]
    error = sum(map(abs, left)) / max(1, len(left))
    return dict(zip(names, costs, strict=True)), error


def solve(function: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    """Find where a falling function takes a value, by halving, within bounds."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) > wanted else (low, middle)
    return (low + high) / 2
