"""The history of what this node uses: measured every quarter of a minute, kept in a file.

Promises: nothing here stops the server or blocks its event loop. A file that cannot be read is said
to be so, left as it is and not written to; the node then only remembers since its start. A crash
loses at most `SAVE_SECONDS` of history. The file has one workload, `OWN`, whatever the node is
called; others that it had are gone with the next save. A limit of memory that comes or goes begins
the history anew. Once made, which blocks, for one event loop.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic
from typing import Final

import structlog

from rankwire.ops.analyzer.readings import UnavailableError
from rankwire.ops.optimizer.own_usage import OwnUsage
from rankwire.ops.optimizer.usage import Place, Sample, Usage, UsageError, UsageStore, write

OWN: Final = "this node"
"""The name of the workload; names of pods change, and their histories would remain."""

SAMPLE_SECONDS: Final = 15.0
SAVE_SECONDS: Final = 300.0

_log = structlog.get_logger(__name__)


class UsageKeeper:
    """Samples this node."""

    def __init__(self, path: Path | None, sku: str, own: OwnUsage | None = None) -> None:
        """Read the file, if there is to be one, which blocks. `sku` is the machine's, or empty."""
        self._path = path
        self._place = Place(instance=sku)
        self._own = own or OwnUsage()
        self._sampled = float("-inf")
        self._saved = monotonic()
        self.usage = Usage(OWN)
        """What is known of the node."""
        try:
            if path is not None:
                self.usage = UsageStore.load(path).workloads.get(OWN, self.usage)
        except UsageError as error:
            _log.warning("history of usage is not kept", reason=str(error))
            self._path = None
        self.usage.place = self._place

    async def look(self) -> None:
        """Measure and save, each when it is time; may be called as often as one likes."""
        now = monotonic()
        if now - self._sampled >= SAMPLE_SECONDS:
            self._sampled = now
            try:
                sample = await asyncio.to_thread(self._own.read)
            except UnavailableError as error:
                _log.debug("usage is not known", reason=str(error))
            else:
                self._take(sample)
        if now - self._saved >= SAVE_SECONDS:
            await self.save()

    async def save(self) -> None:
        """Write the file now, if there is one; also for the end of the server."""
        if self._path is None:
            return
        self._saved = monotonic()
        try:
            await asyncio.to_thread(write, self._path, UsageStore([self.usage]).encode())
        except UsageError as error:
            _log.warning("history of usage is not saved", reason=str(error))

    def _take(self, sample: Sample) -> None:
        """Add a sample; a history of something else, of a machine or a part of it, ends."""
        if self.usage.measured not in {"", sample.by}:
            self.usage = Usage(OWN, self._place)
        self.usage.sample(sample)
