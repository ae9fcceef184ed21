"""How well each part is, from its figures and rules; the worst stands for all.

The score of a figure is 1 while it is within the clear level of its rule, falls in a straight line
to 0.5 at the bound, and on to its floor at twice the distance that the bound has from perfect (or
at 1 for a ratio). The floor tells how much a rule may matter: 0 for HIGH, 0.4 for MEDIUM, 0.7 for
LOW, which is reached at the bound already. A part is as well as its worst figure: an average would
hide an outage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from rankwire.ops.findings import Health

if TYPE_CHECKING:
    from rankwire.ops.analyzer.rules import Rule
    from rankwire.ops.findings import Known, SourceStatus

_FLOORS: Final = {"HIGH": 0.0, "MEDIUM": 0.4, "LOW": 0.7}
_AT_BOUND: Final = 0.5
_WELL: Final = "within all bounds"


def score(rule: Rule, value: float) -> float:
    """Tell how well a figure is by its rule, from 0 to 1."""
    if rule.is_clear(value):
        return 1.0
    # Distances from perfect, which is 0 above and 1 below; all of them grow with badness.
    values = (rule.clear, rule.bound, value)
    clear, bound, found = values if rule.side == "above" else tuple(1 - each for each in values)
    floor = _FLOORS[rule.severity]
    if not rule.is_beyond(value):
        return (
            1 - (1 - max(_AT_BOUND, floor)) * (found - clear) / (bound - clear)
            if bound > clear
            else 1.0
        )
    worst = 2 * bound if bound > 0 else 1.0
    if rule.side == "below" or bound <= 1 < worst:
        worst = min(worst, 1.0)
    part = min(1.0, (found - bound) / (worst - bound)) if worst > bound else 1.0
    return max(floor, _AT_BOUND * (1 - part))


def of_sources(
    rules: Iterable[Rule], figures: Mapping[str, Known], sources: Mapping[str, SourceStatus]
) -> dict[str, Health]:
    """Score every source that this node has, by the figures that its rules are about."""
    rules = list(rules)
    return {
        name: _of_source(name, rules, figures, status)
        for name, status in sources.items()
        if status.status != "absent"
    }


def overall(parts: Mapping[str, Health], sources: Mapping[str, SourceStatus]) -> Health:
    """Give the worst of all, with its name; not known while a source is unavailable.

    A part that nothing can be said of because nothing happens there counts neither way.
    """
    unknown = [
        f"{name} is unavailable: {status.reason}"
        for name, status in sources.items()
        if status.status == "unavailable"
    ]
    known = {name: part for name, part in parts.items() if part.score is not None}
    worst = min(known, key=lambda name: known[name].score or 0.0, default=None)
    said = "nothing is known" if worst is None else f"{worst}: {known[worst].cause}"
    if unknown:
        rest = "" if worst is None else f"; of the others the worst is {said}"
        return Health(None, "; ".join(unknown) + rest)
    return Health(None, said) if worst is None else Health(known[worst].score, said)


def _of_source(
    name: str, rules: Iterable[Rule], figures: Mapping[str, Known], status: SourceStatus
) -> Health:
    if status.status == "unavailable":
        return Health(None, status.reason)
    scores = [
        (score(rule, value), f"{rule.figure} is {value:.4g}, {rule.id} is from {rule.bound:g} on")
        for rule in rules
        if rule.figure.startswith(f"{name}.") and (value := figures.get(rule.figure)) is not None
    ]
    if not scores:
        return Health(None, "nothing to judge it by yet")
    worst, words = min(scores)
    return Health(worst, words if worst < 1 else _WELL)
