"""How totals have grown of late: what rates and ratios over the last minute are made from.

A timer keeps one sample of the totals a second. A question compares the totals of now with the
oldest sample that is at most `WINDOW_SECONDS` old, so its window is that long or, for a minute
after the start, as long as the server runs. Moments are `time.monotonic()`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Final

import msgspec

from rankwire.ops.ticker import Ticker

WINDOW_SECONDS: Final = 60.0

_EVERY_SECONDS: Final = 1.0

Totals = Mapping[str, float]


class Growth(msgspec.Struct, frozen=True):
    """How much each total grew, and in how many seconds."""

    seconds: float
    by: Totals


class Recent:
    """Samples of totals that only grow."""

    def __init__(self, read: Callable[[], Totals]) -> None:
        """Take the first sample; `start` lets a timer take the others."""
        self._read = read
        self._samples: deque[tuple[float, Totals]] = deque()
        self._ticker = Ticker(_EVERY_SECONDS, lambda _late: self.sample(monotonic()))
        self.sample(monotonic())

    def start(self) -> None:
        """Begin to take samples, on the event loop."""
        self._ticker.start()

    def stop(self) -> None:
        """End that. Idempotent."""
        self._ticker.stop()

    def sample(self, now: float) -> None:
        """Keep the totals of now, and forget what no window reaches any more."""
        self._samples.append((now, self._read()))
        while self._samples[0][0] < now - WINDOW_SECONDS:
            self._samples.popleft()

    def growth(self, totals: Totals, now: float) -> Growth:
        """Tell how much the totals have grown to these within the window."""
        then, before = next(
            (sample for sample in self._samples if sample[0] >= now - WINDOW_SECONDS),
            self._samples[-1],
        )
        grown = {name: total - before[name] for name, total in totals.items()}
        return Growth(now - then, grown)
