"""The source `cache`: our caches of profiles and pages, and Redis.

Totals: those of `rankwire.ops.pulse.caches`, like `profile_local.hits`, `profile_redis.misses` and
`page.hits`. With Redis also the gauges and totals of `rankwire.sync.vitals`, with `redis_` before
their names. While Redis cannot be asked the source counts as unavailable, and tells what this
process has counted all the same.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from rankwire.ops import pulse
from rankwire.ops.analyzer.readings import Reading
from rankwire.sync.vitals import RedisVitals, VitalsError

if TYPE_CHECKING:
    from rankwire import _core
    from rankwire.profiles import Profiles

_OF_REDIS: Final = ("cache.redis_",)


class CacheSource:
    """Counts of this process, and INFO of Redis where that is used."""

    name = "cache"

    def __init__(self, engine: _core.Engine, profiles: Profiles, redis_url: str) -> None:
        """Read these; an empty URL means that there is no Redis. Raises ValueError."""
        self._engine = engine
        self._profiles = profiles
        self._redis = RedisVitals(redis_url) if redis_url else None
        # Of Redis when it last answered: that it is away begins no life of our counts.
        self._life = ""

    async def read(self) -> Reading:
        """See `Source.read`."""
        totals = pulse.counts(pulse.caches(self._engine.page_stats(), self._profiles))
        if self._redis is None:
            return Reading(at=time.time(), totals=totals, note="there is no Redis")
        try:
            info = await self._redis.read()
        except VitalsError as error:
            return Reading(
                at=time.time(),
                life=self._life,
                totals=totals,
                trouble=str(error),
                unknown=_OF_REDIS,
            )
        self._life = info.life
        return Reading(
            at=time.time(),
            life=info.life,
            gauges={f"redis_{key}": value for key, value in info.gauges.items()},
            totals=totals | {f"redis_{key}": value for key, value in info.totals.items()},
        )

    async def close(self) -> None:
        """See `Source.close`."""
        if self._redis is not None:
            await self._redis.close()
