"""Nodes of a region in this process: each an engine, a storage and its part in the region.

A node commits one batch after the other on the caller's thread; what it hears of the others comes
on the threads of its region. `SharedStorage` keeps the journal that nodes share in memory, so that
a test can take it away, damage it and prove that a batch came another way.
"""

from __future__ import annotations

import json
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Final, Protocol

import pytest

from fix_server import until
from rankwire import _core
from rankwire.settings import Redis
from rankwire.storage import Batch, JournalBatch, StorageError
from rankwire.sync.names import journal_stream
from rankwire.sync.region import Region

_LIMIT: Final = 1_000_000
# Batches that the storage tells of at once. It may not be fewer.
_MOST_MISSING: Final = 100
_POLICIES: Final = ("best", "last", "sum")
_MEMBERS: Final = tuple(f"m{index}" for index in range(7))


class SharedStorage:
    """One node's access to a journal that nodes share."""

    def __init__(self, journal: Journal) -> None:
        """Prepare for `recover`."""
        self.journal = journal
        self.cluster = journal.cluster
        self.fault: Exception | None = None
        """What reads raise; writes work all the time."""
        self.ahead_ms = 0
        """How far its clock is ahead."""
        self.recovered_vector: list[tuple[int, int]] = []
        """What a checkpoint includes that holds nothing else."""
        self._origin = secrets.randbits(63)

    def recover(self, pending_ops: int, boards: int) -> _core.Engine:
        """Build an engine of everything in the journal."""
        recovery = _core.Recovery(self.recovered_vector)
        engine = recovery.finish(self._origin, pending_ops, boards, shared=True)
        if not self.recovered_vector:
            with self.journal.lock:
                assert engine.apply(self.journal.batches)[1] == ""
        return engine

    def append(self, batch: Batch) -> None:
        """Store a batch."""
        with self.journal.lock:
            self.journal.batches.append((self._origin, batch.number, batch.bytes))

    def missing(self, vector: Mapping[int, int]) -> list[JournalBatch]:
        """Give the first batches of others that the vector lacks."""
        if self.fault is not None:
            raise self.fault
        with self.journal.lock:
            others = [row for row in self.journal.batches if row[0] != self._origin]
            lacking = [row for row in others if row[1] > vector.get(row[0], 0)]
        return lacking[:_MOST_MISSING]

    def clock_ms(self) -> int:
        """Return the time."""
        if self.fault is not None:
            raise self.fault
        return time.time_ns() // 1_000_000 + self.ahead_ms


class Journal:
    """The journal that nodes share."""

    def __init__(self) -> None:
        """Begin an empty one, with a name that no other one has in Redis."""
        self.cluster = secrets.token_hex(8)
        self.lock = threading.Lock()
        self.batches: list[JournalBatch] = []


class NodeStorage(Protocol):
    """What a node needs of a storage."""

    @property
    def cluster(self) -> str: ...
    def recover(self, pending_ops: int, boards: int) -> _core.Engine: ...
    def append(self, batch: Batch) -> None: ...
    def missing(self, vector: Mapping[int, int]) -> list[JournalBatch]: ...
    def clock_ms(self) -> int: ...


class Node:
    """A node; `start` lets it take part."""

    def __init__(self, storage: NodeStorage, url: str = "", stream_batches: int = 2000) -> None:
        """Recover it, in the order in which the server does it."""
        self.storage = storage
        self.region = Region(Redis(url, stream_batches), storage)
        self.engine = storage.recover(_LIMIT, _LIMIT)
        self.news: list[dict[str, Any]] = []
        self.region.listen(self.news.append)

    def start(self) -> None:
        """Take part, and wait until it is level."""
        self.region.start(self.engine)
        assert self.region.wait_level(30.0)

    def seal(self) -> _core.Sealed:
        """Make a batch of what is queued and store it. Nobody hears of it yet."""
        sealed = self.engine.seal(0.0)
        assert sealed is not None
        if sealed.bytes:
            created, dropped, answers = sealed.created, sealed.dropped, sealed.answers
            self.storage.append(Batch(sealed.number, sealed.bytes, created, dropped, answers))
        return sealed

    def commit(self) -> list[object]:
        """Commit what is queued as one batch, tell the others and give what writers are told."""
        sealed = self.seal()
        number, batch = sealed.number, sealed.bytes
        replies: list[object] = [value for _, value in sealed.commit()]
        if batch:
            self.region.publish(number, batch)
        return replies

    def create(self, board: str, *, policy: str = "best") -> None:
        """Create a board."""
        self.engine.create_board(board, "int64", "desc", policy, "first")
        (reply,) = self.commit()
        assert not isinstance(reply, _core.RankwireError)

    def submit(self, board: str, member: str, score: float) -> None:
        """Submit one score."""
        self.engine.submit(board, member, score)
        (reply,) = self.commit()
        assert not isinstance(reply, _core.RankwireError)

    def boards(self) -> list[str]:
        """Names of all boards."""
        described = json.loads(self.engine.boards("", _LIMIT))["boards"]
        return [board["board"] for board in described]

    def scores(self, board: str) -> dict[str, float]:
        """Every score of a board; nothing if it is not there."""
        try:
            page, _, _ = self.engine.page(board, 0, _LIMIT)
        except _core.NotFoundError:
            return {}
        return {row["member"]: row["score"] for row in json.loads(page)["entries"]}

    def wait_score(self, board: str, member: str, score: float) -> None:
        """Wait until a score has come from another node."""
        until(lambda: self.scores(board).get(member) == score, f"{member} of {board} at {score}")

    def figure(self, name: str) -> float:
        """One of the region's figures."""
        return self.region.stats()[name]

    def wait_redis(self) -> None:
        """Wait until all of it is connected to Redis."""
        until(lambda: self.figure("redis_up") == 1, "Redis")


def wait_same(*nodes: Node) -> None:
    """Wait until all nodes have the same."""

    def are_same() -> bool:
        contents = [_contents(node) for node in nodes]
        return all(content == contents[0] for content in contents)

    until(are_same, "nodes that have the same")


def _contents(node: Node) -> object:
    """What has to be the same. Versions need not: each node counts what it has published."""
    vector, boards = node.engine.digest()
    return dict(vector), [(board, name, size, rows) for board, name, _, size, rows in boards]


def stream_of(node: Node) -> str:
    """Name the stream that a node reads."""
    return journal_stream(node.storage.cluster)


NewNode = Callable[..., Node]


@pytest.fixture
def new_node() -> Iterator[NewNode]:
    """Make nodes, not started yet, from the arguments of `Node`. Without a storage they share one.

    Each has a `SharedStorage` of its own then.
    """
    journal = Journal()
    nodes: list[Node] = []

    def make(url: str = "", *, storage: NodeStorage | None = None, **more: Any) -> Node:
        node = Node(storage or SharedStorage(journal), url, **more)
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        node.region.stop()


def prove_stream(writer: Node, *readers: Node) -> None:
    """Show that a batch comes through Redis, by keeping the readers from the storage."""
    for reader in readers:
        keep_away(reader, StorageError("kept away"))
    board = f"proof-{secrets.token_hex(4)}"
    writer.create(board)
    writer.submit(board, "m", 1)
    for reader in readers:
        reader.wait_score(board, "m", 1)
        let_again(reader)


def keep_away(node: Node, fault: Exception) -> None:
    """Let the storage fail for a node that reads, and wait until it says so."""
    assert isinstance(node.storage, SharedStorage)
    node.storage.fault = fault
    until(lambda: node.region.degraded != [], "a storage that is missed")


def let_again(node: Node) -> None:
    """End what `keep_away` began, and wait until all is well."""
    assert isinstance(node.storage, SharedStorage)
    node.storage.fault = None
    until(lambda: node.region.degraded == [], "all well")


def _write_anything(rng: random.Random, nodes: Sequence[Node], numbers: count[int]) -> None:
    """Let one of the nodes do one thing, which may be refused by what it knows so far."""
    node = rng.choice(nodes)
    boards = node.boards()
    what = rng.random()
    if what < 0.1 or not boards:
        # The storage keeps names unique. Here each is used once.
        policy = rng.choice(_POLICIES)
        config = ("int64", "desc", policy, "first")
        node.engine.create_board(f"{policy}-{next(numbers)}", *config)
    elif what < 0.13:
        node.engine.drop_board(rng.choice(boards))
    elif what < 0.3:
        node.engine.remove_member(rng.choice(boards), rng.choice(_MEMBERS))
    else:
        for _ in range(rng.randrange(1, 4)):
            node.engine.submit(rng.choice(boards), rng.choice(_MEMBERS), rng.randrange(1000))
    node.commit()


def write_everywhere(nodes: Sequence[Node], writes: int, seed: int) -> None:
    """Let nodes write one after the other, and wait until all have the same."""
    rng = random.Random(seed)
    numbers = count(seed * 1_000_000)
    for policy in _POLICIES:
        nodes[0].create(f"{policy}-{next(numbers)}", policy=policy)
    for _ in range(writes):
        _write_anything(rng, nodes, numbers)
    wait_same(*nodes)
