"""What part of the time a fleet is up, from what is promised of its parts.

Promises: arithmetic only. Machines fail independently of each other here, which they do not in
life; what is put into it are promises of a provider, not findings.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import comb, prod

import msgspec


class Part(msgspec.Struct, frozen=True):
    """A tier in the chain that a request goes through."""

    name: str
    each: float
    """Availability of one."""
    instances: int
    needed: int
    availability: float
    source: str


class Availability(msgspec.Struct, frozen=True):
    """The chain."""

    availability: float
    minutes_down: float
    """In a month, whose hours are those of the price table."""
    parts: list[Part]


def parallel(each: float, instances: int, needed: int) -> float:
    """Tell the probability that at least so many of the instances are up."""
    return min(
        1.0,
        sum(
            comb(instances, up) * each**up * (1 - each) ** (instances - up)
            for up in range(needed, instances + 1)
        ),
    )


def part(name: str, each: float, instances: int, needed: int, source: str) -> Part:
    """Make a part."""
    return Part(name, each, instances, needed, parallel(each, instances, needed), source)


def serial(parts: Iterable[Part], hours: float) -> Availability:
    """Tell how often all parts are up at once, in a month of so many hours."""
    chain = list(parts)
    value = prod(one.availability for one in chain)
    return Availability(value, (1 - value) * hours * 60, chain)
