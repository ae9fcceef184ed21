"""What a region serves of its journal, and what it takes from others'."""

from __future__ import annotations

import threading
from typing import Any, Final

import msgspec
import psycopg
import pytest

from fix_postgres_node import Node
from fix_region_journal import Place, served_places
from fix_server import until
from rankwire import _core
from rankwire.storage import StorageError
from rankwire.storage.region_rows import ForeignBatch, OriginRow

_KEY: Final = ("caller", "key-1")
_LAST: Final = "SELECT last FROM origins WHERE origin = %s"
_WAITS: Final = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


def _weeks_go(place: Place) -> None:
    """Forget the journal, as if it were old."""
    place.sql("TRUNCATE journal")


def test_a_region_gets_what_another_has(pair: list[Place]) -> None:
    eu, us = pair
    (node,) = eu.nodes
    node.create("a")
    node.submit("a", "ann", 1)
    served = us.ask(eu)
    assert served_places(served) == [(node.engine.origin, 1, False), (node.engine.origin, 2, False)]
    assert [(row.region, row.last) for row in served.origins] == [("eu", None)]
    assert served.is_all
    assert served.cluster == node.storage.cluster
    assert us.take(served) == 2
    us.nodes[0].catch_up()
    assert us.nodes[0].boards == node.boards == us.recovered
    assert us.sql("SELECT name FROM names") == [("a",)]
    assert us.journal.vector() == eu.journal.vector()
    assert us.journal.number_of(node.engine.origin) == 2
    assert us.journal.origins()[node.engine.origin] == "eu"
    again = us.ask(eu)
    assert (again.batches, again.origins, again.lacks, again.is_all) == ([], [], {}, True)


def test_what_comes_twice_counts_once(pair: list[Place]) -> None:
    """Also from two who insert at the same time."""
    eu, us = pair
    (node,) = eu.nodes
    node.create("a", policy="sum")
    for _ in range(20):
        node.submit("a", "ann", 1)
    served = us.ask(eu)
    failures: list[BaseException] = []

    def insert() -> None:
        try:
            us.take(served)
        except StorageError as error:
            failures.append(error)

    threads = [threading.Thread(target=insert) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert us.batches == eu.batches
    assert us.recovered == node.boards


def test_two_processes_insert_one_after_the_other(pair: list[Place]) -> None:
    """The key of the journal would let them both: it has the time of each insert."""
    eu, us = pair
    eu.nodes[0].create("a")
    served = us.ask(eu)
    thread = threading.Thread(target=us.take, args=(served,))
    with psycopg.connect(us.url) as other:
        other.execute(
            "SELECT pg_advisory_xact_lock(1918987883, hashtext('journal of ' || id)) FROM cluster"
        )
        (row,) = served.batches
        other.execute(
            "INSERT INTO origins (origin, node, region) VALUES (%s, '', 'eu')", (row.origin,)
        )
        other.execute(
            "INSERT INTO journal (origin, number, batch) VALUES (%s, 1, %s)",
            (row.origin, row.batch),
        )
        thread.start()
        until(lambda: us.sql(_WAITS) == [(1,)], "an insert that waits")
        other.commit()
    thread.join()
    assert us.batches == eu.batches


def test_a_gap_refuses_all(pair: list[Place]) -> None:
    eu, us = pair
    (node,) = eu.nodes
    node.create("a")
    for number in range(3):
        node.submit("a", "ann", number)
    served = us.ask(eu)
    first, _, third, _ = served.batches
    with pytest.raises(StorageError, match="batches before number 3 of origin"):
        us.journal.insert(served.origins, [first, third])
    assert us.batches == []
    with pytest.raises(StorageError, match="nothing is told of origin"):
        us.journal.insert([], [first])
    assert us.batches == []
    assert us.sql("SELECT * FROM names") == []


@pytest.mark.parametrize("damage", ["batch", "answers"])
def test_what_cannot_be_read_refuses_all(pair: list[Place], damage: str) -> None:
    eu, us = pair
    eu.nodes[0].create("a", key=_KEY)
    served = us.ask(eu)
    (whole,) = served.batches
    broken: dict[str, Any] = {damage: getattr(whole, damage)[:-1]}
    with pytest.raises(_core.CorruptError):
        us.journal.insert(served.origins, [msgspec.structs.replace(whole, **broken)])
    assert us.batches == []
    us.journal.insert(served.origins, [whole])
    assert us.batches == eu.batches


def test_a_repeated_write_is_recognised_where_its_batch_has_arrived(pair: list[Place]) -> None:
    eu, us = pair
    eu.nodes[0].create("a", policy="sum")
    first = eu.nodes[0].submit("a", "ann", 5, _KEY)
    us.pull(eu)
    us.nodes[0].catch_up()
    again = us.nodes[0].submit("a", "ann", 5, _KEY)
    assert isinstance(again, _core.Repeat)
    assert again.body == first
    assert us.nodes[0].boards == eu.nodes[0].boards
    assert len(us.batches) == 2


def test_a_write_that_both_have_answered_keeps_both_answers(pair: list[Place]) -> None:
    eu, us = pair
    eu.nodes[0].create("a")
    us.pull(eu)
    us.nodes[0].catch_up()
    for place in (eu, us):
        place.nodes[0].submit("a", "ann", 5, _KEY)
    answers = [place.sql("SELECT key, answer FROM answers") for place in (eu, us)]
    us.pull(eu)
    eu.pull(us)
    assert [place.sql("SELECT key, answer FROM answers") for place in (eu, us)] == answers


def test_names_follow_the_journal(pair: list[Place]) -> None:
    eu, us = pair
    (node,) = eu.nodes
    node.create("a")
    node.create("b")
    us.pull(eu)
    node.drop("a")
    node.create("a")
    node.drop("b")
    node.create("c")
    node.drop("c")
    us.pull(eu)
    assert us.sql("SELECT * FROM names") == eu.sql("SELECT * FROM names")
    us.nodes[0].catch_up()
    assert isinstance(us.nodes[0].create("b"), tuple)


def test_batches_of_regions_that_are_asked_themselves_are_pointers(places: list[Place]) -> None:
    eu, us, ap = places
    (one,), (two,) = eu.nodes, us.nodes
    one.create("a")
    us.pull(eu)
    two.catch_up()
    two.submit("a", "ann", 1)
    two.submit("a", "ann", 2)
    first, second = one.engine.origin, two.engine.origin
    served = ap.ask(us, ["eu", "ap"])
    assert served_places(served) == [(first, 1, True), (second, 1, False), (second, 2, False)]
    assert [row.region for row in served.origins] == ["us"]
    assert ap.take(served) == 0, "what it builds on has not come"
    ap.pull(eu, ["us", "ap"])
    assert ap.take(served) == 2
    assert ap.recovered == two.boards
    # And who cannot be asked is served by others.
    assert served_places(ap.journal.serve({}, ["eu"])) == served_places(
        us.journal.serve({}, ["eu"])
    )
    assert [each.origin for each in us.journal.serve({}, []).batches] == [first, second, second]


def test_pointers_are_few(places: list[Place]) -> None:
    eu, us, ap = places
    (one,), (two,) = eu.nodes, us.nodes
    one.create("a")
    for number in range(6):
        one.submit("a", "ann", number)
    us.pull(eu)
    two.catch_up()
    two.submit("a", "bob", 1)
    one.submit("a", "ann", 7)
    us.pull(eu)
    first, second = one.engine.origin, two.engine.origin
    served = ap.ask(us, ["eu", "ap"])
    assert served_places(served) == [(first, 7, True), (second, 1, False), (first, 8, True)]
    assert served_places(us.journal.serve({second: 1}, ["eu"])) == [(first, 8, True)]


def test_what_is_served_is_cut_in_order(pair: list[Place], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rankwire.storage.region_journal._BATCHES", 3)
    eu, us = pair
    (one,) = eu.nodes
    with Node(eu.url, region="eu") as other:
        one.create("a")
        for number in range(4):
            one.submit("a", "ann", number)
        other.catch_up()
        other.submit("a", "bob", 1)
        served = us.ask(eu)
        origin = one.engine.origin
        assert served_places(served) == [(origin, number, False) for number in (1, 2, 3)]
        assert (served.more, served.is_all) == (3, False)
        us.take(served)
        served = us.ask(eu)
        assert served_places(served)[-1] == (other.engine.origin, 1, False)
        assert served.is_all
        us.take(served)
    assert us.batches == eu.batches


def test_what_is_served_is_bounded_in_bytes(
    pair: list[Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rankwire.storage.region_journal._BYTES", 1)
    eu, us = pair
    eu.nodes[0].create("a")
    eu.nodes[0].submit("a", "ann", 1)
    assert len(us.ask(eu).batches) == 1, "one in any case"


def test_a_peer_tells_what_it_lacks(pair: list[Place]) -> None:
    eu, us = pair
    node = us.nodes[0]
    node.create("a")
    served = us.ask(eu)
    assert served.lacks == {node.engine.origin: 0}
    eu.pull(us)
    node.submit("a", "ann", 1)
    assert us.ask(eu).lacks == {node.engine.origin: 1}


def test_a_journal_that_begins_too_late_serves_nothing(pair: list[Place]) -> None:
    """Whatever else it has may build on what is gone."""
    eu, us = pair
    (node,) = eu.nodes
    node.create("a")
    assert node.checkpoint()
    _weeks_go(eu)
    with Node(eu.url, region="eu") as other:
        other.submit("a", "ann", 1)
        served = us.ask(eu)
        assert (served.batches, served.gone) == ([], [node.engine.origin])
        assert not served.is_all
        node.submit("a", "bob", 1)
        assert us.ask(eu).gone == [node.engine.origin], "also where a later one is there"
        # One that has the beginning is served the rest.
        served = eu.journal.serve({node.engine.origin: 1}, ["us"])
        assert served.gone == []
        assert len(served.batches) == 2


def test_what_is_gone_of_a_region_that_is_asked_itself_is_a_pointer(places: list[Place]) -> None:
    eu, us, ap = places
    eu.nodes[0].create("a")
    eu.nodes[0].submit("a", "ann", 1)
    us.pull(eu)
    node = us.nodes[0]
    node.catch_up()
    assert node.checkpoint()
    _weeks_go(us)
    node.submit("a", "bob", 1)
    first, second = eu.nodes[0].engine.origin, node.engine.origin
    eu.nodes[0].storage.close()
    us.pull(eu)
    node.storage.tidy()
    assert us.sql(_LAST, first) == [], "nothing but the checkpoint knows of it"
    served = ap.ask(us, ["eu", "ap"])
    assert (served_places(served), served.gone) == ([(first, 2, True), (second, 1, False)], [])


def test_an_engine_comes_back_from_all_regions_batches(pair: list[Place]) -> None:
    """Checkpoint and journal, with the weeks before the checkpoint gone."""
    eu, us = pair
    (one,), (two,) = eu.nodes, us.nodes
    one.create("a", policy="sum")
    us.pull(eu)
    two.catch_up()
    for number in range(5):
        one.submit("a", f"m{number}", 1)
        two.submit("a", f"m{number}", 2)
    eu.pull(us)
    one.catch_up()
    assert one.checkpoint()
    us.pull(eu)
    _weeks_go(eu)
    two.submit("a", "m1", 10)
    one.submit("a", "m2", 20)
    eu.pull(us)
    us.pull(eu)
    one.catch_up()
    two.catch_up()
    assert eu.recovered == us.recovered == one.boards == two.boards


def test_a_pointer_is_no_batch(pair: list[Place]) -> None:
    _, us = pair
    with pytest.raises(_core.CorruptError):
        us.journal.insert([OriginRow(7, "eu", "", None)], [ForeignBatch(7, 1, b"", b"")])
