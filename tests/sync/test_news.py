"""News reach every node, and nothing that comes on their channel ends the listener."""

from __future__ import annotations

from typing import Any

import msgspec
from redis import Redis
from structlog.testing import capture_logs

from fix_nodes import NewNode, Node
from fix_redis import RedisServer
from fix_server import until
from rankwire.sync.names import news_channel
from rankwire.sync.publisher import NEWS_BYTES

_GARBAGE = [
    b"",
    b"\xc1",
    b"{}",
    b"x",
    msgspec.msgpack.encode([1, 2]),
    msgspec.msgpack.encode({}),
    msgspec.msgpack.encode({"k": 1}),
    msgspec.msgpack.encode({1: "k", "k": "x"}),
    msgspec.msgpack.encode({"k": "x"}) + b"\x00",
    b"\x81\xa1k\xa1\xff",
    b"\x82\xa1k\xa1x\xa1y" + b"\x91" * 10_000,
    msgspec.msgpack.encode({"k": "x" * NEWS_BYTES}),
]


def _heard(node: Node) -> list[Any]:
    return [message.get("x") for message in node.news]


def _tell(node: Node, number: int) -> None:
    node.region.tell(msgspec.msgpack.encode({"k": "test", "x": number}))


def test_everyone_hears_the_news_the_teller_too(
    new_node: NewNode, redis_server: RedisServer
) -> None:
    nodes = [new_node(redis_server.url) for _ in range(3)]
    for node in nodes:
        node.start()
        node.wait_redis()
    for number in range(500):
        _tell(nodes[0], number)
    for node in nodes:
        until(lambda node=node: len(node.news) == 500, "the news")  # type: ignore[misc]
        assert _heard(node) == list(range(500))
        assert node.news[7] == {"k": "test", "x": 7}
        assert node.figure("news_heard_total") == 500
    # It counts what was sent together after all of it.
    until(lambda: nodes[0].figure("news_sent_total") == 500, "the figure")


def test_garbage_is_ignored_and_told_once(new_node: NewNode, redis_server: RedisServer) -> None:
    node = new_node(redis_server.url)
    node.start()
    node.wait_redis()
    with capture_logs() as logs, Redis(port=redis_server.port) as client:
        for garbage in _GARBAGE:
            client.publish(news_channel(node.storage.cluster), garbage)
        until(lambda: node.figure("foreign_total") == len(_GARBAGE), "all of it")
    assert len([log for log in logs if "nobody understands" in log["event"]]) == 1
    assert node.news == []
    _tell(node, 1)
    until(lambda: _heard(node) == [1], "the news")
    assert node.region.degraded == []


def test_a_handler_that_fails_ends_nothing(new_node: NewNode, redis_server: RedisServer) -> None:
    node = new_node(redis_server.url)
    node.region.listen(lambda message: [][message["x"]])
    node.start()
    node.wait_redis()
    _tell(node, 1)
    _tell(node, 2)
    until(lambda: _heard(node) == [1, 2], "the news")
    until(lambda: node.figure("foreign_total") == 2, "both failures")


def test_one_handler_that_fails_costs_the_others_nothing(
    new_node: NewNode, redis_server: RedisServer
) -> None:
    node = new_node(redis_server.url)
    later: list[Any] = []
    node.region.listen(lambda message: [][message["x"]])
    node.region.listen(later.append)
    node.start()
    node.wait_redis()
    _tell(node, 1)
    until(lambda: len(later) == 1, "the news")


def test_news_go_on_after_redis_was_away(new_node: NewNode, redis_server: RedisServer) -> None:
    nodes = [new_node(redis_server.url) for _ in range(2)]
    for node in nodes:
        node.start()
        node.wait_redis()
    redis_server.kill()
    until(lambda: all(node.figure("redis_up") == 0 for node in nodes), "Redis that is missed")
    _tell(nodes[0], 1)
    redis_server.start()
    for node in nodes:
        node.wait_redis()
    _tell(nodes[0], 2)
    until(lambda: all(_heard(node) == [2] for node in nodes), "the news")


def test_a_silent_channel_that_hangs_is_left(new_node: NewNode, redis_server: RedisServer) -> None:
    node = new_node(redis_server.url)
    node.start()
    node.wait_redis()
    listener = node.region._listener  # noqa: SLF001  # the others notice sooner
    assert listener is not None
    redis_server.pause()
    until(lambda: not listener.up, "that it hangs")
    redis_server.resume()
    until(lambda: listener.up, "that it is back")


def test_a_silent_channel_that_is_well_is_kept(
    new_node: NewNode, redis_server: RedisServer
) -> None:
    with capture_logs() as logs:
        node = new_node(redis_server.url)
        node.start()
        node.wait_redis()
        pings = "cmdstat_ping"
        until(lambda: pings in redis_server.ask("INFO", "commandstats"), "a question")
        before = redis_server.ask("INFO", "commandstats")[pings]["calls"]
        # It is asked again, so an answer has come to the first time.
        until(
            lambda: redis_server.ask("INFO", "commandstats")[pings]["calls"] > before + 1,
            "more questions",
        )
    assert not [log for log in logs if log["event"] == "redis lost"]
