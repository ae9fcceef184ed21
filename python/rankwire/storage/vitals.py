"""How PostgreSQL is, asked on a connection of its own.

Promises: neither a pool that is used up nor a server that hangs keeps the answer waiting for more
than a few seconds; whatever happens, it fails with a StorageError and connects again at the next
question. Statements are told without literals: what a client wrote into them stays private. Every
list is cut, the rows that matter most come first.

What the role may not see, or what is not installed, is left out and named in `missing`. To see the
sessions of other roles the role needs `pg_read_all_stats`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from rankwire.storage import StorageError
from rankwire.storage.pool import cut_after

STATEMENTS: Final = 20
"""Statements told of each interval: those that took the most time in it."""

MOST_TEXT: Final = 500
"""Characters told of a statement."""

# One statement, and all of them together.
_STATEMENT_MS: Final = 1000
_HANG_SECONDS: Final = 3.0
# Statements remembered from one question to the next, those that took the most time ever: reading
# thousands at each question costs more than everything else together.
_SNAPSHOT: Final = 500
# So that what pg_stat_statements gives fits, and no question writes a temporary file.
_WORK_MEM: Final = "16MB"
# At least as many as there are statements of our own.
_OWN: Final = 20
_TEXTS: Final = 1000

# Before each of our own statements, which are no findings.
_MARK: Final = "/* rankwire vitals */"
# Quoted names are matched so that a quote within one begins no literal. What is cut off goes too.
_LITERAL: Final = re.compile(
    r"""
    (?P<name>"(?:[^"]|"")*")
    | (?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))
    | \b[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)
    | '(?:[^']|'')*(?:'|\Z)
    | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)
    | (?<![\w$])\d[\w.]*
    """,
    re.DOTALL | re.VERBOSE,
)

_LIFE: Final = """
SELECT pg_postmaster_start_time()::text || ' ' || coalesce(stats_reset::text, '') AS life,
       (SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace
        WHERE extname = 'pg_stat_statements') AS schema
FROM pg_stat_database WHERE datname = current_database()
"""
_GAUGES: Final = """
SELECT current_setting('max_connections')::float8 AS max_connections,
       (current_setting('superuser_reserved_connections')::int
        + coalesce(current_setting('reserved_connections', true)::int, 0))::float8
           AS reserved_connections,
       count(*)::float8 AS connections,
       (count(*) FILTER (WHERE wait_event_type = 'Lock'))::float8 AS blocked_sessions,
       coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)
                        FILTER (WHERE pid <> pg_backend_pid())), 0)::float8 AS oldest_transaction,
       (count(*) FILTER (WHERE held))::float8 AS held,
       (count(*) FILTER (WHERE held AND wait_event_type = 'Lock'))::float8 AS held_blocked,
       (count(*) FILTER (WHERE held AND state = 'active'
                         AND wait_event_type IS DISTINCT FROM 'Lock'))::float8 AS held_running,
       (count(*) FILTER (WHERE held AND state LIKE 'idle in transaction%%'))::float8
           AS held_in_transaction,
       (SELECT count(DISTINCT (classid, objid)) FROM pg_locks
        WHERE locktype = 'advisory' AND objsubid = 1 AND granted
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
       )::float8 AS nodes
FROM (SELECT *, pid = ANY (%(backends)s) AS held FROM pg_stat_activity
      WHERE backend_type = 'client backend') AS sessions
"""
_TOTALS: Final = """
SELECT deadlocks::float8, temp_bytes::float8,
       heap_hit::float8, heap_read::float8, index_hit::float8, index_read::float8,
       CASE WHEN NOT pg_is_in_recovery()
            THEN pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') END::float8 AS wal_bytes
FROM pg_stat_database,
     (SELECT coalesce(sum(idx_blks_hit), 0) AS index_hit, coalesce(sum(idx_blks_read), 0)
             AS index_read FROM pg_statio_user_indexes) AS indexes,
     (SELECT coalesce(sum(heap_blks_hit), 0) AS heap_hit, coalesce(sum(heap_blks_read), 0)
             AS heap_read FROM pg_statio_user_tables) AS heaps
WHERE datname = current_database()
"""
# Only tables that are large enough to matter.
_TABLES: Final = """
SELECT quote_ident(schemaname) || '.' || quote_ident(relname) AS name, relname AS plain,
       n_live_tup::float8 AS live, n_dead_tup::float8 AS dead, seq_scan::float8 AS scans,
       seq_tup_read::float8 AS scanned, coalesce(idx_scan, 0)::float8 AS index_scans
FROM pg_stat_user_tables WHERE n_live_tup > %(rows)s OR n_dead_tup > %(rows)s
ORDER BY seq_tup_read DESC LIMIT 50
"""
# What an index could be on, and what there is one on already.
_COLUMNS: Final = """
SELECT quote_ident(schemaname) || '.' || quote_ident(relname) AS name,
       (SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = relid AND attnum > 0 AND NOT attisdropped) AS columns,
       (SELECT coalesce(array_agg(DISTINCT attname::text), '{}')
        FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
        WHERE indrelid = relid AND indisvalid) AS leading
FROM pg_stat_user_tables
WHERE quote_ident(schemaname) || '.' || quote_ident(relname) = ANY (%(names)s)
"""
LARGE_ROWS: Final = 10_000
"""Tables with more rows, dead or alive, are told."""

_BLOCKED: Final = """
SELECT waiting.pid, blocker.pid AS blocker, blocker.state AS blocker_state,
       extract(epoch FROM clock_timestamp() - (SELECT min(waitstart) FROM pg_locks
               WHERE pg_locks.pid = waiting.pid AND NOT granted))::float8 AS seconds,
       extract(epoch FROM clock_timestamp() - blocker.xact_start)::float8 AS blocker_seconds
FROM pg_stat_activity AS waiting
LEFT JOIN pg_stat_activity AS blocker ON blocker.pid = ANY (pg_blocking_pids(waiting.pid))
WHERE waiting.wait_event_type = 'Lock' ORDER BY seconds DESC NULLS LAST LIMIT 20
"""
_TRANSACTIONS: Final = """
SELECT pid, application_name AS name, state,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds
FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
ORDER BY xact_start LIMIT 5
"""
_REPLICATION: Final = """
SELECT pid, application_name AS name, state, extract(epoch FROM replay_lag)::float8 AS lag,
       pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::float8 AS bytes,
       pg_wal_lsn_diff(replay_lsn, '0/0')::float8 AS replayed
FROM pg_stat_replication WHERE NOT pg_is_in_recovery() ORDER BY bytes DESC NULLS LAST LIMIT 20
"""
_STATEMENTS: Final = """
SELECT queryid AS id, sum(calls)::float8 AS calls, sum(total_exec_time)::float8 / 1000 AS seconds,
       sum(rows)::float8 AS rows
FROM {schema}.pg_stat_statements(false)
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND queryid IS NOT NULL
GROUP BY queryid ORDER BY sum(total_exec_time) DESC LIMIT {limit}
"""
_STATEMENTS_INFO: Final = """
SELECT stats_reset::text AS reset, dealloc::float8 AS forgotten
FROM {schema}.pg_stat_statements_info
"""
_STATEMENT_TEXTS: Final = """
SELECT DISTINCT ON (queryid) queryid AS id, query FROM {schema}.pg_stat_statements
WHERE queryid = ANY (%(ids)s)
  AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
# What pg_stat_statements raises where it cannot be used: not preloaded, too old, not allowed.
_NO_STATEMENTS: Final = (
    errors.ObjectNotInPrerequisiteState,
    errors.UndefinedColumn,
    errors.UndefinedTable,
    errors.UndefinedFunction,
    errors.InsufficientPrivilege,
)

_Row = dict[str, Any]
_Connection = psycopg.AsyncConnection[_Row]


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """What PostgreSQL said at one moment."""

    life: str
    """Changes when the server or its statistics begin anew."""
    gauges: Mapping[str, float]
    totals: Mapping[str, float]
    rows: Mapping[str, Sequence[Mapping[str, Any]]]
    """`tables`, `blocked`, `transactions`, `replication`; `columns` of the tables that were read
    from end to end since the first question; and `statements`: what each of them did since the
    question before, as id, text, calls, seconds, rows."""
    missing: str = ""
    """What cannot be told, and why."""


class PostgresVitals:
    """Asks one server. For one event loop, and one question at a time."""

    def __init__(self, conninfo: str) -> None:
        """Note where it is; the first question connects."""
        given = {key: str(value) for key, value in conninfo_to_dict(conninfo).items()}
        ask = f"-c statement_timeout={_STATEMENT_MS} -c work_mem={_WORK_MEM}"
        options = f"{given.get('options', '')} {ask}"
        ours = {"application_name": "rankwire vitals", "options": options.strip()}
        self._conninfo = make_conninfo(**(given | ours | {"connect_timeout": "2"}))
        self._connection: _Connection | None = None
        self._statements = _Statements()
        self._columns = _Columns()

    async def read(self, backends: Sequence[int]) -> Vitals:
        """Ask everything; `backends` are the sessions that requests have now.

        Raises StorageError.
        """
        try:
            connection = await self._connect()
            with cut_after(_HANG_SECONDS, connection):
                return await self._read(connection, list(backends))
        except (psycopg.Error, OSError) as error:
            await self.close()
            words = str(error).strip().partition("\n")[0] or type(error).__name__
            raise StorageError(f"PostgreSQL cannot be asked: {words}") from error

    async def close(self) -> None:
        """End the connection. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connect(self) -> _Connection:
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(
                self._conninfo, autocommit=True, row_factory=dict_row
            )
        return self._connection

    async def _read(self, connection: _Connection, backends: list[int]) -> Vitals:
        (life,) = await _ask(connection, _LIFE)
        (gauges,) = await _ask(connection, _GAUGES, backends=backends)
        (totals,) = await _ask(connection, _TOTALS)
        tables = await _ask(connection, _TABLES, rows=LARGE_ROWS)
        rows = {
            "tables": tables,
            "columns": await self._columns.read(connection, tables),
            "blocked": await _ask(connection, _BLOCKED),
            "transactions": await _ask(connection, _TRANSACTIONS),
            "replication": await _ask(connection, _REPLICATION),
        }
        found = await self._statements.read(connection, life["schema"])
        if found.changed is not None:
            rows["statements"] = found.changed
        return Vitals(
            life=f"{life['life']} {found.reset}",
            gauges=gauges,
            totals={key: value for key, value in totals.items() if value is not None},
            rows=rows,
            missing=found.missing,
        )


class _Found(msgspec.Struct, frozen=True):
    changed: list[_Row] | None
    reset: str
    missing: str


class _Columns:
    """The columns of tables, read again only when a table was read from end to end again."""

    def __init__(self) -> None:
        self._scans: dict[str, float] | None = None
        self._known: dict[str, _Row] = {}

    async def read(self, connection: _Connection, tables: Sequence[_Row]) -> list[_Row]:
        before = self._scans
        self._scans = {row["name"]: row["scans"] for row in tables}
        if before is None:
            return []
        names = [name for name, scans in self._scans.items() if scans > before.get(name, 0)]
        if names:
            found = await _ask(connection, _COLUMNS, names=names)
            self._known |= {row["name"]: row for row in found}
        self._known = {name: row for name, row in self._known.items() if name in self._scans}
        return list(self._known.values())


class _Statements:
    """What statements did between two questions, by pg_stat_statements.

    The counters of `_SNAPSHOT` statements are kept once, and only differences are told, so that
    what it forgets and counts anew does no harm: counters that have become smaller began anew in
    between.
    """

    def __init__(self) -> None:
        self._before: dict[int, _Row] | None = None
        self._reset = ""
        self._forgotten = 0.0
        self._texts: dict[int, str] = {}

    async def read(self, connection: _Connection, schema: str | None) -> _Found:
        if schema is None:
            return self._fail("the extension pg_stat_statements is not there")
        try:
            return await self._read(connection, schema)
        except _NO_STATEMENTS as error:
            return self._fail(f"pg_stat_statements cannot be used: {error.diag.message_primary}")

    def _fail(self, words: str) -> _Found:
        self._before = None
        return _Found(None, "", f"{words}, so slow statements are not known")

    async def _read(self, connection: _Connection, schema: str) -> _Found:
        (info,) = await _ask(connection, _STATEMENTS_INFO.format(schema=schema))
        query = _STATEMENTS.format(schema=schema, limit=_SNAPSHOT)
        now = {row["id"]: row for row in await _ask(connection, query)}
        before = self._before if info["reset"] == self._reset else None
        self._before, self._reset = now, info["reset"]
        changed = None
        if before is not None:
            changed = _changes(before, now, is_whole=len(before) < _SNAPSHOT)
            await self._name(connection, schema, changed)
            theirs = [row for row in changed if not row["text"].startswith(_MARK)]
            changed = theirs[:STATEMENTS]
        return _Found(changed, info["reset"], self._missing(info["forgotten"], before))

    def _missing(self, forgotten: float, before: Mapping[int, _Row] | None) -> str:
        more = forgotten - self._forgotten
        self._forgotten = forgotten
        if before is None or more <= 0:
            return ""
        return (
            "pg_stat_statements forgets statements to make room for others, so what is told of "
            "them is incomplete: its setting `max` is too small"
        )

    async def _name(self, connection: _Connection, schema: str, changed: list[_Row]) -> None:
        ids = [row["id"] for row in changed if row["id"] not in self._texts]
        if ids:
            if len(self._texts) > _TEXTS:
                self._texts.clear()
                ids = [row["id"] for row in changed]
            for row in await _ask(connection, _STATEMENT_TEXTS.format(schema=schema), ids=ids):
                self._texts[row["id"]] = without_literals(row["query"] or "")
        for row in changed:
            row["text"] = self._texts.get(row["id"], "")


def without_literals(text: str) -> str:
    """Make one line of a statement, with `?` for every literal, cut at `MOST_TEXT` characters.

    PostgreSQL has replaced most of them by `$1`, but not those of utility statements, among which
    are passwords. Comments are left out.
    """
    marked = text.startswith(_MARK)
    bare = _LITERAL.sub(_hide, text.removeprefix(_MARK))
    line = " ".join(bare.split())[:MOST_TEXT]
    return f"{_MARK} {line}" if marked else line


def _hide(found: re.Match[str]) -> str:
    return found["name"] or ("" if found["comment"] else "?")


def _changes(before: Mapping[int, _Row], now: Mapping[int, _Row], *, is_whole: bool) -> list[_Row]:
    """Give what the statements did in between, those with the most time first.

    One that was not there before has begun since, if all that there were had been read; if not, it
    may be old, and nothing is known of it until the next question.
    """
    found = []
    for key, row in now.items():
        old = before.get(key)
        if old is None and not is_whole:
            continue
        is_anew = old is None or row["calls"] < old["calls"]
        change = {
            name: row[name] if is_anew or old is None else row[name] - old[name]
            for name in ("calls", "seconds", "rows")
        }
        if change["calls"] > 0:
            found.append({"id": key, **change})
    found.sort(key=lambda row: -row["seconds"])
    return found[: STATEMENTS + _OWN]


async def _ask(connection: _Connection, query: str, **values: object) -> list[_Row]:
    """Run one of the statements above, which are ours; only a quoted schema is put into them."""
    text = f"{_MARK} {query.strip()}".encode()
    return await (await connection.execute(text, values or None)).fetchall()
