"""Recommendations for the database: by their models from what was measured, or not made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_advice import SECONDS, make_bottleneck, make_context, make_gauges, only
from rankwire.ops.analyzer.advice import advise
from rankwire.ops.analyzer.advice_database import (
    MOST_WAITING,
    advise_index,
    advise_locks,
    advise_pool,
    advise_replica,
    advise_transaction,
    advise_vacuum,
)
from rankwire.ops.analyzer.details import columns_without_index, dominating, of_rule
from rankwire.ops.analyzer.readings import Buckets, Reading, Window
from rankwire.ops.models.queueing import mean_wait, wait_probability
from rankwire.settings import FIELDS
from rankwire.storage.pool import OWN_CONNECTIONS, REGION_CONNECTIONS
from rankwire.times import BUCKETS

DOCS = Path(__file__).parents[2] / "docs"


def _pool_window(
    load: float = 7.5,
    hold: float = 0.05,
    size: float = 8,
    statements: Sequence[Any] = (),
    **gauges: float,
) -> Window:
    """Make a minute in which a pool carried so many erlangs."""
    requests = load / hold * SECONDS
    waits = [0] * (len(BUCKETS) + 1)
    waits[3] = round(requests)

    def reading(part: float) -> Reading:
        limits = {"pool.primary.size": size, "max_connections": 100.0, "reserved_connections": 3.0}
        return Reading(
            at=part * SECONDS,
            gauges=limits | {"nodes": 1.0} | gauges,
            totals={
                "pool.primary.requests": requests * part,
                "pool.primary.refused": 0.0,
                "pool.primary.busy_seconds": load * SECONDS * part,
            },
            times={"pool.primary": Buckets(BUCKETS, [round(w * part) for w in waits], 9.0 * part)},
            rows={"statements": list(statements), "tables": []},
        )

    return Window(reading(0), reading(1))


@given(st.floats(1, 60), st.floats(0.001, 1.0), st.integers(1, 60))
def test_a_pool_is_just_large_enough(load: float, hold: float, size: int) -> None:
    window = _pool_window(load, hold, size, max_connections=1000.0)
    found = list(
        advise_pool(make_context("database", window), make_bottleneck("DATABASE_CONNECTION_POOL"))
    )
    if not found:
        # Either it is large enough already, or there was too little to go by.
        assert wait_probability(size, load * 0.999) <= MOST_WAITING or load / hold * SECONDS < 30
        return
    advice = only(found)
    wanted = int(advice.apply.rpartition("=")[2])
    measured = float(advice.inputs["load_erlangs"])
    assert measured == pytest.approx(load)
    assert wait_probability(wanted, measured) <= MOST_WAITING
    assert wanted - 1 == size - 1 or wait_probability(wanted - 1, measured) > MOST_WAITING
    waits, seconds, used = advice.predicted
    assert (waits.before, waits.after) == (
        wait_probability(size, measured), wait_probability(wanted, measured),
    )  # fmt: skip
    # Before is what was measured, after is what the model says.
    assert seconds.before == pytest.approx(9.0 / round(load / hold * SECONDS), rel=0.01)
    assert seconds.after == pytest.approx(mean_wait(wanted, measured, hold))
    assert used.after == pytest.approx(load / wanted)
    assert (advice.monthly, advice.cost, advice.model) == (0.0, [], "Erlang C (M/M/c)")


@pytest.mark.parametrize(("rate", "seconds", "size"), [(500, 0.01, 12), (5000, 0.01, 68)])
def test_pools_of_known_size(rate: int, seconds: float, size: int) -> None:
    """By tables of Erlang C, for less than one request in a hundred that waits."""
    window = _pool_window(rate * seconds, seconds)
    found = make_bottleneck("DATABASE_CONNECTION_POOL")
    advice = only(advise_pool(make_context("database", window), found))
    assert advice.apply == f"[storage]\npool_size = {size}\n"


def test_a_pool_that_postgres_has_no_room_for_is_refused() -> None:
    window = _pool_window(load=30, nodes=4.0)
    advice = only(
        advise_pool(make_context("database", window), make_bottleneck("DATABASE_CONNECTION_POOL"))
    )
    assert advice.action == "KEEP_POOL_SIZE"
    assert "4 nodes with a pool of" in advice.description
    assert f"up to {OWN_CONNECTIONS} connections beside" in advice.description
    assert "PostgreSQL allows 97" in advice.description
    among = make_context("database", window, more_windows={"regions": make_gauges({})})
    advice = only(advise_pool(among, make_bottleneck("DATABASE_CONNECTION_POOL")))
    assert f"up to {OWN_CONNECTIONS + REGION_CONNECTIONS} connections beside" in advice.description
    assert (advice.predicted, advice.apply) == ([], "")
    window = _pool_window(load=99, max_connections=10_000.0)
    advice = only(
        advise_pool(make_context("database", window), make_bottleneck("DATABASE_CONNECTION_POOL"))
    )
    assert "more than storage.pool_size may be" in advice.description


def test_the_manual_tells_how_many_connections_are_beside_a_pool() -> None:
    (number,) = [
        word for word, count in {"five": 5, "seven": 7}.items() if count == OWN_CONNECTIONS
    ]
    words = f"up to {number} connections to PostgreSQL beside `storage.pool_size`"
    assert words in (DOCS / "nodes.md").read_text(encoding="utf-8")
    (more,) = [word for word, count in {"four": 4, "six": 6}.items() if count == REGION_CONNECTIONS]
    assert f"there are up to {more} more" in (DOCS / "nodes.md").read_text(encoding="utf-8")
    (pool,) = [field for field in FIELDS if field.name == "storage.pool_size"]
    assert f"beside up to {number}, and {more} more" in pool.description.replace("\n", " ")


def test_a_pool_is_not_sized_for_what_else_fills_it_or_for_too_little() -> None:
    pool = "DATABASE_CONNECTION_POOL"
    context = make_context("database", _pool_window())
    assert list(advise_pool(context, make_bottleneck(pool, cause="DATABASE_LOCK_WAITS"))) == []
    few = make_context("database", _pool_window(load=0.4, hold=1.0, size=1))
    assert list(advise_pool(few, make_bottleneck(pool))) == []
    assert list(advise_pool(make_context("database", None), make_bottleneck(pool))) == []


def test_a_statement_that_dominates_comes_first() -> None:
    rows = [
        {"id": 1, "text": "SELECT a", "calls": 600.0, "seconds": 60.0, "rows": 600.0},
        {"id": 2, "text": "SELECT b", "calls": 600.0, "seconds": 6.0, "rows": 600.0},
    ]
    window = _pool_window(statements=rows)
    found = list(
        advise_pool(make_context("database", window), make_bottleneck("DATABASE_CONNECTION_POOL"))
    )
    assert [each.action for each in found] == ["SPEED_UP_STATEMENT", "RESIZE_POOL"]
    statement = found[0]
    assert statement.inputs["part_of_all_time"] == pytest.approx(60 / 66)
    assert "91%" in statement.description
    assert "SELECT a" in statement.description
    # 10 calls a second of 0.1 s keep one session busy; at 20 ms each it is a fifth of that.
    assert statement.predicted[0].before == pytest.approx(1.0)
    assert statement.predicted[0].after == pytest.approx(0.2)
    even = [row | {"seconds": 30.0} for row in rows]
    assert dominating(_pool_window(statements=even)) is None
    assert dominating(_pool_window()) is None


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("SELECT * FROM t WHERE player = $1 AND id = $2", ["player"]),
        ('SELECT * FROM t WHERE "player" IN ($1)', ["player"]),
        ("SELECT player FROM t ORDER BY points", []),
        ("SELECT * FROM t WHERE t.points > $1 AND player_id = $2", ["points"]),
        ("", []),
    ],
)
def test_columns_are_those_that_are_compared(text: str, columns: list[str]) -> None:
    table = {"columns": ["id", "player", "points"], "leading": ["id"]}
    assert columns_without_index(table, [text]) == columns


def test_an_index_is_proposed_only_where_a_column_is_known() -> None:
    table = {
        "table": "public.t", "plain": "t", "rows": 2e5, "scans": 6.0, "rows_each": 2e5,
        "columns": [], "statement": "", "found_each": None,
    }  # fmt: skip
    found = make_bottleneck("DATABASE_MISSING_INDEX", 1.0, details={"tables": [table]})
    advice = only(advise_index(make_context("database", _pool_window()), found))
    assert (advice.apply, advice.predicted, advice.confidence) == ("", [], "low")
    assert "public.t" in advice.description


@pytest.mark.parametrize(
    ("replayed", "action", "words"),
    [
        (0.0, "RESUME_REPLAY", "stands still"),
        (600.0, "FASTER_REPLICA", "does not catch up"),
        (2400.0, "WAIT", "in 100 s"),
    ],
)
def test_a_replica_catches_up_or_does_not(replayed: float, action: str, words: str) -> None:
    def reading(part: float) -> Reading:
        row = {"pid": 7, "name": "r", "state": "streaming", "lag": 9.0, "bytes": 2000.0}
        # Another one of the same name, which is less far behind.
        other = row | {"pid": 8, "bytes": 10.0, "replayed": 9e6 + 1200 * part}
        return Reading(
            at=part * SECONDS,
            totals={"wal_bytes": 1200.0 * part},
            rows={"replication": [row | {"replayed": replayed * part}, other]},
        )

    context = make_context("database", Window(reading(0), reading(1)))
    advice = only(advise_replica(context, make_bottleneck("DATABASE_REPLICATION_LAG", 9.0)))
    assert advice.action == action
    assert words in advice.description
    assert bool(advice.predicted) == (action == "WAIT")


def _waiting(*pairs: tuple[int, int | None]) -> Window:
    rows = [
        {"pid": pid, "blocker": blocker, "blocker_state": "active", "seconds": 1.0,
         "blocker_seconds": 1.0}
        for pid, blocker in pairs
    ]  # fmt: skip
    both = [Reading(at=at, rows={"blocked": rows}) for at in (0.0, SECONDS)]
    return Window(both[0], both[1])


def test_the_session_that_most_wait_for_is_ended() -> None:
    # Two for 1, then seven for 2, of whom one waits for 1 as well.
    window = _waiting((10, 1), (11, 1), *[(pid, 2) for pid in range(20, 27)], (26, 1))
    found = make_bottleneck("DATABASE_LOCK_WAITS", 9.0)
    advice = only(advise_locks(make_context("database", window), found))
    assert (advice.inputs["session"], advice.confidence) == (2, "high")
    assert (advice.predicted[0].before, advice.predicted[0].after) == (9, 3)
    assert "6 others wait" in advice.description
    # More wait than were told of.
    many = make_bottleneck("DATABASE_LOCK_WAITS", 30.0)
    assert only(advise_locks(make_context("database", window), many)).confidence == "medium"
    assert list(advise_locks(make_context("database", _waiting((1, None))), found)) == []


def test_nobody_is_said_to_wait_for_an_old_transaction() -> None:
    rows = [{"pid": 1, "seconds": 300.0}, {"pid": 2, "seconds": 9.0}]
    found = make_bottleneck("DATABASE_LONG_TRANSACTION", 300.0, details={"transactions": rows})
    advice = only(advise_transaction(make_context("database", None), found))
    assert "wait" not in advice.description
    assert "300 s old" in advice.description
    assert (advice.predicted[0].before, advice.predicted[0].after) == (300, 9)


def test_the_table_with_the_largest_part_of_dead_rows_is_vacuumed() -> None:
    rows = [
        {"name": "a", "dead": 50_000.0, "live": 950_000.0},
        {"name": "b", "dead": 15_000.0, "live": 20_000.0},
        {"name": "small", "dead": 900.0, "live": 100.0},
    ]
    window = Window(Reading(at=0.0), Reading(at=SECONDS, rows={"tables": rows}))
    context = make_context("database", window)
    rule = "DATABASE_DEAD_TUPLES"
    value = context.figures["database.dead_tuple_part"]
    assert value is not None
    assert value == pytest.approx(15 / 35)
    details = of_rule(rule, "database", context.windows)
    advice = only(advise_vacuum(context, make_bottleneck(rule, value, details=details)))
    assert advice.apply == "VACUUM b;"
    # Then the next one is the worst.
    assert advice.predicted[0].before == value
    assert advice.predicted[0].after == pytest.approx(0.05)


def test_the_same_thing_is_said_once() -> None:
    context = make_context("database", _pool_window())
    pool, wait = "DATABASE_CONNECTION_POOL", "DATABASE_POOL_WAIT"
    both = [make_bottleneck(pool), make_bottleneck(wait, 0.5, cause=pool)]
    advice = only(advise(context, both, {pool: advise_pool, wait: advise_pool}))
    assert advice.because == pool
    assert advise(context, [make_bottleneck("HOST_MEMORY")], {}) == []
