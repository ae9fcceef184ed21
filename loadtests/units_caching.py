"""The hit rate that caching promises of a real server, and the one that it then keeps.

30,000 members are shown with their profiles, a page of 100 at a time and pages by Zipf's law. The
server runs with `ops.caching` `apply`: it watches, promises, turns its larger cache of profiles on
and measures. What it promised and what it measured both come from its own report.
"""

from __future__ import annotations

import random
import time
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import harness
import swarm
from harness import BenchError

MEMBERS: Final = 30_000
PAGE: Final = 100
# So slow that a profile is mostly forgotten before it is asked for again: there is much to gain.
_PAGES_PER_SECOND: Final = 40
_MOST_SECONDS: Final = 180.0
_BATCH: Final = 5000
_SEED: Final = 11
_STRATEGY: Final = "USER_PROFILE_CACHE"
_FLAGS: Final = (
    "--ops-caching",
    "apply",
    "--ops-window-seconds",
    "5",
    "--ops-sample-seconds",
    "0.5",
)


def hit_rates(directory: Path) -> tuple[float, float]:
    """Give the hit rate that was promised and the one that was measured once it was on."""
    chance = random.Random(_SEED)
    weights = list(accumulate(1 / rank for rank in range(1, MEMBERS // PAGE + 1)))
    pages = range(MEMBERS // PAGE)
    with swarm.serving(directory, "caching", *_FLAGS) as server:
        _fill(server.port)
        began = time.monotonic()
        for asked in range(int(_MOST_SECONDS * _PAGES_PER_SECOND)):
            (page,) = chance.choices(pages, cum_weights=weights)
            path = f"/v1/boards/b/top?profiles=true&limit={PAGE}&offset={PAGE * page}"
            harness.call(server.port, "GET", path)
            if asked % _PAGES_PER_SECOND == 0 and (found := _kept(server.port)) is not None:
                return found
            time.sleep(max(0.0, began + asked / _PAGES_PER_SECOND - time.monotonic()))
    raise BenchError(f"caching was not turned on and measured within {_MOST_SECONDS:.0f} s")


def _fill(port: int) -> None:
    harness.call(port, "PUT", "/v1/boards/b", {})
    for start in range(0, MEMBERS, _BATCH):
        items = [{"member": f"m{n}", "score": n} for n in range(start, start + _BATCH)]
        harness.call(port, "POST", "/v1/boards/b/scores:batch", items)


def _kept(port: int) -> tuple[float, float] | None:
    """Look whether the cache is on and was measured for a whole window."""
    strategies: list[dict[str, Any]] = harness.call(port, "GET", "/v1/ops/caching")["strategies"]
    (ours,) = (each for each in strategies if each["name"] == _STRATEGY)
    if ours["state"] != "on" or ours["measured_hit_rate"] is None:
        return None
    return ours["predicted_hit_rate"], ours["measured_hit_rate"]
