"""Restart after `kill -9`: seconds until the server answers again with every member, beside Redis.

On SQLite and on PostgreSQL, which goes on running meanwhile.

Measured: from starting the program until `/readyz` answers 200, split into the start of the process
(until anything answers) and the recovery; for Redis until PING answers PONG, its data loaded.

How: N members with 20-byte ids and distinct scores go in by batches and into a checkpoint; 50,000
single submits follow, which stay in the journal only. Then the server is killed and started again,
several times; no checkpoint happens in between, so each start does the same work. PostgreSQL gets
the first batch that way and the rest in one COPY, as a checkpoint would write them; its processor
time counts as the server's. Redis gets the same members and changes, saves them to an RDB file (its
best case: nothing else to load) and is killed and started likewise. Every start is checked: the
number of members, and the scores of a thousand of those changed last. All processes may use every
core, and find their files in the kernel's page cache. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp
import msgspec

import harness
import postgres_side
from harness import HOST, BenchError, Process
from postgres_side import Postgres

if TYPE_CHECKING:
    from redis import Redis

BATCH: Final = 10_000
CONNECTIONS: Final = 64
POLL_SECONDS: Final = 0.005
# A thousand is the most that one question for standings takes.
_CHECKED: Final = 1000
_SCORE_BITS: Final = 40
_MIX: Final = 0x9E3779B97F4A7C15
_BOARD: Final = "/v1/boards/bench"
# Far away: the restarts are to find the journal's tail as the submits left it.
# Each a member with a score, as a checkpoint writes it on a board of `int64`, `desc`.
_COPY: Final = "COPY members (board, member, score, code, stamp, generation) FROM STDIN"
_FIRST: Final = "SELECT board, stamp, generation FROM members LIMIT 1"
_SQLITE: Final = "sqlite"
_POSTGRES: Final = "postgres"
_NO_CHECKPOINTS: Final = (
    *("--storage-checkpoint-seconds", "3600"),
    *("--storage-checkpoint-members", "10000000"),
)


class Options(msgspec.Struct, frozen=True):
    """How much to keep, and how often to start."""

    storage: list[str]
    members: int
    changes: int
    restarts: int


class Start(msgspec.Struct, frozen=True):
    """Seconds of one start."""

    total: float
    process: float
    cpu: float
    others: float

    @property
    def recovery(self) -> float:
        """From the process's first answer on."""
        return self.total - self.process


class Kept(msgspec.Struct, frozen=True):
    """What one side holds and how fast it came back."""

    starts: list[Start]
    disk_mib: float
    tail_members: int = 0


def main() -> None:
    options = read_options()
    harness.require(("redis-server", "setpriv"), ("redis", "psycopg"))
    changes = dict(changed_scores(options))
    ours: dict[str, Kept] = {}
    with harness.working_directory() as directory:
        if _SQLITE in options.storage:
            ours[_SQLITE] = rankwire(directory, options, changes)
        if _POSTGRES in options.storage:
            with postgres_side.postgres(directory) as database:
                ours[_POSTGRES] = rankwire(directory, options, changes, database)
        theirs = redis(directory, options, changes)
    report(ours, theirs, options)


def read_options() -> Options:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--members", type=harness.positive, default=1_000_000, help="default: 1000000"
    )
    parser.add_argument("--changes", type=harness.positive, default=50_000, help="default: 50000")
    parser.add_argument(
        "--restarts", type=harness.positive, default=3, help="of each side (default: 3)"
    )
    parser.add_argument(
        "--storage",
        choices=(_SQLITE, _POSTGRES),
        nargs="+",
        default=[_SQLITE, _POSTGRES],
        help="the result is that of the first (default: both)",
    )
    parser.add_argument("--quick", action="store_true", help="20,000 members: only a test")
    given = parser.parse_args()
    if given.quick:
        return Options(given.storage, members=20_000, changes=2000, restarts=1)
    return Options(given.storage, given.members, given.changes, given.restarts)


# The data.


def member(number: int) -> str:
    """Return an id of 20 bytes."""
    return f"member-{number:013}"


def score(number: int) -> int:
    """Return a score that looks random and that no other number below 2**40 has."""
    mask = (1 << _SCORE_BITS) - 1
    mixed = number * _MIX & mask
    mixed ^= mixed >> 21
    return mixed * _MIX & mask


def changed_scores(options: Options) -> Iterator[tuple[str, int]]:
    """Yield changes of members all over the board."""
    step = max(1, options.members // options.changes)
    for number in range(options.changes):
        yield member(number * step % options.members), score(options.members + number)


def batches(options: Options) -> Iterator[dict[str, int]]:
    """Yield all members with their first scores."""
    for start in range(0, options.members, BATCH):
        end = min(start + BATCH, options.members)
        yield {member(number): score(number) for number in range(start, end)}


# Our side.


def rankwire(
    directory: Path, options: Options, changes: dict[str, int], database: Postgres | None = None
) -> Kept:
    """Fill, kill and restart our server, on SQLite unless there is a database."""
    storage = directory / ("postgres-node" if database else "data")
    where = ("--storage-url", database.url) if database else ()
    name = f"rankwire on {_POSTGRES if database else _SQLITE}"
    with serving(directory, storage, *where) as (process, port):
        process.wait(lambda: harness.is_ready(port))
        harness.progress(f"{name}: {options.members:,} members")
        harness.call(port, "PUT", _BOARD, {"policy": "last"})
        for batch in batches(options):
            items = [{"member": key, "score": value} for key, value in batch.items()]
            harness.call(port, "POST", f"{_BOARD}/scores:batch", items)
            if database:
                break
        # The last act of a server that ends in order is a checkpoint.
        process.terminate()
    if database:
        copy_rest(database, options)
    kept = (*where, *_NO_CHECKPOINTS)
    with serving(directory, storage, *kept) as (process, port):
        process.wait(lambda: harness.is_ready(port))
        harness.progress(f"{name}: {len(changes):,} single submits")
        asyncio.run(submit_all(port, changes))
        tail = int(harness.metrics(port)["rankwire_dirty_members"])
    starts = []
    for _ in range(options.restarts):
        meter = all_cores(database)
        with serving(directory, storage, *kept) as (process, port):
            starts.append(time_start(name, process, meter, lambda: is_ready(port)))
            check_rankwire(port, options, changes)
    return Kept(starts, database_mib(database) if database else disk_mib(storage), tail)


def copy_rest(database: Postgres, options: Options) -> None:
    """Add all members but those of the first batch to a checkpoint."""
    with database.connect() as connection:
        ((board, stamp, generation),) = connection.execute(_FIRST).fetchall()
        with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            for batch in islice(batches(options), 1, None):
                rows = (
                    f"{board}\t{key}\t{value}\t{~value}\t{stamp}\t{generation}\n"
                    for key, value in batch.items()
                )
                copy.write("".join(rows))
    # What PostgreSQL would do in its own time, and then perhaps while a start is timed.
    database.sql("VACUUM ANALYZE members")
    database.sql("CHECKPOINT")


def database_mib(database: Postgres) -> float:
    ((size,),) = database.sql("SELECT pg_database_size(current_database())")
    return round(float(size) / 2**20, 1)


@contextlib.contextmanager
def serving(directory: Path, storage: Path, *flags: str) -> Iterator[tuple[Process, int]]:
    """Start our server, and kill it at the end."""
    port, live_port = harness.free_ports(2)
    command = harness.serve_command(port, live_port, storage, *flags)
    with harness.running(command, directory / "rankwire.log") as process:
        yield process, port


async def submit_all(port: int, changes: dict[str, int]) -> None:
    """Send every change as a submit of its own; each answer has to be a success."""
    url = f"http://{HOST}:{port}{_BOARD}/scores"
    waiting = iter(changes.items())

    async def submit_some(session: aiohttp.ClientSession) -> None:
        for key, value in waiting:
            async with session.post(url, json={"member": key, "score": value}) as answer:
                if answer.status != 200:
                    raise BenchError(f"a submit was answered {answer.status}")

    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(submit_some(session))


def is_ready(port: int) -> bool | None:
    """Tell whether our server is ready; None if it does not answer yet."""
    status = harness.status_of(port, "/readyz")
    return None if status is None else status == 200


def check_rankwire(port: int, options: Options, changes: dict[str, int]) -> None:
    """See that everything acknowledged is there."""
    expect("rankwire", "members", harness.call(port, "GET", _BOARD)["total"], options.members)
    last = dict(list(changes.items())[-_CHECKED:])
    page = harness.call(port, "POST", f"{_BOARD}/standings", {"members": list(last)})
    scores = {entry["member"]: entry["score"] for entry in page["entries"]}
    expect("rankwire", "scores", scores, last)


# Redis.


def redis(directory: Path, options: Options, changes: dict[str, int]) -> Kept:
    """Fill, save, kill and restart Redis."""
    place = directory / "redis"
    place.mkdir()
    with redis_serving(place) as (process, client):
        process.wait(lambda: is_loaded(client) is True)
        harness.progress(f"redis: {options.members:,} members")
        for batch in [*batches(options), changes]:
            client.zadd("bench", batch)
        client.save()
    starts = []
    for _ in range(options.restarts):
        meter = all_cores()
        with redis_serving(place) as (process, client):
            starts.append(time_start("redis", process, meter, lambda: is_loaded(client)))
            check_redis(client, options, changes)
    return Kept(starts, disk_mib(place))


@contextlib.contextmanager
def redis_serving(place: Path) -> Iterator[tuple[Process, Redis]]:
    """Start Redis, and kill it at the end."""
    from redis import Redis  # noqa: PLC0415  # only now is it known to be installed
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    (port,) = harness.free_ports(1)
    with (
        harness.running(harness.redis_command(port), place / "redis.log") as process,
        Redis(port=port, retry=Retry(NoBackoff(), 0)) as client,
    ):
        yield process, client


def is_loaded(client: Redis) -> bool | None:
    """Tell whether Redis serves; None if it does not answer yet."""
    from redis import BusyLoadingError, ConnectionError  # noqa: A004, PLC0415

    try:
        return bool(client.ping())
    except BusyLoadingError:
        return False
    except ConnectionError:
        return None


def check_redis(client: Redis, options: Options, changes: dict[str, int]) -> None:
    """See that everything saved is there."""
    expect("redis", "members", client.zcard("bench"), options.members)
    last = dict(list(changes.items())[-_CHECKED:])
    expect("redis", "scores", client.zmscore("bench", list(last)), list(last.values()))


# Both.


def all_cores(*processes: Process | None) -> harness.Meter:
    running = [process for process in processes if process]
    return harness.Meter(os.sched_getaffinity(0), running)


def time_start(
    side: str, process: Process, meter: harness.Meter, ask: Callable[[], bool | None]
) -> Start:
    """Wait until `ask` says that the process is ready; it says None as long as nothing answers."""
    first_answer: list[float] = []

    def ready() -> bool:
        state = ask()
        if state is not None and not first_answer:
            first_answer.append(time.perf_counter())
        return state is True

    process.wait(ready, POLL_SECONDS)
    total = time.perf_counter() - process.started
    cpu, others = meter.stop(process)
    harness.progress(f"{side}: ready after {total:.3f} s", others)
    return Start(total, first_answer[0] - process.started, cpu, others)


def expect(side: str, what: str, found: object, expected: object) -> None:
    if found != expected:
        raise BenchError(f"{side} came back with other {what}: {found!r:.200}")


def disk_mib(directory: Path) -> float:
    return round(sum(file.stat().st_size for file in directory.iterdir()) / 2**20, 1)


# Telling.


def report(ours: dict[str, Kept], theirs: Kept, options: Options) -> None:
    """Print the table and the result."""
    head = ("server", "restart s", "process s", "recovery s", "CPU s", "disk MiB")
    sides = {f"rankwire on {name}": kept for name, kept in ours.items()} | {"redis-server": theirs}
    rows = ((name, *medians(kept), kept.disk_mib) for name, kept in sides.items())
    print(harness.table(head, rows))
    print(result_line(ours, theirs, options))


def medians(kept: Kept) -> tuple[float, float, float, float]:
    """Return the total, the process's start, the recovery and the processor time."""
    return (
        harness.median((start.total for start in kept.starts), 3),
        harness.median((start.process for start in kept.starts), 3),
        harness.median((start.recovery for start in kept.starts), 3),
        harness.median((start.cpu for start in kept.starts), 3),
    )


def result_line(ours: dict[str, Kept], theirs: Kept, options: Options) -> str:
    """Make the last line: the first storage's figures, and those of each."""
    storages = {name: figures(kept) for name, kept in ours.items()}
    first = storages[options.storage[0]]
    against = medians(theirs)[0]
    others = max(start.others for kept in (*ours.values(), theirs) for start in kept.starts)
    result = {
        "name": "restart",
        "unit": "s",
        "ours": first["total_s"],
        "against": against,
        "ratio": harness.ratios(first["total_s"], {"redis": against}, less_is_better=True)["redis"],
        **{key: value for key, value in first.items() if key != "total_s"},
        "against_disk_mib": theirs.disk_mib,
        "storages": storages,
        "noisy": others > harness.QUIET,
        "others": round(others, 3),
        "options": options,
        **harness.circumstances("redis", "psycopg"),
    }
    return msgspec.json.encode(result).decode()


def figures(kept: Kept) -> dict[str, float]:
    """Return what there is to say about one storage."""
    total, process, recovery, cpu = medians(kept)
    return {
        "total_s": total,
        "process_s": process,
        "recovery_s": recovery,
        "cpu_s": cpu,
        "disk_mib": kept.disk_mib,
        "journal_tail_members": kept.tail_members,
    }


if __name__ == "__main__":
    harness.main(main)
