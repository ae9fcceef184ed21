"""The figures of the source `regions`, rows of the table in `figures`."""

from __future__ import annotations

from typing import Final

from rankwire.ops.analyzer.measures import Figure, gauge, rate

REGION_FIGURES: Final = (
    Figure(
        "regions.lag",
        "s",
        "Time since this region had all that another one had; of the furthest one.",
        gauge("lag"),
    ),
    Figure("regions.unreachable", "regions", "Other regions that do not answer.", gauge("down")),
    Figure(
        "regions.clock_drift",
        "s",
        "Largest difference of another region's clock from this one's.",
        gauge("drift"),
    ),
    Figure(
        "regions.clocks_refused",
        "regions",
        "Other regions from which nothing is taken because of their clocks.",
        gauge("refused"),
    ),
    Figure(
        "regions.lacking_batches",
        "batches",
        "Batches that this region lacks, of the others; of the furthest one.",
        gauge("lacking"),
    ),
    Figure(
        "regions.pulled_per_second",
        "1/s",
        "Batches that this node took from the others; none on a node that does not pull.",
        rate("pulled"),
    ),
    Figure(
        "regions.primary_unknown",
        "0 or 1",
        "1 while no primary takes writes, as far as is known here.",
        gauge("primary_unknown"),
    ),
    Figure(
        "regions.unresolved",
        "members",
        "Members that differed at the last comparison and were not repaired.",
        gauge("unresolved"),
    ),
)
