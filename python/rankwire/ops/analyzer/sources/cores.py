"""How many cores the process may use, and how often it was held back from using them.

Reads the control group's files of version 2 where there are any.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from rankwire.ops.memory import CGROUPS, PROC, figure, group

# Key of cpu.stat, by our name.
_THROTTLING: Final = {"cpu_periods": "nr_periods", "cpu_throttled": "nr_throttled"}


def read_cores(proc: Path = PROC, cgroups: Path = CGROUPS) -> float:
    """Count the cores: those it may run on, or less where the control group has a quota."""
    found = float(len(os.sched_getaffinity(0)))
    with suppress(OSError, ValueError):
        if (ours := group(proc, cgroups)) is not None:
            quota, period = (ours / "cpu.max").read_text(encoding="ascii").split()
            found = min(found, float(quota) / float(period))
    return found


def read_throttling(proc: Path = PROC, cgroups: Path = CGROUPS) -> dict[str, float]:
    """Count the quota's periods and those in which it was used up; empty where none is set."""
    if (ours := group(proc, cgroups)) is None:
        return {}
    found = {name: figure(ours / "cpu.stat", theirs) for name, theirs in _THROTTLING.items()}
    return {name: value for name, value in found.items() if value is not None}
