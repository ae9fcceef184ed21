"""Nodes that follow each other, with a real Redis that is killed, emptied and abused."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from fix_nodes import (
    Journal,
    NewNode,
    Node,
    SharedStorage,
    keep_away,
    let_again,
    prove_stream,
    stream_of,
    wait_same,
    write_everywhere,
)
from fix_redis import RedisCluster, RedisSentinel, RedisServer
from fix_server import until
from rankwire import _core
from rankwire.storage import JournalBatch, StorageError
from rankwire.sync.publisher import STREAM_BATCH_BYTES
from rankwire.sync.region import FIGURES
from rankwire.sync.stream import LARGEST_NUMBER
from rankwire.sync.urls import connect


def _wait_read(node: Node, server: RedisServer) -> None:
    """Wait until a node has read the whole stream; its follower may be at the last entries."""
    with connect(server.url) as client:
        found: Any = client.xrevrange(stream_of(node), count=1)
    inside: Any = node.region._reader  # noqa: SLF001  # nobody else knows how far it has read
    until(
        lambda: b"%d-%d" % inside._position == found[0][0] and inside.entries.empty(),  # noqa: SLF001
        "the end of the stream",
    )


@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("with_redis", [True, False])
def test_nodes_that_all_write_come_to_the_same(
    new_node: NewNode, redis_server: RedisServer, number: int, with_redis: bool
) -> None:
    nodes = [new_node(redis_server.url if with_redis else "") for _ in range(number)]
    for node in nodes:
        node.start()
        if with_redis:
            node.wait_redis()
    write_everywhere(nodes, 400, seed=number)
    for node in nodes:
        assert node.figure("bytes_total") > 0
        assert node.figure("unknown_total") == node.figure("foreign_total") == 0
        assert (node.figure("stream_batches_total") > 0) == with_redis
        assert node.region.degraded == []


def test_a_node_that_comes_later_reads_all_there_is(
    new_node: NewNode, redis_server: RedisServer
) -> None:
    nodes = [new_node(redis_server.url)]
    nodes[0].start()
    for seed in range(3):
        write_everywhere(nodes, 100, seed)
        nodes.append(new_node(redis_server.url))
        nodes[-1].start()
    wait_same(*nodes)


def test_what_was_written_while_a_node_recovered_comes_from_the_stream(
    new_node: NewNode, redis_server: RedisServer
) -> None:
    first = new_node(redis_server.url)
    first.start()
    first.wait_redis()
    first.create("b")
    until(lambda: first.figure("published_total") == 1, "the stream")
    late = new_node(redis_server.url)
    first.submit("b", "a", 1)
    until(lambda: first.figure("published_total") == 2, "the stream")
    assert isinstance(late.storage, SharedStorage)
    late.storage.fault = StorageError("kept away")
    late.region.start(late.engine)
    late.wait_score("b", "a", 1)
    assert late.figure("stream_batches_total") == 1
    assert late.figure("level") == 0
    let_again(late)
    assert late.region.wait_level(30)


def test_a_large_batch_is_read_from_the_storage(
    new_node: NewNode, redis_server: RedisServer
) -> None:
    writer, reader = (new_node(redis_server.url) for _ in range(2))
    for node in (writer, reader):
        node.start()
        node.wait_redis()
    writer.create("b")
    # The reader asks once a second anyway, and that is rarely just now.
    for score in range(10):
        large = [(f"{index:064}", float(score), None) for index in range(900)]
        writer.engine.submit_batch("b", large)
        writer.commit()
        reader.wait_score("b", f"{899:064}", score)
    wait_same(writer, reader)
    assert reader.figure("gaps_total") >= 5
    until(lambda: writer.figure("published_total") == 11, "the stream")
    assert writer.figure("pointers_total") == 10
    with connect(redis_server.url) as client:
        entries: Any = client.xrange(stream_of(writer))
    assert sum(b"b" not in fields for _, fields in entries) == 10
    prove_stream(writer, reader)


def test_redis_that_is_killed_and_comes_back_empty_costs_nothing(
    new_node: NewNode, redis_server: RedisServer
) -> None:
    nodes = [new_node(redis_server.url) for _ in range(2)]
    for node in nodes:
        node.start()
        node.wait_redis()
    write_everywhere(nodes, 50, seed=1)
    redis_server.kill()
    write_everywhere(nodes, 50, seed=2)
    for node in nodes:
        until(lambda node=node: node.region.degraded != [], "Redis that is missed")  # type: ignore[misc]
        assert "Redis cannot be used, nodes poll PostgreSQL" in node.region.degraded[0]
        assert node.figure("redis_up") == 0
    redis_server.start()
    write_everywhere(nodes, 50, seed=3)
    for node in nodes:
        node.wait_redis()
        assert node.region.degraded == []
    prove_stream(*nodes)
    write_everywhere(nodes, 50, seed=4)


def test_redis_may_come_after_the_nodes(new_node: NewNode, redis_server: RedisServer) -> None:
    redis_server.kill()
    nodes = [new_node(redis_server.url) for _ in range(2)]
    for node in nodes:
        node.start()
    write_everywhere(nodes, 50, seed=1)
    redis_server.start()
    for node in nodes:
        node.wait_redis()
    prove_stream(*nodes)


def test_redis_that_hangs_is_one_that_is_away(new_node: NewNode, redis_server: RedisServer) -> None:
    nodes = [new_node(redis_server.url) for _ in range(2)]
    for node in nodes:
        node.start()
        node.wait_redis()
    redis_server.pause()
    write_everywhere(nodes, 50, seed=1)
    until(lambda: all(node.figure("redis_up") == 0 for node in nodes), "Redis that is missed")
    redis_server.resume()
    for node in nodes:
        node.wait_redis()
    prove_stream(*nodes)


def test_a_stream_that_is_trimmed_behind_a_slow_node(
    new_node: NewNode, redis_server: RedisServer
) -> None:
    writer = new_node(redis_server.url, stream_batches=100)
    slow = new_node(redis_server.url)
    writer.start()
    writer.create("b")
    for score in range(1000):
        writer.submit("b", "m", score)
    until(lambda: writer.figure("published_total") == 1001, "the stream")
    # Redis drops whole blocks of a hundred.
    assert redis_server.ask("XLEN", stream_of(writer)) <= 300
    slow.start()
    wait_same(writer, slow)
    assert slow.figure("storage_batches_total") >= 700
    slow.wait_redis()
    prove_stream(writer, slow)


def test_a_gap_in_the_stream_is_filled_from_the_storage(
    new_node: NewNode, redis_server: RedisServer
) -> None:
    writer, reader = (new_node(redis_server.url) for _ in range(2))
    for node in (writer, reader):
        node.start()
        node.wait_redis()
    writer.create("b")
    # The reader asks once a second anyway, and that is rarely just now.
    for score in range(20):
        writer.engine.submit("b", "m", score)
        writer.seal().commit()
        writer.submit("b", "n", score)
        reader.wait_score("b", "n", score)
    assert reader.figure("gaps_total") >= 10
    # What followed a gap was not lost.
    assert reader.figure("unknown_total") == 0
    wait_same(writer, reader)


def test_a_storage_that_is_away_is_not_asked_at_each_gap(
    new_node: NewNode, redis_server: RedisServer
) -> None:
    writer, reader = (new_node(redis_server.url) for _ in range(2))
    for node in (writer, reader):
        node.start()
        node.wait_redis()
    writer.create("b")
    wait_same(writer, reader)
    keep_away(reader, StorageError("away"))
    before = reader.figure("gaps_total")
    writer.engine.submit("b", "m", 1)
    writer.seal().commit()
    writer.submit("b", "m", 2)
    until(lambda: writer.figure("published_total") == 2, "the stream")
    _wait_read(reader, redis_server)
    reader.region.stop()
    assert reader.figure("gaps_total") == before
    assert reader.scores("b") == {}


def test_a_node_leaves_its_own_batches_alone(new_node: NewNode, redis_server: RedisServer) -> None:
    node = new_node(redis_server.url)
    node.start()
    node.wait_redis()
    node.create("b")
    for score in range(50):
        node.submit("b", "m", score)
    node.engine.submit_batch("b", [(f"{index:064}", 1.0, None) for index in range(900)])
    node.commit()
    until(lambda: node.figure("published_total") == 52, "the stream")
    _wait_read(node, redis_server)
    node.region.stop()
    assert node.figure("stream_batches_total") == node.figure("gaps_total") == 0


def test_a_board_whose_creation_is_in_no_stream(
    new_node: NewNode, redis_server: RedisServer
) -> None:
    creator, writer, reader = new_node(), new_node(redis_server.url), new_node(redis_server.url)
    for node in (creator, writer, reader):
        node.start()
    writer.wait_redis()
    reader.wait_redis()
    assert isinstance(writer.storage, SharedStorage)
    for number in range(20):
        board = f"b{number}"
        creator.create(board)
        # As the writer's own thread would do it some time.
        lacking = writer.storage.missing(writer.engine.vector())
        assert writer.engine.apply(lacking)[1] == ""
        writer.submit(board, "m", number)
        reader.wait_score(board, "m", number)
    assert reader.figure("gaps_total") >= 10
    wait_same(creator, writer, reader)


def test_a_board_that_is_long_gone_holds_nobody_up(
    new_node: NewNode, redis_server: RedisServer
) -> None:
    writer = new_node(redis_server.url)
    writer.start()
    writer.wait_redis()
    writer.create("gone")
    assert isinstance(writer.storage, SharedStorage)
    journal = writer.storage.journal
    # The journal no more tells of it, and the reader's checkpoint had not to.
    journal.batches.clear()
    storage = SharedStorage(journal)
    storage.recovered_vector = [(writer.engine.origin, 1)]
    reader = new_node(redis_server.url, storage=storage)
    reader.start()
    reader.wait_redis()
    writer.submit("gone", "m", 1)
    writer.create("b")
    until(lambda: reader.boards() == ["b"], "the other board")
    assert reader.engine.vector()[writer.engine.origin] == 3
    assert reader.figure("unknown_total") == 0
    assert reader.region.degraded == []


def test_a_batch_of_another_database_is_left_out(
    new_node: NewNode, redis_server: RedisServer
) -> None:
    writer, reader = (new_node(redis_server.url) for _ in range(2))
    journal = Journal()
    new_node(storage=SharedStorage(journal)).create("b")
    stranger = new_node(storage=SharedStorage(journal))
    for node in (writer, reader):
        node.start()
        node.wait_redis()
    # It is sound, but only its own database knows what it is about.
    stranger.submit("b", "m", 1)
    origin, number, batch = journal.batches[1]
    with capture_logs() as logs, connect(redis_server.url) as client:
        client.xadd(stream_of(reader), {"o": origin, "n": number, "b": batch})
        until(lambda: writer.figure("unknown_total") == 1, "the batch")
        until(lambda: reader.figure("unknown_total") == 1, "the batch")
    assert [log["why"] for log in logs if "does not know" in log["event"]] == ["board"] * 2
    write_everywhere([writer, reader], 50, seed=1)
    assert origin not in reader.engine.vector()


class _BusyStorage(SharedStorage):
    """Others write each time that someone asks."""

    writer: Node

    def missing(self, vector: Mapping[int, int]) -> list[JournalBatch]:
        self.writer.submit("b", "m", time.monotonic_ns() // 1000)
        return super().missing(vector)


def test_a_node_is_level_although_others_go_on_writing(new_node: NewNode) -> None:
    writer = new_node()
    writer.create("b")
    assert isinstance(writer.storage, SharedStorage)
    storage = _BusyStorage(writer.storage.journal)
    storage.writer = writer
    busy = new_node(storage=storage)
    for _ in range(250):
        writer.submit("b", "m", time.monotonic_ns() // 1000)
    busy.region.start(busy.engine)
    assert busy.region.wait_level(10)
    assert busy.engine.vector()[writer.engine.origin] > 250


def test_ids_that_go_back(new_node: NewNode, redis_server: RedisServer) -> None:
    nodes = [new_node(redis_server.url) for _ in range(2)]
    for node in nodes:
        node.start()
        node.wait_redis()
    prove_stream(*nodes)
    stream = stream_of(nodes[0])
    # Someone has put an id into the stream that lies far ahead of all clocks.
    redis_server.ask("XADD", stream, f"{2**62}-7", "a", "b")
    until(lambda: all(node.figure("foreign_total") == 1 for node in nodes), "the foreign entry")
    redis_server.ask("DEL", stream)
    write_everywhere(nodes, 50, seed=1)
    prove_stream(*nodes)


def test_the_work_of_others_in_the_stream_is_left_alone(
    new_node: NewNode, redis_server: RedisServer
) -> None:
    writer, reader = (new_node(redis_server.url) for _ in range(2))
    for node in (writer, reader):
        node.start()
        node.wait_redis()
    stream = stream_of(writer)
    large = "x" * (STREAM_BATCH_BYTES + 1)
    foreign = [
        ["a", "b"],
        ["o", "1"],
        ["o", "1", "n", "1", "b", "x", "c", "y"],
        ["o", "-1", "n", "1", "b", "x"],
        ["o", "1", "n", "", "b", "x"],
        ["o", "1", "n", "0", "b", "x"],
        ["o", "1", "n", "²", "b", "x"],
        ["o", str(LARGEST_NUMBER + 1), "n", "1", "b", "x"],
        ["o", "1", "n", "9" * 5000, "b", "x"],
        ["o", "1", "n", "1", "b", ""],
        ["o", "1", "n", "1", "b", large],
    ]
    with capture_logs() as logs:
        for words in foreign:
            redis_server.ask("XADD", stream, "*", *words)
        until(lambda: reader.figure("foreign_total") == len(foreign), "all of it")
        until(lambda: writer.figure("foreign_total") == len(foreign), "all of it")
    assert len([log for log in logs if "none of ours" in log["event"]]) == 2
    assert reader.figure("unknown_total") == 0
    prove_stream(writer, reader)


def test_batches_that_the_storage_does_not_know_are_left_out(
    new_node: NewNode, redis_server: RedisServer
) -> None:
    writer, reader = (new_node(redis_server.url) for _ in range(2))
    for node in (writer, reader):
        node.start()
        node.wait_redis()
    writer.create("b")
    stream = stream_of(writer)
    # They come together with good ones, on both sides.
    with redis_server.client() as client, client.pipeline() as together:
        for number in (1, 2, 77):
            together.xadd(stream, {"o": 5, "n": number, "b": "damaged"})
        together.xadd(stream, {"o": 6, "n": 9})
        together.execute()
    for score in range(100):
        writer.submit("b", "m", score)
    wait_same(writer, reader)
    until(lambda: reader.figure("unknown_total") == 3, "all of them")
    assert 5 not in reader.engine.vector()
    assert reader.region.degraded == []
    prove_stream(writer, reader)


def test_something_else_where_the_stream_should_be(
    new_node: NewNode, redis_server: RedisServer
) -> None:
    nodes = [new_node(redis_server.url) for _ in range(2)]
    redis_server.ask("SET", stream_of(nodes[0]), "a text")
    for node in nodes:
        node.start()
    write_everywhere(nodes, 50, seed=1)
    for node in nodes:
        until(lambda node=node: "WRONGTYPE" in "".join(node.region.degraded), "a reason")  # type: ignore[misc]
    redis_server.ask("DEL", stream_of(nodes[0]))
    for node in nodes:
        node.wait_redis()
    prove_stream(*nodes)


def test_redis_without_memory(new_node: NewNode, redis_server: RedisServer) -> None:
    nodes = [new_node(redis_server.url) for _ in range(2)]
    for node in nodes:
        node.start()
        node.wait_redis()
    redis_server.ask("CONFIG", "SET", "maxmemory", 1)
    with capture_logs() as logs:
        nodes[0].create("b")
        until(lambda: any("maxmemory" in log.get("reason", "") for log in logs), "a reason")
    assert nodes[0].figure("publish_dropped_total") == 1
    until(lambda: nodes[1].boards() == ["b"], "the storage")
    redis_server.ask("CONFIG", "SET", "maxmemory", 0)
    nodes[0].wait_redis()
    prove_stream(*nodes)


def test_nodes_in_a_cluster(new_node: NewNode, redis_cluster: RedisCluster) -> None:
    nodes = [new_node(redis_cluster.url) for _ in range(2)]
    for node in nodes:
        node.start()
        node.wait_redis()
    write_everywhere(nodes, 100, seed=1)
    prove_stream(*nodes)
    nodes[0].region.tell(b"\x81\xa1k\xa1x")
    until(lambda: all(node.news == [{"k": "x"}] for node in nodes), "news")


def test_a_failover_that_a_sentinel_makes(new_node: NewNode, redis_sentinel: RedisSentinel) -> None:
    nodes = [new_node(redis_sentinel.url) for _ in range(2)]
    for node in nodes:
        node.start()
        node.wait_redis()
    prove_stream(*nodes)
    redis_sentinel.fail_over()
    write_everywhere(nodes, 50, seed=1)
    for node in nodes:
        node.wait_redis()
    prove_stream(*nodes)
    nodes[0].region.tell(b"\x81\xa1k\xa1x")
    until(lambda: all(node.news == [{"k": "x"}] for node in nodes), "news")


def test_the_storage_may_be_away(new_node: NewNode, redis_server: RedisServer) -> None:
    writer, reader = (new_node(redis_server.url) for _ in range(2))
    assert isinstance(reader.storage, SharedStorage)
    reader.storage.fault = StorageError("it is away")
    writer.start()
    reader.region.start(reader.engine)
    until(lambda: reader.region.degraded != [], "a reason")
    assert reader.region.degraded == ["other nodes cannot be followed: it is away"]
    assert not reader.region.wait_level(0.2)
    until(lambda: reader.figure("lag_seconds") > 0.6, "time")
    let_again(reader)
    assert reader.region.wait_level(30)
    until(lambda: reader.figure("lag_seconds") < 0.3, "a level node")
    prove_stream(writer, reader)


@pytest.mark.parametrize("url_is_given", [True, False])
def test_whatever_the_storage_raises_the_node_goes_on(
    new_node: NewNode, redis_server: RedisServer, url_is_given: bool
) -> None:
    nodes = [new_node(redis_server.url if url_is_given else "") for _ in range(2)]
    for node in nodes:
        node.start()
    for fault in (RuntimeError("surprise"), StorageError("away"), OverflowError()):
        keep_away(nodes[1], fault)
        let_again(nodes[1])
    write_everywhere(nodes, 50, seed=1)


def test_a_damaged_journal_is_told_and_not_followed(new_node: NewNode) -> None:
    nodes = [new_node() for _ in range(2)]
    for node in nodes:
        node.start()
    assert isinstance(nodes[0].storage, SharedStorage)
    batches = nodes[0].storage.journal.batches
    nodes[0].create("b")
    wait_same(*nodes)
    for damage, what in (
        ((5, 1, b"damaged"), "the journal cannot be followed"),
        ((5, 2, b"damaged"), "nothing leads to batch 2 of 5"),
    ):
        batches.append(damage)
        until(lambda what=what: what in "".join(nodes[1].region.degraded), "a reason")  # type: ignore[misc]
        batches.remove(damage)
        until(lambda: nodes[1].region.degraded == [], "all well")
    nodes[0].submit("b", "m", 1)
    wait_same(*nodes)


def test_a_batch_that_is_being_committed_is_not_missed(new_node: NewNode) -> None:
    node = new_node()
    node.engine.create_board("b", "int64", "desc", "best", "first")
    sealed = node.seal()
    node.region.start(node.engine)
    # An engine takes nothing in meanwhile, and has nothing to take in.
    level = node.region.wait_level(5)
    sealed.commit()
    assert level
    assert node.boards() == ["b"]
    assert node.region.degraded == []


def test_the_clock_is_the_storage_s(new_node: NewNode) -> None:
    node = new_node()
    assert isinstance(node.storage, SharedStorage)
    journal = node.storage.journal
    node.storage.ahead_ms = 3_600_000
    node.start()
    node.create("b")
    node.submit("b", "m", 1)
    (record,) = _core.records(*journal.batches[-1])
    ahead_ms = record["stamp_ms"] - time.time() * 1000
    assert 3_500_000 < ahead_ms < 3_600_500
    # It is read again and again.
    node.storage.ahead_ms = 2 * 3_600_000

    def is_ahead() -> bool:
        node.submit("b", "m", time.monotonic_ns() // 1000)
        (record,) = _core.records(*journal.batches[-1])
        return bool(record["stamp_ms"] - time.time() * 1000 > 7_000_000)

    until(is_ahead, "the new time")


def test_a_region_without_redis_takes_what_it_is_given(new_node: NewNode) -> None:
    node = new_node()
    assert not node.region.wait_level(0)
    node.region.publish(1, b"x")
    node.start()
    node.region.tell(b"\x81\xa1k\xa1x")
    assert node.region.degraded == []
    assert list(node.region.stats()) == list(FIGURES)
    assert node.news == []


def test_figures_are_the_same_with_redis(new_node: NewNode, redis_server: RedisServer) -> None:
    node = new_node(redis_server.url)
    node.start()
    node.wait_redis()
    assert list(node.region.stats()) == list(FIGURES)
    assert node.figure("level") == 1


def test_a_wrong_password_is_told_without_the_password(
    new_node: NewNode, redis_server: RedisServer
) -> None:
    redis_server.ask("ACL", "SETUSER", "default", "resetpass", ">right")
    with capture_logs() as logs:
        node = new_node(redis_server.url.replace("://", "://:s3cret@"))
        node.start()
        until(lambda: node.region.degraded != [], "a reason")
        node.region.stop()
    assert "password" in node.region.degraded[0]
    assert [log for log in logs if log["event"] == "redis lost"]
    assert "s3cret" not in str(logs) + str(node.region.degraded)


def test_a_wrong_url_is_told_at_once(new_node: NewNode) -> None:
    with pytest.raises(ValueError, match="allowed is redis://"):
        new_node("http://localhost")


@pytest.mark.parametrize("how", ["well", "hanging", "away"])
def test_stop_is_prompt(new_node: NewNode, redis_server: RedisServer, how: str) -> None:
    nodes = [new_node(redis_server.url) for _ in range(2)]
    for node in nodes:
        node.start()
        node.wait_redis()
    if how == "hanging":
        redis_server.pause()
    if how == "away":
        redis_server.kill()
        until(lambda: nodes[0].figure("redis_up") == 0, "Redis that is missed")
    nodes[1].create("b")
    began = time.monotonic()
    for node in nodes:
        node.region.stop()
    # One second each is promised. What waits for a time-out or a lock for longer is far from that.
    assert time.monotonic() - began < 6
    for node in nodes:
        for part in node.region._parts():  # noqa: SLF001  # nothing else knows its threads
            assert part.join(10)
    if how == "well":
        assert nodes[1].figure("published_total") == 1


class _EndlessStorage(_BusyStorage):
    """Others write faster than anyone can read."""

    def missing(self, vector: Mapping[int, int]) -> list[JournalBatch]:
        for _ in range(150):
            self.writer.submit("b", "m", time.monotonic_ns() // 1000)
        return super().missing(vector)


def test_stop_does_not_wait_for_the_end_of_the_journal(new_node: NewNode) -> None:
    writer = new_node()
    writer.create("b")
    assert isinstance(writer.storage, SharedStorage)
    storage = _EndlessStorage(writer.storage.journal)
    storage.writer = writer
    node = new_node(storage=storage)
    node.region.start(node.engine)
    until(lambda: node.figure("storage_batches_total") > 300, "some batches")
    assert not node.region.wait_level(0)
    node.region.stop()
    for part in node.region._parts():  # noqa: SLF001  # nothing else knows its threads
        assert part.join(10)


class _HangingStorage(SharedStorage):
    """It does not answer until it is let go."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(journal)
        self.let_go = threading.Event()

    def missing(self, vector: Mapping[int, int]) -> list[JournalBatch]:
        self.let_go.wait(60)
        return super().missing(vector)


def test_stop_leaves_a_thread_behind_that_the_storage_holds(new_node: NewNode) -> None:
    storage = _HangingStorage(Journal())
    node = new_node(storage=storage)
    node.region.start(node.engine)
    node.region.stop()
    (follower,) = node.region._parts()  # noqa: SLF001  # nothing else knows its threads
    assert not follower.join(0)
    storage.let_go.set()
    assert follower.join(10)
