"""How many cores the process may use, and how often it was held back from using them.

Reads the control group's files of version 2 where there are any.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from rankwire.ops.memory import CGROUPS, PROC

# Key of cpu.stat, by our name.
_THROTTLING: Final = {"cpu_periods": "nr_periods", "cpu_throttled": "nr_throttled"}


def read_cores(proc: Path = PROC, cgroups: Path = CGROUPS) -> float:
    """Count the cores: those it may run on, or less where the control group has a quota."""
    found = float(len(os.sched_getaffinity(0)))
    with suppress(OSError, ValueError):
        quota, period = (_group(proc, cgroups) / "cpu.max").read_text(encoding="ascii").split()
        found = min(found, float(quota) / float(period))
    return found


def read_throttling(proc: Path = PROC, cgroups: Path = CGROUPS) -> dict[str, float]:
    """Count the quota's periods and those in which it was used up; empty where none is set."""
    with suppress(OSError, ValueError, KeyError):
        file = _group(proc, cgroups) / "cpu.stat"
        rows = dict(line.split() for line in file.read_text(encoding="ascii").splitlines())
        return {ours: float(rows[theirs]) for ours, theirs in _THROTTLING.items()}
    return {}


def _group(proc: Path, cgroups: Path) -> Path:
    """Find the control group. ValueError where version 2 is not used."""
    lines = (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    # Version 2 has one line, without a number and without controllers.
    (path,) = (line.removeprefix("0::") for line in lines if line.startswith("0::"))
    return cgroups / path.lstrip("/")
