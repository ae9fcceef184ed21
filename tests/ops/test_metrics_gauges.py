"""Metrics by the clock and of the machine: rates of late, lag of the loop, commits, memory."""

from __future__ import annotations

import asyncio
import math
import re
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_api import api
from fix_postgres import Database
from fix_server import NewServer, Server, until
from rankwire.ops.analyzer.readings import Buckets
from rankwire.ops.loop_lag import EVERY_SECONDS, LoopLag
from rankwire.ops.memory import Memory, figure, free_bytes, group, read_memory
from rankwire.ops.recent import WINDOW_SECONDS, Growth, Recent
from rankwire.times import BUCKETS, Times

if TYPE_CHECKING:
    from fix_api import Client

__all__ = ["api"]

BOARD = "/v1/boards/b"


def _labelled(server: Server, name: str) -> dict[str, float]:
    text = server.get("/metrics").body.decode()
    rows = re.findall(rf'^{name}\{{\w+="([^"]*)"\}} (\S+)$', text, re.MULTILINE)
    return {label: float(value) for label, value in rows}


def test_scores_a_second_are_the_submits_of_the_last_minute(new_server: NewServer) -> None:
    before = time.monotonic()
    server = new_server().start()
    after = time.monotonic()
    server.create("b")
    batch = [{"member": f"m{n}", "score": n} for n in range(500)]
    assert server.call("POST", f"{BOARD}/scores:batch", batch).status == 200
    # Not a number at first, then ever less a second as time goes by without more of them.
    until(lambda: server.metric("score_updates_per_second") < 350, "more than a second")
    asked = time.monotonic()
    rate = server.metric("score_updates_per_second")
    answered = time.monotonic()
    # The window begins while the server starts, and less than a minute has passed.
    assert 500 / (answered - before) <= rate <= 500 / (asked - after)


async def test_watchers_are_counted_by_pod(
    new_server: NewServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POD_NAME", "rankwire-7")
    server = new_server().start()
    name = "websocket_connections_per_pod"
    assert _labelled(server, name) == {"rankwire-7": 0}
    async with aiohttp.ClientSession() as http:
        async with http.ws_connect(server.live_url) as live:
            await live.send_str('{"id":1,"connect":{}}')
            await live.receive_str()
            assert _labelled(server, name) == {"rankwire-7": 1}
        until(lambda: _labelled(server, name) == {"rankwire-7": 0}, "the watcher has gone")


def test_a_node_without_a_live_door_has_no_watchers(
    new_server: NewServer, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What scales by the mean over pods needs a figure of each."""
    monkeypatch.setenv("POD_NAME", "rankwire-8")
    server = new_server("--storage-url", postgres.url, "--role", "api").start()
    assert _labelled(server, "websocket_connections_per_pod") == {"rankwire-8": 0}


async def test_a_cache_that_nobody_asked_has_no_hit_rate(api: Client) -> None:
    text = (await api.get("/metrics")).body.decode()
    assert 'cache_hit_rate{cache_type="profile_local"} NaN' in text


async def test_every_commit_has_its_time(api: Client) -> None:
    await api.call("PUT", BOARD)
    for score in range(5):
        await api.post(f"{BOARD}/scores", {"member": "ada", "score": score})
    times, stats = api.writer.append_times, api.writer.engine.stats()
    assert sum(times.counts) == stats["batches_total"] == 6
    assert 0 < times.total < 60
    text = (await api.get("/metrics")).body.decode()
    assert "rankwire_commit_seconds_count 6.0" in text


async def test_a_stall_of_the_loop_is_seen_with_its_length() -> None:
    lag = LoopLag()
    lag.start()
    time.sleep(EVERY_SECONDS + 0.2)  # noqa: ASYNC251  # that is the stall
    # The timer is overdue, so the next turns of the loop are enough for it.
    await asyncio.sleep(0.01)
    lag.stop()
    # The first measurement was due after one interval; a timer may be early by a millisecond.
    assert lag.times.total >= 0.2 - 0.002
    shown = Buckets.of(lag.times)
    assert (shown.bounds, shown.total) == (BUCKETS, lag.times.total)
    assert sum(shown.counts[: BUCKETS.index(0.1) + 1]) < sum(shown.counts)


@given(st.lists(st.floats(0, 5), max_size=50))
def test_times_fall_into_the_bucket_of_their_bound(seconds: list[float]) -> None:
    times = Times()
    for one in seconds:
        times.add(one)
    bounds = (-math.inf, *BUCKETS, math.inf)
    assert times.counts == [
        sum(low < one <= high for one in seconds) for low, high in pairwise(bounds)
    ]
    assert times.total == pytest.approx(sum(seconds))


STEPS = st.lists(st.tuples(st.floats(0.01, 30), st.integers(0, 100)), min_size=1, max_size=40)


@given(STEPS)
def test_growth_is_since_the_oldest_sample_of_the_window(steps: list[tuple[float, int]]) -> None:
    asyncio.run(_compare_growth(steps))


async def _compare_growth(steps: list[tuple[float, int]]) -> None:
    total = 0
    recent = Recent(lambda: {"n": total})
    now = time.monotonic() + 2 * WINDOW_SECONDS
    samples = []
    for pause, more in steps:
        now, total = now + pause, total + more
        recent.sample(now)
        samples.append((now, total))
    asked = now + 0.5
    then, before = next(sample for sample in samples if sample[0] >= asked - WINDOW_SECONDS)
    assert recent.growth({"n": total + 7}, asked) == Growth(asked - then, {"n": total + 7 - before})


# Memory: files as the kernel has them.

MEMINFO = "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    400 kB\n"
MACHINE = Memory(1000 * 1024, 600 * 1024, "machine")


def _kernel(root: Path, memberships: str, files: dict[str, str]) -> tuple[Path, Path]:
    proc, cgroups = root / "proc", root / "cgroup"
    for path, text in {"meminfo": MEMINFO, "self/cgroup": memberships}.items():
        (proc / path).parent.mkdir(parents=True, exist_ok=True)
        (proc / path).write_text(text, encoding="utf-8")
    for path, text in files.items():
        (cgroups / path).parent.mkdir(parents=True, exist_ok=True)
        (cgroups / path).write_text(text, encoding="utf-8")
    return proc, cgroups


def _group(where: str, limit: str, used: int, idle: int) -> dict[str, str]:
    return {
        f"{where}memory.max": f"{limit}\n",
        f"{where}memory.current": f"{used}\n",
        f"{where}memory.stat": f"anon 5\ninactive_file {idle}\n",
    }


@pytest.mark.parametrize(
    ("memberships", "files", "expected"),
    [
        ("0::/\n", {}, MACHINE),
        ("0::/\n", _group("", "max", 500, 100), MACHINE),
        ("0::/\n", _group("", "2000", 500, 100), Memory(2000, 400, "cgroup")),
        ("0::/a/b\n", _group("a/b/", "9000", 50, 0) | _group("a/", "3000", 700, 1),
         Memory(3000, 699, "cgroup")),
        ("0::/not/seen/here\n", _group("", "2000", 500, 100), Memory(2000, 400, "cgroup")),
        ("0::/\n", _group("", "99999999", 5, 0), MACHINE),
        ("5:cpu:/\n4:memory:/pod\n0::/\n",
         {"memory/pod/memory.limit_in_bytes": "4000", "memory/pod/memory.usage_in_bytes": "900",
          "memory/pod/memory.stat": "inactive_file 1\ntotal_inactive_file 300\n"},
         Memory(4000, 600, "cgroup")),
    ],
)  # fmt: skip
def test_the_smallest_limit_of_memory_counts(
    tmp_path: Path, memberships: str, files: dict[str, str], expected: Memory
) -> None:
    assert read_memory(*_kernel(tmp_path, memberships, files)) == expected


@pytest.mark.parametrize(
    ("memberships", "files", "left"),
    [
        ("0::/\n", {}, 400 * 1024),
        # A group further out, as systemd makes one for a service.
        ("0::/system.slice/us.service\n", _group("system.slice/us.service/", "90000", 80_000, 0),
         10_000),
        # The group has more left than the machine.
        ("0::/\n", _group("", str(1000 * 1024 - 1), 5, 0), 400 * 1024),
        ("0::/\n", _group("", "2000", 2500, 0), 0),
    ],
)  # fmt: skip
def test_what_is_left_is_what_the_tightest_limit_leaves(
    tmp_path: Path, memberships: str, files: dict[str, str], left: int
) -> None:
    assert free_bytes(*_kernel(tmp_path, memberships, files)) == left


def test_figures_of_the_control_group_are_read(tmp_path: Path) -> None:
    proc, cgroups = _kernel(tmp_path, "5:cpu:/\n0::/a\n", {"a/cpu.stat": "one 1\nwrong x\n"})
    found = group(proc, cgroups)
    assert found == cgroups / "a"
    assert figure(found / "cpu.stat", "other") is None
    assert figure(found / "none", "one") is None
    (cgroups / "a/cpu.stat").write_text("one 1\ntwo 2\n", encoding="utf-8")
    assert figure(found / "cpu.stat", "two") == 2
    (proc / "self" / "cgroup").write_text("5:cpu:/\n", encoding="utf-8")
    assert group(proc, cgroups) is None
    assert group(tmp_path / "nowhere") is None


def test_a_kernel_that_does_not_tell_is_unknown(tmp_path: Path) -> None:
    assert free_bytes(tmp_path, tmp_path) is None
    assert read_memory(tmp_path, tmp_path) is None
    assert read_memory() is not None


def test_room_for_memory_and_files_is_exported(server: Server) -> None:
    used, limit = (server.metric(f"rankwire_memory_{name}_bytes") for name in ("used", "limit"))
    assert 0 < used < limit
    assert 0 < server.metric("process_open_fds") < server.metric("process_max_fds")
    until(lambda: server.metric("rankwire_loop_lag_seconds_count") > 0, "a timer")
