"""The first dashboard: what clients get, and which node is not well."""

from __future__ import annotations

from typing import Final

from panels import OF, Page, Panel, Query, Row, gauge, quantile, rate

_CLIENTS: Final = (
    'operation!~"alive|ready|health|metrics|digest|openapi|ops_.*|region.*|verify.*|fail.*|take_.*"'
)
_TRAFFIC: Final = "Nothing while there is no traffic."

OVERVIEW: Final = Page(
    uid="rankwire-overview",
    title="Rankwire / Overview",
    says="Traffic, errors, latency and saturation of all nodes.",
    rows=(
        Row(
            "Now",
            (
                Panel(
                    title="Nodes that answer",
                    says="Targets that Prometheus could read.",
                    unit="short",
                    kind="stat",
                    width=4,
                    queries=(Query(f"sum(up{{{OF}}})", ""),),
                ),
                Panel(
                    title="Nodes that cannot commit",
                    says="They answer scores with 503.",
                    unit="short",
                    kind="stat",
                    width=4,
                    bound=1,
                    queries=(Query(f"sum(1 - {gauge('rankwire_storage_ready')})", ""),),
                ),
                Panel(
                    title="Watchers",
                    says="Live connections.",
                    unit="short",
                    kind="stat",
                    width=4,
                    queries=(Query(f"sum({gauge('rankwire_live_connections')})", ""),),
                ),
                Panel(
                    title="Scores",
                    says="Scores taken each second, by counters of all nodes.",
                    unit="ops",
                    kind="stat",
                    width=4,
                    queries=(Query(rate("rankwire_submits_total"), ""),),
                ),
                Panel(
                    title="Errors, 1 h",
                    says="Part of the answers to clients that were 5xx; the objective is 0.1 %.",
                    unit="percentunit",
                    kind="stat",
                    width=4,
                    bound=0.001,
                    empty=_TRAFFIC,
                    queries=(
                        Query(
                            'job:rankwire_errors:ratio_rate1h{job="rankwire", '
                            'namespace=~"$namespace"}',
                            "",
                        ),
                    ),
                ),
                Panel(
                    title="Slow scores, 1 h",
                    says="Part of the scores over HTTP above 0.25 s; the objective is 1 %.",
                    unit="percentunit",
                    kind="stat",
                    width=4,
                    bound=0.01,
                    empty=_TRAFFIC,
                    queries=(
                        Query(
                            'job:rankwire_slow_submits:ratio_rate1h{job="rankwire", '
                            'namespace=~"$namespace"}',
                            "",
                        ),
                    ),
                ),
            ),
        ),
        Row(
            "Traffic and errors",
            (
                Panel(
                    title="Requests by operation",
                    says="HTTP requests of clients answered.",
                    unit="reqps",
                    queries=(
                        Query(
                            rate("rankwire_http_requests_total", "operation", _CLIENTS) + " > 0",
                            "{{operation}}",
                        ),
                    ),
                    empty=_TRAFFIC,
                ),
                Panel(
                    title="Answers by class",
                    says="By class of status; 5xx counts against the objective.",
                    unit="reqps",
                    queries=(
                        Query(
                            rate("rankwire_http_requests_total", "status", _CLIENTS), "{{status}}"
                        ),
                    ),
                ),
                Panel(
                    title="Burn of the error budget",
                    says="How many times faster than allowed errors come, by window.",
                    unit="short",
                    bound=14.4,
                    empty=_TRAFFIC,
                    queries=tuple(
                        Query(
                            f'job:rankwire_errors:ratio_rate{window}{{job="rankwire", '
                            'namespace=~"$namespace"} / 0.001',
                            window,
                        )
                        for window in ("5m", "1h", "6h")
                    ),
                ),
            ),
        ),
        Row(
            "Latency",
            (
                Panel(
                    title="Scores over HTTP",
                    says="Until the score is durable and answered.",
                    unit="s",
                    bound=0.25,
                    empty=_TRAFFIC,
                    queries=tuple(
                        Query(
                            quantile(
                                part, "rankwire_http_request_seconds", more='operation="submit"'
                            ),
                            f"p{round(part * 100)}",
                        )
                        for part in (0.5, 0.99)
                    ),
                ),
                Panel(
                    title="Slowest hundredth by operation",
                    says="99th percentile of the time of a request.",
                    unit="s",
                    empty=_TRAFFIC,
                    queries=(
                        Query(
                            quantile(0.99, "rankwire_http_request_seconds", "operation", _CLIENTS),
                            "{{operation}}",
                        ),
                    ),
                ),
                Panel(
                    title="Live updates",
                    says="Until the last watcher of a new state was served, 99th percentile.",
                    unit="s",
                    bound=0.1,
                    empty="Nothing while nobody watches.",
                    queries=(
                        Query(quantile(0.99, "rankwire_view_fanout_seconds", "view"), "{{view}}"),
                    ),
                ),
            ),
        ),
        Row(
            "Saturation",
            (
                Panel(
                    title="Processor",
                    says="Cores that each node uses; the event loop can use one.",
                    unit="short",
                    queries=(Query(f"rate(process_cpu_seconds_total{{{OF}}}[$__rate_interval])"),),
                ),
                Panel(
                    title="Memory",
                    says="In use, of the limit of the container or machine.",
                    unit="percentunit",
                    bound=0.9,
                    queries=(
                        Query(
                            f"{gauge('rankwire_memory_used_bytes')} / "
                            f"{gauge('rankwire_memory_limit_bytes')}"
                        ),
                    ),
                ),
                Panel(
                    title="Event loop",
                    says="How late one timer in a hundred is.",
                    unit="s",
                    bound=0.1,
                    queries=(Query(quantile(0.99, "rankwire_loop_lag_seconds", "instance")),),
                ),
            ),
        ),
    ),
)
