"""What the analyzer makes of readings: windows, statements, causes, triggers, budget, health."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_analyzer import write_rules
from rankwire.ops.analyzer.budget import FAST, SLOW, Budget
from rankwire.ops.analyzer.causes import EDGES, cause_of, in_order
from rankwire.ops.analyzer.figures import BURNS, FIGURES, compute
from rankwire.ops.analyzer.health import of_sources, overall, score
from rankwire.ops.analyzer.measures import slow_statements
from rankwire.ops.analyzer.performance import PerformanceAnalyzer
from rankwire.ops.analyzer.readings import History, Reading, UnavailableError, Window
from rankwire.ops.analyzer.rule_table import RULES
from rankwire.ops.analyzer.rules import Rule, load_rules
from rankwire.ops.analyzer.triggers import DAYS, Hourly, days_left, make_triggers
from rankwire.ops.findings import Bottleneck, SourceStatus
from rankwire.ops.models.trend import theil_sen
from rankwire.ops.prices import Catalogue
from rankwire.settings import Ops
from rankwire.storage.vitals import without_literals

DOCS = Path(__file__).parents[2] / "docs" / "analytics-analyzer.part.md"
HOUR, DAY = 3600.0, 86_400.0


# Windows.


def _reading(at: float, life: str = "", **more: Any) -> Reading:
    return Reading(at=at, life=life, **more)


@given(
    st.lists(st.tuples(st.integers(1, 5), st.sampled_from("ab")), min_size=2, max_size=40),
    st.integers(1, 30),
)
def test_windows_never_span_two_lives(steps: list[tuple[int, str]], seconds: int) -> None:
    history, at, kept = History(), 0.0, list[Reading]()
    for step, life in steps:
        at += step
        reading = _reading(at, life, totals={"n": at * 2}, gauges={"g": at})
        if kept and kept[-1].life != life:
            kept = []
        kept.append(reading)
        history.add(reading)
        window = history.window(seconds)
        if len(kept) <= 1:
            assert window is None
            continue
        assert window is not None
        assert all(each.life == life for each in window.readings)
        assert list(window.readings) == kept[-len(window.readings) :]
        assert window.rate("n") == pytest.approx(2)
        assert (window.most("g"), window.gauge("g")) == (at, at)
        # It is no longer than asked, unless there is no shorter one.
        assert window.seconds <= seconds or len(window.readings) == 2


def test_a_clock_that_is_set_back_ends_a_window() -> None:
    history = History()
    for at in (10.0, 11.0, 5.0):
        history.add(_reading(at, totals={"n": at}))
    assert history.window(60) is None


def test_there_is_no_window_over_a_failure() -> None:
    history = History()
    history.add(_reading(1.0))
    history.add(_reading(2.0))
    history.fail("away")
    assert history.window(60) is None
    history.add(_reading(3.0))
    window = history.window(60)
    assert window is not None
    assert window.seconds == 2


def test_without_windows_no_figure_is_known() -> None:
    assert set(compute({}).values()) == {None}
    empty = Window(_reading(0.0), _reading(1.0))
    names = dict.fromkeys(("api", "database", "cache", "websocket", "host"), empty)
    assert set(compute(names).values()) == {None}


def _statements(*rows: tuple[int, float, float]) -> dict[str, Any]:
    keys = ("id", "calls", "seconds")
    found = [{**dict(zip(keys, row, strict=True)), "rows": 0.0, "text": "t"} for row in rows]
    return {"rows": {"statements": found}}


def test_slow_statements_are_those_of_the_window() -> None:
    readings = [
        # What happened before the first reading is not in the window.
        _reading(0.0, **_statements((9, 50.0, 50.0))),
        _reading(1.0, **_statements((1, 2.0, 0.1), (2, 100.0, 0.1), (3, 1.0, 9.0))),
        _reading(2.0, **_statements((1, 2.0, 0.1))),
    ]
    window = Window(readings[0], readings[2], readings[1:2])
    slow = slow_statements(window)
    # 2 is fast, and 3 ran only once.
    assert slow is not None
    assert [(row["id"], row["calls"]) for row in slow] == [(1, 4)]
    assert compute({"database": window})["database.slow_queries"] == 4
    unknown = Window(readings[0], readings[2], [_reading(1.0)])
    assert compute({"database": unknown})["database.slow_queries"] is None
    # In a longer window it takes more calls, as many as 100 in a day.
    long = Window(readings[0], _reading(DAY / 10, **_statements((1, 9.0, 9.0))))
    assert slow_statements(long) == []


@pytest.mark.parametrize(("look_ups", "rate"), [(399, None), (400, 0.75), (4000, 0.75)])
def test_a_hit_rate_needs_look_ups(look_ups: int, rate: float | None) -> None:
    """A profile that this process had not was looked for in Redis, which had half of those."""
    counts = {"local.hits": 0.5, "local.misses": 0.5, "shared.hits": 0.25, "shared.misses": 0.25}
    after = {name: part * look_ups for name, part in counts.items()}
    window = Window(_reading(0.0, totals=dict.fromkeys(counts, 0.0)), _reading(1.0, totals=after))
    figures = compute({"cache": window})
    assert figures["cache.hit_rate"] == rate
    assert figures["cache.shared_hit_rate"] == (0.5 if look_ups == 4000 else None)


def test_the_fullest_pool_is_told() -> None:
    def reading(at: float, primary: float, replica: float) -> Reading:
        return _reading(
            at,
            gauges={"pool.primary.size": 4.0, "pool.replica.size": 2.0},
            totals={
                "pool.primary.busy_seconds": primary, "pool.replica.busy_seconds": replica,
                "pool.primary.requests": at * 10, "pool.replica.requests": at * 10,
                "pool.primary.refused": 0.0, "pool.replica.refused": at * 5,
            },
        )  # fmt: skip

    figures = compute({"database": Window(reading(0, 0, 0), reading(10, 20, 15))})
    assert figures["database.pool_utilization"] == 0.75
    # Half of the requests were refused: those that were served kept theirs for 0.3 s each, and
    # all of them would have kept 3 connections busy.
    assert figures["database.pool_hold_mean"] == pytest.approx(0.3)
    assert figures["database.pool_load"] == pytest.approx(3)


# Statements.


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("SELECT  *\nFROM t WHERE a = $1", "SELECT * FROM t WHERE a = $1"),
        ("ALTER ROLE r PASSWORD 'it''s secret'", "ALTER ROLE r PASSWORD ?"),
        ("SET x TO E'a\\'; secret'", "SET x TO ?"),
        ("SELECT 'a\\' || 'secret'", "SELECT ? || ?"),
        ("SELECT \"it's\" FROM t WHERE a = 'secret'", 'SELECT "it\'s" FROM t WHERE a = ?'),
        ("DO $$ secret $$", "DO ?"),
        ("DO $tag$ sec$$ret $tag$", "DO ?"),
        ("SELECT a1 FROM t2 LIMIT 10.5", "SELECT a1 FROM t2 LIMIT ?"),
        ("SET x TO 'cut off by somebo", "SET x TO ?"),
        ("SELECT 1 -- it's secret\n, 'x'", "SELECT ? , ?"),
        ("SELECT /* it's secret */ 1", "SELECT ?"),
        ("SELECT 1 /* cut off by a lim", "SELECT ?"),
    ],
)
def test_statements_are_told_without_literals(text: str, shown: str) -> None:
    assert without_literals(text) == shown


# Causes.


def test_the_graph_has_no_cycles_and_knows_its_rules() -> None:
    ids = {rule.id for rule in RULES}
    names = {figure.name for figure in FIGURES} | {name for name, _, _ in BURNS}
    following: dict[str, set[str]] = {}
    for edge in EDGES:
        assert {edge.symptom, edge.cause} <= ids
        assert {evidence.figure for evidence in edge.evidence} <= names
        following.setdefault(edge.cause, set()).add(edge.symptom)

    def reached(rule: str) -> Iterator[str]:
        for symptom in following.get(rule, ()):
            yield symptom
            yield from reached(symptom)

    assert all(rule not in reached(rule) for rule in ids)


def test_a_cause_needs_its_evidence() -> None:
    pool, slow = "DATABASE_CONNECTION_POOL", "DATABASE_SLOW_QUERIES"
    evidence: dict[str, float | None] = {
        "database.held_running_part": 0.9, "database.slow_part": 0.9,
    }  # fmt: skip
    assert cause_of(pool, [pool, slow], evidence) == slow
    assert cause_of(pool, [pool], evidence) is None
    for figure in evidence:
        assert cause_of(pool, [pool, slow], evidence | {figure: 0.4}) is None
        assert cause_of(pool, [pool, slow], evidence | {figure: None}) is None


def _bottleneck(rule: Rule, cause: str | None) -> Bottleneck:
    return Bottleneck(
        type=rule.id, severity=rule.severity, source="", figure="", value=0, threshold=0, since=0,
        impact="", cause=cause,
    )  # fmt: skip


@given(st.sets(st.sampled_from(RULES)), st.randoms())
def test_causes_come_before_symptoms_and_then_the_most_severe(
    rules: set[Rule], random: Any
) -> None:
    fired = [rule.id for rule in rules]
    figures = {evidence.figure: 9.0 for edge in EDGES for evidence in edge.evidence}
    found = [_bottleneck(rule, cause_of(rule.id, fired, figures)) for rule in rules]
    random.shuffle(found)
    ordered = in_order(found)
    assert sorted(each.type for each in ordered) == sorted(fired)
    places = {each.type: place for place, each in enumerate(ordered)}
    for each in ordered:
        assert each.cause is None or places[each.cause] < places[each.type]
    free = [each.severity for each in ordered if each.cause is None]
    assert free == sorted(free, key=["HIGH", "MEDIUM", "LOW"].index)


# Triggers.


def test_the_load_at_the_limit_follows_from_utilisation() -> None:
    figures = {"api.cpu_utilization": 0.2, "api.requests_per_second": 100.0}
    (trigger,) = make_triggers(RULES, figures, Hourly([]))
    assert (trigger.resource, trigger.limit) == ("API processor", 0.8)
    assert trigger.load_at_limit == pytest.approx(400)
    assert (trigger.days_left, trigger.note) == (None, "insufficient history: less than 7 days")


def test_days_are_told_only_with_a_week_of_growth() -> None:
    growing = [(hour * HOUR, 0.1 + 0.01 * hour / 24) for hour in range(24 * DAYS + 1)]
    days, note = days_left(growing, growing[-1][1], 0.8)
    assert days == pytest.approx((0.8 - 0.17) / 0.01)
    assert "19 times in 20" in note
    assert days_left(growing[:-1], 0.17, 0.8)[0] is None
    flat = [(hour * HOUR, 0.1 + 0.01 * (hour % 2)) for hour in range(24 * DAYS + 1)]
    assert days_left(flat, 0.1, 0.8) == (None, "no growth that stands out from the noise")
    # It grows, but so little that the noise may well be all of it.
    noise = Random(1)
    noisy = [(at, 0.5 + noise.gauss(0, 0.1) + 1e-5 * hour) for hour, (at, _) in enumerate(flat)]
    assert theil_sen(noisy).slope > 0
    assert days_left(noisy, 0.5, 0.8)[0] is None
    assert days_left(growing, 0.9, 0.8) == (0.0, "the limit is reached")


def test_hourly_means_are_means() -> None:
    hourly = Hourly(["a"])
    hourly.put("a", [(0.0, 5.0)])
    hourly.put("b", [(0.0, 5.0)])
    for at, value in ((HOUR, 1.0), (HOUR + 1, 2.0), (HOUR + 2, None), (2 * HOUR, 9.0)):
        hourly.add({"a": value, "b": 1.0}, at)
    assert hourly.points("a") == [(0.0, 5.0), (HOUR, 1.5), (2 * HOUR, 9.0)]
    assert hourly.points("b") == []


# The budget of errors.


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), min_size=2, max_size=400))
def test_the_burn_is_that_of_both_windows(steps: list[tuple[int, int]]) -> None:
    budget, totals = Budget(0.999), [(0.0, 0.0, 0.0)]
    budget.add(*totals[0])
    for requests, errors in steps:
        at, before, bad = totals[-1]
        totals.append((at + 30.0, before + requests, bad + min(requests, errors)))
        budget.add(*totals[-1])

    def part(seconds: float, least: float) -> float | None:
        last = totals[-1]
        first = next((t for t in reversed(totals) if t[0] <= last[0] - seconds), totals[0])
        if last[0] - first[0] < least or last[1] == first[1]:
            return None
        return (last[2] - first[2]) / (last[1] - first[1])

    for windows in (FAST, SLOW):
        parts = [part(seconds, windows[1]) for seconds in windows]
        known = [each for each in parts if each is not None]
        expected = min(known) / 0.001 if len(known) == 2 else None
        assert budget.burn(windows) == pytest.approx(expected)


def test_the_budget_is_bounded() -> None:
    budget = Budget(0.999)
    for second in range(0, 40_000, 5):
        budget.add(float(second), second * 10.0, second * 0.2)
    assert budget.burn(SLOW) == pytest.approx(20)
    assert len(budget._kept) <= 721  # noqa: SLF001


# Health.


@given(st.sampled_from(RULES), st.floats(0, 100), st.floats(0, 100))
def test_scores_fall_with_the_figure(rule: Rule, one: float, other: float) -> None:
    worse, better = (max, min) if rule.side == "above" else (min, max)
    assert 0 <= score(rule, worse(one, other)) <= score(rule, better(one, other)) <= 1
    assert score(rule, rule.clear) == 1
    assert (score(rule, one) <= 0.5) or not rule.is_beyond(one) or rule.severity == "LOW"


def test_the_worst_stands_for_all() -> None:
    statuses = {name: SourceStatus("ok") for name in ("api", "database")}
    figures = {"api.cpu_utilization": 0.9, "database.pool_utilization": 0.1}
    parts = of_sources(RULES, figures, statuses | {"websocket": SourceStatus("absent")})
    assert set(parts) == {"api", "database"}
    assert parts["api"].score == pytest.approx(0.25)
    assert parts["database"].score == 1
    found = overall(parts, statuses)
    assert found.score == parts["api"].score
    assert "api.cpu_utilization is 0.9" in found.cause
    statuses["database"] = SourceStatus("unavailable", "it is away")
    parts = of_sources(RULES, figures, statuses)
    found = overall(parts, statuses)
    assert (parts["database"].score, found.score) == (None, None)
    assert "database is unavailable: it is away" in found.cause
    assert "api.cpu_utilization" in found.cause


# The analyzer itself.


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
        return _reading(1.0)

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
