"""What the figures are computed by: rates, parts and quantiles of windows, pools and statements.

Promises: None wherever something that is needed is not known, or when too little happened for the
value to mean anything; never a zero in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from rankwire.ops.analyzer.readings import Window
from rankwire.ops.analyzer.sources.database import POOLS
from rankwire.storage.vitals import LARGE_ROWS

if TYPE_CHECKING:
    from rankwire.ops.findings import Known

SLOW_SECONDS: Final = 0.02
"""Mean time from which on a statement is slow (pghero's `slow_query_ms`)."""

_SLOW_CALLS: Final = 100
_DAY_SECONDS: Final = 86_400.0
LEAST_LOOKUPS: Final = 400
"""Look-ups without which there is no hit rate: with so many its standard error is 0.02 at 0.8."""

_LEAST_BLOCKS: Final = 1000
_MINUTE_SECONDS: Final = 60.0
_LEAST_SCANS_PER_MINUTE: Final = 3.0
_LEAST_MEMORY: Final = 64 * 1024**2
# Part of the looks at a table that should use an index (pghero's missing indexes).
_INDEX_PART: Final = 0.95

Compute = Callable[[Window], "Known"]


class Figure(msgspec.Struct, frozen=True):
    """A row of the table."""

    name: str
    unit: str
    meaning: str
    compute: Compute

    @property
    def source(self) -> str:
        """Name of the source that it is of."""
        return self.name.partition(".")[0]


def ratio(part: Known, whole: Known) -> Known:
    """Divide, where both are known and there is something to divide by."""
    return None if part is None or not whole else part / whole


def total(values: Iterable[Known]) -> Known:
    """Add up what is known; None when nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _worst(values: Iterable[Known]) -> Known:
    return max((value for value in values if value is not None), default=None)


# How a row of the table is written: most figures are one of these.


def rate(name: str, per: float = 1.0) -> Compute:
    """Make the growth of a total each second, or in `per` seconds."""
    return lambda window: ratio(window.rate(name), 1 / per)


def deltas(part: str, whole: str) -> Compute:
    """Make the growth of one total, of that of another."""
    return lambda window: ratio(window.delta(part), window.delta(whole))


def gauge(name: str) -> Compute:
    """Make what a gauge is at the end of the window."""
    return lambda window: window.gauge(name)


def gauges(part: str, whole: str) -> Compute:
    """Make the part that one gauge is of another at the end of the window."""
    return lambda window: ratio(window.gauge(part), window.gauge(whole))


def averages(part: str, whole: str) -> Compute:
    """Make the mean of one gauge, of that of another."""
    return lambda window: ratio(window.average(part), window.average(whole))


def quantile(name: str, part: float) -> Compute:
    """Make a quantile of times."""
    return lambda window: window.quantile(name, part)


def hits(*caches: str, least: float = LEAST_LOOKUPS) -> Compute:
    """Make a hit rate: looked for in the first cache, found in any."""

    def compute(window: Window) -> Known:
        asked = total((window.delta(f"{caches[0]}.hits"), window.delta(f"{caches[0]}.misses")))
        found = total(window.delta(f"{cache}.hits") for cache in caches)
        return ratio(found, asked) if asked is not None and asked >= least else None

    return compute


def blocks(hit: str, read: str) -> Compute:
    """Make the part of the blocks that were in memory; None for less than 1,000.

    Both are sums over what there is, so they shrink with a table that is dropped; then None too.
    """

    def compute(window: Window) -> Known:
        hits, reads = window.delta(hit), window.delta(read)
        if hits is None or reads is None or min(hits, reads) < 0:
            return None
        return ratio(hits, hits + reads) if hits + reads >= _LEAST_BLOCKS else None

    return compute


# The processor.


def process_cpu(window: Window) -> Known:
    """Tell which part of its cores the process used."""
    return ratio(window.rate("cpu_seconds"), window.gauge("cores"))


def cpu_utilization(window: Window) -> Known:
    """Tell how full the fuller one is: all cores, or the one of the event loop."""
    return _worst((process_cpu(window), window.rate("loop_seconds")))


def concurrency(window: Window) -> Known:
    """Count requests worked on at once: arrivals times the time of each (Little)."""
    mean, rate = window.mean("requests"), window.rate("requests")
    return None if mean is None or rate is None else mean * rate


# The pools.


def pools(window: Window) -> list[str]:
    """Name the pools of which the window tells."""
    return [name for name in POOLS if f"pool.{name}.size" in window.after.gauges]


def pool_utilization(window: Window, pool: str) -> Known:
    """Tell which part of a pool's connections worked, on average over the window's time."""
    return ratio(window.rate(f"pool.{pool}.busy_seconds"), window.gauge(f"pool.{pool}.size"))


def busiest(window: Window) -> str | None:
    """Name the pool that is used most."""
    found = {name: pool_utilization(window, name) for name in pools(window)}
    known = {name: value for name, value in found.items() if value is not None}
    return max(known, key=lambda name: known[name]) if known else None


def of_busiest(compute: Callable[[Window, str], Known]) -> Compute:
    """Make a figure of the pool that is used most."""

    def of_busiest(window: Window) -> Known:
        pool = busiest(window)
        return None if pool is None else compute(window, pool)

    return of_busiest


def pool_hold(window: Window, pool: str) -> Known:
    """Mean time that a request kept its connection: of those that got one."""
    asked, refused = (window.delta(f"pool.{pool}.{name}") for name in ("requests", "refused"))
    served = None if asked is None or refused is None else asked - refused
    return ratio(window.delta(f"pool.{pool}.busy_seconds"), served)


def pool_load(window: Window, pool: str) -> Known:
    """Arrivals times the time of each, also of those that were refused."""
    hold, rate = pool_hold(window, pool), window.rate(f"pool.{pool}.requests")
    return None if hold is None or rate is None else hold * rate


# Statements.


def slow_statements(window: Window) -> list[dict[str, Any]] | None:
    """Give the statements that are slow and were called often enough; None when not known."""
    if (found := window.statements) is None:
        return None
    # pghero asks for so many calls in a day; what ran only once is nobody's request.
    least = max(2.0, _SLOW_CALLS * window.seconds / _DAY_SECONDS)
    return [
        row
        for row in found
        if row["calls"] >= least and row["seconds"] / row["calls"] >= SLOW_SECONDS
    ]


def slow(compute: Callable[[list[dict[str, Any]]], float]) -> Compute:
    """Make a figure of the slow statements; None where they are not known."""

    def of_slow(window: Window) -> Known:
        found = slow_statements(window)
        return None if found is None else compute(found)

    return of_slow


def slow_calls(window: Window) -> Known:
    """Count the calls of slow statements a minute."""
    calls = slow(lambda rows: sum(row["calls"] for row in rows))(window)
    return None if calls is None else calls / window.seconds * _MINUTE_SECONDS


def _statement_seconds(window: Window) -> Known:
    found = window.statements
    return None if found is None else sum(row["seconds"] for row in found)


def slow_part(window: Window) -> Known:
    """Tell which part of the time of all statements is of slow ones."""
    spent = slow(lambda rows: sum(row["seconds"] for row in rows))(window)
    return ratio(spent, _statement_seconds(window))


def unindexed(window: Window) -> list[dict[str, Any]] | None:
    """Give the large tables that were read from end to end again and again; None if not known."""
    before, after = (reading.rows.get("tables") for reading in (window.before, window.after))
    if before is None or after is None:
        return None
    earlier = {row["name"]: row for row in before}
    least = max(2.0, _LEAST_SCANS_PER_MINUTE * window.seconds / _MINUTE_SECONDS)
    found = []
    for row in after:
        # A table that was not large enough to be told of before has no window yet.
        if (old := earlier.get(row["name"])) is None:
            continue
        change = {name: row[name] - old[name] for name in ("scans", "scanned", "index_scans")}
        looks = change["scans"] + change["index_scans"]
        if change["scans"] < least or change["index_scans"] >= _INDEX_PART * looks:
            continue
        if row["live"] >= LARGE_ROWS and change["scanned"] / change["scans"] >= LARGE_ROWS:
            found.append({**row, **change})
    return sorted(found, key=lambda row: -row["scanned"])


def unindexed_count(window: Window) -> Known:
    """Count the tables that seem to lack an index."""
    found = unindexed(window)
    return None if found is None else float(len(found))


def slow_scan_part(window: Window) -> Known:
    """Tell which part of the slow statements' time is of those that name such a table."""
    found, tables = slow_statements(window), unindexed(window)
    if found is None or tables is None:
        return None
    about = [row for row in found if any(table["plain"] in row["text"] for table in tables)]
    return ratio(sum(row["seconds"] for row in about), sum(row["seconds"] for row in found))


def dead_tables(window: Window) -> list[dict[str, Any]] | None:
    """Give the tables with many dead rows and which `part` of all that is, the worst first."""
    rows: Iterable[Mapping[str, Any]] | None = window.after.rows.get("tables")
    if rows is None:
        return None
    found = [
        {**row, "part": row["dead"] / (row["dead"] + row["live"])}
        for row in rows
        if row["dead"] > LARGE_ROWS
    ]
    return sorted(found, key=lambda row: -row["part"])


def dead_part(window: Window) -> Known:
    """Tell the largest part of dead rows, of tables that have many."""
    found = dead_tables(window)
    return None if found is None else max((row["part"] for row in found), default=0.0)


def blocked_by_idle(window: Window) -> Known:
    """Tell which part of the blocked sessions wait for one that does nothing."""
    rows = window.after.rows.get("blocked")
    if not rows:
        return None
    idle = [row for row in rows if str(row["blocker_state"]).startswith("idle in transaction")]
    return len(idle) / len(rows)


def connections_part(window: Window) -> Known:
    """Tell which part of the sessions that clients may have is taken."""
    most, kept = window.gauge("max_connections"), window.gauge("reserved_connections")
    return None if most is None or kept is None else ratio(window.gauge("connections"), most - kept)


def replication_lag(window: Window) -> Known:
    """Prefer what we measure ourselves of our replica to what the primary hears of any."""
    if "replica_lost" in window.after.gauges:
        return window.gauge("replica_lag")
    return _worst(row["lag"] for row in window.after.rows.get("replication", ()))


def replication_bytes(window: Window) -> Known:
    """Tell how much the furthest replica has not replayed."""
    return _worst(row["bytes"] for row in window.after.rows.get("replication", ()))


def disk_part(window: Window) -> Known:
    """Tell which part of the disk is in use."""
    free, size = window.gauge("disk_free"), window.gauge("disk_bytes")
    return None if free is None or not size else 1 - free / size


def conflated(window: Window) -> Known:
    """Tell which part of the states was replaced by a newer one before it was sent."""
    missed, sent = window.delta("conflated"), window.delta("deliveries")
    return None if missed is None or sent is None else ratio(missed, missed + sent)


def blocked_watchers(window: Window) -> Known:
    """Tell which part of the watchers took no more bytes."""
    connections = window.average("connections")
    return 0.0 if connections == 0 else ratio(window.average("blocked"), connections)


def fragmentation(window: Window) -> Known:
    """Give that of a Redis which is not small: one that is nearly empty always has a large one."""
    is_small = (window.gauge("redis_memory") or 0) < _LEAST_MEMORY
    return None if is_small else window.gauge("redis_fragmentation")
