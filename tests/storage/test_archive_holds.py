"""Legal holds: nothing of the journal is dropped while there is one, whoever would drop it."""

from __future__ import annotations

import pytest

from fix_archive import DAYS, Before, NewOld, Old, age
from rankwire.storage import postgres_tidy
from rankwire.storage.archive_source import HeldError


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
    source = old.source()

    def hold() -> None:
        with source.open(to_change=False):
            source.hold("late")

    # When the first batch has been stored.
    outcome = old.archiver(Before(old.store, "put", hold)).run(DAYS)
    assert outcome.is_held
    assert outcome.batches == 60
    assert old.journal == before


def test_a_hold_that_is_placed_during_a_release_stands(old: Old) -> None:
    age(old.place)
    before = old.journal
    old.lifecycle().hold("case 1")
    store = Before(old.store, "delete", lambda: old.lifecycle().hold("case 2"))
    assert [hold.reason for hold in old.archiver(store).release()] == ["case 1"]
    assert [hold.reason for hold in old.lifecycle().holds()] == ["case 2"]
    with old.place.open() as node:
        node.storage.tidy()
    assert old.journal == before
    assert old.run().is_held


def test_a_hold_that_is_released_during_a_run_does_not_come_back(old: Old) -> None:
    age(old.place)
    old.lifecycle().hold("case 1")
    # Before the run notes it once more.
    store = Before(old.store, "put", lambda: old.lifecycle().release())
    old.archiver(store).run(DAYS)
    assert old.lifecycle().holds() == []
    assert not old.run().is_held
    assert len(old.journal) == 2


def test_tidying_looks_at_no_week_while_there_is_a_hold(
    new_old: NewOld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would be as many as are kept, at every checkpoint."""
    old = new_old("postgres")
    age(old.place)
    old.lifecycle().hold("case 1")
    looked: list[str] = []
    monkeypatch.setattr(postgres_tidy, "is_covered", lambda _, week: looked.append(week))
    with old.place.open() as node:
        node.storage.tidy()
    assert looked == []


def test_nothing_is_taken_away_while_there_is_a_hold(old: Old) -> None:
    age(old.place)
    source = old.source()
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
