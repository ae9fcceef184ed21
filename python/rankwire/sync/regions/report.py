"""What a comparison of a region with the others came to, and how far one is.

For answers of the API, for the command line and for metrics: data, and sums of it. Lists are
bounded: a report names at most `MOST_BOARDS` boards of each region and `MOST_SAMPLES` members of
each board, but counts all.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

MOST_BOARDS: Final = 1_000
"""Most boards of one region that a report names."""
MOST_SAMPLES: Final = 10
"""Most members of one board that a report shows."""


class Held(msgspec.Struct, frozen=True):
    """What a region holds of a member."""

    score: Annotated[
        float | int | None, Meta(description="Its score; null if it is not on the board.")
    ]
    at_ms: Annotated[
        int | None,
        Meta(description="When the score was reached, in ms since 1970; null without one."),
    ]
    removals: Annotated[int, Meta(description="How often the member has been removed.")]


class Sample(msgspec.Struct, frozen=True):
    """One member that two regions did not agree on."""

    member: Annotated[str, Meta(description="The member.")]
    here: Annotated[Held, Meta(description="What the region that compared held.")]
    there: Annotated[Held, Meta(description="What the other one held.")]
    outcome: Annotated[
        str, Meta(description="`resolved`, `found` (nothing was to be repaired), or why it failed.")
    ]


class BoardReport(msgspec.Struct, frozen=True):
    """A board on which two regions did not agree, or that could not be settled."""

    board: Annotated[str, Meta(description="Its name.")]
    board_id: Annotated[int, Meta(description="The identity of this life of the board.")]
    found: Annotated[
        int,
        Meta(description="Members that differed, although both regions had taken in the same."),
    ]
    resolved: Annotated[int, Meta(description="Of these, how many are the same now.")]
    failed: Annotated[int, Meta(description="Of these, how many could not be made the same.")]
    unsettled: Annotated[
        int, Meta(description="Members that changed each time that they were looked at.")
    ]
    missing_in: Annotated[
        str | None,
        Meta(
            description="The region that lacks the board or has ended it, found by both having "
            "taken in the same; null if both have it."
        ),
    ] = None
    samples: Annotated[list[Sample], Meta(description="Some of the members that differed.")] = (
        msgspec.field(default_factory=list)
    )


class PeerReport(msgspec.Struct, frozen=True):
    """What comparing with one region came to."""

    region: Annotated[str, Meta(description="The other region.")]
    trouble: Annotated[
        str | None, Meta(description="Why it could not be compared to the end; null if it was.")
    ]
    is_stopped: Annotated[
        bool,
        Meta(
            description="Whether so much seemed to differ that not all of it was looked at: "
            "compare again after the repair."
        ),
    ]
    boards_compared: Annotated[int, Meta(description="Boards that both have.")]
    members_compared: Annotated[
        int, Meta(description="Their members: of each board as many as the larger side has.")
    ]
    found: Annotated[int, Meta(description="Members that differed, and boards that one lacks.")]
    resolved: Annotated[int, Meta(description="Of these, how many are the same now.")]
    failed: Annotated[int, Meta(description="Of these, how many could not be made the same.")]
    unsettled: Annotated[
        int, Meta(description="Members that changed each time that they were looked at.")
    ]
    rounds: Annotated[int, Meta(description="Requests to the other region.")]
    bytes_sent: Annotated[int, Meta(description="Bytes of these, before any compression.")]
    bytes_received: Annotated[int, Meta(description="Bytes of the answers, likewise.")]
    seconds: Annotated[float, Meta(description="How long it took.")]
    boards: Annotated[
        list[BoardReport], Meta(description="The boards on which something was found; some.")
    ] = msgspec.field(default_factory=list)


class Report(msgspec.Struct, frozen=True):
    """What comparing with all other regions came to."""

    region: Annotated[str, Meta(description="The region that compared.")]
    at_ms: Annotated[int, Meta(description="When it began, in milliseconds since 1970.")]
    seconds: Annotated[float, Meta(description="How long it took.")]
    repair: Annotated[bool, Meta(description="Whether what differed was to be made the same.")]
    source: Annotated[
        str, Meta(description="The region whose sums were to count; empty if none was named.")
    ]
    found: Annotated[int, Meta(description="The sum over the regions.")]
    resolved: Annotated[int, Meta(description="The sum over the regions.")]
    failed: Annotated[int, Meta(description="The sum over the regions.")]
    unsettled: Annotated[int, Meta(description="The sum over the regions.")]
    members_compared: Annotated[int, Meta(description="The sum over the regions.")]
    bytes_sent: Annotated[int, Meta(description="The sum over the regions.")]
    bytes_received: Annotated[int, Meta(description="The sum over the regions.")]
    peers: Annotated[list[PeerReport], Meta(description="Each of the other regions.")]

    @classmethod
    def of(
        cls,
        peers: list[PeerReport],
        *,
        region: str,
        at_ms: int,
        seconds: float,
        repair: bool,
        source: str,
    ) -> Report:
        """Sum up."""
        return cls(
            region,
            at_ms,
            seconds,
            repair,
            source,
            found=sum(peer.found for peer in peers),
            resolved=sum(peer.resolved for peer in peers),
            failed=sum(peer.failed for peer in peers),
            unsettled=sum(peer.unsettled for peer in peers),
            members_compared=sum(peer.members_compared for peer in peers),
            bytes_sent=sum(peer.bytes_sent for peer in peers),
            bytes_received=sum(peer.bytes_received for peer in peers),
            peers=peers,
        )

    @property
    def is_whole(self) -> bool:
        """Whether all regions were compared to the end."""
        return all(peer.trouble is None and not peer.is_stopped for peer in self.peers)

    @property
    def is_equal(self) -> bool:
        """Whether all regions were compared to the end and hold the same now."""
        return self.is_whole and self.found == self.resolved and not self.unsettled


class Progress(msgspec.Struct, frozen=True):
    """How far a comparison is."""

    since_ms: Annotated[int, Meta(description="When it began, in milliseconds since 1970.")]
    peer: Annotated[str, Meta(description="The region that is compared now; empty before.")]
    peers_done: Annotated[int, Meta(description="Regions that are done.")]
    peers: Annotated[int, Meta(description="All regions that are compared.")]
    boards_compared: Annotated[int, Meta(description="Boards so far, of this region.")]
    candidates: Annotated[
        int, Meta(description="Members of these that may differ; most often they are just late.")
    ]
    found: Annotated[int, Meta(description="Members that did differ, so far, of this region.")]
