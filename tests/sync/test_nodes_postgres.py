"""Nodes on a real PostgreSQL, with and without a real Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from fix_nodes import NewNode, Node, wait_same, write_everywhere
from fix_postgres import Database, NewPostgres
from fix_redis import RedisServer
from fix_server import until
from rankwire import settings
from rankwire.storage.postgres import PostgresStorage

NewStorage = Callable[[str], PostgresStorage]


@pytest.fixture
def new_storage() -> Iterator[NewStorage]:
    """Make storages and close them. Asked for before `new_node`, whose nodes then end first."""
    storages: list[PostgresStorage] = []

    def make(url: str) -> PostgresStorage:
        storage = PostgresStorage(settings.Storage(url=url, statement_seconds=2.0))
        storages.append(storage)
        return storage

    yield make
    for storage in storages:
        storage.close()


@pytest.mark.parametrize("with_redis", [True, False])
def test_nodes_that_all_write_come_to_the_same(
    new_storage: NewStorage,
    new_node: NewNode,
    postgres: Database,
    redis_server: RedisServer,
    with_redis: bool,
) -> None:
    def make() -> Node:
        url = redis_server.url if with_redis else ""
        node = new_node(url, storage=new_storage(postgres.url))
        node.start()
        return node

    nodes = [make() for _ in range(3)]
    write_everywhere(nodes, 200, seed=1)
    if with_redis:
        redis_server.kill()
        write_everywhere(nodes, 50, seed=2)
        redis_server.start()
        for node in nodes:
            node.wait_redis()
    nodes.append(make())
    write_everywhere(nodes, 100, seed=3)
    for node in nodes:
        assert node.region.degraded == []
        assert node.figure("unknown_total") == node.figure("foreign_total") == 0
        assert (node.figure("stream_batches_total") > 0) == with_redis


def test_postgres_that_is_killed_is_followed_again(
    new_storage: NewStorage,
    new_node: NewNode,
    new_postgres: NewPostgres,
    redis_server: RedisServer,
) -> None:
    server = new_postgres().start()
    nodes = [new_node(redis_server.url, storage=new_storage(server.url)) for _ in range(2)]
    for node in nodes:
        node.start()
    write_everywhere(nodes, 50, seed=1)
    server.kill()
    for node in nodes:
        until(lambda node=node: node.region.degraded != [], "PostgreSQL that is missed")  # type: ignore[misc]
    server.start()
    for node in nodes:
        until(lambda node=node: node.region.degraded == [], "all well")  # type: ignore[misc]
        # What the server's committer does after a failure.
        node.storage.holds(1)  # type: ignore[attr-defined]
    write_everywhere(nodes, 50, seed=2)


def test_a_batch_that_is_being_committed_is_not_missed(
    new_storage: NewStorage, new_node: NewNode, postgres: Database
) -> None:
    node, other = (new_node(storage=new_storage(postgres.url)) for _ in range(2))
    node.engine.create_board("b", "int64", "desc", "best", "first")
    sealed = node.seal()
    node.region.start(node.engine)
    # An engine takes nothing in meanwhile, and has nothing to take in.
    level = node.region.wait_level(5)
    sealed.commit()
    assert level
    other.start()
    wait_same(node, other)
    assert other.boards() == ["b"]
