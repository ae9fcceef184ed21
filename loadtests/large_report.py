"""What `large.py` says in the end: its steps, the units beside them, the fleet and its price.

Promises: nothing is measured or computed here but sums for reading; the fleet and its price are
those of the capacity planner with its shipped scenario, units and prices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

import harness
from large_load import BOARDS_OF_GAME, READS_PER_GAME
from large_rows import MINUTE, Row
from rankwire.ops.capacity import text
from rankwire.ops.capacity.measured import LoadTest, load_tests
from rankwire.ops.capacity.plan import CapacityPlanner, Plan
from rankwire.ops.capacity.scenario import load_scenario
from rankwire.ops.capacity.units import Units
from rankwire.ops.prices import Catalogue
from rankwire.ops.report import words

NAME: Final = "large"
TARGET: Final = "make loadtest-large"
_MACHINES: Final = ("ec2", "cache-redis", "rds-pg")
"""Kinds of prices that are paid for a machine."""

_HEAD: Final = (
    *("series", "sockets", "hubs", "games/s", "scores/s", "carried", "API p99 ms"),
    *(
        "shared views p99 ms",
        "standings p99 ms",
        "api cores",
        "hub cores",
        "PostgreSQL",
        "clients",
        "limit",
    ),
)
_BESIDE: Final = ("series", "sockets", "games/s", "what", "unit", "predicted", "measured", "ratio")


def line(row: Row) -> str:
    """Say in a line how a step went."""
    step = row.step
    said = f"{step.series}: {step.sockets:,} sockets, {games_of(row):,g} games a second"
    if row.api_p99_ms is not None:
        said += f", requests within {row.api_p99_ms:,.1f} ms"
    return f"{said}: {'carried' if row.carried else row.limit}"


def games_of(row: Row) -> float:
    """Count the games a second of a step."""
    return row.step.games + row.step.batched


def report(rows: Sequence[Row], options: Any, output: Path, seconds: float) -> None:
    """Write both files, print the tables and the result."""
    date = datetime.now(UTC).date().isoformat()
    tests = [*tests_of(rows, options, f"{date}-{NAME}.json", date)]
    scenario = load_scenario(NAME)
    known = {**load_tests().tests, NAME: tests} if tests else load_tests().tests
    plan = CapacityPlanner(Catalogue.load(), Units.load(), known).plan(scenario)
    output.mkdir(parents=True, exist_ok=True)
    others = max((row.others for row in rows), default=0.0)
    result = {
        "name": f"loadtest-{NAME}",
        "scenario": NAME,
        "date": date,
        "target": TARGET,
        "seconds": round(seconds, 1),
        "options": options,
        "tests": tests,
        "steps": rows,
        "fleet": {"machines": machines(plan), "monthly": plan.monthly, "plan": plan},
        "stated": {"machines": sum(stated_machines().values()), **_stated(plan)},
        "noisy": others > harness.QUIET,
        "others": round(others, 3),
        **harness.circumstances(),
    }
    content = msgspec.json.encode(result)
    (output / f"{date}-{NAME}.json").write_bytes(msgspec.json.format(content, indent=1) + b"\n")
    (output / f"{date}-{NAME}.md").write_text(markdown(rows, plan, result), encoding="utf-8")
    print(harness.table(_HEAD, figures(rows)))
    print(harness.table(_BESIDE, beside(rows)))
    print(fleet(plan))
    short = {key: value for key, value in result.items() if key not in {"steps", "fleet"}}
    short |= {"machines": machines(plan), "monthly": plan.monthly}
    print(msgspec.json.encode(short).decode())


# Words and tables.


def markdown(rows: Sequence[Row], plan: Plan, result: dict[str, Any]) -> str:
    """Write everything as Markdown."""
    noise = " Other programs used the machine meanwhile." if result["noisy"] else ""
    where = (
        f"{result['machine']}, clients included; {result['options'].users:,} users, "
        f"{result['seconds'] / 60:.1f} minutes.{noise} By `{TARGET}`, whose program says what each "
        "series is."
    )
    parts = [
        f"# What one machine carries of the large game, {result['date']}",
        where,
        _markdown_table(_HEAD, figures(rows)),
        "## What was nearest to its end",
        "\n".join(f"- {line(row)}: {row.busiest}" for row in rows if row.busiest),
        "## Predicted beside measured",
        _markdown_table(_BESIDE, beside(rows)),
        "## The smallest fleet by the capacity planner",
        fleet(plan),
        text.markdown(plan).replace("\n## ", "\n### ").removeprefix("# ").partition("\n\n")[2],
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def figures(rows: Sequence[Row]) -> Iterator[Sequence[object]]:
    """Make the lines of the table of steps."""
    for row in rows:
        step = row.step
        yield (
            *(step.series, step.sockets, row.hubs, f"{games_of(row):,g}"),
            f"{games_of(row) * BOARDS_OF_GAME:,g}",
            "yes" if row.carried else "no",
            *map(_shown, (row.api_p99_ms, row.delivery_p99_ms, row.standing_p99_ms)),
            *map(_shown, (row.api_cores, row.hub_cores, row.database_cores, row.clients_cores)),
            row.limit,
        )


def beside(rows: Sequence[Row]) -> Iterator[Sequence[object]]:
    """Put what was predicted and what was measured beside each other."""
    for row in rows:
        if (said := row.predicted) is None:
            continue
        pairs = (
            ("API, all", "cores", said.api_cores, row.api_cores),
            ("hubs, all", "cores", said.hub_cores, row.hub_cores),
            ("deliveries", "1/s", said.deliveries_per_second, row.deliveries_per_second),
            ("memory of a hub", "MiB", _mib(said.hub_memory), _mib(row.hub_memory)),
            ("of a socket in its hub", "bytes", said.own_bytes, row.own_bytes),
            ("of a socket in the kernel", "bytes", said.kernel_bytes, row.kernel_bytes),
            ("the last delivery of the top", "ms", said.last_seen_ms, row.top_max_ms),
        )
        for what, unit, predicted, measured in pairs:
            if measured is None:
                continue
            ratio = predicted / measured if predicted is not None and measured else None
            yield (
                *(row.step.series, row.step.sockets, f"{games_of(row):,g}", what, unit),
                *map(_shown, (predicted, measured, ratio)),
            )


def fleet(plan: Plan) -> str:
    """Say which machines it takes, and what was stated."""
    ours = ", ".join(f"{tier.instances} {tier.tier} ({tier.sku})" for tier in plan.tiers)
    count = stated_machines()
    theirs = ", ".join(f"{number:g} {tier}" for tier, number in count.items())
    stated = "" if plan.stated is None else f" for {words.money(plan.stated.monthly)} a month"
    return (
        f"Smallest fleet by the planner: {machines(plan)} machines: {ours}; "
        f"{words.money(plan.monthly)} a month, of which {words.money(plan.egress)} egress. "
        f"Stated: {sum(count.values()):g} machines: {theirs}{stated}."
    )


def stated_machines() -> dict[str, float]:
    """Count the stated machines by what they are for, as the scenario's first bill has them."""
    items = load_scenario(NAME).references[0].items
    return {item.what: item.quantity for item in items if item.sku.partition(":")[0] in _MACHINES}


def machines(plan: Plan) -> int:
    """Count the machines of all tiers."""
    return sum(tier.instances for tier in plan.tiers)


def _stated(plan: Plan) -> dict[str, object]:
    if plan.stated is None:
        return {}
    priced = {one.name: one.with_egress for one in plan.references}
    return {"monthly": plan.stated.monthly, "with_egress": priced}


def _markdown_table(head: Sequence[str], rows: Iterator[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in lines)


def _shown(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.2f}" if value < 1000 else f"{value:,.0f}"


def _mib(size: float | None) -> float | None:
    return None if size is None else size / 1024**2


# For the planner.


def tests_of(rows: Sequence[Row], options: Any, source: str, date: str) -> Iterator[LoadTest]:
    """Make a load test of the last step that was carried of each series with games."""
    machine = str(harness.circumstances()["machine"])
    for series in ("games", "batches", "sockets"):
        carried = [row for row in rows if row.carried and row.step.series == series]
        if not carried or carried[-1].api_p99_ms is None:
            continue
        row = carried[-1]
        yield LoadTest(
            date=date,
            machine=machine,
            target=TARGET,
            source=source,
            users=options.users,
            connections=row.step.sockets,
            updates_per_minute=games_of(row) * MINUTE,
            reads_per_update=READS_PER_GAME if row.step.reads else 0,
            batch=row.step.batch,
            api_p99_ms=round(row.api_p99_ms or 0.0, 2),
            delivery_p99_ms=None if row.delivery_p99_ms is None else round(row.delivery_p99_ms, 2),
            noisy=row.others > harness.QUIET,
        )
