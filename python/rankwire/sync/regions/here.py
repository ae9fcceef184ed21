"""What all parts of a node's side of the regions have in common."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from rankwire.settings_regions import Regions as Settings
from rankwire.storage.region_journal import RegionJournal
from rankwire.sync.region import Region
from rankwire.sync.regions.arrivals import Arrivals
from rankwire.sync.regions.state import State
from rankwire.sync.regions.threads import Threads


@dataclass(frozen=True, slots=True)
class Here:
    """A node of this region."""

    settings: Settings
    journal: RegionJournal
    """The region's; blocks."""
    threads: Threads
    """For what blocks, and may wait for slow reads of the journal."""
    urgent: Threads
    """For the region's row: a lease that waits behind reads runs out."""
    region: Region
    """What the node knows of the region's other nodes, and of its own engine."""
    arrivals: Arrivals
    state: State

    async def seen(self, *, is_repeat: bool) -> dict[int, int]:
        """Give the last batch of every origin that an answer may have told of by now.

        The answer to a repeat may tell of what any node of the region has committed and this one
        lacks. Raises StorageError, for a repeat only.
        """
        if is_repeat:
            return await self.threads.run(self.journal.vector)
        return await asyncio.to_thread(self.region.shown)

    @property
    def peers(self) -> frozenset[str]:
        """Names of the other regions."""
        return frozenset(self.settings.peer_urls)
