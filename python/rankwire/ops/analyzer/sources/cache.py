"""The source `cache`: our caches of profiles and pages, and Redis.

Totals: `local.hits`, `local.misses`, `shared.hits`, `shared.misses` with Redis, `page.hits`,
`page.misses`. With Redis also the gauges and totals of `rankwire.sync.vitals`, with `redis_` before
their names.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rankwire.ops.analyzer.readings import Reading, UnavailableError
from rankwire.sync.vitals import RedisVitals, VitalsError

if TYPE_CHECKING:
    from rankwire import _core
    from rankwire.profiles import Profiles


class CacheSource:
    """Counts of this process, and INFO of Redis where that is used."""

    name = "cache"

    def __init__(self, engine: _core.Engine, profiles: Profiles, redis_url: str) -> None:
        """Read these; an empty URL means that there is no Redis. Raises ValueError."""
        self._engine = engine
        self._profiles = profiles
        self._redis = RedisVitals(redis_url) if redis_url else None

    async def read(self) -> Reading:
        """See `Source.read`."""
        gauges: dict[str, float] = {}
        totals, life = self._counts(), ""
        if self._redis is not None:
            try:
                info = await self._redis.read()
            except VitalsError as error:
                raise UnavailableError(str(error)) from error
            gauges |= {f"redis_{key}": value for key, value in info.gauges.items()}
            totals |= {f"redis_{key}": value for key, value in info.totals.items()}
            life = info.life
        note = "" if self._redis else "there is no Redis"
        return Reading(at=time.time(), life=life, gauges=gauges, totals=totals, note=note)

    async def close(self) -> None:
        """See `Source.close`."""
        if self._redis is not None:
            await self._redis.close()

    def _counts(self) -> dict[str, float]:
        caches = {"local": self._profiles.local.counts}
        if self._profiles.shared is not None:
            caches["shared"] = self._profiles.shared.counts
        found: dict[str, float] = {}
        for name, counts in caches.items():
            found |= {f"{name}.hits": float(counts.hits), f"{name}.misses": float(counts.misses)}
        pages = self._engine.page_stats()
        found |= {"page.hits": float(pages["hits"]), "page.misses": float(pages["misses"])}
        return found
