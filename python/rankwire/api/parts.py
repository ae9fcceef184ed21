"""What the API is an API of: the parts of a server, and how they are together."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from rankwire import _core, settings_regions
from rankwire.access import Guard
from rankwire.beside import Beside
from rankwire.departure import Departure
from rankwire.ops.lifecycle import Keeper
from rankwire.ops.metric_regions import RegionView
from rankwire.ops.metrics import Requests
from rankwire.ops.watch import Watch
from rankwire.sync.region import Region
from rankwire.sync.regions.regions import Regions
from rankwire.writer import Writer


class Parts(msgspec.Struct, frozen=True):
    """What the API is an API of."""

    writer: Writer
    beside: Beside
    watch: Watch
    requests: Mapping[str, Requests]
    """What counts the requests of each operation that is served."""
    hub: _core.Hub | None = None
    region: Region | None = None
    """The other nodes, if there may be any."""
    keeper: Keeper | None = None
    """What archives the journal, if anything does."""
    regions: Regions | None = None
    """The other regions, if there may be any."""
    among: RegionView | None = None
    """What metrics see of them."""
    region_settings: settings_regions.Regions = settings_regions.Regions()
    guard: Guard | None = None
    """What keeps the keys fresh, if anything does."""
    departure: Departure = msgspec.field(default_factory=Departure)
    """Whether the node is about to end."""

    @property
    def trouble(self) -> str | None:
        """Why writes cannot be committed, or others' be seen; None when all is well."""
        followed = self.region.trouble if self.region else None
        return self.writer.trouble or followed

    @property
    def degraded(self) -> list[str]:
        """What is not as it should be, for people; empty when all is well."""
        return [*self.degraded_here, *(self.regions.degraded if self.regions else ())]

    @property
    def degraded_here(self) -> list[str]:
        """The part of it that is about this region alone."""
        reasons = list(self.region.degraded) if self.region else []
        if self.keeper is not None and self.keeper.trouble is not None:
            reasons.append(f"the journal is not archived: {self.keeper.trouble}")
        if self.guard is not None:
            reasons += self.guard.troubles
        return reasons
