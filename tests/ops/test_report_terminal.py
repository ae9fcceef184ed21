"""The page for the terminal: what is unknown is said, causes come first, nothing steers."""

from __future__ import annotations

import io
import math

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from fix_bundle import (
    AT,
    bottlenecks,
    bundle,
    caching,
    history,
    optimization,
    priceless,
    recommendations,
    report,
)
from rankwire.ops.findings import Health
from rankwire.ops.report import terminal
from rankwire.ops.report.bundle import Bundle

HOSTILE = "\x1b[31m[bold]\u202e\x07"


def _shown(found: Bundle, width: int = 160) -> str:
    screen = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False)
    screen.print(terminal.render(found), soft_wrap=False, crop=False)
    text = screen.file
    assert isinstance(text, io.StringIO)
    return text.getvalue()


def _line(text: str, part: str) -> str:
    (found,) = [line for line in text.splitlines() if part in line]
    return found


def test_health_comes_first_with_its_cause() -> None:
    lines = _shown(bundle()).splitlines()
    assert lines[0].rstrip() == "rankwire-7: in trouble, health 21 of 100"
    assert lines[1].rstrip() == "database: the pool is full, as statements are slow"
    assert lines[2].startswith("2026-03-01 12:00:00 UTC, over the last 1 min; Rankwire 0.1.0")


def test_a_source_that_could_not_be_asked_is_named_and_never_zero() -> None:
    text = _shown(bundle())
    row = _line(text, "could not be asked, so nothing is known of it: Redis does not answer")
    assert row.split()[:2] == ["cache", "-"]
    assert _line(text, "this node has none").split()[:2] == ["websocket", "-"]
    assert _line(text, "cache.redis_memory_part").split()[2:] == ["unknown"] * 3
    assert _line(text, "Redis memory").split()[2:5] == ["unknown", "of", "90"]
    blind = report(overall=Health(None, "nothing could be asked"), bottlenecks=[])
    blind_lines = _shown(bundle(report=blind)).splitlines()
    assert blind_lines[0].rstrip() == "rankwire-7: unknown, health unknown"


def test_causes_come_before_symptoms_which_are_indented() -> None:
    lines = [line for line in _shown(bundle()).splitlines() if line.strip()]
    begin = next(n for n, line in enumerate(lines) if line.startswith("Bottlenecks"))
    rows = [line for line in lines[begin:] if " DATABASE_" in line or " API_" in line][:3]
    names = ["DATABASE_SLOW_QUERIES", "DATABASE_CONNECTION_POOL", "API_LATENCY"]
    assert [row.split()[-1] for row in rows] == names
    indents = [len(row) - len(row.lstrip()) for row in rows]
    assert indents[0] < indents[1] < indents[2]


def test_rows_of_details_have_a_line_each_with_numbers_first() -> None:
    (one, *_) = bottlenecks()
    rows = [{"text": "SELECT 1", "calls": 41, "mean": None}, {"text": "SELECT 2", "calls": 7.25}]
    nested = msgspec.structs.replace(one, details={"statements": rows, "held": {"running": 0.5}})
    text = _shown(bundle(report=report(bottlenecks=[nested])))
    assert "statements: calls 41; mean unknown; text SELECT 1" in text
    assert "statements: calls 7.25; text SELECT 2" in text
    assert "held: running 0.5" in text


def test_advice_says_what_it_brings_costs_and_how_to_check() -> None:
    text = _shown(bundle())
    assert text.index("ADD_INDEX profiles, costs nothing") < text.index("RESIZE_POOL database pool")
    for part in (
        "pool wait mean: 240 ms → 3.1 ms (1.8 ms to 5.2 ms)",
        "RESIZE_POOL database pool, costs $164.25 a month, confidence medium",
        "1 rds.db.r6g.large at $0.225 for each hour (AWS price list, 2026-02-20)",
        "model: Erlang C; arrivals a second = 41.2; seconds each = 0.182; connections = 8",
        "verify: histogram_quantile(0.99, rate(rankwire_pool_wait_seconds_bucket[5m]))",
        "pool_size = 12",
        "net saving, a month                     unknown: the SKU of the cache has no price",
        "Not judged: hub, RIGHT_SIZE: only 3 days of history",
    ):
        assert part in text
    priceless = msgspec.structs.replace(recommendations()[0], monthly=None)
    text = _shown(bundle(report=report(recommendations=[priceless])))
    assert "no price: something in it has none" in text


def test_machines_without_a_price_are_named_and_in_no_sum() -> None:
    text = _shown(bundle())
    assert "$164.25 a month now, $82.13 if all of this is done: saves $82.12" in text
    assert "No price, so in no sum: redis" in text
    text = _shown(bundle(optimization=msgspec.to_builtins(priceless())))
    machines = text.partition("Machines")[2]
    assert "What it costs is unknown: nothing of it has a price" in machines
    assert "No price, so in no sum: own node" in machines
    assert "Nothing to change." in machines
    assert "$" not in machines


def test_there_is_no_part_on_what_there_is_not() -> None:
    text = _shown(bundle(optimization=None, caching=None))
    assert "Machines" not in text
    assert "Caching" not in text


def test_advice_that_is_left_out_is_counted() -> None:
    many = msgspec.structs.replace(optimization(), recommendations=recommendations() * 11)
    found = bundle(optimization=msgspec.to_builtins(many))
    assert "2 more are not shown" in _shown(found).partition("Machines")[2]


def test_caching_shows_what_is_read_and_what_sizes_miss() -> None:
    text = _shown(bundle())
    for part in (
        "user profile cache: members in 24 h: 48,211, the bound is 10,000",
        "misses by size, user profile: 94 % with 64 entries (56.2 KiB), 9.83 % with 8,192",
        "212/s answered, 2.1 ms each, 12.7 d a month, 34 % of the time of the database",
    ):
        assert part in text


def test_times_that_are_only_bounds_are_said_to_be_that() -> None:
    (freed,) = caching().capacity_freed
    bound = [msgspec.structs.replace(freed, is_bound=True)]
    found = msgspec.structs.replace(caching(), capacity_freed=bound)
    text = _shown(bundle(caching=msgspec.to_builtins(found)))
    assert "at most 2.1 ms each, at most 12.7 d a month, at most 34 % of the time" in text


def test_nothing_from_outside_steers_the_terminal() -> None:
    found = bundle(node=HOSTILE)
    one, *rest = found.report.bottlenecks
    one = msgspec.structs.replace(one, type=HOSTILE, impact=HOSTILE, details={HOSTILE: HOSTILE})
    advice = msgspec.structs.replace(recommendations()[0], description=HOSTILE, apply=HOSTILE)
    spoilt = report(
        overall=Health(0.1, HOSTILE), bottlenecks=[one, *rest], recommendations=[advice]
    )
    text = _shown(msgspec.structs.replace(found, report=spoilt))
    assert not {"\x1b", "\u202e", "\x07"} & set(text)
    assert text.count("[31m[bold]") == 8


def test_a_narrow_terminal_loses_no_words() -> None:
    # Rows with a drawing are as wide as they are, the last of their figures included.
    text, _, rest = _shown(bundle(), width=50).partition("History")
    assert rest.count("1,267/s") == 1
    assert "couldnotbeasked" in "".join(text.split())
    lines = [*text.splitlines(), *rest.partition("Caching")[2].splitlines()]
    # What is there to be copied is one line, however narrow the terminal is.
    lines.remove("CREATE INDEX CONCURRENTLY ON profiles (lower(member));")
    assert max(map(len, lines)) <= 50


@given(st.lists(st.none() | st.floats(0, 1e6), max_size=200))
def test_sparks_have_gaps_and_rise_with_the_values(values: list[float | None]) -> None:
    drawn = terminal.sparks([(AT + n, value) for n, value in enumerate(values)])
    assert len(drawn) == min(len(values), 24)
    if len(values) <= 24:
        assert [mark == "·" for mark in drawn] == [value is None for value in values]
        known = [
            (value, mark) for value, mark in zip(values, drawn, strict=True) if value is not None
        ]
        assert [mark for _, mark in sorted(known)] == sorted(mark for _, mark in known)
        if known and max(known)[0] > 0:
            assert max(known)[1] == "█"


def test_the_sample_has_what_the_tests_are_about() -> None:
    points = history()["database.pool_utilization"]
    assert sum(value is None for _, value in points) == 120
    assert not any(math.isnan(value) for _, value in points if value is not None)
