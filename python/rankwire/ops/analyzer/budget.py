"""How fast errors use up what the objective allows, over long windows.

Promises: the last six hours, kept as totals at most every thirty seconds, so memory is bounded.
Only what this process has seen is counted: a window that reaches back to before its start begins
there, and is None until it has lasted as long as the shorter of its two windows.

Source: Google, "The Site Reliability Workbook" (2018), chapter 5: two windows have to burn, the
long one so that it matters and the short one so that it is over soon after the errors are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from rankwire.ops.findings import Known

FAST: Final = (3600.0, 300.0)
"""The long and the short window of `api.budget_burn_fast`, in seconds."""
SLOW: Final = (21_600.0, 1800.0)
"""The same of `api.budget_burn_slow`."""

_EVERY_SECONDS: Final = 30.0
# One before the longest window as well, to compare with.
_MOST: Final = round(SLOW[0] / _EVERY_SECONDS) + 1


class _Sample(NamedTuple):
    at: float
    requests: float
    errors: float


class Budget:
    """Totals of requests and errors, and how fast the errors grew."""

    def __init__(self, availability: float) -> None:
        """Allow this part of the answers to be errors: 1 less the availability."""
        self._allowed = 1 - availability
        self._kept: deque[_Sample] = deque(maxlen=_MOST)
        self._last: _Sample | None = None

    def add(self, at: float, requests: float, errors: float) -> None:
        """Take the totals of one look; what came before a clock that was set back is forgotten."""
        if self._last is not None and at < self._last.at:
            self._kept.clear()
        self._last = _Sample(at, requests, errors)
        if not self._kept or at - self._kept[-1].at >= _EVERY_SECONDS:
            self._kept.append(self._last)

    def burn(self, windows: tuple[float, float]) -> Known:
        """Tell how many times faster than allowed both windows had errors; None if not known."""
        parts = [self._part(seconds, min(windows)) for seconds in windows]
        known = [part for part in parts if part is not None]
        return min(known) / self._allowed if len(known) == len(parts) else None

    def _part(self, seconds: float, least: float) -> Known:
        last = self._last
        if last is None:
            return None
        begin = bisect_right(self._kept, last.at - seconds, key=lambda sample: sample.at)
        first = self._kept[max(0, begin - 1)]
        requests = last.requests - first.requests
        if last.at - first.at < least or requests <= 0:
            return None
        return (last.errors - first.errors) / requests
