"""Where boards survive: the journal of every change, and checkpoints of the boards.

`Storage` is what the server needs of a storage; `sqlite` is the embedded one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rankwire import _core


class StorageError(Exception):
    """The storage could not do what was asked. Nothing is half done: it is done or it is not.

    After a failed `Storage.append` only `Storage.holds` can tell which of the two.
    """


class Storage(Protocol):
    """What a storage promises. Each method may block; none is called from the event loop."""

    def recover(self, pending_ops: int, boards: int) -> _core.Engine:
        """Build the engine that every committed batch adds up to.

        Raises StorageError, or CorruptError when what is stored cannot be trusted.
        """
        ...

    def append(self, number: int, batch: bytes) -> None:
        """Add the engine's batch to the journal. Durable on return; StorageError otherwise."""
        ...

    def holds(self, number: int) -> bool:
        """Tell whether the journal has the engine's batch, and prove that it can be written to.

        Raises StorageError while it cannot.
        """
        ...

    def store(self, checkpoint: _core.Checkpoint) -> None:
        """Store a checkpoint, all of it or, with StorageError, nothing of it.

        May run beside `append`, on another thread.
        """
        ...

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        ...
