"""What is told of regions: data only, as it stands in answers of the API. None is "not known"."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class LinkStatus(msgspec.Struct, frozen=True):
    """What is known of another region."""

    region: Annotated[str, Meta(description="Its name.")]
    url: Annotated[str, Meta(description="Where it is asked.")]
    up: Annotated[bool, Meta(description="Whether it answered within the last 3 s.")]
    lag_ms: Annotated[float | None, Meta(description="Time since this region had all that it had.")]
    drift_ms: Annotated[float | None, Meta(description="How far its clock is ahead of ours.")]
    behind: Annotated[
        int | None, Meta(description="Batches that this region had and it did not, last time.")
    ]
    lacking: Annotated[
        int | None, Meta(description="Batches that it had and this region did not, last time.")
    ]
    epoch: Annotated[int | None, Meta(description="Epoch of the primary that it knows.")]
    trouble: Annotated[str | None, Meta(description="What is wrong; null when all is well.")]


class RegionsStatus(msgspec.Struct, frozen=True):
    """A region among others, as this node knows it."""

    region: Annotated[str, Meta(description="Name of this region.")]
    mode: Annotated[str, Meta(description="`active-active` or `primary`.")]
    epoch: Annotated[
        int | None, Meta(description="Number of the primary, which only grows; null: unknown.")
    ]
    primary: Annotated[str | None, Meta(description="The primary region; null while unknown.")]
    is_primary: Annotated[bool, Meta(description="Whether this region is primary and may act.")]
    is_open: Annotated[
        bool, Meta(description="Whether this region was opened as primary; a lease is apart.")
    ]
    may_write: Annotated[bool, Meta(description="Whether scores are committed in this region.")]
    may_name: Annotated[
        bool, Meta(description="Whether boards are created and deleted in this region.")
    ]
    lease_ms: Annotated[
        float | None,
        Meta(description="What is left of the lease; null without one, or without a limit."),
    ]
    leads: Annotated[bool, Meta(description="Whether it is this node that pulls.")]
    out_reason: Annotated[
        str | None, Meta(description="Why an operator has taken the region out; null if not.")
    ]
    clock_ms: Annotated[
        float | None, Meta(description="Time of the region's database, in ms since 1970.")
    ]
    links: Annotated[list[LinkStatus], Meta(description="The other regions.")]
    degraded: Annotated[list[str], Meta(description="What is not as it should be.")]


class PrimaryStatus(msgspec.Struct, frozen=True):
    """Where an update was committed."""

    region: Annotated[str, Meta(description="The region that committed it.")]
    status: Annotated[Literal["committed"], Meta(description="It is durable there.")]
    position: Annotated[
        str | None,
        Meta(
            description="Its place or a later one: origin, a colon, number; null for a write that "
            "was repeated or changed nothing, as that is not known."
        ),
    ]


class RegionSync(msgspec.Struct, frozen=True):
    """What became of an update in another region."""

    region: Annotated[str, Meta(description="Its name.")]
    status: Annotated[
        Literal["acknowledged", "pending", "error"],
        Meta(description="`acknowledged`: durable there. `pending`: not known to be."),
    ]
    after_ms: Annotated[
        float | None, Meta(description="When that was known, after the commit; null if not.")
    ]
    error: Annotated[str | None, Meta(description="Why it could not be asked.")]


class Consistency(msgspec.Struct, frozen=True):
    """How far an update has come."""

    fraction: Annotated[float, Meta(description="Share of all regions in which it is durable.")]
    worst_lag_ms: Annotated[
        float | None,
        Meta(description="Longest time that a region needed, or has been waited for; or null."),
    ]


class SyncResult(msgspec.Struct, frozen=True):
    """What `level` asked for and what was reached."""

    requested: Annotated[str, Meta(description="`local`, `any(K)`, `quorum` or `all`.")]
    achieved: Annotated[str, Meta(description="The same, of what is acknowledged.")]
    primary: PrimaryStatus
    regions: list[RegionSync]
    consistency: Consistency
    is_reached: Annotated[bool, Meta(description="Whether the level was reached in time.")]


class Step(msgspec.Struct, frozen=True):
    """A step of a failover."""

    what: Annotated[str, Meta(description="What was done, for people.")]
    after_ms: Annotated[float, Meta(description="When it was done, after the beginning.")]


class FailoverReport(msgspec.Struct, frozen=True):
    """How a region became the primary."""

    region: Annotated[str, Meta(description="The region that is primary now.")]
    before: Annotated[str, Meta(description="The one before; empty if there was none.")]
    epoch: Annotated[int, Meta(description="The new epoch.")]
    steps: list[Step]
    lost: Annotated[
        int,
        Meta(
            description="Batches that other regions have shown and this one did not have when it "
            "was opened by force; they come later. 0 otherwise."
        ),
    ]
