"""Databases of earlier versions of PostgreSQL's tables open, and mean what they meant."""

from __future__ import annotations

import pytest

from fix_engine import boards_of
from fix_postgres import Database, postgres_tool
from fix_postgres_node import Node
from rankwire import _core
from rankwire.settings import Storage
from rankwire.storage.keys import open_keys
from rankwire.storage.migrate import migrations
from storage import golden_postgres

_KEY = ("caller", "key-1")


@pytest.fixture(params=golden_postgres.FORMATS)
def number(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture
def old(postgres: Database, number: int) -> Database:
    golden_postgres.load(postgres_tool("psql"), postgres.url, number)
    return postgres


def _rows(node: Node) -> dict[str, list[list[object]]]:
    return {
        name: [list(row) for row in board["rows"]] for name, board in boards_of(node.engine).items()
    }


def test_the_dump_is_of_its_format(old: Database, number: int) -> None:
    assert old.sql("SELECT max(number) FROM schema_migrations") == [(number,)]
    tail = "SELECT 1 FROM journal JOIN vector USING (origin) WHERE journal.number > vector.number"
    assert old.sql(tail), "part of it is only in the journal"


def test_its_boards_are_what_they_were(old: Database, number: int) -> None:
    expected = golden_postgres.expected(number)
    with Node(old.url) as node:
        digests = {f"{board:x}": [name, size, digest] for board, name, size, digest in node.boards}
        assert digests == expected["digests"]
        assert _rows(node) == expected["rows"]
    applied = [number for (number,) in old.sql("SELECT number FROM schema_migrations")]
    assert applied == [step.number for step in migrations("postgres")]


def test_what_stands_beside_the_boards_is_there(old: Database) -> None:
    with open_keys(Storage(url=old.url)) as store:
        assert [(key.name, key.revoked_ms) for key in store.all()] == [
            ("game", None),
            ("old", 3000),
        ]
    query = "SELECT member, name, attributes::text, updated_at::text FROM profiles"
    ((member, name, attributes, updated),) = old.sql(query)
    assert (member, name, attributes) == ("ann", "Ann Ä", '{"level":7}')
    assert updated.startswith("2026-01-02 03:04:05.678901")


def test_a_write_that_was_answered_then_is_a_repeat_now(old: Database) -> None:
    with Node(old.url) as node:
        assert isinstance(node.submit("best", "keyed", 5, _KEY), _core.Repeat)


def test_it_can_be_written_to_and_opened_again(old: Database) -> None:
    with Node(old.url) as node:
        node.submit("sum", "bob", 4)
        node.create("new")
        assert node.checkpoint()
        node.storage.tidy()
        before = node.boards
    with Node(old.url) as node:
        assert node.boards == before
        assert "new" in {name for _, name, *_ in before}
