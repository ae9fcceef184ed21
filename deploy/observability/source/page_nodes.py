"""The dashboard of nodes and what they keep their boards in."""

from __future__ import annotations

from typing import Final

from panels import Page, Panel, Query, Row, gauge, quantile, rate

_POSTGRESQL: Final = "Nothing with SQLite."
_TRAFFIC: Final = "Nothing while nothing is written."

NODES: Final = Page(
    uid="rankwire-nodes",
    title="Rankwire / Nodes and storage",
    says="Commits, checkpoints, PostgreSQL and its replica, and how nodes hear of each other.",
    rows=(
        Row(
            "Commits",
            (
                Panel(
                    title="Commits a second",
                    says="Each is of all the writes that waited.",
                    unit="ops",
                    queries=(Query(rate("rankwire_commits_total", "instance")),),
                ),
                Panel(
                    title="Scores a commit",
                    says="More under load: what waits is committed together.",
                    unit="short",
                    empty=_TRAFFIC,
                    queries=(
                        Query(
                            f"{rate('rankwire_submits_total', 'instance')} / "
                            f"{rate('rankwire_commits_total', 'instance')}"
                        ),
                    ),
                ),
                Panel(
                    title="Time of a commit",
                    says="99th percentile of what the storage took.",
                    unit="s",
                    bound=0.25,
                    empty=_TRAFFIC,
                    queries=(Query(quantile(0.99, "rankwire_commit_seconds", "instance")),),
                ),
                Panel(
                    title="Waiting writes",
                    says="Of the most that may wait.",
                    unit="percentunit",
                    bound=0.8,
                    queries=(
                        Query(
                            f"{gauge('rankwire_pending_writes')} / "
                            f"{gauge('rankwire_pending_writes_limit')}"
                        ),
                    ),
                ),
                Panel(
                    title="Refused writes",
                    says="Those that the storage could not commit, and those that were wrong.",
                    unit="ops",
                    queries=(
                        Query(rate("rankwire_not_committed_total"), "not committed"),
                        Query(rate("rankwire_rejected_total"), "wrong"),
                    ),
                ),
                Panel(
                    title="Can commit",
                    says="1 while the storage can commit.",
                    unit="bool_on_off",
                    queries=(Query(gauge("rankwire_storage_ready")),),
                ),
            ),
        ),
        Row(
            "Checkpoints and the journal",
            (
                Panel(
                    title="Changed members",
                    says="They wait for a checkpoint; it falls on the node that takes them.",
                    unit="short",
                    queries=(Query(gauge("rankwire_dirty_members")),),
                ),
                Panel(
                    title="Takes the checkpoints",
                    says="1 on one node.",
                    unit="bool_on_off",
                    queries=(Query(gauge("rankwire_checkpointer")),),
                ),
                Panel(
                    title="Journal",
                    says="Bytes written, by node.",
                    unit="Bps",
                    queries=(Query(rate("rankwire_journal_bytes_total", "instance")),),
                ),
                Panel(
                    title="Members",
                    says="Of all boards, as each node has them.",
                    unit="short",
                    queries=(Query(gauge("rankwire_members")),),
                ),
                Panel(
                    title="Since the last archive",
                    says="Time since a round of archiving went through, on any node.",
                    unit="s",
                    bound=86400,
                    empty="Nothing without ops.archive_url, and before the first round.",
                    queries=(
                        Query(
                            "time() - max("
                            + gauge("rankwire_archive_last_success_timestamp_seconds")
                            + ")",
                            "since",
                        ),
                    ),
                ),
                Panel(
                    title="Oldest read",
                    says="Versions published since the oldest read began.",
                    unit="short",
                    queries=(Query(gauge("rankwire_oldest_read_versions")),),
                ),
            ),
        ),
        Row(
            "PostgreSQL",
            (
                Panel(
                    title="Pool",
                    says="Part of the connections that work for a request.",
                    unit="percentunit",
                    bound=0.8,
                    empty=_POSTGRESQL,
                    queries=(Query(gauge("database_pool_utilization"), "{{instance}} {{pool}}"),),
                ),
                Panel(
                    title="Wait for a connection",
                    says="99th percentile, by pool.",
                    unit="s",
                    bound=0.1,
                    empty=_POSTGRESQL + " Nothing while no request needs one.",
                    queries=(
                        Query(
                            quantile(0.99, "rankwire_pool_wait_seconds", "instance, pool"),
                            "{{instance}} {{pool}}",
                        ),
                    ),
                ),
                Panel(
                    title="Requests without a connection",
                    says="Those that waited in vain, and those that wait now.",
                    unit="short",
                    empty=_POSTGRESQL,
                    queries=(
                        Query(rate("rankwire_pool_refused_total", "pool"), "{{pool}} refused/s"),
                        Query(
                            f"sum by (pool) ({gauge('rankwire_pool_waiting')})", "{{pool}} waiting"
                        ),
                    ),
                ),
                Panel(
                    title="Replica",
                    says="How far it is behind; a gap where that is not known.",
                    unit="s",
                    bound=5,
                    empty="Nothing without storage.replica_url.",
                    queries=(Query(gauge("rankwire_replica_lag_seconds")),),
                ),
                Panel(
                    title="Reads of the replica",
                    says="Those that it answered, and those that the primary had to.",
                    unit="reqps",
                    empty="Nothing without storage.replica_url.",
                    queries=(
                        Query(rate("rankwire_replica_reads_total"), "replica"),
                        Query(rate("rankwire_replica_avoided_total"), "primary instead"),
                    ),
                ),
            ),
        ),
        Row(
            "Other nodes",
            (
                Panel(
                    title="Behind the others",
                    says="Time since the node was known to be level.",
                    unit="s",
                    bound=5,
                    empty=_POSTGRESQL,
                    queries=(Query(gauge("rankwire_sync_lag_seconds")),),
                ),
                Panel(
                    title="Redis answers",
                    says="1 while it does; 0 also where no redis.url is set.",
                    unit="bool_on_off",
                    empty=_POSTGRESQL,
                    queries=(Query(gauge("rankwire_sync_redis_up")),),
                ),
                Panel(
                    title="Batches of others",
                    says="By the way on which they came.",
                    unit="ops",
                    empty=_POSTGRESQL,
                    queries=(
                        Query(rate("rankwire_sync_stream_batches_total"), "Redis"),
                        Query(rate("rankwire_sync_storage_batches_total"), "PostgreSQL"),
                        Query(rate("rankwire_sync_gaps_total"), "gaps"),
                    ),
                ),
                Panel(
                    title="Wrong in Redis",
                    says="Batches that PostgreSQL does not know, and what is none of ours.",
                    unit="ops",
                    empty=_POSTGRESQL,
                    queries=(
                        Query(rate("rankwire_sync_unknown_total"), "unknown"),
                        Query(rate("rankwire_sync_foreign_total"), "foreign"),
                    ),
                ),
                Panel(
                    title="Not told",
                    says="Own batches that Redis was not told of, and those that wait to be.",
                    unit="short",
                    empty=_POSTGRESQL,
                    queries=(
                        Query(rate("rankwire_sync_publish_dropped_total"), "dropped/s"),
                        Query(f"sum({gauge('rankwire_sync_publish_queue')})", "waiting"),
                    ),
                ),
            ),
        ),
    ),
)
