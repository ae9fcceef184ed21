"""Caching that looks at what is read, says what it would bring, and does it if it may.

Promises: a look is cheap (counters, and once a window a curve and a question to the database) and
never raises for the database; nothing is turned on but in the mode `apply`; what misses its
prediction is taken back, see `switch`; what strategies keep while they are on needs at most
`ops.cache_mb`, a quarter of it for pages. A report is made of what is known, without waiting. For
the event loop of the server.

The cache of profiles that there is without caching has room for `LOCAL_ENTRIES`, whatever
`ops.cache_mb` is: see `local_cache`.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic, time
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from rankwire.ops.caching.economy import part_of
from rankwire.ops.caching.first_pages import FirstPages
from rankwire.ops.caching.load import Load
from rankwire.ops.caching.memory import added_cost
from rankwire.ops.caching.money import Saved, money
from rankwire.ops.caching.profile_cache import ProfileCache
from rankwire.ops.caching.report import CachingReport, Freed, Mode
from rankwire.ops.caching.switch import Limits
from rankwire.ops.memory import free_bytes
from rankwire.profiles import longest_seconds

if TYPE_CHECKING:
    from rankwire._core import Engine
    from rankwire.ops.caching.load import KnownLoad
    from rankwire.ops.findings import Known
    from rankwire.ops.prices import Catalogue
    from rankwire.profiles import Profiles
    from rankwire.settings import Ops
    from rankwire.storage.pool import Database

_MB: Final = 1_000_000
_PAGES_PART: Final = 0.25

_log = structlog.get_logger(__name__)


class Thresholds(msgspec.Struct, frozen=True):
    """From when on something is a pattern, and a history is long enough."""

    reads_per_minute: float = 100.0
    """Of a board, for PRECOMPUTED_LEADERBOARDS."""
    members_per_day: float = 10_000.0
    """Asked for, for USER_PROFILE_CACHE."""
    load_seconds: float = 86_400.0
    """Of the database's load, before a smaller server is spoken of: a day has a peak."""


USUAL: Final = Thresholds()


class IntelligentCaching:
    """Of one node."""

    def __init__(
        self,
        engine: Engine,
        profiles: Profiles,
        database: Database | None,
        catalogue: Catalogue,
        ops: Ops,
        thresholds: Thresholds = USUAL,
    ) -> None:
        """Watch and change the pages of `engine` and the cache of `profiles`, as `ops` says.

        `database` is where profiles are read from; None with SQLite.
        """
        now = monotonic()
        window = ops.window_seconds
        self._engine = engine
        self._profiles = profiles
        self._catalogue = catalogue
        self._ops = ops
        self._thresholds = thresholds
        self._mode: Mode = "off"
        most_bytes = ops.cache_mb * _MB
        pages_bytes = int(most_bytes * _PAGES_PART)
        for_pages = Limits(pages_bytes, window, thresholds.reads_per_minute)
        for_profiles = Limits(most_bytes - pages_bytes, window, thresholds.members_per_day)
        seconds = longest_seconds(is_sole=database is None, is_told=profiles.shared is not None)
        self._pages = FirstPages(engine, for_pages, now)
        self._cache = ProfileCache(profiles, engine.traffic, seconds, for_profiles, now)
        self._strategies = (self._pages, self._cache)
        self._load = Load(database, window) if database is not None else None
        self.apply(ops.caching)

    def apply(self, mode: Mode) -> None:
        """Take this mode from now on. Turns off what is on unless it is `apply`."""
        self._mode = mode
        self._engine.watch_traffic(mode != "off")
        self._profiles.watch(self._see if mode != "off" else None)
        if mode != "apply":
            for strategy in self._strategies:
                strategy.end(f"ops.caching is {mode}", monotonic())

    async def look(self) -> None:
        """Measure, predict, and in the mode `apply` turn strategies on and back."""
        if self._mode == "off":
            return
        now = monotonic()
        for strategy in self._strategies:
            switch = strategy.switch
            before = switch.state
            strategy.look(now, apply=self._mode == "apply")
            if switch.state != before:
                name, state = strategy.name, switch.state
                _log.info("caching changed", strategy=name, state=state, reason=switch.reason)
                if self._load is not None:
                    self._load.restart()
        if self._load is not None:
            await self._load.look(now)

    def report(self) -> CachingReport:
        """Tell all of it."""
        strategies = [strategy.strategy() for strategy in self._strategies]
        load = self._load.known if self._load is not None else None
        hours = self._catalogue.hours
        pages = self._pages.freed(hours)
        cache = self._cache.freed(hours, load.read_seconds if load is not None else None)
        saved = Saved(_per_second(cache), self._cache.switch.is_on, cache.is_bound)
        priced = money(
            self._catalogue, self._ops.database_sku, load, saved, self._thresholds.load_seconds
        )
        added, why = added_cost(self._still_needed(), free_bytes())
        net = None
        if priced.realizable is not None and added is not None:
            net = priced.realizable - added
        curves = (strategy.curve() for strategy in self._strategies)
        return CachingReport(
            at=time(),
            mode=self._mode,
            window_seconds=self._ops.window_seconds,
            patterns=[each.pattern() for each in self._strategies if self._mode != "off"],
            curves=[curve for curve in curves if curve is not None],
            strategies=strategies,
            capacity_freed=[pages, _with_part(cache, saved, load)],
            current_database_cost=priced.current,
            optimized_database_cost=priced.optimized,
            added_cache_cost=added,
            realizable_saving=priced.realizable,
            net_saving=net,
            lines=priced.lines,
            reasons=priced.reasons | {"added_cache_cost": why},
        )

    def _still_needed(self) -> float:
        """Tell how much more the caches may come to need: what is there is taken already.

        Also by the profiles that are remembered without caching.
        """
        used = self._engine.page_stats()["bytes"] + self._profiles.local.bytes
        return max(0.0, self._ops.cache_mb * _MB - used)

    def _see(self, members: Sequence[str]) -> None:
        self._cache.see(members, monotonic())


def _with_part(freed: Freed, saved: Saved, load: KnownLoad | None) -> Freed:
    """Add what part of the database's time it is, unless either is not known."""
    if load is None or load.mean is None or saved.per_second is None or saved.is_bound:
        return freed
    busy = load.mean + (saved.per_second if saved.is_on else 0.0)
    return msgspec.structs.replace(freed, part=part_of(saved.per_second, busy))


def _per_second(freed: Freed) -> Known:
    """Give the seconds of work that are saved each second."""
    if freed.hits_per_second is None or freed.miss_seconds is None:
        return None
    return freed.hits_per_second * freed.miss_seconds
