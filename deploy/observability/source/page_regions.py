"""The dashboard of a region among others."""

from __future__ import annotations

from typing import Final

from panels import Page, Panel, Query, Row, gauge, rate

_ALONE: Final = "Nothing without regions.name."

REGIONS: Final = Page(
    uid="rankwire-regions",
    title="Rankwire / Regions",
    says="Links to other regions, who is primary, and whether all hold the same.",
    rows=(
        Row(
            "Links",
            (
                Panel(
                    title="Answers",
                    says="1 while another region answers.",
                    unit="bool_on_off",
                    empty=_ALONE,
                    queries=(
                        Query(
                            f"min by (region) ({gauge('rankwire_region_link_up')})", "{{region}}"
                        ),
                    ),
                ),
                Panel(
                    title="Behind another region",
                    says="Time since this region had all that the other one had.",
                    unit="s",
                    bound=5,
                    empty=_ALONE,
                    queries=(
                        Query(
                            f"min by (region) ({gauge('rankwire_region_lag_seconds')})",
                            "{{region}}",
                        ),
                    ),
                ),
                Panel(
                    title="Clock",
                    says="How far another region's clock is off; beyond 0.5 s nothing is taken.",
                    unit="s",
                    bound=0.25,
                    empty=_ALONE,
                    queries=(
                        Query(
                            "max by (region) "
                            f"(abs({gauge('rankwire_region_clock_drift_seconds')}))",
                            "{{region}}",
                        ),
                    ),
                ),
                Panel(
                    title="Batches not there yet",
                    says="Lacking here of another region's, and lacking there of ours.",
                    unit="short",
                    empty=_ALONE,
                    queries=(
                        Query(
                            f"max by (region) ({gauge('rankwire_region_lacking_batches')})",
                            "{{region}}, here",
                        ),
                        Query(
                            f"max by (region) ({gauge('rankwire_region_behind_batches')})",
                            "{{region}}, there",
                        ),
                    ),
                ),
                Panel(
                    title="Bytes between regions",
                    says="Taken from others and given to them; this traffic is paid for.",
                    unit="Bps",
                    empty="Counted by the node that pulls or is asked. " + _ALONE,
                    queries=(
                        Query(
                            rate("rankwire_region_pulled_bytes_total", "region"), "from {{region}}"
                        ),
                        Query(
                            rate("rankwire_region_served_bytes_total", "region"), "to {{region}}"
                        ),
                    ),
                ),
                Panel(
                    title="Failed requests",
                    says="Requests to another region that failed.",
                    unit="reqps",
                    empty="Counted by the node that pulls. " + _ALONE,
                    queries=(
                        Query(rate("rankwire_region_link_failures_total", "region"), "{{region}}"),
                    ),
                ),
            ),
        ),
        Row(
            "Primary and agreement",
            (
                Panel(
                    title="A primary is known",
                    says="1 while the primary takes writes, as far as each node knows.",
                    unit="bool_on_off",
                    empty=_ALONE,
                    queries=(Query(gauge("rankwire_region_primary_known")),),
                ),
                Panel(
                    title="This region",
                    says="Whether it is primary, has a node that pulls, and is taken out.",
                    unit="bool_on_off",
                    empty=_ALONE,
                    queries=(
                        Query(f"max({gauge('rankwire_region_primary')})", "primary"),
                        Query(f"max({gauge('rankwire_region_leader')})", "pulls"),
                        Query(f"max({gauge('rankwire_region_out')})", "taken out"),
                    ),
                ),
                Panel(
                    title="Epoch",
                    says="Number of the primary that this region believes in; a failover adds one.",
                    unit="none",
                    empty=_ALONE,
                    queries=(Query(f"max({gauge('rankwire_region_epoch')})", "epoch"),),
                ),
                Panel(
                    title="Differences",
                    says="Members that differed in the last comparison, and what became of them.",
                    unit="short",
                    empty="Nothing before the first comparison. " + _ALONE,
                    queries=(
                        Query(f"max({gauge('rankwire_region_verify_found')})", "found"),
                        Query(f"max({gauge('rankwire_region_verify_resolved')})", "repaired"),
                        Query(f"max({gauge('rankwire_region_verify_failed')})", "not repaired"),
                    ),
                ),
                Panel(
                    title="Since the last comparison",
                    says="Of all boards with all regions.",
                    unit="s",
                    bound=86400,
                    empty="Nothing before the first comparison. " + _ALONE,
                    queries=(
                        Query(
                            f"time() - max({gauge('rankwire_region_verify_timestamp_seconds')})",
                            "since",
                        ),
                    ),
                ),
                Panel(
                    title="Writes that asked for a level",
                    says="By level of durability and outcome.",
                    unit="ops",
                    empty="Nothing while no write asks for one. " + _ALONE,
                    queries=(
                        Query(
                            rate("rankwire_region_writes_total", "level, outcome"),
                            "{{level}} {{outcome}}",
                        ),
                    ),
                ),
            ),
        ),
    ),
)
