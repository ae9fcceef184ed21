"""How throughput grows with the number of workers, and where it stops to (the scalability law).

Promises: the fit is the one with the least squared error of throughput among all whose rate is
above 0 and whose contention and coherency are not below 0; measurements without noise give back
their parameters. Where an endless rate would fit best, as may be without a measurement near one
worker, it is the best with fewer parameters. Not for what was measured under a limit from outside,
such as a generator that could not send more.

Source: N. J. Gunther, "Guerrilla Capacity Planning" (2007), chapters 4 to 6:
X(N) = rate N / (1 + contention (N - 1) + coherency N (N - 1)). N / X is linear in 1/rate,
contention/rate and coherency/rate, which gives the start; Gauss-Newton steps on X itself follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import starmap
from math import inf, isfinite, sqrt
from typing import Final, NamedTuple

import msgspec

FEWEST_LEVELS: Final = 4
"""Three parameters go through any three levels, which would prove nothing."""

_MOST_STEPS: Final = 60
_MOST_HALVINGS: Final = 40
# Where contention and coherency are allowed to differ from 0. All are tried: the best fit under the
# bounds is the free best fit of one of them.
_FACES: Final = ((0,), (0, 1), (0, 2), (0, 1, 2))

_Vector = list[float]


class Level(NamedTuple):
    """A throughput that was measured with so many workers, or so much concurrency."""

    n: float
    throughput: float


class Fit(msgspec.Struct, frozen=True):
    """The law with its parameters."""

    rate: float
    """Throughput of one worker alone."""
    contention: float
    """The part of the work that only one at a time does (sigma)."""
    coherency: float
    """What each pair of workers costs to agree (kappa)."""
    error: float
    """Root of the mean squared error, as a part of the mean throughput."""
    levels: int
    """How many different N it was fitted to."""

    def throughput(self, n: float) -> float:
        """Predict the throughput of so many workers."""
        return self.rate * n / (1 + self.contention * (n - 1) + self.coherency * n * (n - 1))

    @property
    def peak(self) -> float:
        """Workers beyond which more make it slower, at least 1; inf where more never do."""
        if self.contention >= 1:
            return 1.0
        if self.coherency == 0:
            return inf
        return max(1.0, sqrt((1 - self.contention) / self.coherency))

    def needed(self, throughput: float) -> float | None:
        """Tell how many workers, at least 1, give this much; None if no number does."""
        if throughput <= self.rate:
            return 1.0
        # The smaller root of a quadratic, in the form that does not cancel.
        constant = throughput * (1 - self.contention)
        half = (self.rate - throughput * (self.contention - self.coherency)) / 2
        inside = half * half - throughput * self.coherency * constant
        if constant <= 0 or half <= 0 or inside < 0:
            return None
        return constant / (half + sqrt(inside))


def fit(levels: Sequence[Level]) -> Fit:
    """Find the parameters that explain the measurements best.

    Raises ValueError with fewer than `FEWEST_LEVELS` different N, and if a measurement is not
    above 0.
    """
    distinct = len({level.n for level in levels})
    if distinct < FEWEST_LEVELS:
        raise ValueError(f"{distinct} different levels do not tell: {FEWEST_LEVELS} are needed")
    if not all(n > 0 and x > 0 and isfinite(n) and isfinite(x) for n, x in levels):
        raise ValueError("a level or a throughput is not above 0")
    fits = [_fit_face(levels, face) for face in _FACES]
    allowed = [found for found in fits if found[0] > 0 and min(found) >= 0]
    best = min(allowed, key=lambda found: _squares(levels, found))
    inverse, contended, coherent = best
    mean = sum(level.throughput for level in levels) / len(levels)
    error = sqrt(_squares(levels, best) / len(levels)) / mean
    return Fit(1 / inverse, contended / inverse, coherent / inverse, error, distinct)


def _fit_face(levels: Sequence[Level], face: Sequence[int]) -> _Vector:
    """Give the three coefficients of N / X, those outside the face 0."""
    rows = [[_terms(n)[column] for column in face] for n, _ in levels]
    found = _spread(face, _least_squares(rows, list(starmap(_inverse, levels))))
    if min(_denominators(levels, found)) <= 0:
        largest = max(x / n for n, x in levels)
        found = [1 / largest, 0.0, 0.0]
    squares = _squares(levels, found)
    for _ in range(_MOST_STEPS):
        better = _step(levels, face, found, squares)
        if better is None:
            break
        reached = _squares(levels, better)
        is_done = squares - reached <= 1e-15 * squares
        found, squares = better, reached
        if is_done:
            break
    return found


def _step(
    levels: Sequence[Level], face: Sequence[int], found: _Vector, squares: float
) -> _Vector | None:
    """Do a Gauss-Newton step, as much of it as makes the error smaller; None if nothing does."""
    rows, missing = [], []
    for (n, x), below in zip(levels, _denominators(levels, found), strict=True):
        model = n / below
        rows.append([-model * model / n * _terms(n)[column] for column in face])
        missing.append(x - model)
    change = _spread(face, _least_squares(rows, missing))
    part = 1.0
    for _ in range(_MOST_HALVINGS):
        tried = [a + part * b for a, b in zip(found, change, strict=True)]
        if min(_denominators(levels, tried)) > 0 and _squares(levels, tried) < squares:
            return tried
        part /= 2
    return None


def _terms(n: float) -> tuple[float, float, float]:
    return 1.0, n - 1, n * (n - 1)


def _inverse(n: float, throughput: float) -> float:
    return n / throughput


def _denominators(levels: Sequence[Level], found: _Vector) -> _Vector:
    return [sum(a * b for a, b in zip(found, _terms(n), strict=True)) for n, _ in levels]


def _squares(levels: Sequence[Level], found: _Vector) -> float:
    below = _denominators(levels, found)
    return sum((x - n / d) ** 2 for (n, x), d in zip(levels, below, strict=True))


def _spread(face: Sequence[int], values: _Vector) -> _Vector:
    found = [0.0, 0.0, 0.0]
    for column, value in zip(face, values, strict=True):
        found[column] = value
    return found


def _least_squares(rows: Sequence[Sequence[float]], wanted: _Vector) -> _Vector:
    """Solve by modified Gram-Schmidt, which treats the right side as one more column.

    Source: A. Bjorck, "Numerical Methods for Least Squares Problems" (1996), section 2.4. Squaring
    the matrix instead would lose half of the digits.
    """
    columns = [list(column) for column in zip(*rows, strict=True)]
    right = list(wanted)
    size = len(columns)
    upper = [[0.0] * size for _ in range(size)]
    projected = [0.0] * size
    for j, column in enumerate(columns):
        length = sqrt(sum(value * value for value in column))
        upper[j][j] = length
        unit = [value / length for value in column]
        for k in range(j + 1, size):
            upper[j][k], columns[k] = _project(unit, columns[k])
        projected[j], right = _project(unit, right)
    solution = [0.0] * size
    for j in reversed(range(size)):
        known = sum(upper[j][k] * solution[k] for k in range(j + 1, size))
        solution[j] = (projected[j] - known) / upper[j][j]
    return solution


def _project(unit: _Vector, column: _Vector) -> tuple[float, _Vector]:
    """Give how much of the unit vector the column has, and the column without it."""
    along = sum(a * b for a, b in zip(unit, column, strict=True))
    return along, [b - along * a for a, b in zip(unit, column, strict=True)]
