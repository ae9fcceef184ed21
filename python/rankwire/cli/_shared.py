"""The checks of ``rankwire doctor`` of what nodes share: PostgreSQL and Redis.

They promise what those of ``_checks`` do: nothing is changed. What is tried is rolled back.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from rankwire.cli._checks import Check
from rankwire.settings import shown_url
from rankwire.storage import StorageError
from rankwire.storage.migrate import APPLIED, migrations, pending

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from rankwire.settings import Storage

    Connection = psycopg.Connection[tuple[Any, ...]]

OLDEST_POSTGRES = 140_000
"""As ``server_version_num`` has it: 14 is the oldest with all that nodes use."""

CONNECT_SECONDS = 5
CLOCK_SECONDS = 1.0
"""A clock further away than this from that of PostgreSQL is worth a word."""

CLOCK_SAMPLES = 3

DURABLE = ("fsync", "full_page_writes")
"""Settings of PostgreSQL without which a crash may lose or damage what was answered."""


def check_postgres(storage: Storage) -> Iterator[Check]:
    """Look at the database of storage.url: reachable, new enough, durable, ours, writable."""
    import psycopg  # noqa: PLC0415 - doctor works without it where only SQLite is used

    where = shown_url(storage.url)
    try:
        connection = psycopg.connect(
            storage.url,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            application_name="rankwire doctor",
        )
    except psycopg.Error as error:
        advice = "set storage.url to a database that this machine reaches"
        yield Check("postgresql", "fail", f"{where}: {_one_line(error)}", advice)
        return
    with contextlib.closing(connection):
        try:
            connection.execute(f"SET statement_timeout = '{CONNECT_SECONDS}s'".encode())
            yield _check_version(connection, where)
            yield check_durability(connection)
            yield from check_schema(connection)
            yield check_clock(connection)
        except psycopg.Error as error:
            yield Check("postgresql", "fail", f"{where}: {_one_line(error)}", "see its log")


def _check_version(connection: Connection, where: str) -> Check:
    number, name, encoding = _row(
        connection,
        "SELECT current_setting('server_version_num')::int, current_setting('server_version'),"
        " current_setting('server_encoding')",
    )
    found = f"{where}, version {name}"
    if number < OLDEST_POSTGRES:
        return Check("postgresql", "fail", found, "use PostgreSQL 14 or newer")
    if encoding != "UTF8":
        advice = "create the database with ENCODING 'UTF8'"
        return Check("postgresql", "fail", f"{found}, encoding {encoding}", advice)
    return Check("postgresql", "ok", found)


def check_durability(connection: Connection) -> Check:
    """Look for settings that let the database forget commits."""
    words = [name for name in DURABLE if _setting(connection, name) == "off"]
    if _setting(connection, "synchronous_commit") != "on":
        # Nodes set it for themselves, others that write there may not.
        words.append("synchronous_commit")
    if words:
        found = ", ".join(f"{name} = {_setting(connection, name)}" for name in words)
        hint = "set them to on in postgresql.conf: what was answered may be lost otherwise"
        return Check("durability", "warn", found, hint)
    return Check("durability", "ok", "fsync, full_page_writes and synchronous_commit are on")


def check_schema(connection: Connection) -> Iterator[Check]:
    """Compare the tables with those of this version, and try to write."""
    (ledger,) = _row(connection, "SELECT to_regclass('schema_migrations')::text")
    if ledger is None:
        (may_create,) = _row(
            connection, "SELECT has_schema_privilege(current_schema(), 'CREATE') IS TRUE"
        )
        found = "no tables yet"
        if may_create and not _is_read_only(connection):
            yield Check("schema", "ok", f"{found}; the first start creates them")
        else:
            advice = "let this user create tables there, on a primary"
            yield Check("schema", "fail", f"{found}, and they cannot be created", advice)
        return
    try:
        todo = pending(dict(connection.execute(APPLIED).fetchall()), migrations("postgres"))
    except StorageError as error:
        yield Check("schema", "fail", str(error), "use the version of Rankwire that wrote it")
        return
    if todo:
        found = f"{len(todo)} migrations are due"
        yield Check("schema", "ok", f"{found}; the first node of this version applies them")
    else:
        yield Check("schema", "ok", "as this version has it")
        yield _check_writing(connection)


def _check_writing(connection: Connection) -> Check:
    import psycopg  # noqa: PLC0415

    try:
        with connection.transaction(force_rollback=True):
            connection.execute("INSERT INTO origins (origin, node) VALUES (0, 'doctor')")
            connection.execute("INSERT INTO journal (origin, number, batch) VALUES (0, 1, '')")
    except psycopg.Error as error:
        advice = "use a primary, and a user that owns the tables"
        return Check("writing", "fail", _one_line(error), advice)
    return Check("writing", "ok", "the journal can be written to")


def check_clock(connection: Connection) -> Check:
    """Compare the clocks; nodes take their time from PostgreSQL, so it does no harm to boards."""
    offset, trip = min(
        (_offset(connection) for _ in range(CLOCK_SAMPLES)), key=lambda pair: pair[1]
    )
    found = f"this machine's is {offset:+.3f} s from PostgreSQL's, known to {trip / 2:.3f} s"
    if abs(offset) > CLOCK_SECONDS + trip / 2:
        advice = "set the clocks with NTP: tokens and logs go by this machine's"
        return Check("shared clock", "warn", found, advice)
    return Check("shared clock", "ok", found)


def _offset(connection: Connection) -> tuple[float, float]:
    """Measure how far this clock is ahead, and how long the question took, in seconds."""
    asked, started = time.time(), time.monotonic()
    (there,) = _row(connection, "SELECT extract(epoch FROM clock_timestamp())::float8")
    trip = time.monotonic() - started
    return asked + trip / 2 - there, trip


def check_redis(url: str) -> Check:
    """Ask Redis whether it is there."""
    from rankwire.sync import urls  # noqa: PLC0415 - doctor works without it where it is not used

    where = shown_url(url)
    try:
        address = urls.parse(url)
    except ValueError as error:
        return Check("redis", "fail", str(error), "put redis.url right")
    started = time.monotonic()
    try:
        with contextlib.closing(urls.connect(address)) as client:
            client.ping()
    except urls.FAILURES as error:
        advice = "nodes work without it, but hear of each other later; put redis.url right"
        return Check("redis", "fail", f"{where}: {address.explain(error)}", advice)
    return Check("redis", "ok", f"{where} answers in {(time.monotonic() - started) * 1000:.1f} ms")


def _is_read_only(connection: Connection) -> bool:
    return _setting(connection, "transaction_read_only") == "on"


def _setting(connection: Connection, name: str) -> str:
    (value,) = connection.execute("SELECT current_setting(%s)", (name,)).fetchall()[0]
    return str(value)


def _row(connection: Connection, query: str) -> tuple[Any, ...]:
    return connection.execute(query.encode()).fetchall()[0]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
