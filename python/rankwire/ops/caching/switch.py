"""Turns one strategy on and off, and takes it back when it does not do what it promised.

A strategy is turned on when it promises a hit rate that is better than the one without it by more
than `TOLERANCE`: a smaller promise could not be told from chance. The promise is kept as it was
then. Each full window with a settled cache is compared with it, and one that misses it by more than
`TOLERANCE` ends the strategy. It stays off for ten windows, then for twice as long each time, at
most for a day; a strategy that has kept its promise for a day begins at ten windows again.
"""

from __future__ import annotations

from collections.abc import Callable
from time import time
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from rankwire.ops.caching.meter import Tally
    from rankwire.ops.caching.report import State

TOLERANCE: Final = 0.05
"""By how much a hit rate may fall short of what was predicted."""

_FIRST_WINDOWS: Final = 10
_LONGEST_SECONDS: Final = 86_400.0


class Limits(msgspec.Struct, frozen=True):
    """What a strategy has to keep to."""

    most_bytes: int
    """Memory of its cache."""
    window_seconds: float
    least: float
    """It is only for more than this of what it is for."""


class Promise(msgspec.Struct, frozen=True):
    """What a strategy would do."""

    predicted: float
    """Its hit rate."""
    baseline: float
    """The hit rate without it."""

    @property
    def is_worth_it(self) -> bool:
        """Whether the gain can be told from chance."""
        return self.predicted - self.baseline > TOLERANCE


class Switch:
    """Of one strategy."""

    def __init__(self, window_seconds: float, turn: Callable[[bool], object]) -> None:
        """Call `turn` to turn it on or off. It is off at first."""
        self.state: State = "off"
        self.reason = "no window has been measured yet"
        self.since = time()
        """When it came into the state, in seconds since 1970."""
        self.promise: Promise | None = None
        """The one that it was turned on for, or the newest."""
        self._turn = turn
        self._first_seconds = _FIRST_WINDOWS * window_seconds
        self._rest_seconds = self._first_seconds
        self._rest_until = 0.0
        self._on_since = 0.0

    @property
    def is_on(self) -> bool:
        """Whether it is in use."""
        return self.state == "on"

    def is_resting(self, now: float) -> bool:
        """Tell whether it was taken back and may not be turned on again yet."""
        return self.state == "rolled_back" and now < self._rest_until

    def offer(self, promise: Promise | None, reason: str, now: float, *, apply: bool) -> None:
        """Take what it would do now, None if nothing with the reason; and maybe turn it on."""
        if self.is_on:
            return
        if self.is_resting(now):
            return
        self.promise = promise
        if promise is None or not promise.is_worth_it:
            self._become("off", reason if promise is None else _too_little(promise))
        elif not apply:
            self._become("off", f"advised: {_gain(promise)}; ops.caching is not apply")
        else:
            self._on_since = now
            self._become("on", _gain(promise))
            self._turn(True)

    def judge(self, tally: Tally, now: float) -> None:
        """Compare a window with the promise, and end the strategy if it missed it."""
        promise = self.promise
        if not self.is_on or promise is None or not tally.settled:
            return
        if tally.rate >= promise.predicted - TOLERANCE:
            if now - self._on_since >= _LONGEST_SECONDS:
                self._rest_seconds = self._first_seconds
            return
        self._turn(False)
        self._rest_until = now + self._rest_seconds
        rest = round(self._rest_seconds)
        self._rest_seconds = min(_LONGEST_SECONDS, 2 * self._rest_seconds)
        self._become(
            "rolled_back",
            f"the hit rate of a window was {tally.rate:.2f}, predicted was {promise.predicted:.2f};"
            f" it stays off for {rest} s",
        )

    def end(self, reason: str) -> None:
        """Turn it off because nobody wants it any more."""
        if self.is_on:
            self._turn(False)
        self._rest_until = 0.0
        self.promise = None
        self._become("off", reason)

    def _become(self, state: State, reason: str) -> None:
        if state != self.state:
            self.since = time()
        self.state, self.reason = state, reason


def _gain(promise: Promise) -> str:
    return f"a hit rate of {promise.predicted:.2f} instead of {promise.baseline:.2f} is predicted"


def _too_little(promise: Promise) -> str:
    return f"{_gain(promise)}, which is no gain that counts"
