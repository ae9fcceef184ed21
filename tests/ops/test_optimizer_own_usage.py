"""What a node measures of itself: made-up kernels with known figures, and the real one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rankwire.ops.analyzer.readings import UnavailableError
from rankwire.ops.optimizer.own_usage import OwnUsage
from rankwire.ops.optimizer.usage import Usage


def _kernel(root: Path, limit: str) -> OwnUsage:
    files = {
        "proc/meminfo": "MemTotal: 8000 kB\nMemAvailable: 3000 kB\n",
        "proc/stat": "cpu  100 20 300 4000 500 6 7 80 9 10\ncpu0 1 2\n",
        "proc/self/cgroup": "0::/slice/pod\n",
        "cgroup/slice/pod/memory.max": limit,
        "cgroup/slice/pod/memory.current": "3000000",
        "cgroup/slice/pod/memory.stat": "inactive_file 1000000\nanon 5\n",
        "cgroup/slice/pod/memory.events": "oom 3\noom_kill 2\n",
        "cgroup/slice/pod/cpu.stat": "usage_usec 2500000\nnr_periods 40\nnr_throttled 4\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return OwnUsage(root / "proc", root / "cgroup")


def test_in_a_limited_group_it_is_that_of_the_group(tmp_path: Path) -> None:
    found = _kernel(tmp_path, "4000000").read()
    assert found.memory_bytes == 2_000_000
    assert found.cpu_seconds == 2.5
    assert (found.periods, found.throttled, found.ooms) == (40, 4, 2)


def test_elsewhere_it_is_that_of_the_machine(tmp_path: Path) -> None:
    found = _kernel(tmp_path, "max").read()
    assert found.memory_bytes == 5000 * 1024
    # In hundredths of a second: all columns but idle, waiting and guests.
    assert found.cpu_seconds == pytest.approx(5.13)
    assert found.ooms is None


def test_what_the_kernel_does_not_tell_is_unknown(tmp_path: Path) -> None:
    kernel = _kernel(tmp_path, "4000000")
    for name in ("cpu.stat", "memory.events"):
        (tmp_path / "cgroup/slice/pod" / name).unlink()
    found = kernel.read()
    assert (found.cpu_seconds, found.periods, found.ooms) == (None, None, None)
    (tmp_path / "proc/meminfo").unlink()
    with pytest.raises(UnavailableError, match="does not tell"):
        kernel.read()


def test_on_this_machine_work_is_seen() -> None:
    own, usage = OwnUsage(), Usage("node")
    usage.sample(own.read())
    ends = time.monotonic() + 0.3
    while time.monotonic() < ends:
        pass
    usage.sample(own.read())
    assert usage.samples == 1
    assert usage.restarts == 0
    assert usage.mean_cores > 0.1
    assert usage.memory_peak() > 1e6
    # Another life of the server.
    usage.sample(OwnUsage().read())
    assert usage.restarts == 1
