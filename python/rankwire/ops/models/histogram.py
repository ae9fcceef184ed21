"""A histogram that forgets: quantiles of what was measured, the newest counting most.

Promises: constant size; a quantile is the upper bound of the bucket that the exact one lies in, so
it is at most `ratio` times too large and never too small, for values between `first` and `most`. A
value is worth half as much after each half-life. Values may come late or twice.

Source: the recommender of Kubernetes' Vertical Pod Autoscaler, which has buckets that grow by 1.05
and a half-life of 24 hours. Its buckets begin with steps of the first bucket's width; these grow
from the first on, which keeps the promise for small values as well.
"""

from __future__ import annotations

from math import ceil, isfinite, log
from typing import Final

import msgspec

# Weights are kept relative to a moment in the past, so that adding needs no touch of the others;
# that moment is moved before the numbers get large.
_MOST_HALF_LIVES: Final = 50.0
_MOST_BUCKETS: Final = 4096


class DecayingHistogram(msgspec.Struct):
    """Weights by buckets: up to `first`, and then each `ratio` times as high as the one before."""

    first: float
    most: float
    """The last bound; what is above counts as this."""
    ratio: float = 1.05
    half_life_seconds: float = 86_400.0
    newest: float = 0.0
    """When the newest value was measured."""
    reference: float | None = None
    """The moment that weights are relative to."""
    weights: list[float] = msgspec.field(default_factory=list)

    def __post_init__(self) -> None:
        """Raise ValueError if this cannot be a histogram."""
        if not (0 < self.first < self.most and self.ratio > 1 and self.half_life_seconds > 0):
            raise ValueError("a histogram needs 0 < first < most, ratio > 1 and a half-life")
        size = 1 + ceil(log(self.most / self.first) / log(self.ratio))
        if size > _MOST_BUCKETS:
            raise ValueError(f"a histogram of {size} buckets is too large")
        if not self.weights:
            self.weights = [0.0] * size
        if len(self.weights) != size or not all(weight >= 0 for weight in self.weights):
            raise ValueError(f"the weights are not those of {size} buckets")

    def add(self, value: float, at: float, weight: float = 1.0) -> None:
        """Count a value that was measured at this moment.

        Raises ValueError for what is no number of 0 or more.
        """
        if not (isfinite(value) and isfinite(at) and isfinite(weight) and min(value, weight) >= 0):
            raise ValueError(f"{value} with a weight of {weight} cannot be counted")
        self._refer(at)
        self.weights[self._bucket(value)] += weight * self._worth(at)

    def quantile(self, part: float) -> float:
        """Give the bound below which this part of the weight lies.

        Raises ValueError if nothing was counted.
        """
        total = sum(self.weights)
        if not total > 0:
            raise ValueError("nothing was measured")
        reached = 0.0
        last = 0
        for bucket, weight in enumerate(self.weights):
            if weight > 0:
                last = bucket
                reached += weight
                if reached >= part * total:
                    break
        return self._bound(last)

    def _bound(self, bucket: int) -> float:
        return float(min(self.most, self.first * self.ratio**bucket))

    def _bucket(self, value: float) -> int:
        if value <= self.first:
            return 0
        if value >= self.most:
            return len(self.weights) - 1
        guess = ceil(log(value / self.first) / log(self.ratio))
        # The logarithm may be off by a bit just at a bound.
        if value > self._bound(guess):
            return guess + 1
        return guess - 1 if value <= self._bound(guess - 1) else guess

    def _worth(self, at: float) -> float:
        """Tell how much weight of this moment counts among what is kept."""
        reference = at if self.reference is None else self.reference
        return float(2.0 ** ((at - reference) / self.half_life_seconds))

    def _refer(self, at: float) -> None:
        """Make the moment one that weights can be relative to."""
        if self.reference is None:
            self.reference = self.newest = at
        self.newest = max(self.newest, at)
        if self.newest - self.reference > _MOST_HALF_LIVES * self.half_life_seconds:
            shrunk = 2.0 ** ((self.reference - self.newest) / self.half_life_seconds)
            self.weights = [weight * shrunk for weight in self.weights]
            self.reference = self.newest
