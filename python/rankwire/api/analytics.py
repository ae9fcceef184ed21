"""What a server knows about itself, for operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from rankwire.api.answers import JSON_OK, Answer

if TYPE_CHECKING:
    from rankwire.ops.watch import Watch


class Analytics:
    """Answers from what the server's looks at itself have found; asks nobody else."""

    def __init__(self, watch: Watch) -> None:
        """Answer for one server."""
        self._watch = watch

    def report(self) -> Answer:
        """Say what limits the server, why, and what would help."""
        return JSON_OK, msgspec.json.encode(self._watch.bundle())

    def caching(self) -> Answer:
        """Say what caching does, or would do."""
        return JSON_OK, msgspec.json.encode(self._watch.caching.report())
