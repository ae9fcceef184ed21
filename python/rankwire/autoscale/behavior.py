"""How fast a HorizontalPodAutoscaler follows what its metrics want: windows, rates, limits.

Promises the decisions of the HPA controller of Kubernetes 1.37 for the same history: the
stabilisation windows, then the policies with the changes of their periods, then the limits. A
manifest without `behavior` goes the older way, as there. Times are seconds of any clock that only
goes forward. Pure; touches nothing.

Source of the rules: Kubernetes, `pkg/controller/podautoscaler/horizontal.go`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

DOWN_WINDOW: Final = 300
"""Seconds over which a fall is held back if nothing is said: the controller's own default."""

Select = Literal["Max", "Min", "Disabled"]

_DOUBLING: Final = 2.0
_LEAST_JUMP: Final = 4.0
"""Without `behavior`, one step leads to at most twice as many replicas, or to four."""


class Policy(msgspec.Struct, frozen=True):
    """A bound on the change within a period."""

    type: Literal["Pods", "Percent"]
    value: int
    period: int
    """Seconds."""


class Rules(msgspec.Struct, frozen=True):
    """One direction of `behavior`, with nothing left open."""

    window: int
    """Seconds: the least change wanted within them is made."""
    policies: tuple[Policy, ...]
    select: Select = "Max"

    @property
    def longest_period(self) -> int:
        """Seconds after which a change bounds nothing any more."""
        return max(policy.period for policy in self.policies)


DEFAULT_UP: Final = Rules(0, (Policy("Pods", 4, 15), Policy("Percent", 100, 15)))
DEFAULT_DOWN: Final = Rules(DOWN_WINDOW, (Policy("Percent", 100, 15),))
"""What the API server writes for a direction of `behavior` that is left out."""


class Behavior(msgspec.Struct, frozen=True):
    """Both directions."""

    up: Rules = DEFAULT_UP
    down: Rules = DEFAULT_DOWN


class Bounds(msgspec.Struct, frozen=True):
    """`minReplicas` and `maxReplicas`."""

    least: int
    most: int


class Outcome(msgspec.Struct, frozen=True):
    """What became of a wish."""

    wanted: int
    stabilized: int
    replicas: int
    limit: str = ""
    """What held it back: `stabilisation`, `rate`, `minReplicas` or `maxReplicas`; else empty."""


class History:
    """What was wanted and done of late; grows no longer than the windows and periods are."""

    def __init__(self) -> None:
        """Begin without a past."""
        self.wishes: list[tuple[float, int]] = []
        """When how many replicas were wanted."""
        self.ups: list[tuple[float, int]] = []
        self.downs: list[tuple[float, int]] = []
        """When how many were added or taken away."""

    def begin(self, now: float, current: int) -> None:
        """Take the first count as wanted, unless there is a past."""
        if not self.wishes:
            self.wishes.append((now, current))

    def changed(self, now: float, before: int, after: int, behavior: Behavior | None) -> None:
        """Remember a change that was made."""
        if behavior is None:
            return
        if after > before:
            _replace(self.ups, now - behavior.up.longest_period, (now, after - before))
        else:
            _replace(self.downs, now - behavior.down.longest_period, (now, before - after))

    def wish(self, now: float, wanted: int, window: float) -> None:
        """Remember what was wanted, and forget what is older than the window."""
        self.wishes = [*_within(self.wishes, now - window), (now, wanted)]


def follow(
    history: History,
    now: float,
    counts: tuple[int, int],
    bounds: Bounds,
    behavior: Behavior | None,
) -> Outcome:
    """Say how many replicas there are to be, of `counts`: how many there are, how many are wanted.

    The wish becomes part of the history; the change does when it is made, by `History.changed`.
    """
    if behavior is None:
        return _follow_plainly(history, now, counts, bounds)
    current, wanted = counts
    stabilized = stabilize(history, now, counts, behavior)
    history.wish(now, wanted, max(behavior.up.window, behavior.down.window))
    if stabilized > current:
        most = max(current, up_limit(history, now, current, behavior.up))
        replicas = min(stabilized, most, bounds.most)
        limit = "rate" if most < bounds.most else "maxReplicas"
    elif stabilized < current:
        least = min(current, down_limit(history, now, current, behavior.down))
        replicas = max(stabilized, least, bounds.least)
        limit = "rate" if least > bounds.least else "minReplicas"
    else:
        replicas, limit = stabilized, ""
    return _outcome(wanted, stabilized, replicas, limit)


def stabilize(history: History, now: float, counts: tuple[int, int], behavior: Behavior) -> int:
    """Move from the current count only as far as all wishes of the windows agree."""
    current, wanted = counts
    up, down = now - behavior.up.window, now - behavior.down.window
    lowest = min([wanted, *(count for when, count in history.wishes if when > up)])
    highest = max([wanted, *(count for when, count in history.wishes if when > down)])
    return min(max(current, lowest), highest)


def up_limit(history: History, now: float, current: int, rules: Rules) -> int:
    """Tell the most replicas that the policies allow; rounded up, so that there is always a way."""
    if rules.select == "Disabled":
        return current
    allowed = []
    for policy in rules.policies:
        start = _at_start(history, now, current, policy.period)
        if policy.type == "Pods":
            allowed.append(start + policy.value)
        else:
            allowed.append(math.ceil(start * (1 + policy.value / 100)))
    return max(allowed) if rules.select == "Max" else min(allowed)


def down_limit(history: History, now: float, current: int, rules: Rules) -> int:
    """Tell the fewest replicas that the policies allow; percentages are cut to whole replicas."""
    if rules.select == "Disabled":
        return current
    allowed = []
    for policy in rules.policies:
        start = _at_start(history, now, current, policy.period)
        if policy.type == "Pods":
            allowed.append(start - policy.value)
        else:
            allowed.append(int(start * (1 - policy.value / 100)))
    return min(allowed) if rules.select == "Max" else max(allowed)


def _follow_plainly(
    history: History, now: float, counts: tuple[int, int], bounds: Bounds
) -> Outcome:
    """Go the way of a manifest that has no `behavior`."""
    current, wanted = counts
    # Here what is exactly as old as the window still counts.
    kept = [count for when, count in history.wishes if when >= now - DOWN_WINDOW]
    stabilized = max([wanted, *kept])
    history.wish(now, wanted, DOWN_WINDOW)
    jump = int(max(_DOUBLING * current, _LEAST_JUMP))
    replicas = max(min(stabilized, jump, bounds.most), bounds.least)
    if stabilized < bounds.least:
        limit = "minReplicas"
    else:
        limit = "rate" if jump < bounds.most else "maxReplicas"
    return _outcome(wanted, stabilized, replicas, limit)


def _outcome(wanted: int, stabilized: int, replicas: int, limit: str) -> Outcome:
    if replicas != stabilized:
        return Outcome(wanted, stabilized, replicas, limit)
    return Outcome(wanted, stabilized, replicas, "stabilisation" if stabilized != wanted else "")


def _at_start(history: History, now: float, current: int, period: int) -> int:
    """Tell how many replicas there were when the period began."""
    cutoff = now - period
    return current - _sum_after(history.ups, cutoff) + _sum_after(history.downs, cutoff)


def _sum_after(changes: Iterable[tuple[float, int]], cutoff: float) -> int:
    return sum(count for when, count in changes if when > cutoff)


def _replace(past: list[tuple[float, int]], oldest: float, entry: tuple[float, int]) -> None:
    """Put an entry in the place of the last one that is too old; add it if there is none.

    As there: the others stay, and count for the other direction if its policies look back longer.
    """
    outdated = [index for index, (when, _) in enumerate(past) if when < oldest]
    if outdated:
        past[outdated[-1]] = entry
    else:
        past.append(entry)


def _within(past: Sequence[tuple[float, int]], oldest: float) -> list[tuple[float, int]]:
    return [entry for entry in past if entry[0] >= oldest]
