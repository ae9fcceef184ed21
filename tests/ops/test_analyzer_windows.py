"""What the analyzer makes of readings: windows, statements, causes, health."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fix_analyzer import make_reading
from rankwire.ops.analyzer.causes import EDGES, cause_of, in_order
from rankwire.ops.analyzer.figures import BURNS, FIGURES, compute
from rankwire.ops.analyzer.health import of_sources, overall, score
from rankwire.ops.analyzer.measures import slow_statements
from rankwire.ops.analyzer.readings import History, Reading, Window
from rankwire.ops.analyzer.rule_table import RULES
from rankwire.ops.analyzer.rules import Rule
from rankwire.ops.findings import Bottleneck, SourceStatus
from rankwire.settings import MOST_INTERVALS
from rankwire.storage.vitals import without_literals

DAY = 86_400.0


# Windows.


@given(
    st.lists(st.tuples(st.integers(1, 5), st.sampled_from("ab")), min_size=2, max_size=40),
    st.integers(1, 30),
)
def test_windows_never_span_two_lives(steps: list[tuple[int, str]], seconds: int) -> None:
    history, at, kept = History(seconds), 0.0, list[Reading]()
    for step, life in steps:
        at += step
        reading = make_reading(at, life, totals={"n": at * 2}, gauges={"g": at})
        if kept and kept[-1].life != life:
            kept = []
        kept.append(reading)
        history.add(reading)
        window = history.window()
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
    history = History(60)
    for at in (10.0, 11.0, 5.0):
        history.add(make_reading(at, totals={"n": at}))
    assert history.window() is None


def test_there_is_no_window_over_a_failure() -> None:
    history = History(60)
    history.add(make_reading(1.0))
    history.add(make_reading(2.0))
    history.fail("away")
    assert history.window() is None
    history.add(make_reading(3.0))
    window = history.window()
    assert window is not None
    assert window.seconds == 2


def test_only_the_rows_that_windows_compare_are_kept() -> None:
    history = History(3.0)
    names = ("statements", "tables", "columns", "blocked")
    for at in range(10):
        history.add(make_reading(float(at), rows={name: [{"at": at}] for name in names}))
        window = history.window()
        if window is not None:
            # Both ends have their tables, and all that there is is of the newest.
            assert window.before.rows["tables"] == [{"at": window.before.at}]
            assert set(window.after.rows) == set(names)
    kept = [set(reading.rows) for reading in history]
    within = {"statements", "tables"}
    assert kept == [set()] * 6 + [within] * 3 + [set(names)]


def test_as_much_is_remembered_as_the_longest_window_is() -> None:
    history = History(float(MOST_INTERVALS))
    for at in range(MOST_INTERVALS * 2):
        history.add(make_reading(float(at)))
    window = history.window()
    assert window is not None
    assert window.seconds == MOST_INTERVALS
    assert len(history) == MOST_INTERVALS + 1


def test_without_windows_no_figure_is_known() -> None:
    assert set(compute({}).values()) == {None}
    empty = Window(make_reading(0.0), make_reading(1.0))
    names = dict.fromkeys(("api", "database", "cache", "websocket", "host"), empty)
    assert set(compute(names).values()) == {None}


def _statements(*rows: tuple[int, float, float]) -> dict[str, Any]:
    keys = ("id", "calls", "seconds")
    found = [{**dict(zip(keys, row, strict=True)), "rows": 0.0, "text": "t"} for row in rows]
    return {"rows": {"statements": found}}


def test_slow_statements_are_those_of_the_window() -> None:
    readings = [
        # What happened before the first reading is not in the window.
        make_reading(0.0, **_statements((9, 50.0, 50.0))),
        make_reading(1.0, **_statements((1, 2.0, 0.1), (2, 100.0, 0.1), (3, 1.0, 9.0))),
        make_reading(2.0, **_statements((1, 2.0, 0.1))),
    ]
    window = Window(readings[0], readings[2], readings[1:2])
    slow = slow_statements(window)
    # 2 is fast, and 3 ran only once.
    assert slow is not None
    assert [(row["id"], row["calls"]) for row in slow] == [(1, 4)]
    # Four in two seconds.
    assert compute({"database": window})["database.slow_queries"] == pytest.approx(120)
    assert compute({"database": window})["database.slow_statements"] == 1
    assert window.statements is window.statements
    unknown = Window(readings[0], readings[2], [make_reading(1.0)])
    assert compute({"database": unknown})["database.slow_queries"] is None
    # In a longer window it takes more calls, as many as 100 in a day.
    long = Window(readings[0], make_reading(DAY / 10, **_statements((1, 9.0, 9.0))))
    assert slow_statements(long) == []


@pytest.mark.parametrize(("look_ups", "rate"), [(399, None), (400, 0.75), (4000, 0.75)])
def test_a_hit_rate_needs_look_ups(look_ups: int, rate: float | None) -> None:
    """A profile that this process had not was looked for in Redis, which had half of those."""
    parts = {"hits": 0.5, "misses": 0.5}
    counts = {f"profile_local.{name}": part for name, part in parts.items()}
    counts |= {f"profile_redis.{name}": part / 2 for name, part in parts.items()}
    after = {name: part * look_ups for name, part in counts.items()}
    window = Window(
        make_reading(0.0, totals=dict.fromkeys(counts, 0.0)), make_reading(1.0, totals=after)
    )
    figures = compute({"cache": window})
    assert figures["cache.hit_rate"] == rate
    assert figures["cache.shared_hit_rate"] == (0.5 if look_ups == 4000 else None)


def test_the_fullest_pool_is_told() -> None:
    def reading(at: float, primary: float, replica: float) -> Reading:
        return make_reading(
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


@pytest.mark.parametrize(
    ("hit", "read", "rate"),
    [(9000.0, 1000.0, 0.9), (-5e4, 9e4, None), (9000.0, -4000.0, None), (500.0, 100.0, None)],
)
def test_blocks_of_tables_that_went_make_no_hit_rate(
    hit: float, read: float, rate: float | None
) -> None:
    totals = {"heap_hit": 1e5, "heap_read": 1e5}
    after = {"heap_hit": 1e5 + hit, "heap_read": 1e5 + read}
    window = Window(make_reading(0.0, totals=totals), make_reading(1.0, totals=after))
    assert compute({"database": window})["database.heap_hit_rate"] == rate


@pytest.mark.parametrize(("seconds", "scans", "found"), [
    (60.0, 3.0, 1), (60.0, 2.0, 0), (3600.0, 179.0, 0), (3600.0, 180.0, 1), (1.0, 1.0, 0),
    (1.0, 2.0, 1),
])  # fmt: skip
def test_scans_are_counted_by_the_minute(seconds: float, scans: float, found: int) -> None:
    def reading(at: float, times: float) -> Reading:
        row = {
            "name": "t", "live": 2e4, "scans": times, "scanned": 2e4 * times, "index_scans": 0.0,
            "dead": 0.0,
        }  # fmt: skip
        return make_reading(at, rows={"tables": [row]})

    window = Window(reading(0.0, 0.0), reading(seconds, scans))
    assert compute({"database": window})["database.unindexed_tables"] == found


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


# Health.


@given(st.sampled_from(RULES), st.floats(0, 100), st.floats(0, 100))
# Of a rule that matters little, at the bound and beyond it.
@example(next(rule for rule in RULES if rule.severity == "LOW" and rule.bound > 1), 2.0, 1.5)
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
