"""Old journals of both kinds, stores that fail, and a child process that is killed on the way.

`Old` is a place whose journal has batches of long ago, made by a real engine and then moved back in
time: in weeks, and with PostgreSQL some that no week has room for.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from fix_server import until
from fix_storage import KINDS, NewPlace, Place
from rankwire import settings
from rankwire.ops.lifecycle import Lifecycle
from rankwire.storage import archive_postgres, archive_sqlite
from rankwire.storage.archive import Row, week_of
from rankwire.storage.archive_postgres import PostgresRestored
from rankwire.storage.archive_reader import Archive
from rankwire.storage.archive_restore import SqliteRestored
from rankwire.storage.archive_source import ArchiveSource, open_archive_source
from rankwire.storage.archiver import Archiver, Outcome
from rankwire.storage.objects import ObjectStore, ObjectStoreError, open_store

DAYS: Final = 90
ROWS: Final = 7
"""Batches in a segment of these tests."""

FOREVER: Final = 4_102_444_800_000_000
"""A moment that is far away, in microseconds since 1970."""

_CHILD: Final = Path(__file__).with_name("archive_child.py")
_POSTGRES: Final = """
SELECT seq, origin, number, (extract(epoch FROM committed_at) * 1000000)::int8, batch
FROM {} ORDER BY seq
"""
_WEEKS: Final = """
SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^journal_[0-9]{8}$' ORDER BY relname
"""
_SQLITE: Final = "SELECT seq, origin, number, committed_ms * 1000, batch FROM journal ORDER BY seq"


class Old:
    """A place with an old journal, and an archive for it."""

    def __init__(self, place: Place, url: str) -> None:
        self.place = place
        self.url = url
        self.store = open_store(url)
        self.settings = settings.Settings(storage=place.settings, ops=settings.Ops(archive_url=url))

    @property
    def kind(self) -> str:
        return self.place.kind

    @property
    def flags(self) -> list[str]:
        """Name both on a command line."""
        return [*self.place.flags, "--ops-archive-url", self.url]

    @property
    def journal(self) -> list[Row]:
        """All rows that the journal has."""
        query = _SQLITE if self.kind == "sqlite" else _POSTGRES.format("journal")
        return self.place.journal_sql(query)

    @property
    def detached(self) -> list[Row]:
        """All rows of weeks that were detached and are not dropped."""
        if self.kind == "sqlite":
            return []
        query = (
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^journal_[0-9]+$'"
            " AND oid NOT IN (SELECT inhrelid FROM pg_inherits)"
        )
        tables = [table for (table,) in self.place.journal_sql(query)]
        return [row for table in tables for row in self.place.journal_sql(_POSTGRES.format(table))]

    @property
    def archived(self) -> list[Row]:
        """All rows of the archive, checked; fails if one is there twice."""
        archive = Archive(self.store, self.lifecycle().cluster())
        rows: list[Row] = []
        for name in archive.names():
            found = archive.rows(name)[1]
            assert {week_of(row[3]) for row in found} == {name.week}
            rows += found
        rows.sort()
        assert len({row[0] for row in rows}) == len(rows), "archived twice"
        return rows

    def restored(self, directory: Path) -> list[Row]:
        """Restore all of the archive into what the kind of storage has, and give the rows."""
        if self.kind == "postgres":
            self.lifecycle().restore(0, FOREVER, PostgresRestored(self.place.settings))
            return self.place.journal_sql(_POSTGRES.format("journal_restored"))
        file = directory / "restored.sqlite"
        self.lifecycle().restore(0, FOREVER, SqliteRestored(file))
        return batches_of(file)

    def check(self, before: list[Row], rows: list[Row]) -> None:
        """Everything old is archived and gone, everything else is there, nothing is damaged."""
        assert self.archived == rows
        assert self.journal == before[len(rows) :]
        assert self.detached == []
        found = self.lifecycle().verify()
        assert (found.problems, found.notes) == ([], [])
        assert found.counted.batches == len(rows)
        assert self.place.offline().differences == []

    def lifecycle(self) -> Lifecycle:
        """Make a fresh one."""
        return Lifecycle(self.settings)

    def run(self, days: int = DAYS) -> Outcome:
        """Archive and drop."""
        return self.lifecycle().run(days)

    def archiver(
        self, store: ObjectStore | None = None, source: ArchiveSource | None = None
    ) -> Archiver:
        """Make an archiver with another store or source."""
        return Archiver(store or self.store, source or self.source())

    def source(self) -> ArchiveSource:
        """Make a fresh one."""
        return open_archive_source(self.place.settings)

    @property
    def weeks(self) -> list[str]:
        """Name the tables of weeks, in order of time, also those that are detached."""
        return [week for (week,) in self.place.journal_sql(_WEEKS)]

    def run_and_die(self, point: str, call: int) -> int:
        """Run in a child that kills itself at the n-th time that it passes a point."""
        text = settings.to_json(self.settings).decode()
        words = [sys.executable, str(_CHILD), text, str(DAYS), str(ROWS), point, str(call)]
        path = os.pathsep.join(filter(None, sys.path))
        return subprocess.run(words, check=False, env=os.environ | {"PYTHONPATH": path}).returncode


def batches_of(file: Path) -> list[Row]:
    """Give the rows that a file has which was restored into."""
    with closing(sqlite3.connect(file)) as found:
        return found.execute("SELECT * FROM batches ORDER BY seq").fetchall()


def age(place: Place) -> list[Row]:
    """Write a journal, move most of it back in time, and give the rows that are old enough.

    The last batch stays young; what is old is in the checkpoint.
    """
    with place.open() as node:
        node.create("cup")
        for number in range(60):
            node.submit("cup", f"m{number}", number)
        node.checkpoint()
        node.submit("cup", "young", 7)
    if place.kind == "sqlite":
        return _age_sqlite(place)
    return _age_postgres(place)


def _age_sqlite(place: Place) -> list[Row]:
    # Three batches a day, up to 95 days ago.
    place.journal_sql(
        "UPDATE journal SET committed_ms = committed_ms - (95 * 86400000) - (60 - seq) * 28800000"
        " WHERE seq <= 60"
    )
    rows: list[Row] = place.journal_sql(_SQLITE)
    return rows[:60]


def _age_postgres(place: Place) -> list[Row]:
    monday = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    monday -= timedelta(days=monday.weekday())
    starts = [monday - timedelta(weeks=weeks) for weeks in (19, 18, 17, 16)]
    make = [
        f"CREATE TABLE journal_{start:%Y%m%d} PARTITION OF journal "
        f"FOR VALUES FROM ('{start}') TO ('{start + timedelta(weeks=1)}')"
        for start in (starts[0], starts[2], starts[3])
    ]
    place.journal_sql(";".join(make))
    # Some batches in each week, in steps that microseconds matter in; one has no table.
    place.journal_sql(
        "UPDATE journal SET committed_at = seq * interval '1234.567891 s' + CASE"
        " WHEN number <= 20 THEN ?::timestamptz WHEN number <= 30 THEN ?"
        " WHEN number <= 45 THEN ? ELSE ? END WHERE number <= 60",
        *starts,
    )
    rows: list[Row] = place.journal_sql(_POSTGRES.format("journal"))
    assert len(place.journal_sql("SELECT 1 FROM journal_rest")) == 10
    return rows[:60]


NewOld = Callable[..., Old]


@pytest.fixture
def new_old(new_place: NewPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NewOld:
    """Make old places of a kind, with their archive at an address."""
    for module in (archive_postgres, archive_sqlite):
        monkeypatch.setattr(module, "SEGMENT_ROWS", ROWS)

    def make(kind: Any, url: str | None = None) -> Old:
        return Old(new_place(kind), url or (tmp_path / "archive").as_uri())

    return make


@pytest.fixture(params=KINDS)
def old(new_old: NewOld, request: pytest.FixtureRequest) -> Old:
    """Make an old place of each kind; see `age`."""
    return new_old(request.param)


class Before:
    """A store or a source; something happens once, right before the first call of a method."""

    where = ""

    def __init__(self, inner: object, method: str, happens: Callable[[], object]) -> None:
        self._inner = inner
        self._method = method
        self._happens: Callable[[], object] | None = happens

    def __getattr__(self, method: str) -> Any:
        if method == self._method and self._happens is not None:
            happens, self._happens = self._happens, None
            happens()
        return getattr(self._inner, method)


class Failing:
    """A store that fails at the n-th call, and works otherwise."""

    def __init__(self, store: ObjectStore, call: int) -> None:
        self.where = store.where
        self.failed = False
        self._store = store
        self._left = call

    def put(self, name: str, content: bytes) -> bool:
        self._count()
        return self._store.put(name, content)

    def get(self, name: str, most_bytes: int) -> bytes | None:
        self._count()
        return self._store.get(name, most_bytes)

    def list(self, folder: str) -> Sequence[str]:
        self._count()
        return self._store.list(folder)

    def delete(self, name: str) -> None:
        self._count()
        self._store.delete(name)

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.failed = True
            raise ObjectStoreError("it failed on purpose")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server that speaks the S3 API, and give its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("s3") / "log"
    with log.open("wb") as output:
        program = Path(sys.executable).with_name("moto_server")
        process = subprocess.Popen(
            [program, "-H", "127.0.0.1", "-p", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return True
            return False

        until(answers, "the S3 server")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Make an empty bucket, and give the address of an archive in it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "some-user")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-word")
    name = f"b-{abs(hash(tmp_path)):x}"
    request = urllib.request.Request(f"{s3_server}/{name}", method="PUT")
    urllib.request.urlopen(request).close()
    return f"s3://{name}/journals/one?endpoint={s3_server}&region=us-east-1"
