"""A whole server that looks at itself: its reports, its archive, what it does not start with."""

from __future__ import annotations

import asyncio
import resource
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from fix_api import make_parts
from fix_archive import NewOld, age
from fix_server import NewServer, Server, until
from fix_storage import KINDS
from rankwire.beside import open_beside
from rankwire.ops.optimizer.usage import UsageStore
from rankwire.ops.optimizer.usage_keeper import UsageKeeper
from rankwire.settings import Settings, Storage
from rankwire.storage.sqlite import SqliteStorage
from rankwire.writer import Writer

_QUICK = ("--ops-sample-seconds", "0.2", "--ops-window-seconds", "1")


def _figure(server: Server, name: str) -> float:
    report = server.get("/v1/ops/report").json()["report"]
    return float(report["figures"][name] or 0.0)


def _until_it_has_looked(server: Server) -> None:
    # The history of a report is what a look notes last.
    until(lambda: bool(server.get("/v1/ops/report").json()["history"]), "a look")


def _until_another_look(server: Server) -> None:
    def at() -> float:
        return float(server.get("/v1/ops/report").json()["report"]["at"])

    before = at()
    until(lambda: at() > before, "another look")


def test_a_report_follows_what_happens(new_server: NewServer) -> None:
    server = new_server(*_QUICK).start()
    server.create("cup")
    _until_it_has_looked(server)

    def submits_are_seen() -> bool:
        server.submit("cup", "ada", 1)
        return _figure(server, "api.requests_per_second") > 0

    until(submits_are_seen, "requests in the report")
    bundle = server.get("/v1/ops/report").json()
    assert bundle["report"]["overall"]["score"] is not None
    assert {name: source["status"] for name, source in bundle["report"]["sources"].items()} == {
        "api": "ok",
        "database": "ok",
        "cache": "ok",
        "websocket": "ok",
        "host": "ok",
    }
    assert set(bundle["report"]["figures"]) <= set(bundle["units"])
    assert bundle["caching"]["mode"] == server.get("/v1/ops/caching").json()["mode"] == "advise"


def test_requests_are_those_of_clients(new_server: NewServer) -> None:
    server = new_server("--ops-sample-seconds", "0.2", "--ops-window-seconds", "60").start()
    _until_it_has_looked(server)
    # The report itself is asked for again and again as well.
    for path in ("/healthz", "/readyz", "/metrics"):
        assert server.get(path).status == 200
    for _ in range(3):
        _until_another_look(server)
    assert _figure(server, "api.requests_per_second") == 0
    assert server.get("/nowhere").status == 404
    until(lambda: _figure(server, "api.requests_per_second") > 0, "a request in the report")


async def test_the_limit_of_watchers_is_that_of_all_processes(new_server: NewServer) -> None:
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    flags = ("--live-processes", "2", "--live-max-connections", "1000000")
    server = new_server(*_QUICK, *flags).start()
    limit = 1_000_000
    if most_files != resource.RLIM_INFINITY:
        limit = min(limit, most_files - 1000)
    async with aiohttp.ClientSession() as http, http.ws_connect(server.live_url) as live:
        await live.send_str('{"id":1,"connect":{}}')
        await live.receive_str()
        name = "websocket.connections_part"
        await asyncio.to_thread(until, lambda: _figure(server, name) > 0, "a watcher")
        # Each process has files of its own.
        assert await asyncio.to_thread(_figure, server, name) == 1 / (2 * limit)


async def test_a_watch_ends_although_its_history_cannot_be_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: UsageKeeper) -> None:
        raise OSError("it breaks")

    monkeypatch.setattr(UsageKeeper, "save", fail)
    settings = Settings(storage=Storage(path=tmp_path / "data"))
    async with AsyncExitStack() as stack:
        storage = SqliteStorage(settings.storage.path, 2.0)
        stack.callback(storage.close)
        writer = Writer(
            storage.recover(1000, 10), storage, checkpoint_members=50_000, checkpoint_seconds=3600
        )
        writer.start()
        stack.push_async_callback(writer.stop)
        beside = await open_beside(settings, "")
        stack.push_async_callback(beside.close)
        watch = make_parts(writer, beside, settings).watch
        watch.start()
        await watch.stop()
        await watch.stop()


def test_caching_that_is_off_is_in_no_report(new_server: NewServer) -> None:
    server = new_server("--ops-caching", "off").start()
    assert server.get("/v1/ops/report").json()["caching"] is None
    assert server.get("/v1/ops/caching").json()["mode"] == "off"


def test_what_the_node_uses_is_kept_across_restarts(new_server: NewServer, tmp_path: Path) -> None:
    file = tmp_path / "usage"
    server = new_server(
        *_QUICK, "--ops-usage-path", str(file), "--ops-node-sku", "ec2:c7g.large"
    ).start()
    _until_it_has_looked(server)
    assert server.terminate() == 0
    (first,) = UsageStore.load(file).workloads.values()
    assert first.place.instance == "ec2:c7g.large"
    server.start()
    _until_it_has_looked(server)
    assert server.terminate() == 0
    (second,) = UsageStore.load(file).workloads.values()
    assert second.restarts == first.restarts + 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_archives_its_old_journal(
    kind: str, new_old: NewOld, new_server: NewServer
) -> None:
    old = new_old(kind)
    rows = age(old.place)
    server = new_server(*old.flags, directory=old.place.settings.path).start()
    until(lambda: server.metric("rankwire_archive_dropped_batches_total") == len(rows), "the end")
    assert server.get("/readyz").json() == {"status": "ready"}
    assert server.terminate() == 0
    assert old.archived == rows
    assert not set(old.journal) & set(rows)


def test_a_server_without_its_archive_drops_nothing_and_says_so(
    new_old: NewOld, new_server: NewServer, tmp_path: Path
) -> None:
    old = new_old("sqlite")
    age(old.place)
    before = old.journal
    (tmp_path / "file").write_bytes(b"")
    url = f"file://{tmp_path}/file/archive"
    server = new_server("--ops-archive-url", url, directory=old.place.settings.path).start()

    def is_degraded() -> bool:
        answer = server.get("/readyz").json()
        return bool(answer["status"] == "degraded")

    until(is_degraded, "a server that says what it lacks")
    (reason,) = server.get("/readyz").json()["reasons"]
    assert reason.startswith("the journal is not archived: ")
    assert server.submit("cup", "new", 5).status == 200
    assert old.journal[: len(before)] == before


@pytest.mark.parametrize(
    ("flag", "value", "name"),
    [
        ("--ops-rules", "/nowhere/rules.toml", "ops.rules"),
        ("--ops-prices", "/nowhere/prices.json", "ops.prices"),
        ("--ops-node-sku", "ec2:c7g.lage", "ops.node_sku"),
        ("--ops-archive-url", "ftp://archive", "ops.archive_url"),
    ],
)
def test_a_server_does_not_start_with_what_it_cannot_use(
    new_server: NewServer, flag: str, value: str, name: str
) -> None:
    server = new_server(flag, value).spawn()
    assert server.wait() == 2
    assert name in server.log
    assert not server.directory.exists()
