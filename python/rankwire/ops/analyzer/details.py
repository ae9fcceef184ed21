"""What a bottleneck is about: the statements, the tables, the sessions, the pool.

Everything here is from the rows of the sources' readings; statements come without literals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rankwire.ops.analyzer.measures import (
    busiest,
    dead_tables,
    pool_hold,
    pool_utilization,
    slow_statements,
    unindexed,
)

if TYPE_CHECKING:
    from rankwire.ops.analyzer.readings import Window

_ROWS: Final = 5
_NO_COLUMNS: Final[Mapping[str, Any]] = {"columns": (), "leading": ()}

Details = Mapping[str, object]
Windows = Mapping[str, "Window | None"]


def of_rule(rule: str, source: str, windows: Windows) -> Details:
    """Tell what there is to tell; empty when that is nothing."""
    window, find = windows.get(source), _FINDERS.get(rule)
    return {} if window is None or find is None else find(window)


def dominating(window: Window) -> dict[str, Any] | None:
    """Give the statement that takes more than half of the time of all; None if none does.

    Its `part` is of the time of all statements, its `mean` in seconds.
    """
    found = window.statements
    spent = sum(row["seconds"] for row in found or ())
    if not found or not spent or found[0]["seconds"] <= spent / 2:
        return None
    return _statement(found[0], spent)


def columns_without_index(table: Mapping[str, Any], texts: Sequence[str]) -> list[str]:
    """Name the table's columns that these statements compare, and that no index begins with.

    Read from the text, so a column of another table that has the same name may be among them.
    """
    text = " ".join(texts)
    return [
        column
        for column in table["columns"]
        if column not in table["leading"]
        and re.search(
            rf'(?<![\w"])"?{re.escape(column)}"?\s*(=|<|>|\bIN\b|\bBETWEEN\b)', text, re.IGNORECASE
        )
    ]


def _statement(row: Mapping[str, Any], spent: float) -> dict[str, Any]:
    return {
        "id": str(row["id"]),
        "text": row["text"],
        "calls": row["calls"],
        "mean": row["seconds"] / row["calls"],
        "part": row["seconds"] / spent if spent else 0.0,
        "rows_each": row["rows"] / row["calls"],
    }


def _slow(window: Window) -> Details:
    spent = sum(row["seconds"] for row in window.statements or ())
    slow = slow_statements(window) or []
    return {"statements": [_statement(row, spent) for row in slow[:_ROWS]]}


def _tables(window: Window) -> Details:
    named = window.statements or []
    columns = {row["name"]: row for row in window.after.rows.get("columns", ())}
    tables = []
    for table in (unindexed(window) or [])[:_ROWS]:
        about = [row for row in named if table["plain"] in row["text"]]
        texts = [row["text"] for row in about]
        tables.append(
            {
                "table": table["name"],
                "plain": table["plain"],
                "rows": table["live"],
                "scans": table["scans"],
                "rows_each": table["scanned"] / table["scans"],
                "columns": columns_without_index(columns.get(table["name"], _NO_COLUMNS), texts),
                "statement": texts[0] if texts else "",
                "found_each": about[0]["rows"] / about[0]["calls"] if about else None,
            }
        )
    return {"tables": tables}


def _pool(window: Window) -> Details:
    pool = busiest(window)
    if pool is None:
        return {}
    held = {
        name: window.average(f"held_{name}") for name in ("running", "blocked", "in_transaction")
    }
    return {
        "pool": pool,
        "size": window.gauge(f"pool.{pool}.size"),
        "waiting": window.gauge(f"pool.{pool}.waiting"),
        "utilization": pool_utilization(window, pool),
        "mean_wait": window.mean(f"pool.{pool}"),
        "mean_hold": pool_hold(window, pool),
        "held": held if pool == "primary" else {},
    }


def _rows(name: str, *keys: str) -> Callable[[Window], Details]:
    def find(window: Window) -> Details:
        rows = window.after.rows.get(name, ())
        return {name: [{key: row[key] for key in keys} for row in rows[:_ROWS]]}

    return find


def _dead(window: Window) -> Details:
    rows = dead_tables(window) or []
    return {
        "tables": [
            {"table": r["name"], "dead": r["dead"], "rows": r["live"], "part": r["part"]}
            for r in rows[:_ROWS]
        ]
    }


_LINKS: Final = _rows("links", "region", "up", "lag", "drift", "refused", "lacking")

_FINDERS: Final[Mapping[str, Callable[[Window], Details]]] = {
    "DATABASE_CONNECTION_POOL": _pool,
    "DATABASE_POOL_WAIT": _pool,
    "DATABASE_SLOW_QUERIES": _slow,
    "DATABASE_MISSING_INDEX": _tables,
    "DATABASE_LOCK_WAITS": _rows(
        "blocked", "pid", "blocker", "blocker_state", "seconds", "blocker_seconds"
    ),
    "DATABASE_LONG_TRANSACTION": _rows("transactions", "pid", "name", "state", "seconds"),
    "DATABASE_REPLICATION_LAG": _rows("replication", "name", "state", "lag", "bytes"),
    "DATABASE_DEAD_TUPLES": _dead,
    "REGION_LAG": _LINKS,
    "REGION_UNREACHABLE": _LINKS,
    "REGION_CLOCK": _LINKS,
}
