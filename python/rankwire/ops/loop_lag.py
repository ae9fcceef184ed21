"""Event-loop lag: how long the event loop kept a timer waiting that was due.

Whatever holds up the timer holds up every request as well. A stall longer than `EVERY_SECONDS` is
always seen, once and with nearly all of its length; a shorter one as often as a timer happens to be
due meanwhile. The resolution is that of uvloop's timers, one millisecond.
"""

from __future__ import annotations

from typing import Final

from rankwire.ops.ticker import Ticker
from rankwire.times import Times

EVERY_SECONDS: Final = 0.1
"""Between two measurements."""


class LoopLag:
    """Measures the event loop that it was made on."""

    def __init__(self) -> None:
        """Prepare; `start` begins to measure."""
        self.times = Times()
        self._ticker = Ticker(EVERY_SECONDS, self.times.add)

    def start(self) -> None:
        """Begin to measure."""
        self._ticker.start()

    def stop(self) -> None:
        """End that; what was measured stays. Idempotent."""
        self._ticker.stop()
