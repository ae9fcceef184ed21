"""The dashboard of live connections."""

from __future__ import annotations

from typing import Final

from panels import OF, Page, Panel, Query, Row, gauge, quantile, rate

_WATCHED: Final = "Nothing while nobody watches."

LIVE: Final = Page(
    uid="rankwire-live",
    title="Rankwire / Live connections",
    says="Watchers, what they are sent, how late, and why connections end.",
    rows=(
        Row(
            "Connections",
            (
                Panel(
                    title="Watchers by node",
                    says="Live connections of each node.",
                    unit="short",
                    queries=(Query(gauge("rankwire_live_connections")),),
                ),
                Panel(
                    title="Connections taken",
                    says="Of the most that each node may have.",
                    unit="percentunit",
                    bound=0.9,
                    queries=(
                        Query(
                            f"{gauge('rankwire_live_connections')} / "
                            f"{gauge('rankwire_live_connections_limit')}"
                        ),
                    ),
                ),
                Panel(
                    title="Coming",
                    says="New connections, those turned away, and handshakes that failed.",
                    unit="ops",
                    queries=(
                        Query(rate("rankwire_live_accepted_total"), "accepted"),
                        Query(rate("rankwire_live_refused_total"), "refused"),
                        Query(rate("rankwire_live_handshakes_failed_total"), "failed"),
                    ),
                ),
                Panel(
                    title="Going",
                    says="Connections closed, by close code; 3001 is a node that stops.",
                    unit="ops",
                    queries=(Query(rate("rankwire_live_closed_total", "code"), "{{code}}"),),
                ),
                Panel(
                    title="Commands",
                    says="Commands received, and scores among them.",
                    unit="ops",
                    queries=(
                        Query(rate("rankwire_live_commands_total"), "commands"),
                        Query(rate("rankwire_live_submits_total"), "scores"),
                    ),
                ),
                Panel(
                    title="Errors",
                    says="Commands answered with an error, by code; 100 is a fault inside.",
                    unit="ops",
                    queries=(Query(rate("rankwire_live_errors_total", "code"), "{{code}}"),),
                ),
            ),
        ),
        Row(
            "Views",
            (
                Panel(
                    title="Different views",
                    says="Views watched, by kind.",
                    unit="short",
                    queries=(Query(f"sum by (view) ({gauge('rankwire_view_views')})", "{{view}}"),),
                ),
                Panel(
                    title="Subscriptions",
                    says="By kind of view.",
                    unit="short",
                    queries=(
                        Query(
                            f"sum by (view) ({gauge('rankwire_view_subscriptions')})", "{{view}}"
                        ),
                    ),
                ),
                Panel(
                    title="New states",
                    says="Published, by kind of view.",
                    unit="ops",
                    queries=(Query(rate("rankwire_view_publications_total", "view"), "{{view}}"),),
                ),
                Panel(
                    title="Sent",
                    says="States sent to watchers, by kind of view.",
                    unit="ops",
                    queries=(Query(rate("rankwire_view_deliveries_total", "view"), "{{view}}"),),
                ),
                Panel(
                    title="Missed",
                    says="Part of the states that blocked watchers missed for a newer one.",
                    unit="percentunit",
                    empty=_WATCHED,
                    queries=(
                        Query(
                            f"{rate('rankwire_view_conflated_total', 'view')} / "
                            f"({rate('rankwire_view_conflated_total', 'view')} + "
                            f"{rate('rankwire_view_deliveries_total', 'view')})",
                            "{{view}}",
                        ),
                    ),
                ),
                Panel(
                    title="How late",
                    says="Until the last watcher of a new state was served, 99th percentile.",
                    unit="s",
                    bound=0.1,
                    empty=_WATCHED,
                    queries=(
                        Query(quantile(0.99, "rankwire_view_fanout_seconds", "view"), "{{view}}"),
                    ),
                ),
            ),
        ),
        Row(
            "Bytes and sockets",
            (
                Panel(
                    title="Sent bytes",
                    says="To watchers, by node.",
                    unit="Bps",
                    queries=(Query(rate("rankwire_live_sent_bytes_total", "instance")),),
                ),
                Panel(
                    title="Bytes a watcher",
                    says="Sent each second to each watcher in the mean: what decides the bill.",
                    unit="Bps",
                    empty=_WATCHED,
                    queries=(
                        Query(
                            f"{rate('rankwire_live_sent_bytes_total')} / "
                            f"sum({gauge('rankwire_live_connections')})",
                            "mean",
                        ),
                    ),
                ),
                Panel(
                    title="Blocked",
                    says="Watchers whose sockets take no more now.",
                    unit="short",
                    queries=(Query(gauge("rankwire_live_blocked")),),
                ),
                Panel(
                    title="Open files left",
                    says="Each connection needs one; 1,000 are kept back for the rest.",
                    unit="short",
                    queries=(Query(f"process_max_fds{{{OF}}} - process_open_fds{{{OF}}}"),),
                ),
            ),
        ),
    ),
)
