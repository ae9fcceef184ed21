"""The publisher's queue has an end, and nobody waits for it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from fix_redis import NewRedis, RedisServer
from fix_server import until
from rankwire.sync.names import journal_stream, news_channel
from rankwire.sync.publisher import NEWS_BYTES, STREAM_BATCH_BYTES, Publisher
from rankwire.sync.urls import connect, parse

_ORIGIN = 4711


@pytest.fixture
def publisher(redis_server: RedisServer) -> Iterator[Publisher]:
    publisher = Publisher(parse(redis_server.url), secrets.token_hex(8), 100_000)
    publisher.origin = _ORIGIN
    yield publisher
    publisher.stop()
    assert publisher.join(10)


def _stream(server: RedisServer, publisher: Publisher) -> list[dict[bytes, bytes]]:
    with connect(server.url) as client:
        found: Any = client.xrange(publisher._stream)  # noqa: SLF001
        return [fields for _, fields in found]


def test_what_is_offered_arrives_in_order(publisher: Publisher, redis_server: RedisServer) -> None:
    publisher.start()
    batches = {number: secrets.token_bytes(number) for number in range(1, 1001)}
    for number, batch in batches.items():
        publisher.offer(number, batch)
        until(lambda number=number: publisher.published > number - 500, "the stream")  # type: ignore[misc]
    until(lambda: publisher.published == 1000, "the stream")
    fields = _stream(redis_server, publisher)
    assert fields == [
        {b"o": b"%d" % _ORIGIN, b"n": b"%d" % number, b"b": batch}
        for number, batch in batches.items()
    ]
    assert publisher.dropped == publisher.pointers == 0


def test_the_largest_batch_and_one_that_is_larger(
    publisher: Publisher, redis_server: RedisServer
) -> None:
    publisher.start()
    publisher.offer(1, b"x" * STREAM_BATCH_BYTES)
    publisher.offer(2, b"x" * (STREAM_BATCH_BYTES + 1))
    until(lambda: publisher.published == 2, "the stream")
    assert [len(fields.get(b"b", b"")) for fields in _stream(redis_server, publisher)] == [
        STREAM_BATCH_BYTES,
        0,
    ]
    assert publisher.pointers == 1


def test_too_many_batches_are_dropped(publisher: Publisher, redis_server: RedisServer) -> None:
    for number in range(1, 1101):
        publisher.offer(number, b"x")
    assert publisher.dropped == 1100 - 1024
    publisher.start()
    until(lambda: publisher.published == 1024, "the stream")
    assert [fields[b"n"] for fields in _stream(redis_server, publisher)][-1] == b"1024"
    # There is room again.
    publisher.offer(1101, b"x")
    until(lambda: publisher.published == 1025, "the stream")
    assert publisher.dropped == 1100 - 1024


def test_batches_of_too_many_bytes_are_dropped(
    publisher: Publisher, redis_server: RedisServer
) -> None:
    most = 8 * 1024**2 // STREAM_BATCH_BYTES
    for _ in range(2):
        before = publisher.published
        for number in range(most + 5):
            publisher.offer(number, b"x" * STREAM_BATCH_BYTES)
        # Pointers have no bytes.
        publisher.offer(most + 5, b"x" * (STREAM_BATCH_BYTES + 1))
        if not publisher.up:
            assert publisher.dropped == 5
            publisher.start()
        until(
            lambda before=before: (  # type: ignore[misc]
                publisher.published + publisher.dropped - before >= most + 6
            ),
            "the stream",
        )
    # There was room again for all the second time.
    assert len(_stream(redis_server, publisher)) == publisher.published >= 2 * most


def test_without_redis_everything_is_dropped(new_redis: NewRedis) -> None:
    server = new_redis()
    publisher = Publisher(parse(server.url), secrets.token_hex(8), 100)
    publisher.offer(1, b"waits for the first attempt")
    publisher.tell(b"waits as well")
    publisher.start()
    until(lambda: publisher.trouble is not None, "an attempt")
    until(lambda: (publisher.dropped, publisher.news_dropped) == (1, 1), "the end of what waited")
    publisher.offer(2, b"x")
    publisher.tell(b"x")
    assert (publisher.dropped, publisher.news_dropped) == (2, 2)
    server.start()
    until(lambda: publisher.up, "Redis")
    publisher.offer(3, b"y")
    until(lambda: publisher.published == 1, "the stream")
    assert [fields[b"n"] for fields in _stream(server, publisher)] == [b"3"]
    publisher.stop()
    assert publisher.join(10)


def test_what_hung_on_its_way_is_counted_as_dropped(
    publisher: Publisher, redis_server: RedisServer
) -> None:
    publisher.start()
    until(lambda: publisher.up, "Redis")
    redis_server.pause()
    publisher.offer(1, b"x")
    publisher.offer(2, b"x")
    until(lambda: publisher.dropped == 2, "a time-out")
    assert not publisher.up
    redis_server.resume()
    until(lambda: publisher.up, "Redis")
    assert publisher.trouble is None


def test_idle_publishers_see_redis_go(publisher: Publisher, redis_server: RedisServer) -> None:
    publisher.start()
    until(lambda: publisher.up, "Redis")
    redis_server.kill()
    until(lambda: not publisher.up, "that it is gone")


def test_news_have_bounds(publisher: Publisher, redis_server: RedisServer) -> None:
    publisher.tell(b"x" * (NEWS_BYTES + 1))
    assert publisher.news_dropped == 1
    for _ in range(1100):
        publisher.tell(b"x")
    assert publisher.news_dropped == 1 + 1100 - 1024
    publisher.start()
    until(lambda: publisher.news_sent == 1024, "the news")
    redis_server.pause()
    publisher.tell(b"x")
    until(lambda: publisher.news_dropped == 2 + 1100 - 1024, "a time-out")
    redis_server.resume()


def test_news_of_too_many_bytes_are_dropped(publisher: Publisher) -> None:
    for _ in range(20):
        publisher.tell(b"x" * NEWS_BYTES)
    assert publisher.news_dropped == 4
    publisher.start()
    until(lambda: publisher.news_sent == 16, "the news")
    # There is room again.
    publisher.tell(b"x" * NEWS_BYTES)
    until(lambda: publisher.news_sent == 17, "the news")


def test_what_is_queued_goes_out_before_the_end(
    publisher: Publisher, redis_server: RedisServer
) -> None:
    with connect(redis_server.url) as client, client.pubsub() as pubsub:
        cluster = publisher._stream[len("rankwire:{") : -len("}:journal")]  # noqa: SLF001
        pubsub.subscribe(news_channel(cluster))
        assert pubsub.get_message(timeout=10)["type"] == "subscribe"
        for number in range(1, 601):
            publisher.offer(number, b"x")
            publisher.tell(b"x")
        publisher.start()
        publisher.stop()
        assert publisher.join(10)
        assert pubsub.get_message(timeout=10)["data"] == b"x"
    assert len(_stream(redis_server, publisher)) == publisher.published == 600
    assert publisher.news_sent == 600
    assert publisher._stream == journal_stream(cluster)  # noqa: SLF001
