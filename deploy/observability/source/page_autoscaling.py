"""The dashboard beside an autoscaler: the metrics that it sees, and what they ask for."""

from __future__ import annotations

from typing import Final

from panels import OF, Page, Panel, Query, Row, Variable, gauge, rate

_WATCHERS: Final = gauge("websocket_connections_per_pod")

AUTOSCALING: Final = Page(
    uid="rankwire-autoscaling",
    title="Rankwire / Autoscaling",
    says="The metrics that an autoscaler sees, and how many nodes they ask for.",
    variables=(
        Variable(
            "connections_target",
            "Watchers a node",
            "1000",
            "The target of websocket_connections_per_pod in the HPA.",
        ),
        Variable(
            "scores_target",
            "Scores a node and second",
            "500",
            "The target of score_updates_per_second in the HPA.",
        ),
    ),
    rows=(
        Row(
            "Nodes",
            (
                Panel(
                    title="Nodes, and nodes asked for",
                    says="Without tolerance, stabilisation, rates and limits of the HPA.",
                    unit="short",
                    width=12,
                    queries=(
                        Query(f"sum(up{{{OF}}})", "nodes"),
                        Query(f"ceil(sum({_WATCHERS}) / $connections_target)", "for watchers"),
                        Query(
                            f"ceil({rate('rankwire_submits_total')} / $scores_target)", "for scores"
                        ),
                    ),
                ),
                Panel(
                    title="Starts",
                    says="Age of each node's process.",
                    unit="s",
                    width=12,
                    queries=(Query(f"time() - process_start_time_seconds{{{OF}}}"),),
                ),
            ),
        ),
        Row(
            "Metrics of the autoscaler",
            (
                Panel(
                    title="Watchers by pod",
                    says="websocket_connections_per_pod",
                    unit="short",
                    queries=(Query(_WATCHERS, "{{pod_name}}"),),
                ),
                Panel(
                    title="Scores a second by node",
                    says="score_updates_per_second, within 60 s.",
                    unit="ops",
                    queries=(Query(gauge("score_updates_per_second")),),
                ),
                Panel(
                    title="Processor by node",
                    says="Cores used; the HPA compares them with what the pod requests.",
                    unit="short",
                    queries=(Query(f"rate(process_cpu_seconds_total{{{OF}}}[$__rate_interval])"),),
                ),
                Panel(
                    title="Pool by node",
                    says="database_pool_utilization: more nodes open more connections, so it is "
                    "no target without a budget.",
                    unit="percentunit",
                    bound=0.8,
                    empty="Nothing with SQLite.",
                    queries=(Query(gauge("database_pool_utilization"), "{{instance}} {{pool}}"),),
                ),
                Panel(
                    title="Cache by node",
                    says="cache_hit_rate: a low one would ask for fewer nodes, so it is no target.",
                    unit="percentunit",
                    empty="Nothing while nothing is asked for.",
                    queries=(Query(gauge("cache_hit_rate"), "{{instance}} {{cache_type}}"),),
                ),
                Panel(
                    title="Connections to PostgreSQL",
                    says="The most that the pools of all nodes may open.",
                    unit="short",
                    empty="Nothing with SQLite.",
                    queries=(Query(f"sum by (pool) ({gauge('rankwire_pool_size')})", "{{pool}}"),),
                ),
            ),
        ),
        Row(
            "Balance",
            (
                Panel(
                    title="Fullest pod, of the mean",
                    says="1 is even; after a scale-up it stays high, as sockets do not move.",
                    unit="short",
                    empty="Nothing while nobody watches.",
                    queries=(Query(f"max({_WATCHERS}) / avg({_WATCHERS})", "ratio"),),
                ),
                Panel(
                    title="Connections that come and go",
                    says="A scale-down makes watchers of the pods that end come back elsewhere.",
                    unit="ops",
                    queries=(
                        Query(rate("rankwire_live_accepted_total"), "come"),
                        Query(rate("rankwire_live_closed_total"), "go"),
                    ),
                ),
            ),
        ),
    ),
)
