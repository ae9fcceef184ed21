"""The dashboard of what is paid for: caches, room that is left, and nodes.

The price of a node comes from the price table when the dashboard is made, and may be changed by who
looks at it.
"""

from __future__ import annotations

from typing import Final

from panels import OF, Page, Panel, Query, Row, Variable, gauge, rate
from rankwire.ops.prices import Catalogue

_SKU: Final = "ec2:c7g.large"
_CATALOGUE: Final = Catalogue.load()
_PRICE: Final = _CATALOGUE.price(_SKU)
_ASKED: Final = "Nothing while nothing is asked for."
_SHARED: Final = 'cache_type="profile_redis"'
_LOOKED: Final = 'cache_type="profile_local"'

COST: Final = Page(
    uid="rankwire-cost",
    title="Rankwire / Cost, caching and capacity",
    says="What caches bring, how much room is left, and what the nodes cost.",
    variables=(
        Variable(
            "node_hourly",
            "Dollars a node and hour",
            f"{_PRICE.amount}",
            f"Put the price of your machine here. {_SKU}: {_PRICE.source}, {_PRICE.date}.",
        ),
    ),
    rows=(
        Row(
            "Caching",
            (
                Panel(
                    title="Hit rate by cache",
                    says="Part of what each cache was asked for that it had.",
                    unit="percentunit",
                    empty=_ASKED,
                    queries=(
                        Query(
                            f"{rate('rankwire_cache_hits_total', 'cache_type')} / "
                            f"({rate('rankwire_cache_hits_total', 'cache_type')} + "
                            f"{rate('rankwire_cache_misses_total', 'cache_type')})",
                            "{{cache_type}}",
                        ),
                    ),
                ),
                Panel(
                    title="Profiles read from the database",
                    says="Look-ups that no cache could answer.",
                    unit="reqps",
                    queries=(
                        Query(
                            f"{rate('rankwire_cache_misses_total', more=_LOOKED)} - "
                            f"({rate('rankwire_cache_hits_total', more=_SHARED)}"
                            " or vector(0))",
                            "reads",
                        ),
                    ),
                ),
                Panel(
                    title="Memory of caches",
                    says="About, in the process of each node.",
                    unit="bytes",
                    queries=(
                        Query(
                            f"sum by (cache_type) ({gauge('rankwire_cache_bytes')})",
                            "{{cache_type}}",
                        ),
                    ),
                ),
                Panel(
                    title="Pages",
                    says="First pages asked for, and those that had to be encoded.",
                    unit="ops",
                    queries=(
                        Query(rate("rankwire_page_reads_total"), "asked for"),
                        Query(rate("rankwire_page_builds_total"), "encoded"),
                        Query(rate("rankwire_page_evictions_total"), "evicted"),
                    ),
                ),
            ),
        ),
        Row(
            "Capacity",
            (
                Panel(
                    title="Fullest node",
                    says="Part in use on the node that has the least left.",
                    unit="percentunit",
                    bound=0.9,
                    queries=(
                        Query(
                            f"max({gauge('rankwire_memory_used_bytes')} / "
                            f"{gauge('rankwire_memory_limit_bytes')})",
                            "memory",
                        ),
                        Query(
                            f"max({gauge('rankwire_live_connections')} / "
                            f"{gauge('rankwire_live_connections_limit')})",
                            "connections",
                        ),
                        Query(
                            f"max({gauge('rankwire_pending_writes')} / "
                            f"{gauge('rankwire_pending_writes_limit')})",
                            "waiting writes",
                        ),
                        Query(f"max({gauge('database_pool_utilization')})", "pool"),
                    ),
                ),
                Panel(
                    title="Memory in a day",
                    says="Use of the fullest node, with the slope of the last six hours drawn on.",
                    unit="bytes",
                    queries=(
                        Query(f"max({gauge('rankwire_memory_used_bytes')})", "now"),
                        Query(
                            "max(predict_linear("
                            f"{gauge('rankwire_memory_used_bytes')}[6h], 86400))",
                            "in a day",
                        ),
                        Query(f"min({gauge('rankwire_memory_limit_bytes')})", "limit"),
                    ),
                ),
                Panel(
                    title="Processor seconds a score",
                    says="Of all nodes, everything else that they do included.",
                    unit="s",
                    empty="Nothing while no scores come.",
                    queries=(
                        Query(
                            f"{rate('process_cpu_seconds_total')} / "
                            f"{rate('rankwire_submits_total')}",
                            "seconds",
                        ),
                    ),
                ),
                Panel(
                    title="Resident memory",
                    says="Of each server's process, without hub processes.",
                    unit="bytes",
                    queries=(Query(f"process_resident_memory_bytes{{{OF}}}"),),
                ),
            ),
        ),
        Row(
            "Cost",
            (
                Panel(
                    title="Nodes, a month",
                    says=f"Nodes now, times the price above, times {_CATALOGUE.hours:g} hours. "
                    "Database, Redis and traffic are not in it.",
                    unit="currencyUSD",
                    queries=(
                        Query(
                            f"count({gauge('rankwire_build_info')}) * $node_hourly * "
                            f"{_CATALOGUE.hours:g}",
                            "dollars",
                        ),
                    ),
                ),
                Panel(
                    title="Sent to watchers in 24 hours",
                    says="What traffic to the internet is billed by; without TLS and TCP.",
                    unit="bytes",
                    queries=(
                        Query(
                            f"sum(increase(rankwire_live_sent_bytes_total{{{OF}}}[24h]))", "bytes"
                        ),
                    ),
                ),
                Panel(
                    title="Between regions in 24 hours",
                    says="Taken from other regions.",
                    unit="bytes",
                    empty="Nothing without regions.name.",
                    queries=(
                        Query(
                            f"sum(increase(rankwire_region_pulled_bytes_total{{{OF}}}[24h]))",
                            "bytes",
                        ),
                    ),
                ),
            ),
        ),
    ),
)
