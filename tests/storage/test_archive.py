"""Archives of the journal, on real tables of both storages and in real stores."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from fix_archive import DAYS, FOREVER, NewOld, Old, age, batches_of
from fix_server import until
from fix_storage import KINDS, Node, Place
from rankwire.ops.lifecycle import stop_archiving
from rankwire.settings import Storage
from rankwire.storage import StorageError
from rankwire.storage.archive import ArchiveError
from rankwire.storage.archive_postgres import PostgresRestored
from rankwire.storage.archive_restore import Record, SqliteRestored
from rankwire.storage.postgres import PostgresStorage
from rankwire.storage.sqlite import SqliteStorage


def test_what_is_old_is_archived_dropped_and_comes_back_row_for_row(
    old: Old, tmp_path: Path
) -> None:
    rows = age(old.place)
    before, state = old.journal, old.place.state()
    outcome = old.run()
    old.check(before, rows)
    assert (outcome.batches, outcome.dropped_batches) == (60, 60)
    assert outcome.batch_bytes == outcome.dropped_bytes == sum(len(row[4]) for row in rows)
    assert outcome.dropped_tables == (3 if old.kind == "postgres" else 0)
    assert outcome.segments_found == 0
    assert old.restored(tmp_path) == rows
    assert old.place.state() == state
    # There is nothing more to do, and nothing is done twice.
    again = old.run()
    assert (again.batches, again.segments_stored, again.dropped_batches) == (0, 0, 0)
    old.check(before, rows)


def test_it_works_in_a_bucket_as_well(new_old: NewOld, bucket: str, tmp_path: Path) -> None:
    for kind in KINDS:
        old = new_old(kind, bucket)
        rows = age(old.place)
        before = old.journal
        old.run()
        old.check(before, rows)
        assert old.restored(tmp_path) == rows


def test_a_dry_run_changes_nothing(old: Old, tmp_path: Path) -> None:
    rows = age(old.place)
    before = old.journal
    plan = old.lifecycle().plan(DAYS)
    assert sum(due.extent.batches for due in plan.due) == 60
    assert sum(due.extent.batch_bytes for due in plan.due) == sum(len(row[4]) for row in rows)
    assert min(due.extent.first_us or 0 for due in plan.due) == rows[0][3]
    assert old.journal == before
    assert not (tmp_path / "archive").exists()


@pytest.mark.parametrize("last_old", [3, 4])
def test_only_what_the_checkpoint_has_is_archived(old: Old, last_old: int) -> None:
    with old.place.open() as node:
        node.create("cup")
        node.submit("cup", "ann", 1)
        node.checkpoint()
        node.submit("cup", "bob", 1)
        node.submit("cup", "late", 1)
    column = "committed_ms = 1000" if old.kind == "sqlite" else "committed_at = '2020-01-01'"
    old.place.journal_sql(f"UPDATE journal SET {column} WHERE number <= {last_old}")
    state = old.place.state()
    old.run()
    assert [row[2] for row in old.archived] == [1, 2]
    assert [row[2] for row in old.journal] == [3, 4]
    assert old.place.state() == state


def test_what_is_young_stays_wherever_it_is(old: Old) -> None:
    with old.place.open() as node:
        if old.kind == "postgres":
            # So that everything is among the rows that no week has room for.
            for week in old.weeks:
                old.place.journal_sql(f"DROP TABLE {week}")
        node.create("cup")
        node.submit("cup", "ann", 1)
        node.submit("cup", "bob", 1)
        node.checkpoint()
    column = "committed_ms = 1000" if old.kind == "sqlite" else "committed_at = '2020-01-01'"
    old.place.journal_sql(f"UPDATE journal SET {column} WHERE number = 1")
    old.run()
    assert [row[2] for row in old.archived] == [1]
    assert [row[2] for row in old.journal] == [2, 3]


def test_the_last_batch_of_sqlite_stays(new_old: NewOld) -> None:
    """It tells where the journal goes on."""
    old = new_old("sqlite")
    with old.place.open() as node:
        node.create("cup")
        node.submit("cup", "ann", 1)
        node.checkpoint()
    old.place.journal_sql("UPDATE journal SET committed_ms = 1000")
    state = old.place.state()
    old.run()
    assert [row[2] for row in old.journal] == [2]
    assert old.place.state() == state


def test_one_process_archives_at_a_time(old: Old) -> None:
    age(old.place)
    with old.source().open():
        with pytest.raises(StorageError, match="another process archives this journal now"):
            old.run()
        assert sum(due.extent.batches for due in old.lifecycle().plan(DAYS).due) == 60
    assert old.run().dropped_batches == 60


def test_a_round_is_bounded_and_the_next_one_goes_on(old: Old) -> None:
    rows = age(old.place)
    before = old.journal
    archiver = old.archiver()
    rounds = 0
    while (outcome := archiver.run(DAYS, most_segments=2)).has_more:
        assert outcome.segments_stored <= 3
        assert outcome.segments_found == 0, "compared once is enough"
        rounds += 1
    assert rounds > 3
    old.check(before, rows)


def test_writers_go_on_meanwhile(old: Old) -> None:
    rows = age(old.place)
    failures: list[BaseException] = []
    written = 0
    stop = threading.Event()
    storage: Any
    if old.kind == "sqlite":
        storage = SqliteStorage(old.place.settings.path, busy_seconds=30)
    else:
        storage = PostgresStorage(old.place.settings)
    node = Node(storage)

    def write() -> None:
        nonlocal written
        try:
            # SQLite's lock goes to whoever asks at the right moment, so leave some.
            while not stop.wait(0.002):
                node.submit("cup", f"busy{written % 50}", written)
                written += 1
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    def wrote_more() -> None:
        before = written
        until(lambda: written > before + 5 or bool(failures), "some more commits")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        wrote_more()
        while (outcome := old.run()).left:
            pass
        wrote_more()
    finally:
        stop.set()
        thread.join()
        storage.close()
    assert failures == []
    assert outcome.left == []
    assert old.archived == rows
    numbers = [row[2] for row in old.journal if row[1] != rows[0][1]]
    assert numbers == [*range(1, written + 1)]
    assert old.lifecycle().verify().problems == []


def _tidy(old: Old, *, is_archived: bool = False, times: int = 1) -> None:
    """Tidy as a server does that has `ops.archive_url` or has not."""
    storage: Any
    if old.kind == "sqlite":
        path = old.place.settings.path
        storage = SqliteStorage(path, 1.0, DAYS, is_archived=is_archived)
    else:
        storage = PostgresStorage(old.place.settings, is_archived=is_archived)
    for _ in range(times):
        storage.tidy()
    storage.close()


def test_tidying_leaves_the_journal_to_the_archive(old: Old) -> None:
    age(old.place)
    for is_archived, kept in ((True, 62), (False, 2)):
        _tidy(old, is_archived=is_archived)
        assert len(old.journal) == kept


def test_a_node_without_the_setting_drops_nothing_of_an_archived_journal(old: Old) -> None:
    with old.place.open():
        pass
    assert old.run().batches == 0
    age(old.place)
    before = old.journal
    with capture_logs() as logs:
        _tidy(old, times=3)
    assert [entry["log_level"] for entry in logs] == ["warning"], "said once"
    assert "rankwire ops archive stop" in logs[0]["reason"]
    assert old.journal == before
    # Until somebody says that this is meant.
    for was_archived in (True, False):
        assert stop_archiving(old.place.settings) is was_archived
    _tidy(old)
    assert len(old.journal) == 2


def test_looking_does_not_make_a_journal_archived(old: Old) -> None:
    age(old.place)
    old.lifecycle().plan()
    old.lifecycle().hold("case 1")
    old.lifecycle().release()
    old.lifecycle().verify()
    assert not stop_archiving(old.place.settings)


def test_archives_of_two_databases_come_back_into_one(new_old: NewOld) -> None:
    olds = [new_old("postgres"), new_old("postgres")]
    one = olds[0]
    target = PostgresRestored(one.place.settings)
    for old in olds:
        age(old.place)
        old.run()
        counted = one.lifecycle().restore(0, FOREVER, target, old.lifecycle().cluster())
        assert counted.batches == 60
    for table in ("journal_restored", "journal_restored_records"):
        query = f"SELECT count(*), count(DISTINCT origin) FROM {table}"
        assert one.place.journal_sql(query) == [(120, 2)]


def test_batches_of_two_copies_come_back_into_one_file(tmp_path: Path) -> None:
    """They have one seq, and are of two origins."""
    rows = [(5, origin, 1, 1_000_000, b"batch") for origin in (1, 2)]
    nothing = (None,) * 6
    records: list[Record] = [(*row[:3], 0, row[3], "drop", 7, *nothing) for row in rows]
    file = tmp_path / "file"
    target = SqliteRestored(file)
    with target.open():
        target.add(rows, records)
    assert batches_of(file) == rows
    with closing(sqlite3.connect(file)) as found:
        assert found.execute("SELECT * FROM records ORDER BY origin").fetchall() == records


def test_two_copies_of_a_database_do_not_archive_into_one_place(
    new_old: NewOld, tmp_path: Path
) -> None:
    """They have one id, and batches of other weeks have the same numbers."""
    old = new_old("sqlite")
    age(old.place)
    directory = tmp_path / "copy"
    shutil.copytree(old.place.settings.path, directory)
    copy = Old(Place("sqlite", Storage(path=directory), None), old.url)
    for each, days in ((old, DAYS + 30), (copy, DAYS + 9)):
        with each.place.open() as node:
            for number in range(5):
                node.submit("cup", f"{days}-{number}", number)
            node.checkpoint()
            node.submit("cup", "young", 1)
        # Those before are of three weeks before that.
        each.place.journal_sql(
            "UPDATE journal SET committed_ms = committed_ms - ? WHERE seq BETWEEN 61 AND 67",
            days * 86_400_000,
        )
    old.run()
    young = [row for row in copy.journal if row[0] > 60]
    with pytest.raises(ArchiveError, match="two copies of a database archive into one place"):
        copy.run()
    assert [row for row in copy.journal if row[0] > 60] == young
    # A copy with an id of its own has an archive of its own.
    copy.place.journal_sql("UPDATE cluster SET id = lower(hex(randomblob(16)))")
    assert copy.run().dropped_batches > 0
    assert old.lifecycle().verify().problems == []


def test_a_storage_of_an_older_version_says_what_to_do(new_old: NewOld) -> None:
    for kind in KINDS:
        old = new_old(kind)
        with pytest.raises(StorageError, match="there is no storage in"):
            old.run()
        with old.place.open():
            pass
        old.place.journal_sql("DELETE FROM schema_migrations WHERE number >= 2")
        with pytest.raises(StorageError, match="written by an older version of Rankwire: start"):
            old.run()


def test_nothing_of_it_is_for_others_to_read(old: Old, tmp_path: Path) -> None:
    age(old.place)
    old.run()
    for path in (tmp_path / "archive").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
