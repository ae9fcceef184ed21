"""Profiles in a SQLite database of their own, `profiles.sqlite`, beside the boards.

A file of its own, as one file has one writer at a time: a profile holds up no submit. One thread
does one thing after the other; what waits for it is bounded by the requests that the server works
on at once.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from rankwire.storage import ANSWER_SECONDS, StorageError
from rankwire.storage.migrate import migrate, migrations
from rankwire.storage.profiles import (
    NONE,
    PLAIN,
    Content,
    Found,
    Key,
    Request,
    Stored,
    UnknownProfileError,
    Written,
    from_columns,
    full_json,
)

if TYPE_CHECKING:
    from pathlib import Path

PROFILES_FILE: Final = "profiles.sqlite"

_READ: Final = """
SELECT member, updated_us, name, avatar, attributes FROM profiles
WHERE member IN (SELECT value FROM json_each(?))
"""
_PUT: Final = """
INSERT INTO profiles (member, updated_us, name, avatar, attributes) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (member) DO UPDATE SET
    updated_us = max(excluded.updated_us, updated_us + 1),
    name = excluded.name, avatar = excluded.avatar, attributes = excluded.attributes
RETURNING updated_us, name, avatar, attributes
"""
_DELETE: Final = "DELETE FROM profiles WHERE member = ? RETURNING max(?, updated_us + 1)"
_KNOWN: Final = "SELECT request, answer FROM answers WHERE key = ?"
_KEEP: Final = "INSERT INTO answers (key, request, answer, given_ms) VALUES (?, ?, ?, ?)"
# Some with each that is added, so that they get fewer without a timer.
_EXPIRE: Final = """
DELETE FROM answers WHERE key IN (SELECT key FROM answers WHERE given_ms < ? LIMIT 100)
"""

_T = TypeVar("_T")


class SqliteProfiles:
    """A `ProfileStore` in a directory that a `SqliteStorage` has locked."""

    def __init__(self, directory: Path, busy_seconds: float) -> None:
        """Open, create or migrate the database; blocks. Raises StorageError."""
        with _errors("cannot open the profiles"):
            self._database = sqlite3.connect(
                directory / PROFILES_FILE,
                timeout=busy_seconds,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA synchronous = FULL")
                migrate(self._database, migrations("profiles"))
            except BaseException:
                self._database.close()
                raise
        self._thread = ThreadPoolExecutor(1, "profiles")

    async def get_many(self, members: Sequence[str]) -> Found:
        """See `ProfileStore.get_many`."""
        return await self._do("cannot read profiles", lambda: Found(self._read(members)))

    async def put(self, member: str, content: Content, key: Key | None) -> Written:
        """See `ProfileStore.put`."""
        request = key and Request.put(key, member, content)
        return await self._write(request, lambda: self._put(member, content))

    async def delete(self, member: str, key: Key | None) -> Written:
        """See `ProfileStore.delete`."""
        request = key and Request.delete(key, member)
        return await self._write(request, lambda: self._delete(member))

    async def close(self) -> None:
        """See `ProfileStore.close`."""
        await asyncio.to_thread(self._thread.shutdown)
        self._database.close()

    async def _do(self, what: str, work: Callable[[], _T]) -> _T:
        def run() -> _T:
            with _errors(what):
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    async def _write(self, request: Request | None, work: Callable[[], Written]) -> Written:
        return await self._do("cannot write a profile", lambda: self._commit(request, work))

    # On the thread.

    def _read(self, members: Sequence[str]) -> dict[str, Stored]:
        rows = self._database.execute(_READ, (_json(members),))
        return {member: from_columns(*columns) for member, *columns in rows}

    def _commit(self, request: Request | None, work: Callable[[], Written]) -> Written:
        """Do a write and keep its answer, in one transaction."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            done = self._once(request, work) if request else work()
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise
        return done

    def _once(self, request: Request, work: Callable[[], Written]) -> Written:
        if known := self._database.execute(_KNOWN, (request.key,)).fetchone():
            return request.repeat(*known)
        done = work()
        now_ms = time.time_ns() // 1_000_000
        self._database.execute(_EXPIRE, (now_ms - ANSWER_SECONDS * 1000,))
        self._database.execute(_KEEP, (request.key, request.digest, PLAIN + done.answer, now_ms))
        return done

    def _put(self, member: str, content: Content) -> Written:
        attributes = bytes(content.attributes).decode()
        row = (member, _now_us(), content.name, content.avatar, attributes)
        stored = from_columns(*self._database.execute(_PUT, row).fetchone())
        return Written(stored, full_json(member, stored))

    def _delete(self, member: str) -> Written:
        found = self._database.execute(_DELETE, (member, _now_us())).fetchone()
        if found is None:
            raise UnknownProfileError
        return Written(Stored(found[0], NONE.body), b"")


def _now_us() -> int:
    return time.time_ns() // 1000


def _json(members: Sequence[str]) -> str:
    return msgspec.json.encode(members).decode()


@contextmanager
def _errors(what: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError(f"{what}: {error}") from error
