"""Names in Redis. The braces make a Redis Cluster keep all of one region on one node."""

from __future__ import annotations


def journal_stream(cluster: str) -> str:
    """Name the stream of batches."""
    return f"rankwire:{{{cluster}}}:journal"


def news_channel(cluster: str) -> str:
    """Name the channel of messages that may get lost."""
    return f"rankwire:{{{cluster}}}:news"


def profile_key(cluster: str, member: str) -> str:
    """Name the key of a member's cached profile."""
    return f"rankwire:{{{cluster}}}:profile:{member}"
