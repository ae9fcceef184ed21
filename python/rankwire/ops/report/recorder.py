"""Remembers how the figures went and which rules were true, for the plots of a report.

Bounded: of each figure that a plot is made of the newest `MOST_POINTS` values, and the newest
`MOST_EPISODES` bottlenecks. Nothing is kept on disk; a server that starts has no history.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rankwire.ops.report.bundle import HISTORY, MOST_EPISODES, MOST_POINTS, Episode, Points

if TYPE_CHECKING:
    from rankwire.ops.analyzer.rules import Active
    from rankwire.ops.findings import Known


class Recorder:
    """Takes every look of one analyzer, in their order."""

    def __init__(self, names: Sequence[str] = HISTORY) -> None:
        """Keep the figures of these names."""
        self._names = names
        self._points: dict[str, deque[tuple[float, Known]]] = {}
        self._lasting: dict[str, Episode] = {}
        self._over: deque[Episode] = deque(maxlen=MOST_EPISODES)

    def add(self, at: float, figures: Mapping[str, Known], active: Iterable[Active]) -> None:
        """Remember a look. A figure that it does not have was not known."""
        for name in self._names:
            known = self._points.get(name)
            value = figures.get(name)
            if known is None:
                if value is None:
                    continue
                known = self._points[name] = deque(maxlen=MOST_POINTS)
            known.append((at, value))
        self._follow(at, active)

    def history(self) -> dict[str, Points]:
        """Give the values of every figure that was ever known, oldest first."""
        return {name: list(self._points[name]) for name in self._names if name in self._points}

    def episodes(self) -> list[Episode]:
        """Give the bottlenecks, oldest first; those that last are the last."""
        every = [*self._over, *self._lasting.values()]
        return every[-MOST_EPISODES:]

    def _follow(self, at: float, active: Iterable[Active]) -> None:
        now = {one.rule.id: Episode(one.rule.id, one.rule.severity, one.since) for one in active}
        for name, episode in self._lasting.items():
            if name not in now or now[name].since != episode.since:
                self._over.append(Episode(episode.type, episode.severity, episode.since, at))
        self._lasting = now
