"""Archives of the journal, on real tables of both storages and in real stores."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fix_archive import DAYS, NewOld, Old, age
from fix_storage import KINDS, Node
from rankwire.storage import StorageError
from rankwire.storage.archive_source import HeldError, open_archive_source
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


def test_a_hold_keeps_everything_and_archives_it(old: Old) -> None:
    rows = age(old.place)
    before = old.journal
    hold = old.lifecycle().hold("case 1")
    assert old.lifecycle().holds() == [hold]
    archiver = old.archiver()
    for _ in range(2):
        outcome = archiver.run(DAYS)
        assert outcome.is_held
        assert outcome.dropped_batches == 0
        assert (old.journal, old.archived) == (before, rows)
    # Nor does a server drop anything, whether it has an archive or not.
    with old.place.open() as node:
        node.storage.tidy()
    assert old.journal == before
    assert old.lifecycle().release() == [hold]
    assert old.lifecycle().holds() == []
    assert archiver.run(DAYS).dropped_batches == 60
    assert old.journal == before[60:]


def test_a_hold_that_only_the_store_knows_holds_too(old: Old) -> None:
    age(old.place)
    before = old.journal
    old.lifecycle().hold("case 1")
    old.place.journal_sql("DELETE FROM holds")
    assert old.run().is_held
    assert old.journal == before
    assert len(old.lifecycle().release()) == 1
    assert not old.run().is_held


def test_a_hold_that_is_placed_on_the_way_stops_dropping(old: Old) -> None:
    age(old.place)
    before = old.journal
    source = open_archive_source(old.place.settings)

    class Late:
        """Places a hold when the first batch has been stored."""

        where = ""
        placed = False

        def __getattr__(self, method: str) -> Any:
            if method == "put" and not self.placed:
                self.placed = True
                with source.open(to_change=False):
                    source.hold("late")
            return getattr(old.store, method)

    outcome = old.archiver(Late()).run(DAYS)
    assert outcome.is_held
    assert outcome.batches == 60
    assert old.journal == before


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
            for week in _weeks(old):
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


def test_nothing_is_taken_away_while_there_is_a_hold(old: Old) -> None:
    age(old.place)
    source = open_archive_source(old.place.settings)
    with source.open():
        pieces = source.pieces(DAYS)
        source.hold("case 1")
        for piece in pieces:
            if piece.is_whole:
                with pytest.raises(HeldError):
                    source.detach(piece)
                with pytest.raises(HeldError):
                    source.drop(piece)
            elif rows := source.rows(piece, DAYS, -1):
                with pytest.raises(HeldError):
                    source.discard(piece, rows)
    assert len(old.journal) == 62


def test_one_process_archives_at_a_time(old: Old) -> None:
    age(old.place)
    with open_archive_source(old.place.settings).open():
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

    thread = threading.Thread(target=write)
    thread.start()
    try:
        while (outcome := old.run()).left:
            pass
    finally:
        stop.set()
        thread.join()
        storage.close()
    assert failures == []
    assert written > 10
    assert outcome.left == []
    assert old.archived == rows
    numbers = [row[2] for row in old.journal if row[1] != rows[0][1]]
    assert numbers == [*range(1, written + 1)]
    assert old.lifecycle().verify().problems == []


# PostgreSQL alone.


def test_a_row_that_came_late_into_a_week_is_archived_too(new_old: NewOld) -> None:
    """It is written between the comparison and the detaching."""
    old = new_old("postgres")
    rows = age(old.place)
    week = f"journal_{_first_week(old)}"
    source = open_archive_source(old.place.settings)

    class Late:
        is_late = True

        def __getattr__(self, method: str) -> Any:
            if method == "detach" and self.is_late:
                self.is_late = False
                old.place.journal_sql(
                    "INSERT INTO journal (origin, number, committed_at, batch)"
                    f" SELECT origin, 1000, committed_at, batch FROM {week} WHERE number = 3"
                )
            return getattr(source, method)

    archiver = old.archiver()
    archiver._source = Late()  # noqa: SLF001
    outcome = archiver.run(DAYS)
    assert outcome.dropped_batches == 61
    assert len(old.archived) == 61
    assert week not in _weeks(old)
    assert {row[2] for row in old.archived} == {row[2] for row in rows} | {1000}


def _weeks(old: Old) -> list[str]:
    query = "SELECT relname FROM pg_class WHERE relname ~ '^journal_[0-9]{8}$' ORDER BY relname"
    return [week for (week,) in old.place.journal_sql(query)]


def _first_week(old: Old) -> str:
    return _weeks(old)[0].removeprefix("journal_")


def test_a_week_that_the_checkpoint_lacks_stays(new_old: NewOld) -> None:
    old = new_old("postgres")
    age(old.place)
    old.place.journal_sql("UPDATE vector SET number = 50")
    assert old.run().dropped_batches == 45
    assert [row[2] for row in old.archived] == [*range(1, 46)]
    assert [row[2] for row in old.journal] == [*range(46, 63)]


def test_a_week_that_is_in_use_is_left_for_the_next_run(new_old: NewOld) -> None:
    old = new_old("postgres")
    age(old.place)
    with psycopg.connect(old.place.settings.url) as reader:
        reader.execute("LOCK TABLE journal IN ACCESS SHARE MODE")
        outcome = old.run()
        assert (len(outcome.left), outcome.dropped_batches) == (1, 0)
    with psycopg.connect(old.place.settings.url) as reader:
        reader.execute(f"LOCK TABLE {_weeks(old)[1]} IN ACCESS SHARE MODE".encode())
        outcome = old.run()
        # All that is behind it stays as well, though it is archived: there would be a gap.
        assert (len(outcome.left), outcome.batches, outcome.dropped_batches) == (1, 60, 30)
        assert old.place.offline().differences == []
    assert old.run().dropped_tables == 2
    assert len(old.archived) == 60


def test_tidying_leaves_the_journal_to_the_archive(new_old: NewOld) -> None:
    for kind in KINDS:
        old = new_old(kind)
        age(old.place)
        for is_archived, kept in ((True, 62), (False, 2)):
            storage: Any
            if kind == "sqlite":
                path = old.place.settings.path
                storage = SqliteStorage(path, 1.0, DAYS, is_archived=is_archived)
            else:
                storage = PostgresStorage(old.place.settings, is_archived=is_archived)
            storage.tidy()
            storage.close()
            assert len(old.journal) == kept


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
