"""Recommendations for PostgreSQL: statements, indexes, the pool, transactions, the replica."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, cast

from rankwire.ops.analyzer.advice import Context, recommend
from rankwire.ops.analyzer.details import dominating
from rankwire.ops.analyzer.measures import SLOW_SECONDS, busiest
from rankwire.ops.findings import Bottleneck, Confidence, Known, Prediction, Recommendation
from rankwire.ops.models.queueing import (
    mean_wait,
    servers_needed,
    wait_probability,
)
from rankwire.storage.pool import OWN_CONNECTIONS, REGION_CONNECTIONS

if TYPE_CHECKING:
    from rankwire.ops.analyzer.readings import Window

MOST_WAITING: Final = 0.01
"""Part of the requests that may have to wait for a connection after a change."""

LEAST_REQUESTS: Final = 30
"""Requests in the window without which a pool is not sized: the mean of so few says too little."""

MOST_POOL: Final = 100
"""Largest `storage.pool_size`."""

_POOL_PROMQL: Final = 'database_pool_utilization{{pool="{pool}"}}'
_POOL_CAVEATS: Final = (
    "the model assumes that requests come at random; bursts wait longer",
    "what was measured includes the pool's look at each connection, which stays",
    "PostgreSQL may get slower with more sessions at once",
)
_NO_LOCKS: Final = 'pg_stat_activity_count{wait_event_type="Lock"}'


def advise_pool(context: Context, bottleneck: Bottleneck) -> Iterator[Recommendation]:
    """Speed up the statement that fills it, if one does; else size it for what is asked of it."""
    if bottleneck.cause not in {None, "DATABASE_SLOW_QUERIES", "DATABASE_CONNECTION_POOL"}:
        return
    window = context.windows.get("database")
    load, hold = (context.figures.get(f"database.pool_{name}") for name in ("load", "hold_mean"))
    pool = None if window is None else busiest(window)
    if window is None or pool is None or load is None or hold is None:
        return
    if (window.delta(f"pool.{pool}.requests") or 0) < LEAST_REQUESTS:
        return
    size = int(window.gauge(f"pool.{pool}.size") or 0)
    statement = dominating(window)
    if statement is not None and statement["mean"] >= SLOW_SECONDS:
        yield _statement(context, bottleneck, statement)
    yield from _size(context, bottleneck, window, _Pool(pool, size, load, hold))


class _Pool:
    """What the queueing model is given."""

    def __init__(self, name: str, size: int, load: float, hold: float) -> None:
        self.name, self.size, self.load, self.hold = name, size, load, hold
        self.needed = max(size, servers_needed(load, MOST_WAITING))

    def predictions(self, measured_wait: Known) -> Iterator[Prediction]:
        before, after = (wait_probability(size, self.load) for size in (self.size, self.needed))
        yield Prediction("P(wait for a connection)", "ratio", before, after)
        modelled = mean_wait(self.size, self.load, self.hold)
        wait = measured_wait if measured_wait is not None else modelled
        if isfinite(wait):
            after_wait = mean_wait(self.needed, self.load, self.hold)
            yield Prediction("mean wait for a connection", "s", wait, after_wait)
        yield Prediction(
            "database.pool_utilization",
            "ratio",
            min(1.0, self.load / self.size),
            self.load / self.needed,
        )


def _size(
    context: Context, bottleneck: Bottleneck, window: Window, pool: _Pool
) -> Iterator[Recommendation]:
    if pool.needed <= pool.size:
        return
    most, kept = window.gauge("max_connections"), window.gauge("reserved_connections")
    if most is None or kept is None or (nodes := context.nodes) is None:
        return
    is_among = context.windows.get("regions") is not None
    beside = OWN_CONNECTIONS + (REGION_CONNECTIONS if is_among else 0)
    refusal = _refusal(nodes, pool, beside, most - kept)
    goal = f"so that at most {MOST_WAITING:.0%} of the requests wait"
    yield recommend(
        bottleneck,
        "KEEP_POOL_SIZE" if refusal else "RESIZE_POOL",
        f"Not a larger pool: {refusal}. Make statements faster, or ask less often."
        if refusal
        else f"Raise storage.pool_size from {pool.size} to {pool.needed}, {goal}.",
        resource=f"pool {pool.name}",
        model="Erlang C (M/M/c)",
        inputs={
            "requests_per_second": pool.load / pool.hold,
            "hold_seconds": pool.hold,
            "load_erlangs": pool.load,
            "size": pool.size,
            "nodes": nodes,
            "max_connections": most,
            "reserved_connections": kept,
        },
        predicted=() if refusal else pool.predictions(window.mean(f"pool.{pool.name}")),
        verify=_POOL_PROMQL.format(pool=pool.name),
        confidence="low" if bottleneck.cause else "medium",
        apply="" if refusal else f"[storage]\npool_size = {pool.needed}\n",
        caveats=_POOL_CAVEATS,
    )


def _refusal(nodes: int, pool: _Pool, beside: int, allowed: float) -> str:
    """Say why the pool cannot be as large as it would have to be; empty when it can."""
    asked = nodes * (pool.needed + beside)
    if pool.name == "primary" and asked > allowed:
        return (
            f"{nodes} nodes with a pool of {pool.needed} and up to {beside} "
            f"connections beside need {asked}, and PostgreSQL allows {allowed:.0f}"
        )
    if pool.needed > MOST_POOL:
        return f"{pool.needed} is more than storage.pool_size may be, {MOST_POOL}"
    return ""


def advise_slow(context: Context, bottleneck: Bottleneck) -> Iterator[Recommendation]:
    """Name the slow statement that takes the most time."""
    found = cast("list[dict[str, Any]]", bottleneck.details.get("statements") or [])
    if found and bottleneck.cause is None:
        yield _statement(context, bottleneck, found[0])


def _statement(
    context: Context, bottleneck: Bottleneck, statement: Mapping[str, Any]
) -> Recommendation:
    window = context.windows["database"]
    assert window is not None  # noqa: S101  # the statement is from it
    spared = 1 - SLOW_SECONDS / statement["mean"]
    per_second = statement["calls"] / window.seconds
    busy = per_second * statement["mean"]
    return recommend(
        bottleneck,
        "SPEED_UP_STATEMENT",
        f"Make this statement faster before anything else; it takes {statement['part']:.0%} of "
        f"the time of all statements, {statement['mean']:.3f} s each: {statement['text']}",
        resource=f"statement {statement['id']}",
        model="utilisation law",
        inputs={
            "statement": statement["text"],
            "calls_per_second": per_second,
            "mean_seconds": statement["mean"],
            "part_of_all_time": statement["part"],
        },
        predicted=[
            Prediction("sessions that run it, on average", "sessions", busy, busy * (1 - spared)),
        ],
        verify=f'rate(pg_stat_statements_seconds_total{{queryid="{statement["id"]}"}}[5m])',
        confidence="medium",
        apply=f"EXPLAIN (GENERIC_PLAN) {statement['text']};  -- from PostgreSQL 16 on",
        caveats=[f"after: if it took {SLOW_SECONDS * 1000:.0f} ms, from where on it is not slow"],
    )


def advise_index(context: Context, bottleneck: Bottleneck) -> Iterator[Recommendation]:
    """Propose an index for each table that is read from end to end."""
    window = context.windows.get("database")
    for table in cast("list[dict[str, Any]]", bottleneck.details.get("tables") or []):
        columns, name = table["columns"], table["table"]
        on = f" on {', '.join(columns)}" if columns else ""
        read = table["rows_each"] * table["scans"] / (window.seconds if window else 1.0)
        yield recommend(
            bottleneck,
            "CREATE_INDEX",
            f"Create an index{on}: {name} was read from end to end {table['scans']:.0f} times in "
            f"the window, {table['rows_each']:,.0f} rows each.",
            resource=f"table {name}",
            model="an index reads what it finds",
            inputs={
                "rows": table["rows"],
                "scans": table["scans"],
                "rows_read_each": table["rows_each"],
                "rows_per_second": read,
                "statement": table["statement"],
            },
            predicted=[_rows_read(table)] if table["found_each"] is not None else [],
            verify=f'rate(pg_stat_user_tables_seq_tup_read{{relname="{table["plain"]}"}}[5m])',
            confidence="medium" if columns else "low",
            apply="".join(
                f"CREATE INDEX CONCURRENTLY ON {name} ({_quoted(column)});\n"
                for column in columns[:1]
            ),
            caveats=[
                "an index makes writes slower and takes space",
                "the columns are those that the statements' texts compare"
                if columns
                else "no statement names a column that has no index, so none can be proposed",
            ],
        )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _rows_read(table: Mapping[str, Any]) -> Prediction:
    return Prediction("rows read by a call", "rows", table["rows_each"], table["found_each"])


def advise_locks(context: Context, bottleneck: Bottleneck) -> Iterator[Recommendation]:
    """End the session that most others wait for; certain where all who wait were told of."""
    window = context.windows.get("database")
    rows = [] if window is None else window.after.rows.get("blocked", ())
    blockers = [row["blocker"] for row in rows if row["blocker"] is not None]
    if not blockers or bottleneck.cause is not None:
        return
    worst = max(blockers, key=blockers.count)
    # Who waits for another as well goes on waiting.
    freed = {row["pid"] for row in rows} - {row["pid"] for row in rows if row["blocker"] != worst}
    left = bottleneck.value - len(freed)
    yield _end(
        bottleneck,
        worst,
        f"{len(freed)} others wait for nobody else",
        Prediction("blocked sessions", "sessions", bottleneck.value, left),
        confidence="high" if len({row["pid"] for row in rows}) >= bottleneck.value else "medium",
    )


def advise_transaction(context: Context, bottleneck: Bottleneck) -> Iterator[Recommendation]:
    """End the oldest transaction."""
    del context
    rows = cast("list[dict[str, Any]]", bottleneck.details.get("transactions") or [])
    if rows:
        ages = [row["seconds"] for row in rows] + [0.0]
        change = Prediction("database.oldest_transaction", "s", ages[0], ages[1])
        why = f"its transaction is {ages[0]:.0f} s old"
        yield _end(bottleneck, rows[0]["pid"], why, change, confidence="high")


def _end(
    bottleneck: Bottleneck, pid: int, why: str, change: Prediction, *, confidence: Confidence
) -> Recommendation:
    return recommend(
        bottleneck,
        "END_TRANSACTION",
        f"End session {pid}, or make what it belongs to commit: {why}.",
        resource=f"session {pid}",
        model="graph of who waits for whom",
        inputs={"session": pid},
        predicted=[change],
        verify=_NO_LOCKS,
        confidence=confidence,
        apply=f"SELECT pg_terminate_backend({pid});",
        caveats=["what it has not committed is lost"],
    )


def advise_replica(context: Context, bottleneck: Bottleneck) -> Iterator[Recommendation]:
    """Tell whether the replica will catch up by itself, and when."""
    window = context.windows.get("database")
    rows = [] if window is None else window.after.rows.get("replication", ())
    if window is None or not rows or rows[0]["bytes"] is None:
        return
    row = rows[0]
    # Their names are often all the same.
    earlier = {each["pid"]: each for each in window.before.rows.get("replication", ())}
    written, old = window.rate("wal_bytes"), earlier.get(row["pid"])
    if written is None or old is None or old["replayed"] is None:
        return
    replayed = (row["replayed"] - old["replayed"]) / window.seconds
    gain = replayed - written
    stands_still = replayed <= 0 < row["bytes"]
    seconds = row["bytes"] / gain if gain > 0 else None
    words = (
        "Its replay stands still: see pg_is_wal_replay_paused() and statements there that hold it."
        if stands_still
        else f"It catches up in {seconds:.0f} s."
        if seconds is not None
        else "It does not catch up: it replays more slowly than the primary writes."
    )
    yield recommend(
        bottleneck,
        "RESUME_REPLAY" if stands_still else "WAIT" if seconds is not None else "FASTER_REPLICA",
        f"The replica {row['name']} has {row['bytes']:,.0f} bytes to replay. {words}",
        resource=f"replica {row['name']}",
        model="what is left over what it gains a second",
        inputs={
            "bytes_behind": row["bytes"],
            "bytes_written_per_second": written,
            "bytes_replayed_per_second": replayed,
        },
        predicted=[]
        if seconds is None
        else [Prediction("database.replication_bytes", "B", row["bytes"], 0.0)],
        verify="rankwire_replica_lag_seconds",
        confidence="medium",
        apply="SELECT pg_wal_replay_resume();  -- on the replica" if stands_still else "",
    )


def advise_connections(context: Context, bottleneck: Bottleneck) -> Iterator[Recommendation]:
    """Allow as many sessions as the bound asks for."""
    names = ("connections", "max_connections", "reserved_connections")
    now, most, kept = (context.gauge("database", name) for name in names)
    if now is None or most is None or kept is None:
        return
    rule = context.rules[bottleneck.type]
    needed = int(-(-now // rule.clear) + kept)
    yield recommend(
        bottleneck,
        "RAISE_MAX_CONNECTIONS",
        f"Raise max_connections from {most:.0f} to {needed}, or put a pooler before PostgreSQL.",
        resource="PostgreSQL",
        model="utilisation law",
        inputs={"connections": now, "max_connections": most, "reserved_connections": kept},
        predicted=[
            Prediction(rule.figure, "ratio", bottleneck.value, now / (needed - kept)),
        ],
        verify="sum(pg_stat_activity_count) / pg_settings_max_connections",
        confidence="high",
        apply=f"ALTER SYSTEM SET max_connections = {needed};  -- takes a restart",
        caveats=["each session takes memory of PostgreSQL"],
    )


def advise_vacuum(context: Context, bottleneck: Bottleneck) -> Iterable[Recommendation]:
    """Remove the dead rows of the worst table; the next one is the worst then."""
    del context
    tables = cast("list[dict[str, Any]]", bottleneck.details.get("tables") or [])
    if not tables or bottleneck.cause is not None:
        return
    table = tables[0]
    left = tables[1]["part"] if len(tables) > 1 else 0.0
    yield recommend(
        bottleneck,
        "VACUUM",
        f"Vacuum {table['table']}: {table['dead']:,.0f} dead rows are {table['part']:.0%} of it.",
        resource=f"table {table['table']}",
        model="vacuum removes what no transaction can see",
        inputs={"dead": table["dead"], "rows": table["rows"]},
        predicted=[Prediction(bottleneck.figure, "ratio", table["part"], left)],
        verify="pg_stat_user_tables_n_dead_tup",
        confidence="high",
        apply=f"VACUUM {table['table']};",
    )
