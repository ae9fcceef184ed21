"""Where boards survive: the journal of every change, and checkpoints of the boards.

`Storage` is what the server needs of a storage. `sqlite` is the embedded one, for one server;
`postgres` serves many nodes, which all write to one journal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

if TYPE_CHECKING:
    from rankwire import _core

Hash = bytes
"""Of 16 bytes."""

Answer = tuple[Hash, Hash, bytes]
"""What is kept of a write with an idempotency key: hash of the key, digest, answer."""

ANSWER_SECONDS: Final = 24 * 3600
"""How long answers are kept at least."""

JournalBatch = tuple[int, int, bytes]
"""Origin, number, bytes."""


class Batch(msgspec.Struct, frozen=True):
    """What one group commit stores: all of it or nothing."""

    number: int
    bytes: bytes
    """For the journal, under that number; empty if no board changes."""
    created: list[tuple[str, int]] = []
    """Names that boards have from now on, and their ids."""
    dropped: list[int] = []
    """Ids of boards that end, whose names are free again before those above are taken."""
    answers: list[Answer] = []
    doubted: list[Hash] = []
    """Hashes of keys whose writes are refused, unless there is an answer to them."""
    is_repair: bool = False
    """Whether it only brings members to what another region has: right whoever is primary."""


class StorageError(Exception):
    """The storage could not do what was asked. Nothing is half done: it is done or it is not.

    After a failed `Storage.append` only `Storage.holds` can tell which of the two.
    """


class RefusedError(Exception):
    """A batch has something that the storage knows already; nothing of it was stored."""

    def __init__(self, known: list[Answer], taken: list[str]) -> None:
        """Give the answers of those keys that are known, and those names that boards have."""
        super().__init__(f"{len(known)} keys are known, {len(taken)} names are taken")
        self.known = known
        self.taken = taken


class FencedError(Exception):
    """Only the primary region may commit such a batch, and this is not it, or not any more.

    Nothing of the batch was stored.
    """

    def __init__(self) -> None:
        """Say so."""
        super().__init__("this region is not the primary")


class Storage(Protocol):
    """What a storage promises. Each method may block; none is called from the event loop."""

    def recover(self, pending_ops: int, boards: int) -> _core.Engine:
        """Build the engine that every committed batch adds up to.

        Raises StorageError, or CorruptError when what is stored cannot be trusted.
        """
        ...

    def append(self, batch: Batch) -> None:
        """Store the engine's batch. Durable on return.

        Raises RefusedError, FencedError where there are regions, or StorageError when it is open
        what became of the batch.
        """
        ...

    def holds(self, number: int) -> bool:
        """Tell whether the journal has the engine's batch, and prove that it can be written to.

        Once this has answered, nothing of an earlier `append` can still happen. Raises StorageError
        while it cannot tell.
        """
        ...

    def lead(self, engine: _core.Engine) -> bool:
        """Tell whether this process takes the checkpoints now.

        When it begins to, the engine has noted all that the last checkpoint lacks.
        """
        ...

    def store(self, checkpoint: _core.Checkpoint) -> None:
        """Store a checkpoint, all of it or, with StorageError, nothing of it.

        May run beside `append`, on another thread.
        """
        ...

    def tidy(self) -> None:
        """Forget what is kept for a time only: answers and journal. Called by who leads."""
        ...

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        ...
