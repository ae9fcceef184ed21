"""What a storage says whose journal is archived, but not by this process."""

from __future__ import annotations

import structlog

_log = structlog.get_logger(__name__)


def warn_of_archive() -> None:
    """Say that a server keeps a journal which it should archive or drop."""
    _log.warning(
        "journal is archived, but not by this node, so nothing of it is dropped",
        reason="ops.archive_url is empty: set it, or run 'rankwire ops archive stop'",
    )
