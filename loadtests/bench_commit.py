"""Durable submits over HTTP on SQLite and on PostgreSQL, and what limits the latter.

Measured: scores a second, their latency and the server's processor time, as single submits over 64
keep-alive connections and in batches of 1,000, as NDJSON and as MessagePack. On PostgreSQL also,
of the same rounds: commits a second, bytes of its write-ahead log, how long one fsync of it takes,
and what the committer's session was busy with whenever it was looked at. At the end, how long a
bare INSERT of as many bytes takes through psycopg, again and again, with nothing beside it.

How: as in `bench_http.py`. The server has one core, which PostgreSQL shares with it as one stack,
and the client another. Both storages take turns; the server whose turn it is not is stopped. Each
figure is the median of its rounds. PostgreSQL is as it comes: fsync and synchronous_commit are on.

The last line is JSON. Wanted are 300,000 scores a second in batches on SQLite.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

import bench_http
import harness
import postgres_side
from bench_http import BATCH, Load, Round, Row, Side
from postgres_side import CommitterWatch, Postgres

WANTED: Final = 300_000.0
_LOADS: Final = (Load("single", 64), Load("ndjson", 4, BATCH), Load("msgpack", 4, BATCH))
_SQLITE: Final = "sqlite"
_POSTGRES: Final = "postgresql"
# Only the mean of the last two is used: they may be a second old.
_DONE: Final = """
SELECT count(*), coalesce(sum(octet_length(batch)), 0), pg_current_wal_lsn() - '0/0',
       (SELECT wal_sync FROM pg_stat_wal), (SELECT wal_sync_time FROM pg_stat_wal)
FROM journal
"""
_BARE_TABLE: Final = "CREATE TABLE bare (number bigserial PRIMARY KEY, batch bytea NOT NULL)"
_BARE: Final = "INSERT INTO bare (batch) VALUES (%b)"


class Options(msgspec.Struct, frozen=True):
    """How long to measure."""

    rounds: int
    seconds: int
    warmup: int


class Work(msgspec.Struct, frozen=True):
    """What PostgreSQL had to do in a round."""

    commits_per_second: float
    scores_per_commit: float
    bytes_per_commit: float
    wal_mb_per_second: float
    sync_ms: float
    committer: dict[str, float]


class Limits(msgspec.Struct, frozen=True):
    """The medians of all rounds of one load, and a bare INSERT of as many bytes."""

    load: str
    commits_per_second: float
    scores_per_commit: float
    bytes_per_commit: float
    wal_mb_per_second: float
    sync_ms: float
    bare_ms: float
    committer_busy: float
    """Share of the time that the committer waited for PostgreSQL."""
    committer: dict[str, float]
    """The shares of its session, by what it was busy with."""


def main() -> None:
    options = read_options()
    harness.require(("wrk", "taskset", "setpriv"), ("psycopg",))
    postgres_side.require()
    rows: list[Row] = []
    limits: list[Limits] = []
    others = 0.0
    with harness.working_directory() as directory, sides(directory) as (sqlite, pg, database):
        database.sql(_BARE_TABLE)
        for load in _LOADS:
            rounds: dict[str, list[Round]] = {_SQLITE: [], _POSTGRES: []}
            work: list[Work] = []
            for number in range(options.rounds):
                rounds[_SQLITE].append(measure(sqlite, load, options, number + 1))
                one, done = measure_work(pg, database, load, options, number + 1)
                rounds[_POSTGRES].append(one)
                work.append(done)
            rows += [bench_http.summarize(name, load, rounds[name]) for name in rounds]
            limits.append(limits_of(rows[-1].load, work, database, options))
            others = max(others, bench_http.worst(rounds))
    report(rows, limits, others, options)


def read_options() -> Options:
    parser = harness.parser(__doc__)
    parser.add_argument("--rounds", type=harness.positive, default=5, help="default: 5")
    parser.add_argument(
        "--seconds", type=harness.positive, default=6, help="length of a round (default: 6)"
    )
    parser.add_argument(
        "--warmup", type=harness.positive, default=2, help="seconds before each (default: 2)"
    )
    given = parser.parse_args()
    return Options(1, 1, 1) if given.quick else Options(given.rounds, given.seconds, given.warmup)


@contextlib.contextmanager
def sides(directory: Path) -> Iterator[tuple[Side, Side, Postgres]]:
    """Run a server on each storage, filled with the same members, stopped until its turn."""
    with contextlib.ExitStack() as stack:
        flags = ("-c", "track_wal_io_timing=on")
        core, _ = harness.cores()
        database = stack.enter_context(postgres_side.postgres(directory, core, *flags))
        sqlite = stack.enter_context(bench_http.rankwire(_SQLITE, directory))
        url = ("--storage-url", database.url)
        node = bench_http.rankwire(_POSTGRES, directory, harness.RANKWIRE, *url)
        pg = stack.enter_context(node)
        pg = msgspec.structs.replace(pg, processes=[*pg.processes, database])
        for side in (sqlite, pg):
            bench_http.check_answer(side)
        for process in (*sqlite.processes, pg.processes[0]):
            process.pause()
        yield sqlite, pg, database


# Measuring.


def measure(side: Side, load: Load, options: Options, seed: int) -> Round:
    """Give one side its turn."""
    times = bench_http.Options(1, options.seconds, options.warmup, [])
    one = bench_http.measure_once(side, load, times, seed)
    what = f"{side.name}, {load.kind}, {load.connections} connections"
    harness.progress(f"{what}: {one.per_second:,.0f}/s", one.others)
    return one


def measure_work(
    side: Side, database: Postgres, load: Load, options: Options, seed: int
) -> tuple[Round, Work]:
    """Give the side on PostgreSQL its turn; the work is that of the warm-up as well."""
    before = database.sql(_DONE)[0]
    with CommitterWatch(database) as watch:
        one = measure(side, load, options, seed)
    after = database.sql(_DONE)[0]
    commits, batches, wal, syncs, sync_ms = (
        float(now - then) for now, then in zip(after, before, strict=True)
    )
    seconds = options.warmup + options.seconds
    commits_per_second = commits / seconds
    return one, Work(
        commits_per_second,
        scores_per_commit=one.per_second / commits_per_second,
        bytes_per_commit=batches / commits,
        wal_mb_per_second=wal / seconds / 1e6,
        sync_ms=sync_ms / max(1.0, syncs),
        committer=watch.shares(),
    )


def limits_of(load: str, work: list[Work], database: Postgres, options: Options) -> Limits:
    """Take the medians, and see what PostgreSQL can do with nothing beside it."""
    size = harness.median((one.bytes_per_commit for one in work), 0)
    middle = sorted(work, key=lambda one: one.commits_per_second)[len(work) // 2]
    return Limits(
        load,
        harness.median((one.commits_per_second for one in work), 0),
        harness.median(one.scores_per_commit for one in work),
        size,
        harness.median(one.wal_mb_per_second for one in work),
        harness.median((one.sync_ms for one in work), 3),
        bare_ms(database, int(size), options.seconds),
        harness.median((1 - one.committer.get("idle", 0.0) for one in work), 3),
        middle.committer,
    )


def bare_ms(database: Postgres, size: int, seconds: float) -> float:
    """Insert rows of so many bytes, one after the other, and return what one takes."""
    content = os.urandom(size)
    taken = []
    with database.connect() as connection:
        end = time.perf_counter() + seconds
        while (begun := time.perf_counter()) < end:
            connection.execute(_BARE, (content,), prepare=True)
            taken.append(time.perf_counter() - begun)
    return harness.median((one * 1000 for one in taken), 3)


# Telling.


def report(rows: list[Row], limits: list[Limits], others: float, options: Options) -> None:
    """Print the tables and the result."""
    head = ("storage", "submits", "connections", "scores/s", "p50 ms", "p99 ms", "CPU µs/score")
    print(harness.table(head, (msgspec.structs.astuple(row) for row in rows)))
    limits_head = (
        *("what limits PostgreSQL", "commits/s", "scores/commit", "bytes/commit", "WAL MB/s"),
        *("fsync ms", "bare INSERT ms", "committer busy"),
    )
    print(harness.table(limits_head, (msgspec.structs.astuple(one)[:-1] for one in limits)))
    for one in limits:
        print(f"the committer's session, {one.load}: {shares(one.committer)}")
    batched = {
        name: max(row.per_second for row in rows if row.side == name and row.load != "single")
        for name in (_SQLITE, _POSTGRES)
    }
    harness.print_result(
        "commit",
        others,
        *("granian", "uvloop", "psycopg"),
        unit="scores/s",
        ours=batched[_SQLITE],
        against={"wanted": WANTED, _POSTGRES: batched[_POSTGRES]},
        ratio=round(batched[_SQLITE] / WANTED, 3),
        durable="sqlite synchronous=FULL; postgresql synchronous_commit=on",
        options=options,
        rows=rows,
        limits=limits,
    )


def shares(committer: dict[str, float]) -> str:
    """Write shares for people."""
    return ", ".join(f"{what} {share:.0%}" for what, share in committer.items())


if __name__ == "__main__":
    harness.main(main)
