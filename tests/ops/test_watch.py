"""A whole server that looks at itself: its reports, its archive, what it does not start with."""

from __future__ import annotations

from pathlib import Path

import pytest

from fix_archive import NewOld, age
from fix_server import NewServer, Server, until
from fix_storage import KINDS
from rankwire.ops.optimizer.usage import UsageStore

_QUICK = ("--ops-sample-seconds", "0.2", "--ops-window-seconds", "1")


def _figure(server: Server, name: str) -> float:
    report = server.get("/v1/ops/report").json()["report"]
    return float(report["figures"][name] or 0.0)


def _until_it_has_looked(server: Server) -> None:
    # The history of a report is what a look notes last.
    until(lambda: bool(server.get("/v1/ops/report").json()["history"]), "a look")


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


def test_caching_that_is_off_is_in_no_report(new_server: NewServer) -> None:
    server = new_server("--ops-caching", "off").start()
    assert server.get("/v1/ops/report").json()["caching"] is None
    assert server.get("/v1/ops/caching").json()["mode"] == "off"


def test_what_the_node_uses_is_kept_across_restarts(new_server: NewServer, tmp_path: Path) -> None:
    file = tmp_path / "usage"
    server = new_server("--ops-usage-path", str(file), "--ops-node-sku", "ec2:c7g.large").start()
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
