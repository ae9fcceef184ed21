"""What all parts of a node's side of the regions have in common."""

from __future__ import annotations

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
    """For what blocks."""
    region: Region
    """What the node knows of the region's other nodes, and of its own engine."""
    arrivals: Arrivals
    state: State

    @property
    def peers(self) -> frozenset[str]:
        """Names of the other regions."""
        return frozenset(self.settings.peer_urls)
