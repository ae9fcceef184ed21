"""Recommendations about other regions: what to wait for, which clock to set, what to repair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from rankwire.ops.analyzer.advice import Context, recommend
from rankwire.ops.findings import Bottleneck, Prediction, Recommendation


def _links(bottleneck: Bottleneck) -> list[Mapping[str, Any]]:
    return cast("list[Mapping[str, Any]]", bottleneck.details.get("links") or [])


def advise_region_lag(context: Context, bottleneck: Bottleneck) -> Iterator[Recommendation]:
    """Tell whether this region will catch up by itself, and when; only the node that pulls can."""
    window = context.windows.get("regions")
    if window is None or bottleneck.cause is not None:
        return
    before, after = (reading.gauges.get("lacking") for reading in (window.before, window.after))
    pulled = window.rate("pulled")
    if before is None or after is None or not pulled:
        return
    gain = (before - after) / window.seconds
    seconds = after / gain if gain > 0 else None
    words = (
        f"It catches up in {seconds:.0f} s."
        if seconds is not None
        else "It does not catch up: as many come as are taken, or more."
    )
    yield recommend(
        bottleneck,
        "FASTER_PULL" if seconds is None else "WAIT",
        f"This region lacks {after:,.0f} batches of another one. {words}",
        resource="region",
        model="what is left over what it gains a second",
        inputs={
            "lacking_batches": after,
            "lacking_batches_before": before,
            "seconds": window.seconds,
            "pulled_per_second": pulled,
        },
        predicted=[]
        if seconds is None
        else [Prediction("regions.lacking_batches", "batches", after, 0.0)],
        verify="rankwire_region_lacking_batches",
        confidence="medium",
        caveats=["takes for granted that as many go on to come as do now"],
    )


def advise_clock(context: Context, bottleneck: Bottleneck) -> Iterator[Recommendation]:
    """Name the clocks that are off, and by how much."""
    del context
    for link in _links(bottleneck):
        drift = link.get("drift")
        if not link.get("refused") or drift is None:
            continue
        way = "ahead of" if drift > 0 else "behind"
        yield recommend(
            bottleneck,
            "SET_CLOCK",
            f"The database's clock in region {link['region']} is {abs(drift):.3f} s {way} this "
            "one's: have both set by a time service, and find out which of them is wrong.",
            resource=f"clock of region {link['region']}",
            model="offset from the middle of a round trip, within half of it (as NTP)",
            inputs={"drift_seconds": drift, "region": link["region"]},
            predicted=[Prediction("regions.clock_drift", "s", abs(drift), 0.0)],
            verify="abs(rankwire_region_clock_drift_seconds)",
            confidence="high",
            apply="chronyc tracking  # on the machines of both databases",
            caveats=["a reading cannot tell which of the two clocks is right"],
        )


def advise_differences(context: Context, bottleneck: Bottleneck) -> Iterator[Recommendation]:
    """Have what differs repaired, and looked into."""
    del context
    yield recommend(
        bottleneck,
        "REPAIR_REGIONS",
        f"{bottleneck.value:,.0f} members differ between regions: compare and repair them.",
        resource="regions",
        model="records that merge: who has all records of a member has the same state of it",
        inputs={"members": bottleneck.value},
        predicted=[Prediction("regions.unresolved", "members", bottleneck.value, 0.0)],
        verify="rankwire_region_verify_found - rankwire_region_verify_resolved",
        confidence="medium",
        apply="rankwire regions repair",
        caveats=["regions whose journals are whole never differ: find out what happened to one"],
    )
