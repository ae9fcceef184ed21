"""What this node uses of its machine, for its own history of usage.

It is that of the control group if that has a limit of memory, as in a container, and that of the
whole machine otherwise: whatever else runs there needs room as well. Promises: only what the kernel
tells; what it does not is None. Reads a few files below /proc and /sys, which takes a fraction of a
millisecond but may block.
"""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from rankwire.ops.analyzer.readings import UnavailableError
from rankwire.ops.findings import Known
from rankwire.ops.memory import CGROUPS, PROC, figure, group, read_memory
from rankwire.ops.optimizer.usage import Sample

# Columns of the first line of /proc/stat that are work: all but idle, waiting for a disk, and the
# guests, whose time is in user and nice already.
_WORK = (1, 2, 3, 6, 7, 8)


class OwnUsage:
    """Makes samples, all of one life."""

    def __init__(self, proc: Path = PROC, cgroups: Path = CGROUPS) -> None:
        """Read below these."""
        self._proc = proc
        self._cgroups = cgroups
        self._life = secrets.token_hex(8)

    def read(self) -> Sample:
        """Measure now. Raises UnavailableError."""
        memory = read_memory(self._proc, self._cgroups)
        if memory is None:
            raise UnavailableError("the kernel does not tell how much memory is used")
        ours = group(self._proc, self._cgroups) if memory.by == "cgroup" else None
        sample = Sample(at=time.time(), memory_bytes=memory.used, life=self._life, by=memory.by)
        if ours is None:
            return replace(sample, cpu_seconds=self._machine_seconds())
        used = figure(ours / "cpu.stat", "usage_usec")
        return replace(
            sample,
            cpu_seconds=None if used is None else used / 1e6,
            periods=figure(ours / "cpu.stat", "nr_periods"),
            throttled=figure(ours / "cpu.stat", "nr_throttled"),
            ooms=figure(ours / "memory.events", "oom_kill"),
        )

    def _machine_seconds(self) -> Known:
        with suppress(OSError, ValueError, IndexError):
            with (self._proc / "stat").open(encoding="ascii") as file:
                words = file.readline().split()
            return sum(float(words[column]) for column in _WORK) / os.sysconf("SC_CLK_TCK")
        return None
