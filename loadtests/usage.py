"""What a cluster and the generator use while a block runs: processor time and the kernel's memory.

Promises: processor time is that of whole processes, PostgreSQL's with all its sessions; the memory
of the kernel is that of the whole machine, and so an estimate.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Mapping
from typing import Self

import msgspec

import harness
from harness import Process
from slab import Slab


class Used(msgspec.Struct, frozen=True):
    """What was used."""

    seconds: float
    cores: dict[str, float]
    """Processor time a second, by process; `generator` are all of its processes."""
    others: float
    """Share of all cores that programs took which have no part in this."""
    kernel_bytes: float
    """By how much the kernel's own memory (`Slab` in /proc/meminfo) grew at most."""


class Usage:
    """Measures while a block runs; the generator is a child that ends within."""

    def __init__(self, processes: Mapping[str, Process]) -> None:
        """Prepare."""
        self._processes = dict(processes)
        self._slab = Slab()
        self.used: Used
        """What was used, after the block."""

    def __enter__(self) -> Self:
        """Begin."""
        cores = sorted(os.sched_getaffinity(0))
        self._meter = harness.Meter(cores, list(self._processes.values()))
        self._started, self._before = time.monotonic(), self._look()
        self._slab.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """End."""
        self._slab.__exit__(*error)
        seconds = time.monotonic() - self._started
        after = self._look()
        cores = {name: (after[name] - before) / seconds for name, before in self._before.items()}
        others = self._meter.stop()[1]
        self.used = Used(seconds, cores, others, self._slab.grown)

    def _look(self) -> dict[str, float]:
        used = {name: process.cpu_seconds() for name, process in self._processes.items()}
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used | {"generator": ended.ru_utime + ended.ru_stime}
