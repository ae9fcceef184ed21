"""The right to write repairs in a region, which one node at a time has: an advisory lock.

Promises: it is held from `take` until `give_back`, for the lock is the session's; a process that is
stopped keeps it, one that has ended does not. What `take` returns was read under the lock, so all
that was written in earlier turns is in it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from rankwire.storage import StorageError
from rankwire.storage.migrate_postgres import LOCK_SPACE
from rankwire.storage.postgres_link import Link

if TYPE_CHECKING:
    from rankwire import settings

# Who waits for longer than `storage.lock_seconds` is told so, and may try again.
_LOCK: Final = "SELECT pg_advisory_lock(%s, hashtext('repairs of ' || id)) FROM cluster"
_VECTOR: Final = "SELECT origin, number FROM reached WHERE number > 0"


class RepairTurn:
    """One turn. Both methods block; each may run on another thread, also at the same time."""

    def __init__(self, kept: settings.Storage) -> None:
        """Do not connect yet."""
        self._link = Link(kept, "region-repair")
        self._lock = threading.Lock()
        self._is_over = False

    def take(self) -> dict[int, int]:
        """Wait until no other node repairs; gives what the journal has. Raises StorageError."""
        with self._lock:
            if self._is_over:
                raise StorageError("nobody waits for this repair any more")
            with self._link.use("wait for the repairs of other nodes") as connection:
                connection.execute(_LOCK, (LOCK_SPACE,))
                # A statement of its own, so that it sees what was committed during the wait.
                return dict(connection.execute(_VECTOR).fetchall())

    def give_back(self) -> None:
        """Let others have a turn; this one is over, also if it is still to be taken."""
        self._is_over = True
        with self._lock:
            self._link.close()
