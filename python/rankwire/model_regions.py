"""What goes over the wire about regions: parameters, operators' requests, and the health of a node.

The rules of `model` hold here too. Answers about regions themselves are the Structs of
`rankwire.sync.regions`, which makes them.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from rankwire.model import Request
from rankwire.sync.regions.report import Progress, Report

REASON_CHARACTERS = 200
"""Longest reason for which a region is taken out."""


class Verify(Request, frozen=True):
    """What to compare with the other regions."""

    boards: (
        Annotated[
            list[str],
            Meta(min_length=1, max_length=1000, description="Which boards; all if absent."),
        ]
        | None
    ) = None
    repair: Annotated[bool, Meta(description="Whether to make equal what differs.")] = False
    source: Annotated[
        str | None,
        Meta(
            description="Region whose amounts count on boards that sum; if absent, what most "
            "regions hold, or the primary."
        ),
    ] = None


class Failover(Request, frozen=True):
    """How to make this region the primary."""

    force: Annotated[
        bool,
        Meta(
            description="Whether to go on without promises of most regions. Only when the old "
            "primary is known to be stopped: it cannot be told."
        ),
    ] = False


class Out(Request, frozen=True):
    """Why this region is taken out."""

    reason: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=REASON_CHARACTERS,
            description="Shown by `GET /health`: a line of printable text.",
        ),
    ]


def is_reason(text: str) -> bool:
    """Tell whether a text may be shown as the reason for which a region is out."""
    return text.isprintable() and bool(text.strip()) and len(text) <= REASON_CHARACTERS


class Verifying(msgspec.Struct, frozen=True):
    """Comparisons with the other regions."""

    progress: Annotated[Progress | None, Meta(description="Of the one under way, if one is.")]
    last: Annotated[Report | None, Meta(description="What the last one found; null before it.")]
    node: Annotated[
        str,
        Meta(
            description="The run of the node that answered: each node tells of the comparisons "
            "that were asked of it, or that it made as the leader."
        ),
    ]


class HealthCheck(msgspec.Struct, frozen=True):
    """One thing that a node's health depends on."""

    status: Annotated[Literal["pass", "warn", "fail"], Meta(description="How it is.")]
    component_type: Annotated[
        Literal["datastore", "component", "system"], Meta(description="What kind of thing.")
    ] = msgspec.field(name="componentType")
    output: (
        Annotated[str, Meta(description="What is not as it should be; absent if all is well.")]
        | UnsetType
    ) = UNSET
    observed_value: (
        Annotated[float | None, Meta(description="What was measured; null when it is not known.")]
        | UnsetType
    ) = msgspec.field(name="observedValue", default=UNSET)
    observed_unit: Annotated[str, Meta(description="Its unit.")] | UnsetType = msgspec.field(
        name="observedUnit", default=UNSET
    )
    component_id: Annotated[str, Meta(description="Which region.")] | UnsetType = msgspec.field(
        name="componentId", default=UNSET
    )


class NodeHealth(msgspec.Struct, frozen=True):
    """The health of a node and of its region, by what is known without asking anybody."""

    status: Annotated[
        Literal["pass", "warn", "fail"],
        Meta(description="The worst of all checks; `fail` takes the node out."),
    ]
    release_id: Annotated[str, Meta(description="Version of the program.")] = msgspec.field(
        name="releaseId"
    )
    service_id: Annotated[str, Meta(description="Name of the region; empty without regions.")] = (
        msgspec.field(name="serviceId")
    )
    checks: Annotated[
        dict[str, list[HealthCheck]],
        Meta(
            description="`storage:commits`, `follower:level`, `operator:out`; with regions "
            "`regions:links`, and `regions:lag` and `regions:drift` for each of the others."
        ),
    ]
