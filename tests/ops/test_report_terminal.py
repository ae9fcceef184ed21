"""The page for the terminal: what is unknown is said, causes come first, nothing steers."""

from __future__ import annotations

import io
import math

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from fix_bundle import AT, bottlenecks, bundle, history, recommendations, report
from rankwire.ops.findings import Health
from rankwire.ops.report import terminal
from rankwire.ops.report.bundle import Bundle

HOSTILE = "\x1b[31m[bold]\u202e\x07"


def _shown(found: Bundle, width: int = 160) -> str:
    screen = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False)
    screen.print(terminal.render(found), soft_wrap=False)
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
    narrow = "".join(_shown(bundle(), width=50).split())
    assert "couldnotbeasked" in narrow
    assert max(map(len, _shown(bundle(), width=50).splitlines())) <= 50
    assert "CREATEINDEXCONCURRENTLYONprofiles(lower(member));" in narrow


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
