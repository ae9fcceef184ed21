"""What regions tell each other of their journals, and what a region knows of itself: data only."""

from __future__ import annotations

import msgspec

Answers = list[tuple[bytes, bytes, bytes]]
"""What is kept of the keyed writes in a batch: hash of the key, digest of the request, answer."""


class OriginRow(msgspec.Struct, frozen=True):
    """A run of a node, of any region."""

    origin: int
    region: str
    """Where it runs or ran."""
    node: str
    """For people: the host and the process."""
    last: int | None
    """The number of its last batch; None while there may be more, or as far as is known."""


class ForeignBatch(msgspec.Struct, frozen=True, array_like=True):
    """A batch on its way from one region's journal into another's, or the place of one."""

    origin: int
    number: int
    batch: bytes
    """Empty: only a pointer. What follows may build on batches of that origin up to the number."""
    answers: bytes
    """MessagePack of `Answers`; empty if it has none."""


class Served(msgspec.Struct, frozen=True):
    """What a journal has beyond what another one has, as of one moment."""

    cluster: str
    """Which database this is."""
    epoch: int
    primary: str
    clock_ms: float
    """The database's time, in milliseconds since 1970."""
    batches: list[ForeignBatch]
    """In causal order, a bounded number of them; pointers for the regions that were left out."""
    origins: list[OriginRow]
    """The runs that batches come from, and those that were asked about and have ended."""
    lacks: dict[int, int]
    """Where this journal has less than the other: what it has."""
    gone: list[int]
    """Runs whose next batch is no longer in this journal. While there are any, no batch is served:
    the others may build on what is gone."""
    more: int
    """How many batches were wanted beyond these, pointers aside."""

    @property
    def is_all(self) -> bool:
        """Whether these are all that the journal had."""
        return not (self.more or self.gone)


class LinkRow(msgspec.Struct, frozen=True):
    """What a region knows of its link to a peer. Times are its own database's, since 1970."""

    region: str
    level_ms: int | None = None
    """When this region last had all that the peer had."""
    contact_ms: int | None = None
    """When the peer last answered."""
    drift_ms: float | None = None
    """How far the peer's clock is ahead."""
    behind: int | None = None
    """Batches of this region that the peer did not have then."""
    lacking: int | None = None
    """Batches of the peer that this region did not have then."""
    trouble: str | None = None
    """A sentence for people; None when all is well."""
    epoch: int | None = None
    """The epoch that the peer last answered with."""


class RegionState(msgspec.Struct, frozen=True):
    """What a region's database says of the region."""

    region: str
    epoch: int
    """0 while there has been no primary."""
    primary: str
    """Empty while there has been none."""
    is_open: bool
    """Whether this region acts as the primary of this epoch, as long as the lease lasts."""
    lease_until_ms: float
    """In the database's time, milliseconds since 1970; may be infinite, and minus infinity."""
    out_reason: str | None
    """Why an operator has taken the region out; None if nobody has."""
    stable: dict[int, int]
    """What all regions are known to have."""
    links: list[LinkRow]
    clock_ms: float
    """The database's time now."""
    was_level: bool = False
    """Whether this database has ever had all that each other region had."""

    @property
    def ballot(self) -> tuple[int, str]:
        """What is compared to find the newer one of two primaries."""
        return self.epoch, self.primary

    @property
    def is_opened(self) -> bool:
        """Whether this region was opened as the primary; a lease is apart."""
        return self.is_open and self.primary == self.region

    @property
    def is_primary(self) -> bool:
        """Whether this region may do now what only the primary may."""
        return self.is_opened and self.lease_until_ms > self.clock_ms
