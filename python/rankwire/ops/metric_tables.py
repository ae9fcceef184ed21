"""Every metric of ours: where its figure comes from, its name and what it means.

The manual's table is compared with these. A name that ends in _total is a counter; ratios are from
0 to 1 and times in seconds.
"""

from __future__ import annotations

from typing import Final

# Key of the core's counters, name of the metric, what it means. Counters end in _total.
CORE_METRICS: Final = (
    ("submits_total", "rankwire_submits_total", "Scores taken, those of batches included."),
    ("changes_total", "rankwire_changes_total", "Writes that changed a board."),
    ("rejected_total", "rankwire_rejected_total", "Writes refused because they were wrong."),
    (
        "not_committed_total",
        "rankwire_not_committed_total",
        "Writes refused because the storage could not commit.",
    ),
    ("batches_total", "rankwire_commits_total", "Commits, each of all the writes that waited."),
    ("journal_bytes_total", "rankwire_journal_bytes_total", "Bytes written to the journal."),
    (
        "applied_records_total",
        "rankwire_applied_records_total",
        "Changes taken over from other nodes, and from the journal at the start.",
    ),
    ("pending_ops", "rankwire_pending_writes", "Writes that wait for a commit."),
    ("boards", "rankwire_boards", "Boards."),
    ("members", "rankwire_members", "Members of all boards."),
    ("dirty_members", "rankwire_dirty_members", "Members changed since the last checkpoint."),
    (
        "oldest_read_versions",
        "rankwire_oldest_read_versions",
        "Versions published since the oldest read began; growing means a stuck thread.",
    ),
)
SYNC_METRICS: Final = (
    ("redis_up", "rankwire_sync_redis_up", "1 while Redis answers, otherwise 0; NaN without one."),
    ("level", "rankwire_sync_level", "1 once the node was level with the others after its start."),
    (
        "lag_seconds",
        "rankwire_sync_lag_seconds",
        "Time since the node was known to be level; a few seconds at most when all is well.",
    ),
    (
        "stream_batches_total",
        "rankwire_sync_stream_batches_total",
        "Batches of other nodes that came through Redis.",
    ),
    (
        "storage_batches_total",
        "rankwire_sync_storage_batches_total",
        "Batches of other nodes that were read from PostgreSQL.",
    ),
    ("bytes_total", "rankwire_sync_bytes_total", "Bytes of both."),
    (
        "gaps_total",
        "rankwire_sync_gaps_total",
        "Times that what Redis had was not enough and PostgreSQL was asked.",
    ),
    (
        "unknown_total",
        "rankwire_sync_unknown_total",
        "Batches in Redis that PostgreSQL does not know; anything but 0 is a reason to look.",
    ),
    (
        "foreign_total",
        "rankwire_sync_foreign_total",
        "Entries and messages in Redis that are none of Rankwire's.",
    ),
    (
        "published_total",
        "rankwire_sync_published_total",
        "Own batches told to the others through Redis.",
    ),
    (
        "pointers_total",
        "rankwire_sync_pointers_total",
        "Those of them that were too large to go along.",
    ),
    (
        "publish_dropped_total",
        "rankwire_sync_publish_dropped_total",
        "Own batches that Redis was not told of; the others read them from PostgreSQL.",
    ),
    (
        "publish_queue",
        "rankwire_sync_publish_queue",
        "Own batches and messages that wait to be sent to Redis.",
    ),
    ("news_sent_total", "rankwire_sync_news_sent_total", "Messages sent to the other nodes."),
    ("news_dropped_total", "rankwire_sync_news_dropped_total", "Messages that could not be sent."),
    (
        "news_heard_total",
        "rankwire_sync_news_heard_total",
        "Messages heard, the node's own included.",
    ),
)
LIVE_METRICS: Final = (
    ("connections", "rankwire_live_connections", "Watchers connected."),
    ("connections_total", "rankwire_live_accepted_total", "Connections accepted."),
    ("refused_total", "rankwire_live_refused_total", "Connections turned away for want of room."),
    (
        "handshakes_failed_total",
        "rankwire_live_handshakes_failed_total",
        "Handshakes that were no good, or not done in time.",
    ),
    ("subscriptions", "rankwire_live_subscriptions", "Subscriptions."),
    ("views", "rankwire_live_views", "Different views watched."),
    ("publications_total", "rankwire_live_publications_total", "New states of views."),
    ("deliveries_total", "rankwire_live_deliveries_total", "States sent to watchers."),
    (
        "conflated_total",
        "rankwire_live_conflated_total",
        "States that a blocked watcher missed; it got a newer one later.",
    ),
    ("blocked", "rankwire_live_blocked", "Watchers whose sockets take no more bytes now."),
    ("bytes_sent_total", "rankwire_live_sent_bytes_total", "Bytes sent to watchers."),
    ("commands_total", "rankwire_live_commands_total", "Commands received from watchers."),
    ("submits_total", "rankwire_live_submits_total", "Submits received over WebSocket."),
)
# The same with a label for the code.
LIVE_CODES: Final = (
    ("closed_total", "rankwire_live_closed_total", "Connections closed, by close code."),
    ("errors_total", "rankwire_live_errors_total", "Commands answered with an error, by code."),
)
# The same with a label for the kind of view: key of its figures, name of the metric, what it means.
VIEW_METRICS: Final = (
    ("views", "rankwire_view_views", "Different views watched, by kind."),
    ("subscriptions", "rankwire_view_subscriptions", "Subscriptions, by kind of view."),
    (
        "publications_total",
        "rankwire_view_publications_total",
        "New states of views, by kind.",
    ),
    (
        "deliveries_total",
        "rankwire_view_deliveries_total",
        "States sent to watchers, by kind of view.",
    ),
    (
        "conflated_total",
        "rankwire_view_conflated_total",
        "States that a blocked watcher missed, by kind of view; it got a newer one later.",
    ),
)
VIEW_SECONDS: Final = (
    "rankwire_view_fanout_seconds",
    "Time from a new state of a view until a thread had served its last watcher, by kind.",
)
# Attribute of a pool, name of the metric, what it means; by pool.
POOL_METRICS: Final = (
    ("size", "rankwire_pool_size", "Most connections to PostgreSQL for requests, by pool."),
    ("used", "rankwire_pool_used", "Connections that work for a request, by pool."),
    ("idle", "rankwire_pool_idle", "Connections that wait for a request, by pool."),
    ("waiting", "rankwire_pool_waiting", "Requests that wait for a connection, by pool."),
    ("refused", "rankwire_pool_refused_total", "Requests that got no connection, by pool."),
)
POOL_UTILIZATION: Final = (
    "database_pool_utilization",
    "Part of the connections that work for a request, by pool.",
)
POOL_SECONDS: Final = (
    "rankwire_pool_wait_seconds",
    "Time that requests waited for a connection, by pool.",
)
# Attribute of the replica, name of the metric, what it means.
REPLICA_METRICS: Final = (
    ("lag", "rankwire_replica_lag_seconds", "How far the replica is behind; NaN if not known."),
    ("reads", "rankwire_replica_reads_total", "Reads that the replica answered."),
    (
        "avoided",
        "rankwire_replica_avoided_total",
        "Reads that the primary answered as the replica was away, busy or too far behind.",
    ),
)
# Attribute of a cache's counts, name of the metric, what it means; by cache.
CACHE_METRICS: Final = (
    ("hits", "rankwire_cache_hits_total", "What a cache was asked for and had."),
    ("misses", "rankwire_cache_misses_total", "What a cache was asked for and had not."),
    ("entries", "rankwire_cache_entries", "What a cache of this process holds."),
    ("bytes", "rankwire_cache_bytes", "Memory that a cache of this process needs, about."),
)
# Key of the engine's counts of pages, name of the metric, what it means.
PAGE_METRICS: Final = (
    ("reads", "rankwire_page_reads_total", "First pages of boards asked for, kept ones or not."),
    ("built", "rankwire_page_builds_total", "First pages of boards that were encoded."),
    ("built_seconds", "rankwire_page_build_seconds_total", "Time that encoding them took."),
    ("evictions", "rankwire_page_evictions_total", "Kept pages that had to make room."),
    ("refused", "rankwire_page_refused_total", "Pages too large to be kept."),
)
# Attribute of a keeper's totals, name of the metric, what it means.
ARCHIVE_METRICS: Final = (
    ("stored_bytes", "rankwire_archive_stored_bytes_total", "Bytes put into the archive."),
    (
        "dropped_batches",
        "rankwire_archive_dropped_batches_total",
        "Commits taken out of the journal after their archive was read back.",
    ),
    ("failures", "rankwire_archive_failures_total", "Rounds of archiving that failed."),
    ("is_held", "rankwire_archive_held", "1 while a legal hold keeps everything, otherwise 0."),
    (
        "last_success",
        "rankwire_archive_last_success_timestamp_seconds",
        "When a round of archiving last went through; NaN before the first.",
    ),
)
CACHE_RATE: Final = (
    "cache_hit_rate",
    "Part of what a cache was asked for within 60 s that it had; NaN without questions.",
)
CONNECTIONS: Final = ("websocket_connections_per_pod", "Watchers connected to this node.")
SCORE_RATE: Final = ("score_updates_per_second", "Scores taken each second, within 60 s.")
COMMIT_SECONDS: Final = (
    "rankwire_commit_seconds",
    "Time that the storage took to make a commit durable, or to fail.",
)
LOOP_LAG: Final = (
    "rankwire_loop_lag_seconds",
    "How late timers of the event loop fired, ten of them a second.",
)
# Name of a limit, name of the metric, what it means; only of those that this node has.
LIMIT_METRICS: Final = (
    (
        "connections",
        "rankwire_live_connections_limit",
        "Most watchers at once, as set and as open files allow, those of hub processes together.",
    ),
    (
        "pending",
        "rankwire_pending_writes_limit",
        "Most writes that may wait for a commit; more are answered 503.",
    ),
)
# Attribute of the memory, name of the metric, what it means.
MEMORY_METRICS: Final = (
    (
        "limit",
        "rankwire_memory_limit_bytes",
        "Memory that there is for the server: of its control group or of the machine.",
    ),
    ("used", "rankwire_memory_used_bytes", "How much of that is used, whoever uses it."),
)
CHECKPOINTER: Final = (
    "rankwire_checkpointer",
    "1 on the node that takes the checkpoints, otherwise 0.",
)
STORAGE_READY: Final = ("rankwire_storage_ready", "1 while the storage can commit, otherwise 0.")
REQUESTS: Final = (
    "rankwire_http_requests_total",
    "HTTP requests answered, by operation and class of status.",
)
SECONDS: Final = (
    "rankwire_http_request_seconds",
    "Time from the first byte of a request handled to its answer, by operation.",
)
BUILD: Final = ("rankwire_build_info", "1, labelled with what was built.")
