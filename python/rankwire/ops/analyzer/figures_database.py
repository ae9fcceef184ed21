"""The figures of the source `database`, see `rankwire.ops.analyzer.figures`."""

from __future__ import annotations

from typing import Final

from rankwire.ops.analyzer.measures import (
    Figure,
    averages,
    blocked_by_idle,
    blocks,
    connections_part,
    dead_part,
    disk_part,
    gauge,
    of_busiest,
    pool_hold,
    pool_load,
    pool_utilization,
    rate,
    replication_bytes,
    replication_lag,
    slow,
    slow_calls,
    slow_part,
    slow_scan_part,
    unindexed_count,
)

DATABASE_FIGURES: Final = (
    Figure(
        "database.pool_utilization",
        "ratio",
        "Part of the connections of the fullest pool that worked for requests: mean over time.",
        of_busiest(pool_utilization),
    ),
    Figure(
        "database.pool_load",
        "erlangs",
        "Requests for a connection each second times the seconds that each keeps it, those that "
        "were refused included; of the fullest pool, as the next four.",
        of_busiest(pool_load),
    ),
    Figure(
        "database.pool_requests_per_second",
        "1/s",
        "Requests for a connection.",
        of_busiest(lambda window, pool: window.rate(f"pool.{pool}.requests")),
    ),
    Figure(
        "database.pool_hold_mean",
        "s",
        "Mean time that a request kept its connection.",
        of_busiest(pool_hold),
    ),
    Figure(
        "database.pool_wait_p99",
        "s",
        "99th percentile of the time that requests waited for a connection.",
        of_busiest(lambda window, pool: window.quantile(f"pool.{pool}", 0.99)),
    ),
    Figure(
        "database.pool_refused_per_second",
        "1/s",
        "Requests that got no connection.",
        of_busiest(lambda window, pool: window.rate(f"pool.{pool}.refused")),
    ),
    Figure(
        "database.held_running_part",
        "ratio",
        "Part of the primary pool's connections in use whose session ran a statement; mean of "
        "the readings, as the next two.",
        averages("held_running", "held"),
    ),
    Figure(
        "database.held_blocked_part",
        "ratio",
        "Part of them that waited for a lock.",
        averages("held_blocked", "held"),
    ),
    Figure(
        "database.held_in_transaction_part",
        "ratio",
        "Part of them that did nothing within a transaction.",
        averages("held_in_transaction", "held"),
    ),
    Figure(
        "database.slow_queries",
        "calls/min",
        "Calls a minute of slow statements: those with a mean of 20 ms or more in the window and "
        "at least two calls, or 100 calls a day in windows of more than half an hour.",
        slow_calls,
    ),
    Figure(
        "database.slow_statements",
        "statements",
        "How many different ones these are.",
        slow(lambda rows: float(len(rows))),
    ),
    Figure(
        "database.slow_part",
        "ratio",
        "Their part of the time of all statements.",
        slow_part,
    ),
    Figure(
        "database.slow_scan_part",
        "ratio",
        "Part of their time that is of statements which name a table of "
        "`database.unindexed_tables`.",
        slow_scan_part,
    ),
    Figure(
        "database.unindexed_tables",
        "tables",
        "Tables of more than 10,000 rows that were read from end to end at least twice and three "
        "times a minute, and by an index in less than 95 % of the looks.",
        unindexed_count,
    ),
    Figure(
        "database.heap_hit_rate",
        "ratio",
        "Part of the blocks of tables that PostgreSQL had in its memory, of at least 1,000.",
        blocks("heap_hit", "heap_read"),
    ),
    Figure(
        "database.index_hit_rate",
        "ratio",
        "The same of blocks of indexes.",
        blocks("index_hit", "index_read"),
    ),
    Figure(
        "database.connections_part",
        "ratio",
        "Sessions of clients, of `max_connections` less those that are reserved.",
        connections_part,
    ),
    Figure(
        "database.oldest_transaction",
        "s",
        "Age of the oldest transaction of a client.",
        gauge("oldest_transaction"),
    ),
    Figure(
        "database.blocked_sessions",
        "sessions",
        "Sessions that wait for a lock.",
        gauge("blocked_sessions"),
    ),
    Figure(
        "database.blocked_by_idle_part",
        "ratio",
        "Part of them that wait for a session which does nothing within its transaction.",
        blocked_by_idle,
    ),
    Figure("database.deadlocks_per_minute", "1/min", "Deadlocks.", rate("deadlocks", 60.0)),
    Figure(
        "database.temp_bytes_per_second",
        "B/s",
        "Bytes that statements wrote to temporary files.",
        rate("temp_bytes"),
    ),
    Figure(
        "database.dead_tuple_part",
        "ratio",
        "Largest part of dead rows in a table that has more than 10,000 of them.",
        dead_part,
    ),
    Figure(
        "database.replication_lag",
        "s",
        "How far the replica is behind; without `storage.replica_url` the furthest of those that "
        "the primary tells of.",
        replication_lag,
    ),
    Figure(
        "database.replica_lost",
        "0 or 1",
        "1 while the lag of the replica is not known.",
        gauge("replica_lost"),
    ),
    Figure(
        "database.replication_bytes",
        "B",
        "Journal of PostgreSQL that the furthest replica has not replayed.",
        replication_bytes,
    ),
    Figure(
        "database.journal_bytes",
        "B",
        "Size of the journal's files, with SQLite.",
        gauge("journal_bytes"),
    ),
    Figure("database.disk_part", "ratio", "Part of the disk in use, with SQLite.", disk_part),
)
