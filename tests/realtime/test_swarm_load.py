"""The load generator's load: reads, phases, sockets that come and go, several nodes.

Right figures about right servers, and wrong answers are caught.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web

from fix_cluster import NewCluster
from fix_server import Server

_ROOT: Final = Path(__file__).parents[2]
_MIX: Final = "board:global:top:10, board:cohort-{cohort}:top:10, board:global:member:{member}"
_MEMBERS: Final = 20


@pytest.fixture(scope="session")
def program() -> Path:
    subprocess.run(
        ("cargo", "build", "--quiet", "-p", "rankwire-swarm"), cwd=_ROOT, check=True, timeout=110
    )
    return _ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug" / "rankwire-swarm"


def _watch(program: Path, *arguments: str) -> tuple[int, Any]:
    command = (str(program), "watch", *arguments, "--output", "json")
    ended = subprocess.run(command, stdout=subprocess.PIPE, timeout=60, check=False)
    return ended.returncode, json.loads(ended.stdout)


def _fill(server: Server) -> None:
    for board in ("global", "cohort-0", "cohort-1"):
        server.create(board)
        for number in range(_MEMBERS):
            server.submit(board, f"player-{number}", number)


def test_phases_with_reads_and_sockets_that_come_and_go(program: Path, server: Server) -> None:
    _fill(server)
    code, result = _watch(
        program,
        *("--url", server.live_url, "--http", f"{server.url},{server.url}"),
        *("--mix", _MIX, "--members", str(_MEMBERS), "--cohorts", "2", "--sockets", "30"),
        *("--reads", "100", "--reads-connections", "4", "--drive", "20"),
        *("--phases", "calm:1:1,peak:1:2,cut:1:1", "--churn", "600", "--slow", "3:1"),
        *("--cut", "cut:5", "--at-once", "5", "--server-pid", f"node={server.pid}"),
        *("--at", 'peak:POST:/v1/boards/global/scores:batch:[{"member":"new","score":1}]'),
    )
    assert (code, result["errors"], result["sockets"]) == (0, {}, 30), result
    assert [phase["name"] for phase in result["phases"]] == ["calm", "peak", "cut"]
    reads = [
        sum(phase["api"][kind]["count"] for kind in ("top", "around", "member"))
        for phase in result["phases"]
    ]
    # Every read that was due was answered, and the rate follows the factors.
    assert reads == [100, 200, 100]
    assert sum(phase["api"]["submit_http"]["count"] for phase in result["phases"]) >= 70
    assert all(phase["deliveries"] > 0 for phase in result["phases"])
    assert result["phases"][0]["cpu"].keys() == {"node", "all"}
    assert result["cut"]["reconnects"] == 25
    assert result["churn"]["reconnects"] > 0
    assert [one["status"] for one in result["at"]] == [200]
    assert result["memory"]["processes"]["node"].keys() == {"before", "opened", "after"}
    assert (result["checked"]["wrong"], result["checked"]["subscriptions"]) == (0, 30)


def test_deliveries_of_several_nodes_are_timed_by_what_they_show(
    program: Path, new_cluster: NewCluster
) -> None:
    cluster = new_cluster(nodes=2)
    cluster.start_all()
    first, second = cluster.servers
    _fill(first)
    cluster.until_level()
    code, result = _watch(
        program,
        *("--url", f"{first.live_url},{second.live_url}", "--http", f"{first.url},{second.url}"),
        *("--mix", "board:global:top:10", "--sockets", "20", "--timed-by", "content"),
        *("--drive", "40", "--drive-connections", "2", "--seconds", "2"),
    )
    assert (code, result["errors"], result["checked"]["wrong"]) == (0, {}, 0), result
    latency = result["latency"]
    assert latency["from_sent"]["count"] > 100
    # Each state shows a score that the one before did not.
    assert latency["untimed"] == 0
    assert latency["from_sent"]["max_ms"] < 1000 * result["seconds"]


# Servers that are told what to say.


@asynccontextmanager
async def _serving(page: dict[str, object]) -> AsyncIterator[tuple[str, str]]:
    async def read(_: web.Request) -> web.Response:
        return web.json_response(page)

    async def talk(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert request.query["channel"] == "board:global:top:10"
        while not socket.closed:
            await socket.send_json({"total": page["total"], "entries": page["entries"]})
            # Until the watcher goes away, however long it took to come.
            with suppress(TimeoutError):
                await socket.receive(timeout=0.02)
        return socket

    app = web.Application()
    app.router.add_get("/plain", talk)
    app.router.add_get("/{path:.*}", read)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"ws://{host}:{port}/plain?channel={{channel}}", f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def _page(*ranks: int) -> dict[str, object]:
    entries = [{"rank": rank, "member": "ann", "score": 1} for rank in ranks]
    return {"board": "global", "version": 1, "total": len(ranks), "entries": entries}


async def test_wrong_answers_to_reads_are_noticed(program: Path) -> None:
    arguments = ("--encoding", "plain", "--timed-by", "content", "--sockets", "2", "--cohorts", "1")
    async with _serving(_page(1, 1)) as (url, http):
        code, result = await asyncio.to_thread(
            _watch,
            *(program, "--url", url, "--http", http, *arguments, "--seconds", "0.5"),
            *("--reads", "200", "--reads-connections", "2"),
        )
    assert code == 1
    wrong = sum(count for what, count in result["errors"].items() if what.startswith("read "))
    assert wrong == result["reads"]["due"] == 100
    assert result["errors"]["read top: ranks do not rise"] > 0
    assert result["phases"][0]["api"]["all"]["count"] == result["reads"]["answers"] == 0


@pytest.mark.parametrize("first", ["sent", "none"])
async def test_bare_states_of_other_servers_are_watched(program: Path, first: str) -> None:
    arguments = ("--encoding", "plain", "--first-state", first, "--timed-by", "content")
    async with _serving(_page()) as (url, _):
        code, result = await asyncio.to_thread(
            _watch, program, "--url", url, *arguments, "--sockets", "4", "--seconds", "0.3"
        )
    assert (code, result["sockets"], result["errors"]) == (0, 4, {})
    assert result["traffic"]["deliveries"] > 0
