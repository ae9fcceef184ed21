"""What repairs need of a region's database: turns, and what it holds of members."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from fix_postgres import Database
from fix_postgres_node import Node
from fix_region_journal import Place
from fix_server import until
from rankwire import _core
from rankwire.settings import Storage
from rankwire.storage import StorageError
from rankwire.storage.region_journal import RegionJournal
from rankwire.storage.region_turn import RepairTurn

_WAITS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


def test_one_node_of_a_region_has_the_turn(pair: list[Place]) -> None:
    """The next one is told of what was committed meanwhile."""
    eu, us = pair
    with RegionJournal(Storage(url=eu.url), "eu") as other:
        first, second = eu.journal.repair_turn(), other.repair_turn()
        assert first.take() == {}
        # Another region has turns of its own.
        elsewhere = us.journal.repair_turn()
        elsewhere.take()
        elsewhere.give_back()
        told: list[dict[int, int]] = []
        thread = threading.Thread(target=lambda: told.append(second.take()))
        thread.start()
        until(lambda: eu.sql(_WAITS) == [(1,)], "the wait for the turn")
        eu.nodes[0].create("b")
        assert told == []
        first.give_back()
        thread.join()
        assert told == [eu.nodes[0].engine.vector()]
        second.give_back()


def test_who_waits_too_long_for_a_turn_is_told(pair: list[Place]) -> None:
    eu, _ = pair
    first = eu.journal.repair_turn()
    first.take()
    late = RepairTurn(Storage(url=eu.url, lock_seconds=0.1))
    with pytest.raises(StorageError, match="cannot wait for the repairs of other nodes"):
        late.take()
    first.give_back()
    late.take()
    late.give_back()
    # What was given back before it was taken is not taken any more.
    with pytest.raises(StorageError, match="nobody waits"):
        late.take()


def _held(node: Node, board: int, members: list[str]) -> object:
    node.catch_up()
    return _core.states(node.engine, board, members)


def test_what_is_stored_is_what_nodes_hold(pair: list[Place]) -> None:
    """Of the checkpoint and the journal, with removals, repairs, and boards that begin and end."""
    eu, us = pair
    (node,) = eu.nodes
    members = ["ann", "bob", "cyd", "nobody"]
    for name in ("old", "sum"):
        node.create(name, policy="sum")
        for number, member in enumerate(members[:3]):
            node.submit(name, member, 10 * number)
    node.remove("sum", "bob")
    boards = {name: node.engine.board_id(name) for name in ("old", "sum")}

    def agrees() -> bool:
        return all(
            eu.journal.stored(board, members) == _held(node, board, members)
            for board in boards.values()
        )

    assert agrees(), "of the journal alone"
    assert node.checkpoint()
    assert agrees(), "of the checkpoint alone"
    us.pull(eu)
    us.nodes[0].catch_up()
    us.nodes[0].submit("sum", "cyd", 3)
    eu.pull(us)
    node.catch_up()
    node.submit("sum", "bob", 7)
    node.remove("sum", "ann")
    node.drop("old")
    node.create("old")
    boards["new"] = node.engine.board_id("old")
    node.submit("old", "ann", 1)
    ((generation, code, stamp),) = _core.states(node.engine, boards["sum"], ["cyd"])[1][1]  # type: ignore[index]
    assert code is not None
    fixed = (generation, code - 2, stamp)
    item = ("cyd", (generation, code, stamp), fixed)
    node.commit(node.engine.repair("sum", boards["sum"], [item]))
    assert agrees(), "of both"
    assert eu.journal.stored(boards["old"], members)[1] is None
    # A node's memory is not asked.
    eu.sql("UPDATE members SET code = code - 1 WHERE member = 'cyd'")
    assert not agrees()


def test_a_repair_of_a_sum_ends_with_the_database(postgres: Database, pair: list[Place]) -> None:
    """Another one in its place, made of what the other regions have, never had the damage."""
    eu, us = pair
    eu.nodes[0].create("b", policy="sum")
    eu.nodes[0].submit("b", "ann", 10)
    us.pull(eu)
    us.nodes[0].catch_up()
    assert us.nodes[0].checkpoint()
    us.nodes[0].storage.close()
    us.sql("UPDATE members SET score = score - 5, code = code + 5")
    node = us.start()
    board = node.engine.board_id("b")
    seen = _states(node, board)
    assert seen != _states(eu.nodes[0], board)
    item = ("ann", seen, _states(eu.nodes[0], board))
    node.commit(node.engine.repair("b", board, [item]))
    eu.pull(us)
    eu.nodes[0].catch_up()
    with ExitStack() as stack:
        again = Place("us", postgres, stack, "us_again")
        again.pull(eu, [])
        again.nodes[0].catch_up()
        assert node.boards == eu.nodes[0].boards == again.nodes[0].boards
        assert us.recovered == again.recovered == eu.nodes[0].boards


def _states(node: Node, board: int) -> tuple[int, int | None, int]:
    found = _core.states(node.engine, board, ["ann"])[1]
    assert found is not None
    return found[1][0]
