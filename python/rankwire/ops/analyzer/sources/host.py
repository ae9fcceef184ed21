"""The source `host`: what the machine, or the control group, leaves to the process.

Gauges: `memory_limit`, `memory_used` (of the control group where that has a limit, see
`rankwire.ops.memory`), `rss`, `files`, `files_limit`, `load`, `cores`. Totals, where the process is
in a control group of version 2 with a limit of processor time: `cpu_periods`, `cpu_throttled`.
Reads files below /proc and /sys, on a thread.
"""

from __future__ import annotations

import asyncio
import os
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rankwire.ops.analyzer.readings import Reading, UnavailableError
from rankwire.ops.analyzer.sources.cores import read_cores, read_throttling
from rankwire.ops.memory import CGROUPS, PROC, read_memory

if TYPE_CHECKING:
    from rankwire.ops.findings import Known


class HostSource:
    """Asks the kernel."""

    name = "host"

    def __init__(self, proc: Path = PROC, cgroups: Path = CGROUPS) -> None:
        """Read below these."""
        self._proc = proc
        self._cgroups = cgroups
        self.cores: Known = None
        """Cores that the process may use, as last read; None before that."""

    async def read(self) -> Reading:
        """See `Source.read`."""
        try:
            return await asyncio.to_thread(self._look)
        except (OSError, ValueError, IndexError) as error:
            raise UnavailableError(f"the kernel does not tell: {error}") from error

    async def close(self) -> None:
        """See `Source.close`: there is nothing to let go of."""

    def _look(self) -> Reading:
        pages = (self._proc / "self" / "statm").read_text(encoding="ascii").split()[1]
        self.cores = read_cores(self._proc, self._cgroups)
        gauges = {
            "rss": float(pages) * os.sysconf("SC_PAGESIZE"),
            "files": float(self._files()),
            "load": os.getloadavg()[0],
            "cores": self.cores,
        }
        most_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if most_files != resource.RLIM_INFINITY:
            gauges["files_limit"] = float(most_files)
        if (memory := read_memory(self._proc, self._cgroups)) is not None:
            gauges |= {"memory_limit": float(memory.limit), "memory_used": float(memory.used)}
        return Reading(
            at=time.time(), gauges=gauges, totals=read_throttling(self._proc, self._cgroups)
        )

    def _files(self) -> int:
        """Count open files; Linux from 6.2 on tells without listing all of them."""
        directory = self._proc / "self" / "fd"
        return directory.stat().st_size or len(os.listdir(directory))  # noqa: PTH208  # no objects
