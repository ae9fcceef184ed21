"""The peers of the comparison do what ours does.

The service in FastAPI runs as the comparison runs it, over a real Redis. Without the dependency
group `bench` or without redis-server those tests are left out, but not in CI.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from redis import Redis

import compare_centrifugo
import compare_stacks
import harness
from compare_stacks import Stack
from fix_server import PATIENCE_SECONDS, Server
from game import Game

USERS: Final = 200


def _needs(modules: tuple[str, ...], programs: tuple[str, ...]) -> None:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    missing += [name for name in programs if shutil.which(name) is None]
    if missing:
        reason = f"{missing} are not there: the peers of the comparison are NOT tested"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Start the service with boards of a small game, and Redis with appendonly."""
    place = tmp_path_factory.mktemp("peer")
    _needs(("fastapi", "uvicorn", "websockets", "httptools"), ("redis-server", "setpriv"))
    with compare_stacks.fastapi(place, "fastapi, everysec", USERS, history=1) as stack:
        yield stack


def _port(stack: Stack) -> int:
    return int(stack.http[1].rpartition(":")[2])


@contextmanager
def _redis(stack: Stack) -> Iterator[Redis]:
    (store,) = [process for process in stack.processes if process.name == "redis"]
    # Redis calls its process after its address.
    title = Path(f"/proc/{store.pid}/cmdline").read_text(encoding="utf-8")
    port = re.search(r"127\.0\.0\.1:([0-9]+)", title)
    assert port is not None
    with Redis(port=int(port[1]), decode_responses=True) as redis:
        yield redis


@contextmanager
def _watching(stack: Stack, channel: str) -> Iterator[Callable[[], Any]]:
    """Watch a channel; gives what returns the next state."""
    from websockets.sync.client import connect  # noqa: PLC0415  # comes with the group `bench`

    url = stack.hub[1].replace("{channel}", channel)
    with connect(url, compression=None) as socket:
        yield lambda: json.loads(socket.recv(timeout=PATIENCE_SECONDS))


def test_the_peer_answers_as_ours_does(peer: Stack, server: Server) -> None:
    ports = (server.http_port, _port(peer))
    submits = [("ann", 10), ("ben", 30), ("cy", 20), ("ann", 25), ("ben", 5), ("cy", 20)]
    receipts = []
    for port in ports:
        harness.call(port, "PUT", "/v1/boards/b", {"policy": "best"})
        bodies = [{"member": member, "score": score} for member, score in submits]
        receipts.append([harness.call(port, "POST", "/v1/boards/b/scores", one) for one in bodies])
    for ours, theirs in zip(*receipts, strict=True):
        assert theirs == {key: ours[key] for key in theirs}
        assert {"member", "score", "rank", "changed", "version"} <= theirs.keys()
    for path in (
        *("top", "top?limit=2", "top?limit=1&offset=1", "top?limit=5&offset=3"),
        *("members/ann", "members/ann/around?radius=1", "members/ben/around?radius=1"),
        *("members/cy/around", "members/cy/around?radius=0"),
    ):
        ours, theirs = (harness.call(port, "GET", f"/v1/boards/b/{path}") for port in ports)
        assert theirs == ours, path
    for path in ("b/members/zoe", "b/members/zoe/around", "none/top", "none/members/ann"):
        assert {harness.status_of(port, f"/v1/boards/{path}") for port in ports} == {404}, path


def test_the_last_score_counts_where_the_policy_says_so(peer: Stack, server: Server) -> None:
    for port in (server.http_port, _port(peer)):
        harness.call(port, "PUT", "/v1/boards/last", {"policy": "last"})
        scores = [
            harness.call(port, "POST", "/v1/boards/last/scores", {"member": "ann", "score": score})
            for score in (10, 5)
        ]
        told = [(one["score"], one["changed"], one["version"]) for one in scores]
        assert told == [(10, True, 1), (5, True, 2)]


def test_both_sides_of_the_comparison_begin_with_the_same_boards(peer: Stack) -> None:
    games = list(Game(USERS).history(1))
    best = sorted(((score, f"player-{user}") for user, score in games), reverse=True)
    for board, played in (("global", best), ("cohort-1", [one for one in best if _in(one, 1)])):
        page = harness.call(_port(peer), "GET", f"/v1/boards/{board}/top?limit=100")
        seen = [(entry["score"], entry["member"]) for entry in page["entries"]]
        assert (page["total"], seen) == (len(played), played[:100])


def _in(played: tuple[int, str], cohort: int) -> bool:
    return int(played[1].partition("-")[2]) // 100 == cohort


def test_a_watcher_gets_the_state_and_each_newer_one(peer: Stack) -> None:
    port = _port(peer)
    harness.call(port, "PUT", "/v1/boards/seen", {"policy": "best"})
    with (
        _watching(peer, "board:seen:top:2") as follow,
        _watching(peer, "board:seen:top:2") as other,
    ):
        empty: dict[str, Any] = {"version": 0, "total": 0, "entries": []}
        assert (follow(), other()) == (empty, empty)
        for number in range(1, 31):
            body = {"member": f"m-{number % 3}", "score": number}
            harness.call(port, "POST", "/v1/boards/seen/scores", body)
        states = [empty]
        while states[-1]["version"] < 30:
            states.append(follow())
        versions = [state["version"] for state in states]
        assert versions == sorted(set(versions))
        page = harness.call(port, "GET", "/v1/boards/seen/top?limit=2")
        rows = [{key: entry[key] for key in ("member", "score")} for entry in page["entries"]]
        assert states[-1] == {"version": 30, "total": 3, "entries": rows}
        while (last := other())["version"] < 30:
            pass
        assert last == states[-1]


def test_a_view_that_looks_the_same_is_not_sent_again(peer: Stack) -> None:
    port = _port(peer)

    def submit(board: str, member: str, score: int) -> None:
        body = {"member": member, "score": score}
        harness.call(port, "POST", f"/v1/boards/{board}/scores", body)

    for board in ("still", "moving"):
        harness.call(port, "PUT", f"/v1/boards/{board}", {"policy": "best"})
        submit(board, "ann", 10)
        submit(board, "ben", 1)
    with (
        _watching(peer, "board:still:top:1") as follow,
        _watching(peer, "board:moving:top:1") as other,
        _redis(peer) as redis,
    ):
        assert (follow()["version"], other()["version"]) == (2, 2)
        # Views are looked at in the order of their first watchers: once the other one's state is
        # there, this one's turn is over.
        redis.publish("changed", "still")
        submit("moving", "ann", 11)
        assert other()["version"] == 3
        submit("still", "ben", 2)
        submit("moving", "ann", 12)
        assert other()["version"] == 4
        submit("still", "ann", 11)
        state = {"version": 4, "total": 2, "entries": [{"member": "ann", "score": 11}]}
        assert follow() == state


def test_who_comes_when_nobody_else_watches_gets_what_happened_meanwhile(peer: Stack) -> None:
    port = _port(peer)
    harness.call(port, "PUT", "/v1/boards/later", {"policy": "best"})
    with _watching(peer, "board:later:top:1") as follow:
        assert follow()["entries"] == []
    harness.call(port, "POST", "/v1/boards/later/scores", {"member": "ann", "score": 7})
    with _watching(peer, "board:later:top:1") as follow:
        assert follow()["entries"] == [{"member": "ann", "score": 7}]


@pytest.mark.parametrize("channel", ["board:none:top:10", "board:global:top:0", "anything"])
def test_a_channel_that_there_is_not_is_closed(peer: Stack, channel: str) -> None:
    from websockets.exceptions import ConnectionClosed  # noqa: PLC0415  # as above

    with _watching(peer, channel) as follow, pytest.raises(ConnectionClosed, match="4404"):
        follow()


def test_redis_keeps_what_the_result_says(peer: Stack) -> None:
    with _redis(peer) as redis:
        kept = redis.config_get("append*")
    assert (kept["appendonly"], kept["appendfsync"]) == ("yes", "everysec")


def test_the_peers_watchers_and_all_its_processes_are_measured(peer: Stack) -> None:
    names = [process.name for process in peer.processes]
    pids = dict(pair.split("=") for pair in peer.doors[-1].split(","))
    assert names == ["uvicorn", "redis"]
    assert pids == {process.name: str(process.pid) for process in peer.processes}
    assert peer.watchers.name == "uvicorn"


def test_centrifugo_delivers_what_the_backend_publishes(tmp_path: Path) -> None:
    centrifugo = compare_centrifugo.find()
    if isinstance(centrifugo, str):
        pytest.skip(f"{centrifugo}: the comparison with it is NOT tested")
    from websockets.sync.client import connect  # noqa: PLC0415  # comes with the group `bench`

    with (
        compare_centrifugo.serving(tmp_path, centrifugo) as server,
        connect(server.live_url, compression=None) as socket,
    ):
        channel = compare_centrifugo.CHANNEL
        socket.send(f'{{"id":1,"connect":{{}}}}\n{{"id":2,"subscribe":{{"channel":"{channel}"}}}}')
        heard: list[Any] = []
        while len(heard) < 2:
            heard += map(json.loads, str(socket.recv(timeout=PATIENCE_SECONDS)).splitlines())
        assert heard[1] == {"id": 2, "subscribe": {}}
        receipts = [
            harness.call(server.port, "POST", "/v1/boards/global/scores", body)
            for body in ({"member": "driver-1", "score": score} for score in (5000, 5001, 5001))
        ]
        assert receipts[1:] == [{"version": 2, "changed": True}, {"version": 2, "changed": False}]
        while len(heard) < 4:
            heard += map(json.loads, str(socket.recv(timeout=PATIENCE_SECONDS)).splitlines())
        page = harness.call(server.port, "GET", "/v1/boards/global/top?limit=10")
        assert (page["version"], page["total"], len(page["entries"])) == (2, 1001, 10)
        assert page["entries"][0] == {"member": "driver-1", "score": 5001}
        assert heard[3]["push"] == {"channel": channel, "pub": {"data": page}}
