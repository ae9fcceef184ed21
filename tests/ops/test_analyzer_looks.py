"""The analyzer itself: its looks at sources that break, fall silent, or tell only a part."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fix_analyzer import make_reading, write_rules
from rankwire.ops.analyzer.performance import PerformanceAnalyzer
from rankwire.ops.analyzer.readings import Buckets, Reading, UnavailableError
from rankwire.ops.analyzer.rule_table import RULES
from rankwire.ops.analyzer.rules import load_rules
from rankwire.ops.prices import Catalogue
from rankwire.settings import Ops
from rankwire.times import BUCKETS


class _Told:
    """A source that says what it is told to, and may fail to close."""

    def __init__(self, name: str) -> None:
        self.name, self.next, self.is_closed = name, make_reading(0.0), False

    async def read(self) -> Reading:
        return self.next

    async def close(self) -> None:
        self.is_closed = True
        raise OSError("it breaks")


def _commits(at: float, slow: int) -> Reading:
    counts = [0] * 9 + [slow] + [0] * 3
    return make_reading(
        at,
        totals={"requests": 0.0, "errors": 0.0},
        times={"commits": Buckets(BUCKETS, counts, slow * 0.5)},
    )


async def _watched(tmp_path: Path, *sources: _Told, seconds: float = 2.0) -> PerformanceAnalyzer:
    changed = {rule.id: {"for_seconds": 0, "clear_seconds": 0} for rule in RULES}
    rules = load_rules(RULES, str(write_rules(tmp_path / "rules.toml", changed)))
    return PerformanceAnalyzer(sources, rules, Catalogue.load(), Ops(window_seconds=seconds))


async def test_a_rule_clears_when_nothing_happens_any_more(tmp_path: Path) -> None:
    source = _Told("api")
    analyzer = await _watched(tmp_path, source)
    for at, slow in ((0.0, 0), (1.0, 5)):
        source.next = _commits(at, slow)
        await analyzer.look()
    assert [each.rule.id for each in analyzer.active] == ["API_COMMIT_LATENCY"]
    # A life that has just begun has no window, which is not known to be quiet.
    source.next = make_reading(2.0, "new", totals={"requests": 0.0, "errors": 0.0})
    await analyzer.look()
    assert len(analyzer.active) == 1
    for at in (3.0, 4.0):
        source.next = make_reading(at, "new", totals={"requests": 0.0, "errors": 0.0})
        await analyzer.look()
    assert analyzer.figures["api.commit_p99"] is None
    assert analyzer.active == []


async def test_a_part_that_cannot_be_asked_is_not_quiet(tmp_path: Path) -> None:
    source = _Told("cache")
    analyzer = await _watched(tmp_path, source)
    counts = {"profile_local.hits": 900.0, "profile_local.misses": 100.0}
    for at in (0.0, 1.0):
        source.next = make_reading(
            at, gauges={"redis_clients_part": 0.95}, totals={k: v * at for k, v in counts.items()}
        )
        await analyzer.look()
    assert [each.rule.id for each in analyzer.active] == ["REDIS_CLIENTS"]
    totals = {k: v * 2 for k, v in counts.items()}
    source.next = make_reading(2.0, totals=totals, trouble="it is away", unknown=("cache.redis_",))
    await analyzer.look()
    report = analyzer.report()
    assert [found.type for found in report.bottlenecks] == ["REDIS_CLIENTS"]
    assert (report.sources["cache"].status, report.sources["cache"].reason) == (
        "unavailable", "it is away",
    )  # fmt: skip
    # What this process counted is known all the same.
    assert report.figures["cache.local_hit_rate"] == pytest.approx(0.9)
    assert (report.health["cache"].score, report.overall.score) == (None, None)


async def test_a_report_tells_how_long_its_window_was(tmp_path: Path) -> None:
    source = _Told("host")
    analyzer = await _watched(tmp_path, source, seconds=60.0)
    assert analyzer.report().window_seconds == 0
    for at in (0.0, 5.0, 15.0):
        source.next = make_reading(at)
        await analyzer.look()
    assert analyzer.report().window_seconds == 15


async def test_sources_are_closed_although_one_fails_to(tmp_path: Path) -> None:
    one, other = _Told("host"), _Told("api")
    await (await _watched(tmp_path, one, other)).close()
    assert (one.is_closed, other.is_closed) == (True, True)


class _Broken:
    """A source that is asked and does not answer, or in a way that nobody expects."""

    def __init__(self, name: str, error: Exception | None) -> None:
        self.name, self.error, self.asked = name, error, 0
        self.free = asyncio.Event()

    async def read(self) -> Reading:
        self.asked += 1
        if self.error is not None:
            raise self.error
        await self.free.wait()
        return make_reading(1.0)

    async def close(self) -> None:
        self.free.set()


async def test_one_source_does_not_hold_up_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rankwire.ops.analyzer.performance.MOST_SECONDS", 0.05)
    slow, wrong = _Broken("database", None), _Broken("cache", KeyError("x"))
    away = _Broken("host", UnavailableError("it is away"))
    rules = load_rules(RULES, str(write_rules(tmp_path / "rules.toml")))
    analyzer = PerformanceAnalyzer([slow, wrong, away], rules, Catalogue.load(), Ops())
    for _ in range(3):
        await analyzer.look()
    sources = analyzer.report().sources
    assert {each.status for each in sources.values()} == {"unavailable"}
    assert "no answer within" in sources["database"].reason
    assert sources["cache"].reason == "KeyError: 'x'"
    assert sources["host"].reason == "it is away"
    # Nobody asks again who still thinks.
    assert (slow.asked, wrong.asked) == (1, 3)
    slow.free.set()
    await analyzer.look()
    assert analyzer.report().sources["database"].status == "ok"
    await analyzer.close()
    await analyzer.close()
