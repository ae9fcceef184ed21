"""Metrics of a region among others: where each figure comes from, its name and what it means.

As in `metric_tables`. What is not known is NaN, and a counter that nobody has counted is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from rankwire.ops.findings import Known

# Key of a figure, name of the metric, what it means.
REGION_METRICS: Final = (
    ("epoch", "rankwire_region_epoch", "Number of the primary that this region believes in."),
    ("is_primary", "rankwire_region_primary", "1 while this region is the primary, otherwise 0."),
    (
        "primary_known",
        "rankwire_region_primary_known",
        "1 while the primary takes writes as far as is known here, otherwise 0.",
    ),
    (
        "leads",
        "rankwire_region_leader",
        "1 on the node that pulls from the other regions, otherwise 0.",
    ),
    ("is_out", "rankwire_region_out", "1 while an operator has taken the region out, otherwise 0."),
    (
        "forwarded_total",
        "rankwire_region_forwarded_total",
        "Requests forwarded to the primary region.",
    ),
    (
        "session_waits_total",
        "rankwire_region_session_waits_total",
        "Requests with a session token that had to wait for what the session had seen.",
    ),
    (
        "session_refusals_total",
        "rankwire_region_session_refusals_total",
        "Those of them that waited in vain.",
    ),
    (
        "bounded_waits_total",
        "rankwire_region_bounded_waits_total",
        "Reads with a bound on their age that had to wait.",
    ),
    (
        "bounded_refusals_total",
        "rankwire_region_bounded_refusals_total",
        "Those of them that waited in vain.",
    ),
    (
        "requests_refused_total",
        "rankwire_region_requests_refused_total",
        "Requests of other regions refused because too many waited already.",
    ),
    (
        "keys",
        "rankwire_region_keys_taken_total",
        "API keys added or revoked here because another region's were.",
    ),
    (
        "profiles",
        "rankwire_region_profiles_taken_total",
        "Profiles taken over from other regions, deletions included.",
    ),
    (
        "verify_at",
        "rankwire_region_verify_timestamp_seconds",
        "When all boards were last compared with all regions to the end; NaN before.",
    ),
    (
        "verify_found",
        "rankwire_region_verify_found",
        "Members that differed in the last comparison of all boards.",
    ),
    ("verify_resolved", "rankwire_region_verify_resolved", "Those that were repaired."),
    ("verify_failed", "rankwire_region_verify_failed", "Those that could not be repaired."),
    (
        "verify_unsettled",
        "rankwire_region_verify_unsettled",
        "Members that changed too fast to be compared.",
    ),
    ("verify_bytes", "rankwire_region_verify_bytes", "Bytes that it exchanged."),
)
# The same with a label for the other region.
REGION_LINK_METRICS: Final = (
    ("up", "rankwire_region_link_up", "1 while another region answers, otherwise 0."),
    (
        "silent_seconds",
        "rankwire_region_silent_seconds",
        "Time since another region answered; NaN if it never has.",
    ),
    (
        "lag_seconds",
        "rankwire_region_lag_seconds",
        "Time since this region had all that another one had; NaN if not known.",
    ),
    (
        "drift_seconds",
        "rankwire_region_clock_drift_seconds",
        "How far another region's clock is ahead of this one's, within half a round trip.",
    ),
    (
        "clock_refused",
        "rankwire_region_clock_refused",
        "1 while nothing is taken from another region because of its clock, otherwise 0.",
    ),
    (
        "behind",
        "rankwire_region_behind_batches",
        "Batches that another region lacks of those that this one has.",
    ),
    (
        "lacking",
        "rankwire_region_lacking_batches",
        "Batches that this region lacks of those that another one has.",
    ),
    (
        "pulled_batches_total",
        "rankwire_region_pulled_batches_total",
        "Batches taken from another region by this node.",
    ),
    (
        "pulled_bytes_total",
        "rankwire_region_pulled_bytes_total",
        "Bytes of those batches.",
    ),
    (
        "dropped_answers_total",
        "rankwire_region_dropped_answers_total",
        "Answers of another region that could not be stored whole, as something was missing.",
    ),
    (
        "served_batches_total",
        "rankwire_region_served_batches_total",
        "Batches given to another region by this node.",
    ),
    (
        "served_bytes_total",
        "rankwire_region_served_bytes_total",
        "Bytes of those batches.",
    ),
    (
        "failures_total",
        "rankwire_region_link_failures_total",
        "Requests to another region that failed.",
    ),
)
# With labels for the level that was asked for and what came of it.
REGION_ACKS: Final = (
    "rankwire_region_writes_total",
    "Writes that asked for a level of durability, by level and outcome.",
)

Figures = Callable[[], Mapping[str, "Known"]]


class Regions(Protocol):
    """What tells of the regions; asks nobody for it."""

    def figures(self) -> Mapping[str, Known]:
        """Give figures of this region; None for what is not known."""
        ...

    def link_figures(self) -> Mapping[str, Mapping[str, Known]]:
        """Give figures of each other region, by its name."""
        ...

    def ack_counts(self) -> Mapping[tuple[str, str], int]:
        """Count writes by the level that was asked for and the outcome."""
        ...


class RegionView(msgspec.Struct, frozen=True):
    """All that a node can tell of its region among others."""

    regions: Regions
    parts: Sequence[Figures] = ()
    """Figures of what works beside it: what keeps API keys and profiles the same."""

    def figures(self) -> dict[str, Known]:
        """Give the figures of the region and of the parts."""
        found = dict(self.regions.figures())
        for part in self.parts:
            found |= part()
        return found


def region_metrics(view: RegionView) -> Iterator[Metric]:
    """Make all metrics of a region."""
    figures = view.figures()
    for key, name, text in REGION_METRICS:
        yield _family(name, text, (), {(): figures.get(key)})
    links = view.regions.link_figures()
    values: dict[tuple[str, ...], Known]
    for key, name, text in REGION_LINK_METRICS:
        values = {(region,): link.get(key) for region, link in links.items()}
        yield _family(name, text, ("region",), values)
    writes = CounterMetricFamily(*REGION_ACKS, labels=("level", "outcome"))
    for labels, count in view.regions.ack_counts().items():
        writes.add_metric(labels, count)
    yield writes


def _family(
    name: str, text: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], Known]
) -> Metric:
    is_counter = name.endswith("_total")
    family = (CounterMetricFamily if is_counter else GaugeMetricFamily)(name, text, labels=labels)
    for label, value in values.items():
        if value is not None or not is_counter:
            family.add_metric(label, math.nan if value is None else value)
    return family
