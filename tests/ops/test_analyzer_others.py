"""The analyzer on a real Redis, on caches, on a busy processor, and on files of the kernel."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from fix_access import open_access
from fix_analyzer import Watching, watch
from fix_postgres import Database as Fresh
from fix_redis import NewRedis, RedisCluster
from fix_server import PATIENCE_SECONDS
from rankwire import _core
from rankwire.ops.analyzer.readings import AbsentError, UnavailableError, Window
from rankwire.ops.analyzer.sources.api import ApiSource
from rankwire.ops.analyzer.sources.cores import read_cores, read_throttling
from rankwire.ops.analyzer.sources.database import SqliteSource
from rankwire.ops.analyzer.sources.host import HostSource
from rankwire.ops.analyzer.sources.websocket import WebsocketSource
from rankwire.settings import Live, Storage
from rankwire.sync.vitals import RedisVitals

EVICTIONS: Final = "REDIS_EVICTIONS"
HITS: Final = "CACHE_HIT_RATE"
CPU: Final = "API_CPU_UTILIZATION"
LAG: Final = "API_EVENT_LOOP_LAG"
HANDSHAKE: Final = (
    b"GET /connection/websocket HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n"
    b"connection: upgrade\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


async def test_evictions_are_found_and_the_memory_is_computed(
    new_redis: NewRedis, postgres: Fresh, tmp_path: Path
) -> None:
    redis = new_redis("--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru").start()
    kept = Storage(url=postgres.url)
    rules = {"REDIS_MEMORY": {"bound": 2.0, "clear": 1.9}}
    async with watch(tmp_path, kept, redis_url=redis.url, rules=rules) as watching:
        await watching.until(
            lambda r: r.figures["cache.redis_evicted_per_second"] == 0, "a Redis that is well"
        )
        stop = threading.Event()

        def fill() -> None:
            with redis.client() as client:
                for number in count():
                    if stop.is_set():
                        return
                    client.set(f"key-{number}", "x" * 1000)

        filler = asyncio.create_task(asyncio.to_thread(fill))
        try:
            found, report = await watching.fires(EVICTIONS)
            assert (found.cause, found.source) == (None, "cache")
            report = await watching.until(lambda r: r.recommendations, "advice")
            advice = next(each for each in report.recommendations if each.action == "GROW_REDIS")
            assert advice.inputs["limit_bytes"] == 3 * 1024**2
            assert 1000 < float(advice.inputs["bytes_per_key"]) < 3000
            # No SKU was named, so the price is not known, and that is said.
            assert (advice.monthly, advice.cost) == (None, [])
            assert any("no SKU" in caveat for caveat in advice.caveats)
        finally:
            stop.set()
            await filler
        await watching.clears(EVICTIONS)


async def test_a_redis_that_dies_is_unavailable_and_changes_no_rule(
    new_redis: NewRedis, postgres: Fresh, tmp_path: Path
) -> None:
    redis = new_redis().start()
    clients = "REDIS_CLIENTS"
    rules = {clients: {"bound": 0.0, "clear": 0.0}}
    kept = Storage(url=postgres.url)
    async with watch(tmp_path, kept, redis_url=redis.url, rules=rules) as watching:
        await watching.fires(clients)
        redis.kill()
        report = await watching.until(
            lambda r: r.sources["cache"].status == "unavailable", "the loss of Redis"
        )
        assert "Redis cannot be asked" in report.sources["cache"].reason
        # Our own counts go on from before.
        assert report.sources["cache"].samples > 2
        assert {v for k, v in report.figures.items() if k.startswith("cache.redis")} == {None}
        assert (report.health["cache"].score, report.overall.score) == (None, None)
        assert "cache is unavailable" in report.overall.cause
        report = await watching.looks()
        assert clients in [found.type for found in report.bottlenecks]
        # What this process counts is told all the same.
        await watching.profiles.get_many([f"nobody-{number}" for number in range(500)])
        report = await watching.until(
            lambda r: r.figures["cache.local_hit_rate"] is not None, "our own counts"
        )
        assert report.sources["cache"].status == "unavailable"
        await asyncio.to_thread(redis.start)
        await watching.until(lambda r: r.sources["cache"].status == "ok", "Redis again")


async def test_a_redis_that_hangs_holds_up_nobody(
    new_redis: NewRedis, postgres: Fresh, tmp_path: Path
) -> None:
    redis = new_redis().start()
    kept = Storage(url=postgres.url)
    async with watch(tmp_path, kept, redis_url=redis.url) as watching:
        await watching.until(lambda r: r.sources["cache"].status == "ok", "Redis")
        redis.pause()
        try:
            report = await watching.until(
                lambda r: r.sources["cache"].status == "unavailable", "a Redis that hangs"
            )
            assert report.sources["api"].status == "ok"
            assert report.sources["database"].status == "ok"
        finally:
            redis.resume()
        await watching.until(lambda r: r.sources["cache"].status == "ok", "Redis again")


async def test_all_masters_of_a_cluster_are_asked(redis_cluster: RedisCluster) -> None:
    for node in redis_cluster.nodes:
        node.ask("CONFIG", "SET", "maxmemory", "100mb")
    vitals = RedisVitals(redis_cluster.url)
    try:
        info = await vitals.read()
        assert info.gauges["memory_limit"] == 3 * 100 * 1024**2
        assert len(info.life.split()) == 3
        assert 0 < info.gauges["memory_part"] < 1
    finally:
        await vitals.close()


async def test_a_cache_is_judged_by_enough_look_ups_only(tmp_path: Path) -> None:
    names = (f"member-{number}" for number in count())

    async def look_up(watching: Watching, members: list[str], until: str) -> None:
        for _ in range(10_000):
            await watching.profiles.get_many(members or [next(names) for _ in range(100)])
            await asyncio.sleep(0.005)
            is_there = any(found.type == HITS for found in watching.report.bottlenecks)
            if is_there == (until == "fires"):
                return
        pytest.fail(f"waited in vain until {HITS} {until}")

    async with watch(tmp_path) as watching:
        await watching.profiles.get_many(["nobody"])
        report = await watching.looks(8)
        # One look-up in vain is no hit rate of 0, and no traffic is none either.
        assert report.figures["cache.hit_rate"] is None
        assert HITS not in [found.type for found in report.bottlenecks]
        assert report.health["cache"].score is None
        assert report.overall.score is not None
        assert report.sources["cache"].reason == "there is no Redis"
        await look_up(watching, [], "fires")
        found, _ = await watching.fires(HITS)
        assert found.value < 0.8
        await look_up(watching, [f"known-{number}" for number in range(100)], "clears")


@contextmanager
def _burning(threads: int = 8) -> Iterator[None]:
    """Use the processor on threads that leave the interpreter to others."""
    stop, block = threading.Event(), bytes(1_000_000)

    def burn() -> None:
        while not stop.is_set():
            hashlib.sha256(block)

    running = [threading.Thread(target=burn) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in running:
            thread.join()


async def test_a_busy_processor_is_found(tmp_path: Path) -> None:
    # Low, as others may use the processor too, and many threads to get a part of it.
    rules = {CPU: {"bound": 0.2, "clear": 0.15}}
    async with watch(tmp_path, rules=rules) as watching:
        served = watching.requests["top"]

        async def serve() -> None:
            while True:
                served.count(200, 0.002)
                await asyncio.sleep(0.01)

        serving = asyncio.create_task(serve())
        with _burning():
            found, report = await watching.fires(CPU)
            assert (found.source, found.cause) == ("api", None)
            assert (report.figures["api.process_cpu"] or 0) > (report.figures["api.loop_cpu"] or 0)
            assert report.figures["api.cpu_seconds_per_request"]
            # On SQLite there is no second node to run.
            assert "SCALE_API" not in [each.action for each in report.recommendations]
        serving.cancel()
        await watching.clears(CPU)


async def test_work_on_the_event_loop_is_found_and_explains_its_lag(tmp_path: Path) -> None:
    rules = {CPU: {"bound": 0.1, "clear": 0.08}, LAG: {"bound": 0.09, "clear": 0.06}}
    async with watch(tmp_path, rules=rules) as watching:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            # Half of one core, in pieces that are longer than a request may wait.
            busy = time.thread_time() + 0.15
            while time.thread_time() < busy:
                pass
            await asyncio.sleep(0.05)
            causes = {found.type: found.cause for found in watching.report.bottlenecks}
            if causes.get(LAG) == CPU:
                break
        types = [found.type for found in watching.report.bottlenecks]
        assert types.index(CPU) < types.index(LAG)
        figures = watching.report.figures
        assert figures["api.cpu_utilization"] == figures["api.loop_cpu"]
        await watching.clears(LAG)
        await watching.clears(CPU)


async def test_requests_and_errors_are_measured(tmp_path: Path) -> None:
    async with watch(tmp_path) as watching:
        await watching.looks(2)
        for number in range(100):
            watching.requests["submit"].count(500 if number < 5 else 200, 0.02)
        report = await watching.until(lambda r: r.figures["api.error_part"], "errors")
        assert report.figures["api.error_part"] == 0.05
        assert report.figures["api.submit_p99"] == 0.025
        assert report.figures["api.request_mean"] == pytest.approx(0.02)
        # A burn over an hour is not known after a second.
        assert report.figures["api.budget_burn_fast"] is None
        # Those that take no time that is counted are requests as well.
        for _ in range(300):
            watching.requests["submit"].count(404, 0.0)
        await watching.until(lambda r: r.figures["api.request_p50"] == 0.0005, "the others")


async def test_commits_and_files_of_sqlite_are_measured(tmp_path: Path) -> None:
    async with watch(tmp_path) as watching:
        await watching.looks(2)
        writer = watching.writer
        await writer.reply(writer.engine.create_board("b", "int64", "desc", "best", "first"))
        report = await watching.until(lambda r: r.figures["api.commit_p99"], "a commit")
        assert report.figures["api.submits_per_commit"] == 0
        assert (report.figures["database.journal_bytes"] or 0) > 0
        assert 0 < (report.figures["database.disk_part"] or 0) < 1
        assert report.sources["database"].status == "ok"
        assert report.sources["websocket"].status == "absent"
        assert "websocket" not in report.health


async def test_a_source_that_breaks_does_not_blind_the_others(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot be read: No such file"):
        await SqliteSource(tmp_path / "nowhere").read()
    with pytest.raises(AbsentError, match="no live connections"):
        await WebsocketSource(None, 100).read()


async def test_watchers_are_measured(tmp_path: Path) -> None:
    async with watch(tmp_path) as watching:
        hub = _core.Hub.start(watching.writer.engine, open_access(), Live(port=0))
        try:
            source = WebsocketSource(hub, 100)
            reader, stream = await asyncio.open_connection("127.0.0.1", hub.port)
            stream.write(HANDSHAKE)
            assert (await reader.readline()).startswith(b"HTTP/1.1 101")
            deadline = time.monotonic() + PATIENCE_SECONDS
            while (reading := await source.read()).gauges["connections"] != 1:
                assert time.monotonic() < deadline
            assert reading.gauges["connections_limit"] == 100
            assert reading.totals["refused"] == 0
            stream.close()
            await stream.wait_closed()
        finally:
            hub.shutdown(0)


async def test_the_control_group_sets_the_limits(tmp_path: Path) -> None:
    proc, group = tmp_path / "proc" / "self", tmp_path / "cgroup" / "pod"
    (proc / "fd").mkdir(parents=True)
    group.mkdir(parents=True)
    (proc / "cgroup").write_text("0::/pod\n")
    (proc / "statm").write_text("1000 250 0 0 0 0 0\n")
    (proc.parent / "meminfo").write_text("MemTotal: 8000 kB\nMemAvailable: 6000 kB\n")
    (group / "memory.max").write_text("1000000\n")
    (group / "memory.current").write_text("800000\n")
    (group / "memory.stat").write_text("inactive_file 50000\n")
    (group / "cpu.max").write_text("50000 100000\n")
    (group / "cpu.stat").write_text("usage_usec 1\nnr_periods 100\nnr_throttled 10\n")
    source = HostSource(proc.parent, group.parent)
    before = await source.read()
    (group / "cpu.stat").write_text("usage_usec 1\nnr_periods 200\nnr_throttled 60\n")
    window = Window(before, await source.read())
    assert window.gauge("memory_used") == 750_000
    assert window.gauge("memory_limit") == 1_000_000
    assert window.gauge("cores") == 0.5
    assert (window.delta("cpu_throttled"), window.delta("cpu_periods")) == (50, 100)
    (group / "cpu.max").write_text("max 100000\n")
    assert read_cores(proc.parent, group.parent) >= 1
    (proc / "cgroup").write_text("3:cpu:/\n")
    assert read_throttling(proc.parent, group.parent) == {}
    (proc / "statm").unlink()
    with pytest.raises(UnavailableError, match="the kernel does not tell"):
        await source.read()


def test_the_sources_have_the_names_that_figures_begin_with() -> None:
    names = [each.name for each in (ApiSource, SqliteSource, WebsocketSource, HostSource)]
    assert names == ["api", "database", "websocket", "host"]
