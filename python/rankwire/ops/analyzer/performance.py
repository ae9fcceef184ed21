"""The analyzer: asks every source, follows the rules, and reports what holds the server up.

`look` is called every few seconds and asks all sources at the same time. One that does not answer
in time, or fails, is unavailable at that look: its figures are None, so its rules neither fire nor
clear, and its health is not known. A figure of a source that answered is quiet when it is None
because too little happened. `report` computes everything from what the looks have kept; it
asks nobody and changes nothing. For one event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, Literal

import structlog

from rankwire.ops.analyzer import details, health
from rankwire.ops.analyzer.advice import Adviser, Context, advise
from rankwire.ops.analyzer.advice_database import (
    advise_connections,
    advise_index,
    advise_locks,
    advise_pool,
    advise_replica,
    advise_slow,
    advise_transaction,
    advise_vacuum,
)
from rankwire.ops.analyzer.advice_others import (
    advise_cpu,
    advise_files,
    advise_redis,
    advise_watchers,
)
from rankwire.ops.analyzer.advice_regions import (
    advise_clock,
    advise_differences,
    advise_region_lag,
)
from rankwire.ops.analyzer.budget import FAST, SLOW, Budget
from rankwire.ops.analyzer.causes import cause_of, in_order
from rankwire.ops.analyzer.figures import compute
from rankwire.ops.analyzer.readings import AbsentError, History, UnavailableError
from rankwire.ops.analyzer.triggers import RESOURCES, Hourly, make_triggers
from rankwire.ops.findings import Bottleneck, Report, SourceStatus

if TYPE_CHECKING:
    from rankwire.ops.analyzer.readings import Reading, Source, Window
    from rankwire.ops.analyzer.rules import Active, Rule, RuleBook
    from rankwire.ops.findings import Known
    from rankwire.ops.prices import Catalogue
    from rankwire.settings import Ops

MOST_SECONDS: Final = 3.0
"""How long a look waits for a source."""

ADVISERS: Final[Mapping[str, Adviser]] = {
    "DATABASE_CONNECTION_POOL": advise_pool,
    "DATABASE_POOL_WAIT": advise_pool,
    "DATABASE_SLOW_QUERIES": advise_slow,
    "DATABASE_MISSING_INDEX": advise_index,
    "DATABASE_LOCK_WAITS": advise_locks,
    "DATABASE_LONG_TRANSACTION": advise_transaction,
    "DATABASE_REPLICATION_LAG": advise_replica,
    "DATABASE_CONNECTIONS": advise_connections,
    "DATABASE_DEAD_TUPLES": advise_vacuum,
    "API_CPU_UTILIZATION": advise_cpu,
    "REDIS_MEMORY": advise_redis,
    "REDIS_EVICTIONS": advise_redis,
    "WEBSOCKET_CONNECTIONS": advise_watchers,
    "HOST_FILES": advise_files,
    "REGION_LAG": advise_region_lag,
    "REGION_CLOCK": advise_clock,
    "REGION_DIFFERENCES": advise_differences,
}
"""What computes recommendations, by rule. For others there is no model, so nothing is said."""

_log = structlog.get_logger(__name__)


class PerformanceAnalyzer:
    """Knows how one node is."""

    def __init__(
        self,
        sources: Iterable[Source],
        rules: RuleBook,
        catalogue: Catalogue,
        settings: Ops,
        *,
        skus: Mapping[str, str] | None = None,
    ) -> None:
        """Take over the sources; `close` closes them.

        `skus` names what the operator pays for (`api`, `cache`).
        """
        self._sources = {source.name: source for source in sources}
        self._rules = rules
        self._catalogue = catalogue
        self._skus = skus or {}
        self._histories = {name: History(settings.window_seconds) for name in self._sources}
        self._absent: set[str] = set()
        self._under_way: dict[str, asyncio.Task[Reading]] = {}
        self._budget = Budget(rules.objectives.availability)
        self.at = 0.0
        """Of the last look."""
        self._windows: dict[str, Window | None] = {}
        self.figures: dict[str, Known] = compute(self._windows) | self._burn()
        """What there was to see at the last look."""
        self.hourly = Hourly(self._by_id[resource.rule].figure for resource in RESOURCES)
        """What triggers look back on; forgotten at a stop."""

    async def look(self) -> None:
        """Ask all sources once, and follow the rules; one look at a time.

        What a source raises never gets out of here.
        """
        for name, source in self._sources.items():
            if name not in self._under_way:
                self._under_way[name] = asyncio.create_task(source.read())
        _, late = await asyncio.wait(self._under_way.values(), timeout=MOST_SECONDS)
        for name, task in list(self._under_way.items()):
            if task in late:
                self._histories[name].fail(f"no answer within {MOST_SECONDS:.0f} s")
            else:
                del self._under_way[name]
                self._take(name, task)
        self._evaluate()

    def report(self) -> Report:
        """Say how the node is, by the last look."""
        sources = {name: self._status(name) for name in self._sources}
        parts = health.of_sources(self._rules.rules, self.figures, sources)
        bottlenecks = self._bottlenecks()
        return Report(
            at=self.at,
            window_seconds=max(
                (window.seconds for window in self._windows.values() if window), default=0.0
            ),
            overall=health.overall(parts, sources),
            health=parts,
            sources=sources,
            figures=self.figures,
            bottlenecks=bottlenecks,
            recommendations=advise(self._context(), bottlenecks, ADVISERS),
            triggers=make_triggers(self._rules.rules, self.figures, self.hourly),
        )

    async def close(self) -> None:
        """Let go of the sources. Idempotent."""
        for task in self._under_way.values():
            task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way.values(), timeout=MOST_SECONDS)
        for source in self._sources.values():
            try:
                await source.close()
            except Exception:  # noqa: BLE001  # one that fails must not keep the others open
                _log.exception("source not closed", source=source.name)

    @property
    def active(self) -> list[Active]:
        """The rules that have fired and not cleared, in the order of the table."""
        return self._rules.active()

    @property
    def _by_id(self) -> dict[str, Rule]:
        return {rule.id: rule for rule in self._rules.rules}

    def _take(self, name: str, task: asyncio.Task[Reading]) -> None:
        history = self._histories[name]
        last = history.last
        try:
            reading = task.result()
            if reading.trouble and (last is None or last.trouble != reading.trouble):
                _log.warning("source unavailable", source=name, reason=reading.trouble)
            history.add(reading)
        except AbsentError as error:
            self._absent.add(name)
            history.fail(str(error))
        except UnavailableError as error:
            if history.trouble != str(error):
                _log.warning("source unavailable", source=name, reason=str(error))
            history.fail(str(error))
        except Exception as error:  # noqa: BLE001  # a mistake in one must not blind the others
            _log.exception("source failed", source=name)
            history.fail(f"{type(error).__name__}: {error}")

    def _evaluate(self) -> None:
        self.at = time.time()
        self._windows = {name: history.window() for name, history in self._histories.items()}
        self.figures = compute(self._windows) | self._burn()
        self._rules.look(self.figures, self.at, self._quiet())
        self.hourly.add(self.figures, self.at)

    def _quiet(self) -> set[str]:
        """Name the figures that could be made, but for too little that happened."""
        return {
            name
            for name, value in self.figures.items()
            if value is None
            and (window := self._windows.get(name.partition(".")[0])) is not None
            and not name.startswith(tuple(window.unknown))
        }

    def _burn(self) -> dict[str, Known]:
        history = self._histories.get("api")
        if history is not None and history.trouble is None and (last := history.last) is not None:
            self._budget.add(last.at, last.totals["requests"], last.totals["errors"])
        return {
            "api.budget_burn_fast": self._budget.burn(FAST),
            "api.budget_burn_slow": self._budget.burn(SLOW),
        }

    def _status(self, name: str) -> SourceStatus:
        history = self._histories[name]
        last = history.last
        at = None if last is None else last.at
        if history.trouble is None:
            if last is not None and last.trouble:
                return SourceStatus("unavailable", last.trouble, at, len(history))
            note = "" if last is None else last.note
            return SourceStatus("ok", note, at, len(history))
        absent = name in self._absent
        state: Literal["absent", "unavailable"] = "absent" if absent else "unavailable"
        return SourceStatus(state, history.trouble, at, len(history))

    def _bottlenecks(self) -> list[Bottleneck]:
        fired = [each.rule.id for each in self.active]
        return in_order(self._bottleneck(each, fired) for each in self.active)

    def _bottleneck(self, active: Active, fired: list[str]) -> Bottleneck:
        rule = active.rule
        source = rule.figure.partition(".")[0]
        return Bottleneck(
            type=rule.id,
            severity=rule.severity,
            source=source,
            figure=rule.figure,
            value=active.value,
            threshold=rule.bound,
            since=active.since,
            impact=rule.impact,
            cause=cause_of(rule.id, fired, self.figures),
            details=details.of_rule(rule.id, source, self._windows),
        )

    def _context(self) -> Context:
        return Context(
            figures=self.figures,
            windows=self._windows,
            readings=list(self._histories.get("api", ())),
            rules=self._by_id,
            catalogue=self._catalogue,
            skus=self._skus,
        )
