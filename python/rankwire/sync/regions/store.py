"""What the nodes of a region have in common, as repairs need it: their database.

Promises: a turn ends when it is left, whatever happens to who waits for it, or with the node. Each
turn and each look at what is stored uses a connection of its own: repairs are rare.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from rankwire.storage import StorageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from rankwire.storage.region_journal import RegionJournal
    from rankwire.storage.region_stored import States
    from rankwire.sync.regions.threads import Threads


class RegionStore:
    """The database of this node's region."""

    def __init__(self, journal: RegionJournal, threads: Threads) -> None:
        """Use the region's journal, and threads for what blocks."""
        self._journal = journal
        self._threads = threads
        # However many ask, no more than one reads.
        self._reading = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[dict[int, int]]:
        """Wait for the turn to repair, not for long; gives the journal's vector.

        Raises StorageError.
        """
        turn = self._journal.repair_turn()
        try:
            yield await self._threads.run(turn.take)
        finally:
            # At the end of the server the connection goes with it.
            with suppress(StorageError):
                await self._threads.run(turn.give_back)

    async def stored(self, board: int, members: Sequence[str]) -> States:
        """Give what a node that started now would hold of members. Raises StorageError."""
        async with self._reading:
            return await self._threads.run(self._journal.stored, board, members)
