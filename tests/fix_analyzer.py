"""The analyzer over real parts in this process, with rules that fire and clear within a moment.

`watch` runs what a server runs around it: a storage, a writer and what is kept beside the boards.
A task looks again and again; a test waits until a report says what it should.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import pytest

from fix_server import PATIENCE_SECONDS
from rankwire.beside import open_beside
from rankwire.ops.analyzer.performance import PerformanceAnalyzer
from rankwire.ops.analyzer.readings import Reading
from rankwire.ops.analyzer.rule_table import RULES
from rankwire.ops.analyzer.rules import load_rules
from rankwire.ops.analyzer.sources import Watched, make_sources
from rankwire.ops.findings import Bottleneck, Report
from rankwire.ops.loop_lag import LoopLag
from rankwire.ops.metrics import Requests
from rankwire.ops.prices import Catalogue
from rankwire.settings import Ops, Redis, Settings, Storage
from rankwire.storage import Storage as AnyStorage
from rankwire.storage.pool import Database
from rankwire.storage.postgres import PostgresStorage
from rankwire.storage.sqlite import SqliteStorage
from rankwire.writer import Writer

_LOOK_SECONDS: Final = 0.1
# Long enough for two looks, so that a rule has to hold and not only to be true once.
_FOR_SECONDS: Final = 0.25

Thresholds = Mapping[str, Mapping[str, object]]


class Watching:
    """A running analyzer and the parts that it watches."""

    def __init__(self, analyzer: PerformanceAnalyzer, watched: Watched) -> None:
        self.analyzer = analyzer
        self.requests = watched.requests
        self.profiles = watched.beside.profiles
        self.writer = watched.writer
        self._beside = watched.beside

    @property
    def database(self) -> Database:
        assert self._beside.database is not None
        return self._beside.database

    @property
    def report(self) -> Report:
        return self.analyzer.report()

    async def until(self, condition: Callable[[Report], object], what: str) -> Report:
        """Wait until a report is as it should be, and give it."""
        deadline = perf_counter() + PATIENCE_SECONDS
        while not condition(report := self.report):
            if perf_counter() > deadline:
                pytest.fail(f"waited in vain for {what}: {report}")
            await asyncio.sleep(_LOOK_SECONDS / 4)
        return report

    async def looks(self, count: int = 5) -> Report:
        """Wait until there have been so many more looks."""
        for _ in range(count):
            await self.until(partial(_is_after, self.report.at), "another look")
        return self.report

    async def fires(self, rule: str) -> tuple[Bottleneck, Report]:
        """Wait until a rule fires."""
        report = await self.until(lambda report: _find(report, rule), f"{rule} to fire")
        found = _find(report, rule)
        assert found is not None
        return found, report

    async def clears(self, rule: str) -> Report:
        """Wait until a rule has cleared."""
        return await self.until(lambda report: not _find(report, rule), f"{rule} to clear")


def _is_after(at: float, report: Report) -> bool:
    return report.at > at


def _find(report: Report, rule: str) -> Bottleneck | None:
    return next((found for found in report.bottlenecks if found.type == rule), None)


def make_reading(at: float, life: str = "", **more: Any) -> Reading:
    """Make what a source said at a moment, for a test that has none."""
    return Reading(at=at, life=life, **more)


def write_rules(file: Path, changed: Thresholds | None = None) -> Path:
    """Write thresholds for the test, and short times for all rules."""
    lines = []
    for rule in RULES:
        times: dict[str, object] = {"for_seconds": _FOR_SECONDS, "clear_seconds": _FOR_SECONDS}
        lines.append(f"[{rule.id}]")
        lines += [
            f"{key} = {value}"
            for key, value in (times | {**(changed or {}).get(rule.id, {})}).items()
        ]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


@asynccontextmanager
async def watch(
    path: Path,
    kept: Storage | None = None,
    *,
    redis_url: str = "",
    rules: Thresholds | None = None,
    window_seconds: float = 1.0,
    operations: Iterable[str] = ("submit", "top"),
) -> AsyncIterator[Watching]:
    """Run an analyzer; without `kept` on SQLite in `path`."""
    kept = kept or Storage(path=path / "data")
    settings = Settings(storage=kept, redis=Redis(url=redis_url))
    ops = Ops(window_seconds=window_seconds, rules=str(write_rules(path / "rules.toml", rules)))
    async with AsyncExitStack() as stack:
        storage = await asyncio.to_thread(_open, kept)
        stack.callback(storage.close)
        engine = await asyncio.to_thread(storage.recover, 65_536, 100)
        writer = Writer(engine, storage, checkpoint_members=50_000, checkpoint_seconds=3600)
        writer.start()
        stack.push_async_callback(writer.stop)
        beside = await open_beside(settings, "test")
        stack.push_async_callback(beside.close)
        lag = LoopLag()
        lag.start()
        stack.callback(lag.stop)
        requests = {name: Requests() for name in operations}
        watched = Watched(writer, beside, None, None, requests)
        analyzer = PerformanceAnalyzer(
            make_sources(watched, lag, settings),
            load_rules(RULES, ops.rules),
            Catalogue.load(),
            ops,
        )
        stack.push_async_callback(analyzer.close)
        looking = asyncio.create_task(_look_forever(analyzer))
        stack.push_async_callback(_end, looking)
        yield Watching(analyzer, watched)


def _open(kept: Storage) -> AnyStorage:
    return PostgresStorage(kept) if kept.url else SqliteStorage(kept.path, kept.busy_seconds)


async def _look_forever(analyzer: PerformanceAnalyzer) -> None:
    while True:
        await analyzer.look()
        await asyncio.sleep(_LOOK_SECONDS)


async def _end(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
