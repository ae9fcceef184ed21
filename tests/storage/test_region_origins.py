"""Runs of nodes in other regions: when they have ended, and what a region has lost of its own."""

from __future__ import annotations

from typing import Final

import pytest

from fix_postgres_node import Node
from fix_region_journal import Place, served_places
from fix_server import until
from rankwire import _core
from rankwire.storage.region_rows import OriginRow

_LAST: Final = "SELECT last FROM origins WHERE origin = %s"
_IS_FREE: Final = "SELECT pg_try_advisory_xact_lock(%s::bigint)"


def test_the_end_of_an_origin_is_told_by_its_home(places: list[Place]) -> None:
    eu, us, ap = places
    (node,) = eu.nodes
    origin = node.engine.origin
    node.create("a")
    us.pull(eu)
    # It crashes, and nobody has its lock any more.
    node.storage._committer.close()  # noqa: SLF001
    until(lambda: us.sql(_IS_FREE, origin) == [(True,)], "the end of a session")
    us.nodes[0].storage.tidy()
    assert us.sql(_LAST, origin) == [(None,)], "this is not its home"
    assert us.journal.open_origins() == [origin]
    with Node(eu.url, region="eu") as other:
        other.storage.tidy()
    # A third region learns of it before it has the batch.
    ap.journal.insert([OriginRow(origin, "eu", "", 1)], [])
    assert ap.sql(_LAST, origin) == []
    us.pull(eu)
    assert us.sql(_LAST, origin) == [(1,)]
    assert us.journal.open_origins() == []
    ap.pull(us)
    assert ap.sql(_LAST, origin) == [(1,)]
    assert ap.recovered == us.recovered == node.boards


def test_the_end_is_told_even_when_it_is_long_forgotten(pair: list[Place]) -> None:
    eu, us = pair
    (node,) = eu.nodes
    node.create("a")
    us.pull(eu)
    assert node.checkpoint()
    node.storage.close()
    eu.sql("TRUNCATE journal")
    with Node(eu.url, region="eu") as other:
        other.storage.tidy()
    assert eu.sql("SELECT * FROM origins WHERE origin = %s", node.engine.origin) == []
    us.pull(eu)
    assert us.sql(_LAST, node.engine.origin) == [(1,)]


def test_an_origin_that_goes_on_after_its_end_is_followed(pair: list[Place]) -> None:
    """A node that was taken for dead, and news of its end that come late by another way."""
    eu, us = pair
    (node,) = eu.nodes
    origin = node.engine.origin
    node.create("a")
    ended = OriginRow(origin, "eu", "", 1)
    us.pull(eu)
    us.journal.insert([ended], [])
    node.submit("a", "ann", 1)
    us.pull(eu)
    assert us.sql(_LAST, origin) == [(None,)]
    us.journal.insert([ended], [])
    assert us.sql(_LAST, origin) == [(None,)]
    us.nodes[0].catch_up()
    assert us.nodes[0].boards == node.boards


def test_a_region_that_lost_batches_gets_them_back(pair: list[Place]) -> None:
    """As after a restore from a backup; its own, of a run that it takes for ended."""
    eu, us = pair
    (node,) = eu.nodes
    origin = node.engine.origin
    node.create("a")
    for number in range(4):
        node.submit("a", "ann", number)
    us.pull(eu)
    boards = node.boards
    node.storage.close()
    eu.sql("DELETE FROM journal WHERE number > 2")
    eu.sql("UPDATE origins SET last = 2")
    with Node(eu.url, region="eu") as restored:
        served = eu.ask(us, ["eu"])
        assert served_places(served) == [(origin, 5, True)], "it hears that they are there"
        eu.take(us.journal.serve(eu.journal.vector(), []))
        assert eu.sql(_LAST, origin) == [(None,)]
        restored.catch_up()
        assert restored.boards == boards
        restored.storage.tidy()
        assert eu.sql(_LAST, origin) == [(5,)]
    assert eu.recovered == boards


def test_a_missing_last_batch_of_another_region_is_damage(pair: list[Place]) -> None:
    eu, us = pair
    (node,) = eu.nodes
    node.create("a")
    node.submit("a", "ann", 1)
    node.storage.close()
    us.pull(eu)
    us.sql("DELETE FROM journal WHERE number = 2")
    with pytest.raises(_core.CorruptError, match="lacks the last batches"):
        Node(us.url, region="us")
