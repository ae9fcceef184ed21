"""The server's look at itself, every few seconds: what the analytics say comes from here.

One task of the event loop. Each look asks the analyzer's sources, lets caching look at what was
read, and notes what this node uses of its machine. What fails in one look is logged and the next
one comes all the same; no request ever waits for a look, and none of it is needed to serve.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

from rankwire import _core
from rankwire.ops.analyzer.figures import UNITS
from rankwire.ops.analyzer.performance import PerformanceAnalyzer
from rankwire.ops.analyzer.rule_table import RULES
from rankwire.ops.analyzer.rules import RuleBook, RulesError, load_rules
from rankwire.ops.analyzer.sources import Watched, make_sources
from rankwire.ops.caching import IntelligentCaching
from rankwire.ops.metrics import pod_name
from rankwire.ops.optimizer.own import own_optimization
from rankwire.ops.optimizer.usage_keeper import UsageKeeper
from rankwire.ops.prices import Catalogue, PriceError
from rankwire.ops.pulse import Pulse
from rankwire.ops.report.bundle import Bundle
from rankwire.ops.report.recorder import Recorder

if TYPE_CHECKING:
    from rankwire.settings import Ops, Settings

_log = structlog.get_logger(__name__)


class Knowledge(msgspec.Struct, frozen=True):
    """What analytics know beforehand, that of one server."""

    rules: RuleBook
    catalogue: Catalogue
    usage: UsageKeeper


def learn(ops: Ops) -> Knowledge:
    """Read the files that the settings name. Blocks. Raises ValueError, naming the setting."""
    try:
        rules = load_rules(RULES, ops.rules)
    except RulesError as error:
        raise ValueError(f"ops.rules: {error}") from error
    try:
        catalogue = Catalogue.load(ops.prices)
    except PriceError as error:
        raise ValueError(f"ops.prices: {error}") from error
    for name in ("node_sku", "database_sku", "redis_sku"):
        try:
            if sku := getattr(ops, name):
                catalogue.price(sku)
        except PriceError as error:
            raise ValueError(f"ops.{name}: {error}") from error
    usage = UsageKeeper(Path(ops.usage_path) if ops.usage_path else None, ops.node_sku)
    return Knowledge(rules, catalogue, usage)


class Watch:
    """Looks again and again. Made on the event loop of the server that it watches."""

    def __init__(self, watched: Watched, knowledge: Knowledge, settings: Settings) -> None:
        """Prepare."""
        ops = settings.ops
        engine, beside = watched.writer.engine, watched.beside
        self.pulse = Pulse(watched.writer, beside.profiles)
        self.limits = {"pending": settings.limits.pending_submits}
        """How much there may be, by what the metrics call it; no watchers without a hub."""
        if watched.hub is not None:
            self.limits["connections"] = watched.most_connections
        skus = {"api": ops.node_sku, "cache": ops.redis_sku}
        self.caching = IntelligentCaching(
            engine, beside.profiles, beside.database, knowledge.catalogue, ops
        )
        self._analyzer = PerformanceAnalyzer(
            make_sources(watched, self.pulse.loop_lag, settings),
            knowledge.rules,
            knowledge.catalogue,
            ops,
            skus={what: sku for what, sku in skus.items() if sku},
        )
        self._node = pod_name()
        self._ops = ops
        self._catalogue = knowledge.catalogue
        self._recorder = Recorder()
        self._usage = knowledge.usage
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self.pulse.start()
        self._task = asyncio.create_task(self._look_forever())

    async def stop(self) -> None:
        """End that, and keep what was noted. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self.pulse.stop()
        try:
            await self._usage.save()
        except Exception:  # noqa: BLE001  # what follows has to end all the same
            _log.exception("the history of usage is not saved")
        await self._analyzer.close()

    def bundle(self) -> Bundle:
        """Put a report together from what is known; asks nobody."""
        caching = self.caching.report() if self._ops.caching != "off" else None
        return Bundle(
            node=self._node,
            version=_core.__version__,
            at=time.time(),
            report=self._analyzer.report(),
            units=UNITS,
            history=self._recorder.history(),
            episodes=self._recorder.episodes(),
            caching=msgspec.to_builtins(caching),
            optimization=msgspec.to_builtins(own_optimization(self._usage.usage, self._catalogue)),
        )

    async def _look_forever(self) -> None:
        while True:
            try:
                await self._look()
            except Exception:  # noqa: BLE001  # one bad look must not be the last
                _log.exception("a look at the server failed")
            await asyncio.sleep(self._ops.sample_seconds)

    async def _look(self) -> None:
        await self._analyzer.look()
        await self.caching.look()
        await self._usage.look()
        seen = self._analyzer
        self._recorder.add(seen.at, seen.figures, seen.active)
