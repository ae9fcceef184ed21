"""Traces of look-ups, and what caches make of them."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate

from rankwire.local_cache import LocalCache
from rankwire.storage.profiles import NONE


def zipf(members: int, exponent: float, reads: int, seed: int) -> list[str]:
    """Names of members, the n-th most popular as often as n to the minus `exponent`."""
    chance = random.Random(seed)
    weights = [(rank + 1) ** -exponent for rank in range(members)]
    names = [f"m{number}" for number in range(members)]
    chance.shuffle(names)
    return chance.choices(names, cum_weights=list(accumulate(weights)), k=reads)


def read(cache: LocalCache, members: Sequence[str]) -> float:
    """Look each of these up, put what was missing, and give the hit rate."""
    hits = cache.counts.hits
    for member in members:
        if not cache.get_many([member]):
            cache.put_many({member: NONE})
    return (cache.counts.hits - hits) / len(members)


def lru_rate(members: Sequence[str], entries: int) -> float:
    """The hit rate of a cache that throws out what was used the longest time ago."""
    kept: OrderedDict[str, None] = OrderedDict()
    hits = 0
    for member in members:
        if member in kept:
            hits += 1
        kept[member] = None
        kept.move_to_end(member)
        if len(kept) > entries:
            kept.popitem(last=False)
    return hits / len(members)
