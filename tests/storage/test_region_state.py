"""Who is primary: nothing of an ended term commits, whatever the nodes believe."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from fix_postgres import Database
from fix_postgres_node import Node, batch_of
from fix_server import until
from rankwire import _core
from rankwire.settings import Storage
from rankwire.storage import Batch, FencedError, StorageError
from rankwire.storage.postgres import PostgresStorage
from rankwire.storage.region_journal import RegionJournal
from rankwire.storage.region_rows import LinkRow

_WAITS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@pytest.fixture
def journal(postgres: Database) -> Iterator[RegionJournal]:
    PostgresStorage(Storage(url=postgres.url), region="eu").close()
    with RegionJournal(Storage(url=postgres.url), "eu") as journal:
        yield journal


def _open(journal: RegionJournal) -> None:
    """Let the region be the primary of epoch 1, with no end."""
    assert journal.begin()
    assert journal.extend_lease(1, None)


def _node(database: Database, epoch: int = 1) -> Node:
    node = Node(database.url, region="eu", fenced="all")
    node.storage.epoch = epoch
    return node


def test_the_first_primary_is_noted_once(journal: RegionJournal) -> None:
    assert (journal.state().epoch, journal.state().primary) == (0, "")
    assert journal.promise(1, "us")
    assert not journal.begin()
    state = journal.state()
    assert (state.epoch, state.primary, state.is_open, state.is_primary) == (1, "us", False, False)


def test_a_primary_acts_as_long_as_its_lease(journal: RegionJournal, postgres: Database) -> None:
    """By the database's clock."""
    assert journal.begin()
    assert journal.state().lease_until_ms == -math.inf
    with _node(postgres) as node:
        with pytest.raises(FencedError):
            node.create("a")
        until_ms = journal.clock_ms() + 60_000
        assert journal.extend_lease(1, until_ms)
        assert journal.state().lease_until_ms == pytest.approx(until_ms, abs=1)
    with _node(postgres) as node:
        node.create("a")
        # It gets no shorter by news that comes late.
        assert journal.extend_lease(1, journal.clock_ms() - 1)
        node.submit("a", "ann", 1)
        postgres.sql("UPDATE region_state SET lease_until = clock_timestamp()")
        assert not journal.state().is_primary
        with pytest.raises(FencedError):
            node.submit("a", "ann", 2)


def test_a_lease_without_end_gets_one_when_a_third_region_comes(journal: RegionJournal) -> None:
    _open(journal)
    assert journal.state().lease_until_ms == math.inf
    assert journal.extend_lease(1, journal.clock_ms() + 5000)
    assert journal.state().lease_until_ms < math.inf


def test_a_promise_ends_the_term(journal: RegionJournal, postgres: Database) -> None:
    _open(journal)
    with _node(postgres) as node:
        node.create("a")
        assert journal.promise(2, "us")
        state = journal.state()
        assert (state.epoch, state.primary, state.is_primary) == (2, "us", False)
        assert state.lease_until_ms == -math.inf
        for epoch in (1, 2):
            node.storage.epoch = epoch
            with pytest.raises(FencedError):
                node.storage.append(Batch(2, b"x"))
        assert not journal.extend_lease(1, None)
        assert not journal.open_primary(1)
        assert not journal.open_primary(2)


def test_a_promise_is_given_once(journal: RegionJournal) -> None:
    """To a lost answer it may be asked for again; to an older one never."""
    _open(journal)
    assert journal.promise(1, "eu")
    assert journal.state().is_primary
    assert journal.promise(5, "us")
    assert journal.promise(5, "us")
    assert not journal.promise(4, "us-2")
    assert journal.state().primary == "us"


def test_of_two_primaries_of_one_epoch_the_later_name_counts(journal: RegionJournal) -> None:
    """In the order of bytes, whatever the language of the database."""
    _open(journal)
    assert not journal.promise(1, "ap")
    assert not journal.promise(1, "-us")
    assert journal.state().is_primary
    assert journal.promise(1, "us")
    assert not journal.state().is_primary
    assert not journal.open_primary(1)
    assert not journal.promise(1, "eu")
    assert journal.promise(2, "ap")


def test_a_region_becomes_primary_in_its_own_epoch_only(
    journal: RegionJournal, postgres: Database
) -> None:
    assert journal.promise(1, "us")
    assert journal.promise(2, "eu")
    assert not journal.extend_lease(2, None), "before it is open"
    assert journal.open_primary(2)
    assert not journal.state().is_primary, "before it has a lease"
    assert journal.extend_lease(2, None)
    with _node(postgres, epoch=2) as node:
        node.create("a")


def test_where_scores_merge_only_names_are_fenced(
    journal: RegionJournal, postgres: Database
) -> None:
    _open(journal)
    with Node(postgres.url, region="eu", fenced="names") as node:
        node.storage.epoch = 1
        node.create("a")
        assert journal.promise(2, "us")
        node.submit("a", "ann", 1, ("caller", "key"))
        node.submit("a", "ann", 2)
        sealed = _sealed_drop(node)
        with pytest.raises(FencedError):
            node.storage.append(batch_of(sealed))
        ((_, error),) = sealed.abort_not_primary()
        assert "primary" in str(error)
        # It is forgotten, and the storage goes on as if nothing had been.
        node.submit("a", "ann", 3)
        assert node.storage.holds(4)
        assert postgres.sql("SELECT name FROM names") == [("a",)]


def _sealed_drop(node: Node) -> _core.Sealed:
    node.engine.drop_board("a")
    return node.seal()


def test_repairs_are_not_fenced(journal: RegionJournal, postgres: Database) -> None:
    assert journal.promise(1, "us")
    with _node(postgres) as node:
        node.storage.append(Batch(1, b"x", is_repair=True))
        with pytest.raises(FencedError):
            node.storage.append(Batch(2, b"x"))


def test_a_promise_waits_for_what_has_passed_the_fence(
    journal: RegionJournal, postgres: Database
) -> None:
    _open(journal)
    promised: list[bool] = []
    with psycopg.connect(postgres.url) as slow:
        slow.execute("SELECT append_fenced(7, 1, 'x', 1)")
        thread = threading.Thread(target=lambda: promised.append(journal.promise(2, "us")))
        thread.start()
        until(lambda: postgres.sql(_WAITS) == [(1,)], "a promise that waits")
        assert promised == []
        slow.commit()
    thread.join()
    assert promised == [True]
    assert postgres.sql("SELECT number FROM journal") == [(1,)]


def test_nothing_commits_after_a_promise(journal: RegionJournal, postgres: Database) -> None:
    """Nodes that append as fast as they can, and promises in between."""
    _open(journal)
    nodes = [_node(postgres) for _ in range(4)]
    stop = threading.Event()
    appended = [0] * len(nodes)

    def append(index: int) -> None:
        node, number = nodes[index], 0
        while not stop.is_set():
            try:
                node.storage.append(Batch(number + 1, b"x"))
                number += 1
                appended[index] = number
            except FencedError:
                node.storage.epoch = journal.state().epoch
                time.sleep(random.random() / 500)

    threads = [threading.Thread(target=append, args=(index,)) for index in range(len(nodes))]
    for thread in threads:
        thread.start()
    count = "SELECT count(*) FROM journal"
    try:
        for epoch in range(2, 40, 2):
            goal = sum(appended) + 4
            until(lambda goal=goal: sum(appended) >= goal, "appends")  # type: ignore[misc]
            assert journal.promise(epoch, "us")
            before = postgres.sql(count)
            time.sleep(random.random() / 100)
            assert postgres.sql(count) == before
            assert journal.promise(epoch + 1, "eu")
            assert journal.open_primary(epoch + 1)
            assert journal.extend_lease(epoch + 1, None)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        for node in nodes:
            node.storage.close()
    assert postgres.sql(count) == [(sum(appended),)]


def test_one_process_leads_until_its_session_ends(
    journal: RegionJournal, postgres: Database
) -> None:
    with RegionJournal(Storage(url=postgres.url), "eu") as other:
        assert journal.lead()
        assert journal.lead()
        assert not other.lead()
        postgres.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid) "
            "WHERE locktype = 'advisory' AND application_name = 'rankwire-region-leader'"
        )
        with pytest.raises(StorageError, match="cannot lead the region"):
            journal.lead()
        # PostgreSQL lets go of a lock a moment after the client has seen its session end.
        until(other.lead, "a lock that is free")
        assert not journal.lead()
    until(journal.lead, "a lock that is free again")


def test_what_is_saved_comes_back(journal: RegionJournal) -> None:
    links = [
        LinkRow("ap", 1, 2, -0.5, 3, 4, "away", 5),
        LinkRow("us"),
    ]
    stable = {2**63 - 1: 2**62, 1: 7}
    journal.save(stable, links)
    journal.set_out("works in the cellar")
    state = journal.state()
    assert (state.links, state.stable, state.out_reason) == (links, stable, "works in the cellar")
    journal.save({}, links[1:])
    journal.set_out(None)
    state = journal.state()
    assert (state.links, state.stable, state.out_reason) == (links[1:], {}, None)
    assert abs(state.clock_ms - journal.clock_ms()) < 60_000


def test_what_is_saved_anew_and_is_the_same_is_not_written(
    journal: RegionJournal, postgres: Database
) -> None:
    journal.save({1: 2}, [])
    where = postgres.sql("SELECT ctid FROM region_state")
    journal.save({1: 2}, [])
    assert postgres.sql("SELECT ctid FROM region_state") == where
