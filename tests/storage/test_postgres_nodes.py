"""Nodes on one PostgreSQL database: they hear of each other, take checkpoints, and come back."""

from __future__ import annotations

import random
import threading
from contextlib import ExitStack
from typing import Any

import pytest

from fix_postgres import Database
from fix_postgres_node import Boards, Node, batch_of
from fix_server import until
from rankwire import _core
from rankwire.storage import StorageError

# The session that has the lock of the checkpoints, and its end.
_LEADS = """
SELECT pg_locks.pid FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND objsubid = 2 AND granted AND datname = %s
"""
_END = f"SELECT pg_terminate_backend(pid) FROM ({_LEADS}) AS leads"
_STANDINGS = "SELECT rank, member, score FROM standings WHERE board = %s ORDER BY rank"


def _recovered(database: Database) -> Boards:
    """What a node that starts now finds."""
    with Node(database.url) as node:
        return node.boards


def _checkpointed(database: Database) -> Boards:
    """What the last checkpoint has. This is the end of the journal."""
    database.sql("TRUNCATE journal, origins")
    return _recovered(database)


class _History:
    """Several nodes that do one random thing after the other."""

    def __init__(self, database: Database, seed: int, stack: ExitStack) -> None:
        self._url = database.url
        self._random = random.Random(seed)
        self._stack = stack
        self.nodes = [self._start() for _ in range(3)]

    def _start(self) -> Node:
        return self._stack.enter_context(Node(self._url))

    def step(self) -> None:
        chance = self._random
        index = chance.randrange(len(self.nodes))
        node = self.nodes[index]
        board = chance.choice("abc")
        match chance.randrange(20):
            case 0:
                node.storage.close()
                self.nodes[index] = self._start()
            case 1:
                node.catch_up()
                node.drop(board)
            case 2 | 3 | 4:
                node.create(board, policy=chance.choice(["best", "last", "sum"]))
            case 5 | 6:
                node.remove(board, f"m{chance.randrange(8)}")
            case 7 | 8:
                node.checkpoint()
            case 9 | 10 | 11:
                node.catch_up()
            case _:
                for _ in range(chance.randrange(1, 5)):
                    member = f"m{chance.randrange(8)}"
                    node.engine.submit(board, member, chance.randrange(-50, 50))
                node.commit()


@pytest.mark.parametrize("seed", range(10))
def test_nodes_agree_whatever_happened(
    postgres: Database, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Also with those that start later, from the checkpoint and the journal after it."""
    monkeypatch.setattr("rankwire.storage.postgres._BATCHES", 3)
    monkeypatch.setattr("rankwire.storage.postgres._BYTES", 500)
    with ExitStack() as stack:
        history = _History(postgres, seed, stack)
        for _ in range(120):
            history.step()
        for node in history.nodes:
            node.catch_up()
        boards = history.nodes[0].boards
        assert [node.boards for node in history.nodes[1:]] == [boards, boards]
        vectors = [dict(node.engine.vector()) for node in history.nodes]
        assert vectors[1:] == vectors[:1] * 2
        assert _recovered(postgres) == boards
        assert any(node.checkpoint() for node in history.nodes)
        assert _recovered(postgres) == boards
        assert _checkpointed(postgres) == boards


def test_a_node_is_told_what_others_build_on_first(
    postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However little it takes at a time."""
    monkeypatch.setattr("rankwire.storage.postgres._BATCHES", 2)
    with Node(postgres.url) as one, Node(postgres.url) as two, Node(postgres.url) as three:
        one.create("a")
        for number in range(5):
            one.submit("a", f"m{number}", number)
        one.create("b")
        two.catch_up()
        two.submit("b", "ann", 1)
        parts = []
        while batches := three.storage.missing(three.engine.vector()):
            assert len(batches) <= 2
            parts.append([(origin, number) for origin, number, _ in batches])
            assert three.engine.apply(batches) == (len(batches), "")
        first, second = one.engine.origin, two.engine.origin
        ordered = [(first, number) for number in range(1, 8)] + [(second, 1)]
        assert [batch for part in parts for batch in part] == ordered
        assert three.boards == two.boards


def test_what_is_missing_comes_in_bounded_pieces(
    postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rankwire.storage.postgres._BYTES", 1000)
    with Node(postgres.url) as one, Node(postgres.url) as two:
        one.create("a")
        for number in range(6):
            for member in range(10):
                one.engine.submit("a", f"m{member}", number)
            one.commit()
        largest = _largest(postgres)
        pieces = 0
        while batches := two.storage.missing(two.engine.vector()):
            assert sum(len(batch) for _, _, batch in batches) < 1000 + largest
            two.engine.apply(batches)
            pieces += 1
        assert pieces > 1
        assert two.boards == one.boards
        # Nobody misses what is its own.
        assert one.storage.missing({}) == []


def _largest(database: Database) -> int:
    """The size of the largest batch."""
    ((size,),) = database.sql("SELECT max(octet_length(batch)) FROM journal")
    return int(size)


def test_one_node_takes_the_checkpoints_and_another_comes_back_from_them(
    postgres: Database,
) -> None:
    with Node(postgres.url) as one, Node(postgres.url) as two:
        one.create("a")
        one.submit("a", "ann", 1)
        assert [node.storage.lead(node.engine) for node in (one, two, one)] == [True, False, True]
        assert one.checkpoint()
        assert postgres.sql("SELECT member, score FROM members") == [("ann", 1.0)]
        two.catch_up()
        two.submit("a", "bob", 2)
        assert not two.checkpoint()
        # What another node wrote is in the checkpoint of this one.
        one.catch_up()
        assert one.checkpoint()
        assert not one.checkpoint()
        boards = one.boards
    assert _checkpointed(postgres) == boards


@pytest.mark.parametrize("how", ["ended", "closed"])
def test_another_node_takes_over_and_knows_what_the_last_checkpoint_lacks(
    postgres: Database, how: str
) -> None:
    with Node(postgres.url) as one, Node(postgres.url) as two:
        one.create("a", policy="sum")
        one.create("gone")
        two.catch_up()
        two.submit("a", "before", 1)
        one.catch_up()
        assert one.checkpoint()
        one.submit("a", "ann", 1)
        one.drop("gone")
        two.catch_up()
        two.submit("a", "bob", 1)
        two.remove("a", "before")
        assert not two.storage.lead(two.engine)
        one.catch_up()
        checkpoint = one.engine.checkpoint()
        assert checkpoint is not None
        if how == "closed":
            one.storage.close()
        else:
            postgres.sql(_END, postgres.name)
        until(lambda: two.storage.lead(two.engine), "the end of the other's session")
        with pytest.raises(StorageError, match="cannot store a checkpoint"):
            one.storage.store(checkpoint)
        with pytest.raises(StorageError, match="another node takes them now"):
            one.storage.store(checkpoint)
        if how == "ended":
            assert not one.storage.lead(one.engine)
        # What comes now is noted by itself.
        two.submit("a", "cem", 1)
        assert two.checkpoint()
        boards = two.boards
    assert _checkpointed(postgres) == boards
    assert [name for _, name, *_ in boards] == ["a"]


def test_who_is_behind_the_last_checkpoint_takes_none(postgres: Database) -> None:
    with Node(postgres.url) as one, Node(postgres.url) as two:
        one.create("a")
        assert one.checkpoint()
        one.storage.close()
        until(lambda: postgres.sql(_LEADS, postgres.name) == [], "the end of the other's session")
        # It does not keep the lock from others.
        assert not two.storage.lead(two.engine)
        with Node(postgres.url) as three:
            assert three.storage.lead(three.engine)
        two.catch_up()
        until(lambda: postgres.sql(_LEADS, postgres.name) == [], "the end of the other's session")
        assert two.storage.lead(two.engine)


def test_a_batch_under_way_when_it_begins_to_lead_is_in_the_checkpoint(postgres: Database) -> None:
    with Node(postgres.url) as node:
        node.create("a")
        assert node.checkpoint()
        postgres.sql(_END, postgres.name)
        with pytest.raises(StorageError):
            node.storage.lead(node.engine)
        node.engine.submit("a", "ann", 1)
        sealed = node.seal()
        led: list[bool] = []
        thread = threading.Thread(target=lambda: led.append(node.storage.lead(node.engine)))
        thread.start()
        noted = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND query LIKE 'CREATE TEMP%%'"
        until(lambda: postgres.sql(noted, postgres.name) == [(1,)], "a node that begins to lead")
        node.storage.append(batch_of(sealed))
        sealed.commit()
        thread.join()
        assert led == [True]
        assert node.checkpoint()
        boards = node.boards
    assert _checkpointed(postgres) == boards
    assert boards[0][2] == 1


def test_a_checkpoint_is_stored_whole_or_not_at_all(postgres: Database) -> None:
    with Node(postgres.url) as node:
        node.create("a")
        assert node.checkpoint()
        node.submit("a", "ann", 1)
        node.drop("a")
        node.create("a")
        node.submit("a", "bob", 1)
        assert node.storage.lead(node.engine)
        checkpoint = node.engine.checkpoint()
        assert checkpoint is not None
        before = [postgres.sql(f"SELECT * FROM {table}") for table in ("boards", "vector")]
        postgres.sql("ALTER TABLE vector ADD CONSTRAINT full_up CHECK (number < 3)")
        with pytest.raises(StorageError, match=r"cannot store a checkpoint: .*full_up"):
            node.storage.store(checkpoint)
        checkpoint.give_back()
        after = [postgres.sql(f"SELECT * FROM {table}") for table in ("boards", "vector")]
        assert before == after
        assert postgres.sql("SELECT * FROM members") == []
        postgres.sql("ALTER TABLE vector DROP CONSTRAINT full_up")
        assert node.checkpoint()
        boards = node.boards
    assert _checkpointed(postgres) == boards


def test_a_checkpoint_outlasts_the_limit_of_a_statement(postgres: Database) -> None:
    with Node(postgres.url, statement_seconds=1.0) as node:
        node.create("a")
        assert node.checkpoint()
        node.submit("a", "ann", 1)
        postgres.sql(
            "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_sleep(1.2); RETURN NEW; END $$"
        )
        postgres.sql(
            "CREATE TRIGGER slow BEFORE INSERT ON members FOR EACH ROW EXECUTE FUNCTION linger()"
        )
        assert node.checkpoint()
    assert postgres.sql("SELECT member FROM members") == [("ann",)]


def test_a_checkpoint_of_many_members_comes_back(postgres: Database) -> None:
    """More than are written and read at a time, new ones and changed ones."""
    count = 20_001
    with Node(postgres.url) as node:
        node.create("a")
        for start in range(0, count, 5000):
            numbers = range(start, min(start + 5000, count))
            node.engine.submit_batch("a", [(f"m{n}", n % 1000, None) for n in numbers])
            node.commit()
        assert node.checkpoint()
        for start in range(0, count, 5000):
            numbers = range(start, min(start + 5000, count))
            node.engine.submit_batch("a", [(f"m{n}", n % 1000 + 7, None) for n in numbers])
            node.commit()
        node.remove("a", "m5")
        assert node.checkpoint()
        boards = node.boards
    assert boards[0][2] == count - 1
    assert _checkpointed(postgres) == boards


@pytest.mark.parametrize("ties", ["first", "last", "member"])
@pytest.mark.parametrize("order", ["desc", "asc"])
def test_standings_are_exact(postgres: Database, order: str, ties: str) -> None:
    integers = [0, 1, -1, 2**53 + 1, -(2**53) - 1, -(2**63), 2**63 - 1, 2**63 - 2]
    floats = [0.0, 1.5, -1.5, 0.1, 1e300, 5e-324, -1.7976931348623157e308]
    with Node(postgres.url) as node:
        for score, values in (("int64", integers), ("float64", floats)):
            node.create(score, score=score, order=order, ties=ties)
            for value in values:
                for name in ("b", "ä", "A"):
                    node.submit(score, f"{name} {value!r}", value)
        assert node.checkpoint()
        for score, values in (("int64", integers), ("float64", floats)):
            names = {"first": "bäA", "last": "Aäb", "member": "Abä"}[ties]
            expected = [
                f"{name} {value!r}"
                for value in sorted(values, reverse=order == "desc")
                for name in names
            ]
            rows: list[tuple[int, str, Any]] = postgres.sql(_STANDINGS, score)
            assert [(rank, member) for rank, member, _ in rows] == [*enumerate(expected, 1)]
            kind = {"int64": int, "float64": float}[score]
            assert all(repr(kind(value)) == member[2:] for _, member, value in rows)
        boards = node.boards
    assert _checkpointed(postgres) == boards


def test_a_removed_member_keeps_its_generation(postgres: Database) -> None:
    with Node(postgres.url) as node:
        node.create("a")
        node.submit("a", "ann", 1)
        node.remove("a", "ann")
        assert node.checkpoint()
    columns = "member, score, code, stamp, generation"
    assert postgres.sql(f"SELECT {columns} FROM members") == [("ann", None, None, None, 1)]
    assert postgres.sql(_STANDINGS, "a") == []


def test_a_dropped_board_stays_dropped(postgres: Database) -> None:
    """For one that writes to it without having heard of it, when everybody else started anew."""
    with Node(postgres.url) as late:
        with Node(postgres.url) as node:
            node.create("a")
            late.catch_up()
            node.submit("a", "ann", 1)
            assert node.checkpoint()
            node.drop("a")
            assert node.checkpoint()
            for table in ("boards", "members", "names"):
                assert postgres.sql(f"SELECT * FROM {table}") == []
        with Node(postgres.url) as fresh:
            late.submit("a", "bob", 1)
            fresh.catch_up()
            late.catch_up()
            with Node(postgres.url) as last:
                assert [node.boards for node in (fresh, late, last)] == [[], [], []]
                assert last.engine.vector() == late.engine.vector() == fresh.engine.vector()


def test_who_takes_no_checkpoints_notes_nothing_for_them(postgres: Database) -> None:
    with Node(postgres.url) as one:
        one.create("a")
        one.submit("a", "ann", 1)
        with Node(postgres.url) as two:
            for node in (one, two):
                node.submit("a", "bob", 1)
                assert node.engine.stats()["dirty_members"] == 0
            assert one.storage.lead(one.engine)
            assert one.engine.stats()["dirty_members"] == 2
            postgres.sql(_END, postgres.name)
            with pytest.raises(StorageError, match="cannot take checkpoints"):
                one.storage.lead(one.engine)
            assert one.engine.stats()["dirty_members"] == 0


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        ("DELETE FROM journal WHERE number = 2", "gap"),
        ("DELETE FROM journal WHERE number = 3", "lacks the last batches"),
        ("UPDATE journal SET batch = '\\x02ff' WHERE number = 3", "journal batch 3"),
        ("UPDATE members SET generation = -1", "generation"),
        ("UPDATE boards SET seed = '\\x00'", "damaged"),
        ("UPDATE boards SET policy = 'worst'", "damaged"),
    ],
)
def test_damage_is_told(postgres: Database, damage: str, match: str) -> None:
    with Node(postgres.url) as node:
        node.create("a")
        assert node.checkpoint()
        node.storage.close()
    with Node(postgres.url) as node:
        node.submit("a", "ann", 1)
        node.submit("a", "ann", 2)
        node.submit("a", "ann", 3)
        postgres.sql("INSERT INTO members SELECT id, 'bob', 1, 1, 1, 0 FROM boards")
    postgres.sql(damage)
    with pytest.raises(_core.CorruptError, match=match):
        Node(postgres.url)
