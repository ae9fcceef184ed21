"""A node on PostgreSQL without its server: a storage, an engine, and one thing after the other.

Each write is a batch of its own unless the test asks for more; a node hears of others and takes
checkpoints when the test says so.
"""

from __future__ import annotations

from typing import Any, Final, Self

from rankwire import _core, settings
from rankwire.storage import Batch, RefusedError
from rankwire.storage.postgres import Fenced, PostgresStorage

LIMIT: Final = 1_000_000
Boards = list[tuple[int, str, int, str]]


def batch_of(sealed: _core.Sealed) -> Batch:
    """What is to be stored of a sealed batch."""
    return Batch(
        sealed.number,
        sealed.bytes,
        sealed.created,
        sealed.dropped,
        sealed.answers,
        sealed.doubted,
        sealed.is_repair,
    )


class Node:
    """A storage and the engine that was recovered from it."""

    def __init__(
        self, url: str, *, region: str = "", fenced: Fenced | None = None, **kept: Any
    ) -> None:
        """Connect and recover; `kept` are settings of the storage."""
        kept_there = settings.Storage(url=url, **kept)
        self.storage = PostgresStorage(kept_there, region=region, fenced=fenced)
        try:
            self.engine = self.storage.recover(LIMIT, LIMIT)
        except BaseException:
            self.storage.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.storage.close()

    def seal(self) -> _core.Sealed:
        """Seal what is queued."""
        sealed = self.engine.seal(0.0)
        assert sealed is not None
        return sealed

    def commit(self, *tickets: int) -> list[Any]:
        """Commit what is queued as the server does, and give the replies of these tickets."""
        sealed = self.seal()
        while True:
            try:
                self.storage.append(batch_of(sealed))
                break
            except RefusedError as refused:
                sealed.again(refused.known, refused.taken)
        replies = dict(sealed.commit())
        return [replies[ticket] for ticket in tickets]

    def create(
        self,
        board: str,
        *,
        score: str = "int64",
        order: str = "desc",
        policy: str = "best",
        ties: str = "first",
        key: tuple[str, str] | None = None,
    ) -> Any:
        """Create a board and give the reply."""
        ticket = self.engine.create_board(board, score, order, policy, ties, False, key)
        return self.commit(ticket)[0]

    def submit(
        self, board: str, member: str, score: float, key: tuple[str, str] | None = None
    ) -> Any:
        """Submit one score and give the reply."""
        return self.commit(self.engine.submit(board, member, score, None, key))[0]

    def remove(self, board: str, member: str) -> Any:
        """Remove a member and give the reply."""
        return self.commit(self.engine.remove_member(board, member))[0]

    def drop(self, board: str) -> Any:
        """Drop a board and give the reply."""
        return self.commit(self.engine.drop_board(board))[0]

    def catch_up(self) -> None:
        """Apply all that other nodes have committed."""
        while batches := self.storage.missing(self.engine.vector()):
            assert self.engine.apply(batches, trust=True) == (len(batches), "")

    def checkpoint(self) -> bool:
        """Store a checkpoint if this node may and there is anything to store."""
        if not self.storage.lead(self.engine):
            return False
        checkpoint = self.engine.checkpoint()
        if checkpoint is not None:
            self.storage.store(checkpoint)
        return checkpoint is not None

    @property
    def boards(self) -> Boards:
        """Every board's id, name, size and digest. The version is each node's own."""
        return [
            (board, name, size, digest) for board, name, _, size, digest in self.engine.digest()[1]
        ]
