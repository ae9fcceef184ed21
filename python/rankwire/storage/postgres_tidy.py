"""What PostgreSQL's tables forget in time: old weeks of the journal, answers, ended origins.

Nothing of the journal goes before a checkpoint includes it, while there is a legal hold, or where
an archive takes it away. Whoever commits waits for none of this longer than a tenth of a second.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from psycopg import errors, sql

from rankwire.storage import ANSWER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from rankwire.storage.postgres_link import Connection

# Weeks of the journal that are made ahead.
_WEEKS: Final = 4
# They queue behind a lock that tidying waits for.
TIDY_LOCK: Final = "SET LOCAL lock_timeout = '100ms'"
"""Begins a transaction that would rather give up than hold up others."""
# Rows that are deleted at a time, and at most each time.
_DELETED_ROWS: Final = 10_000
_DELETES: Final = 100

_IS_ARCHIVED = "SELECT EXISTS (SELECT FROM archived)"
_OLD_WEEKS = """
SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'journal'::regclass AND relname ~ '^journal_[0-9]{8}$'
  AND to_date(right(relname, 8), 'YYYYMMDD') + 7 + %s <= (now() AT TIME ZONE 'UTC')::date
ORDER BY relname
"""
# From one origin to the next in the index: a week has many batches of few origins.
_IS_COVERED = """
WITH RECURSIVE lasts AS (
    (SELECT origin, number FROM {week} ORDER BY origin DESC, number DESC LIMIT 1)
    UNION ALL
    SELECT next.origin, next.number FROM lasts CROSS JOIN LATERAL (
        SELECT origin, number FROM {week} AS week WHERE week.origin < lasts.origin
        ORDER BY origin DESC, number DESC LIMIT 1
    ) AS next
)
SELECT coalesce(bool_and(lasts.number <= coalesce(vector.number, 0)), true)
FROM lasts LEFT JOIN vector USING (origin)
"""
_DELETE_REST = """
DELETE FROM journal_rest WHERE ctid = ANY (ARRAY(
    SELECT rest.ctid FROM journal_rest AS rest JOIN vector USING (origin)
    WHERE rest.number <= vector.number AND committed_at < now() - %s * interval '1 day' LIMIT %s
))
"""
_DELETE_ANSWERS = """
DELETE FROM answers WHERE key = ANY (ARRAY(
    SELECT key FROM answers WHERE created_at < now() - %s * interval '1 second'
    ORDER BY created_at LIMIT %s
))
"""
_DELETE_DROPPED = "DELETE FROM dropped WHERE dropped_at < now() - %s * interval '1 day'"
END_ORIGIN: Final = """
UPDATE origins SET last = greatest(
    (SELECT max(number) FROM journal WHERE journal.origin = origins.origin),
    (SELECT number FROM vector WHERE vector.origin = origins.origin),
    0
) WHERE origin = %s
"""
"""Notes that nothing more comes of an origin; for who has its lock."""
# Of runs in other regions it is those that tell when they have ended.
_OPEN_ORIGINS = """
SELECT origin FROM origins
WHERE last IS NULL AND coalesce(region = (SELECT region FROM cluster), true)
"""
# The next statement has to see what other regions have given back of this origin: see
# `RegionJournal.insert`, which changes its row as well.
_LOCK_ORIGIN_ROW = "SELECT FROM origins WHERE origin = %s FOR UPDATE"
# A minimum, which the index has; whether there are any would be looked for in all of the journal.
_DELETE_ORIGINS = """
WITH gone AS (
    DELETE FROM origins
    WHERE last IS NOT NULL
      AND (SELECT min(number) FROM journal WHERE journal.origin = origins.origin) IS NULL
    RETURNING origin, region
)
UPDATE vector SET region = gone.region FROM gone WHERE vector.origin = gone.origin
"""


def tidy(connection: Connection, days: int, *, drops: bool) -> None:
    """Forget what is old, in many transactions. Raises psycopg.Error.

    `days`: how long the journal is kept, which `drops` of its weeks only if this process may.
    """
    _make_weeks(connection)
    if drops:
        _drop_weeks(connection, days)
        _delete(connection, _DELETE_REST, days, _may_forget)
    _delete(connection, _DELETE_ANSWERS, ANSWER_SECONDS)
    connection.execute(_DELETE_DROPPED, (days,))
    _tidy_origins(connection)


def is_archived(connection: psycopg.Connection[tuple[Any, ...]]) -> bool:
    """Tell whether anybody archives the journal, so that nothing may be dropped unarchived."""
    return bool(_value(connection, _IS_ARCHIVED))


def _make_weeks(connection: Connection) -> None:
    """Make weeks of the journal ahead. While the journal is in use that is left for next time."""
    with suppress(errors.LockNotAvailable), connection.transaction():
        connection.execute(TIDY_LOCK)
        connection.execute(sql.SQL("SELECT make_weeks({})").format(_WEEKS))


def _drop_weeks(connection: Connection, days: int) -> None:
    """Drop old weeks of the journal. What is in use now is left for next time."""
    for (week,) in connection.execute(_OLD_WEEKS, (days,)).fetchall():
        with suppress(errors.LockNotAvailable), connection.transaction():
            connection.execute(TIDY_LOCK)
            if not _may_forget(connection):
                return
            if shut(connection, week):
                connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(week)))


def is_covered(connection: psycopg.Connection[tuple[Any, ...]], week: str) -> bool:
    """Tell whether the last checkpoint includes all of a week of the journal."""
    return bool(_value(connection, sql.SQL(_IS_COVERED).format(week=sql.Identifier(week))))


def shut(connection: psycopg.Connection[tuple[Any, ...]], week: str) -> bool:
    """Let nobody write to a week until the transaction ends, and tell whether it is covered.

    A clock that was set back makes commits come late, so nothing else tells it for good.
    """
    connection.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(sql.Identifier(week)))
    return is_covered(connection, week)


def may_drop(connection: psycopg.Connection[tuple[Any, ...]]) -> bool:
    """Tell whether no legal hold forbids to drop anything of the journal.

    In a transaction: a new hold waits for its end.
    """
    connection.execute("LOCK TABLE holds IN SHARE MODE")
    return not _value(connection, "SELECT EXISTS (SELECT FROM holds)")


def _may_forget(connection: psycopg.Connection[tuple[Any, ...]]) -> bool:
    """Tell whether what is old may be dropped unarchived, in a transaction as well."""
    connection.execute("LOCK TABLE archived IN SHARE MODE")
    return not is_archived(connection) and may_drop(connection)


def _tidy_origins(connection: Connection) -> None:
    """Take note of origins that have ended, and forget those whose journal is gone."""
    for (origin,) in connection.execute(_OPEN_ORIGINS).fetchall():
        with connection.transaction():
            # Whoever writes as this origin has its lock.
            if _value(connection, "SELECT pg_try_advisory_xact_lock(%s::bigint)", origin):
                connection.execute(_LOCK_ORIGIN_ROW, (origin,))
                connection.execute(END_ORIGIN, (origin,))
    connection.execute(_DELETE_ORIGINS)


def _delete(
    connection: Connection,
    query: str,
    age: int,
    is_allowed: Callable[[Connection], bool] = lambda _: True,
) -> None:
    """Delete what is old, piece by piece, so that nobody waits long for it."""
    for _ in range(_DELETES):
        with connection.transaction():
            if not is_allowed(connection):
                return
            deleted = connection.execute(query.encode(), (age, _DELETED_ROWS)).rowcount
        if deleted < _DELETED_ROWS:
            return


def _value(
    connection: psycopg.Connection[tuple[Any, ...]], query: str | sql.Composed, *values: object
) -> Any:
    """Give the one value that a query asks for."""
    text = query.encode() if isinstance(query, str) else query
    ((value,),) = connection.execute(text, values).fetchall()
    return value
