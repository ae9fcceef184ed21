"""Weeks of the journal in PostgreSQL, which go whole: what comes late, and what is in use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fix_archive import DAYS, Before, NewOld, Old, age
from fix_postgres import Database
from rankwire.storage import postgres_tidy as module
from rankwire.storage.postgres_tidy import is_covered


@pytest.fixture
def old(new_old: NewOld) -> Old:
    return new_old("postgres")


def _come_late(old: Old) -> None:
    """Commit into the oldest week, as if the database's clock were set back for a moment."""
    week = old.weeks[0]
    monday = datetime.strptime(week[-8:], "%Y%m%d").replace(tzinfo=UTC)
    with old.place.open() as node:
        node.submit("cup", "late", 999)
    query = "SELECT origin FROM origins ORDER BY started_at DESC LIMIT 1"
    ((origin,),) = old.place.journal_sql(query)
    move = "UPDATE journal SET committed_at = ?::timestamptz + interval '6 days' WHERE origin = ?"
    old.place.journal_sql(move, monday, origin)
    assert old.place.journal_sql(f"SELECT number FROM {week} WHERE origin = {origin}") == [(1,)]


def _checkpoint(old: Old) -> None:
    with old.place.open() as node:
        node.checkpoint()


@contextmanager
def _reading(old: Old, table: str) -> Iterator[None]:
    with psycopg.connect(old.place.settings.url) as reader:
        reader.execute(f"LOCK TABLE {table} IN ACCESS SHARE MODE".encode())
        yield


def test_a_row_that_came_late_into_a_week_is_archived_too(old: Old) -> None:
    """It is written between the comparison and the detaching, and in the checkpoint."""
    rows = age(old.place)
    week = old.weeks[0]

    def come_late() -> None:
        old.place.journal_sql("INSERT INTO vector VALUES (7, 1000)")
        old.place.journal_sql(
            "INSERT INTO journal (origin, number, committed_at, batch)"
            f" SELECT 7, 1000, committed_at, batch FROM {week} WHERE number = 3"
        )

    outcome = old.archiver(source=Before(old.source(), "detach", come_late)).run(DAYS)
    assert outcome.dropped_batches == 61
    assert len(old.archived) == 61
    assert week not in old.weeks
    assert {row[2] for row in old.archived} == {row[2] for row in rows} | {1000}


def test_a_commit_that_came_late_and_is_in_no_checkpoint_stays(old: Old) -> None:
    rows = age(old.place)
    archiver = old.archiver(source=Before(old.source(), "detach", lambda: _come_late(old)))
    outcome = archiver.run(DAYS)
    assert len(outcome.left) == 1
    assert outcome.dropped_batches == 0
    assert next(iter(old.place.state().boards.values())).total == 62, "with the late one"
    assert old.place.offline().differences == []
    _checkpoint(old)
    assert archiver.run(DAYS).dropped_batches == 61
    assert [row for row in old.archived if row in rows] == rows
    assert old.lifecycle().verify().problems == []


def test_tidying_keeps_a_commit_that_came_late(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes right before the week is dropped."""
    age(old.place)
    may_drop = module.may_drop

    def late(connection: Any) -> bool:
        monkeypatch.setattr(module, "may_drop", may_drop)
        _come_late(old)
        return may_drop(connection)

    with old.place.open() as node:
        monkeypatch.setattr(module, "may_drop", late)
        node.storage.tidy()
    assert next(iter(old.place.state().boards.values())).total == 62, "with the late one"


@pytest.mark.parametrize("is_archived", [True, False])
def test_nobody_writes_to_a_week_that_is_about_to_go(
    old: Old, monkeypatch: pytest.MonkeyPatch, is_archived: bool
) -> None:
    age(old.place)
    tried: list[str] = []

    def watched(connection: Any, week: str) -> bool:
        tried.append(week)
        with psycopg.connect(old.place.settings.url) as writer:
            writer.execute("SET lock_timeout = '50ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                writer.execute(f"DELETE FROM {week}".encode())
        return is_covered(connection, week)

    weeks = old.weeks[:3]
    with old.place.open() as node:
        monkeypatch.setattr(module, "is_covered", watched)
        if is_archived:
            old.run()
        else:
            node.storage.tidy()
    assert tried == weeks
    assert len(old.journal) == 2


def test_a_week_that_the_checkpoint_lacks_keeps_what_is_newer(old: Old) -> None:
    age(old.place)
    _come_late(old)
    before = old.journal
    outcome = old.run()
    assert (outcome.dropped_batches, outcome.left) == (0, [])
    assert old.journal == before
    _checkpoint(old)
    assert old.run().dropped_tables == 3


def test_a_week_that_the_checkpoint_lacks_stays(old: Old) -> None:
    age(old.place)
    old.place.journal_sql("UPDATE vector SET number = 50")
    assert old.run().dropped_batches == 45
    assert [row[2] for row in old.archived] == [*range(1, 46)]
    assert [row[2] for row in old.journal] == [*range(46, 63)]


def test_a_week_that_is_in_use_is_left_for_the_next_run(old: Old) -> None:
    age(old.place)
    with _reading(old, "journal"):
        outcome = old.run()
        assert (len(outcome.left), outcome.dropped_batches) == (1, 0)
    with _reading(old, old.weeks[1]):
        outcome = old.run()
        # All that is behind it stays as well, though it is archived: there would be a gap.
        assert (len(outcome.left), outcome.batches, outcome.dropped_batches) == (1, 60, 30)
        assert old.place.offline().differences == []
    assert old.run().dropped_tables == 2
    assert len(old.archived) == 60


def test_a_week_in_use_does_not_stop_the_archiving_of_the_rest(old: Old) -> None:
    """However few segments a round has."""
    rows = age(old.place)
    before = old.journal
    archiver = old.archiver()
    with _reading(old, old.weeks[0]):
        outcomes = [archiver.run(DAYS, most_segments=1) for _ in range(12)]
        assert len(outcomes[-1].left) == 1
        assert old.archived == rows
        assert old.journal == before
    while archiver.run(DAYS, most_segments=1).has_more:
        assert old.place.offline().differences == [], "there is a gap in the journal"
        numbers = [row[2] for row in old.journal]
        assert numbers[:-1] == [*range(numbers[0], 62)], "it loses its beginning only"
    old.check(before, rows)


_numbers = st.dictionaries(st.integers(-3, 3), st.integers(1, 4), max_size=4)


def test_a_week_is_covered_if_all_of_its_origins_are(postgres: Database) -> None:
    with psycopg.connect(postgres.url) as connection:
        for table in ("week", "vector"):
            connection.execute(f"CREATE TABLE {table} (origin bigint, number bigint)".encode())

        @settings(max_examples=50, deadline=None)
        @given(_numbers, _numbers)
        def check(last: dict[int, int], vector: dict[int, int]) -> None:
            connection.execute("TRUNCATE week, vector")
            rows = [(origin, n) for origin, end in last.items() for n in range(1, end + 1)]
            with connection.cursor() as cursor:
                cursor.executemany("INSERT INTO week VALUES (%s, %s)", rows)
                cursor.executemany("INSERT INTO vector VALUES (%s, %s)", [*vector.items()])
            expected = all(vector.get(origin, 0) >= end for origin, end in last.items())
            assert is_covered(connection, "week") is expected

        check()
