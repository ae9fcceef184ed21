"""Vectors, the last batch of each origin: whether one has another, and waiting until it has."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rankwire import _core

_POLL_SECONDS: Final = 0.02


async def reach(engine: _core.Engine, vector: Mapping[int, int], seconds: float) -> bool:
    """Wait until an engine has taken in all of this, and tell whether it has."""
    end = time.monotonic() + seconds
    while not includes(await asyncio.to_thread(engine.vector), vector):
        if time.monotonic() >= end:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True


def includes(vector: Mapping[int, int], other: Mapping[int, int]) -> bool:
    """Tell whether one vector has at least what the other one has."""
    return all(vector.get(origin, 0) >= number for origin, number in other.items())
