"""Watching boards with the unmodified Centrifuge SDK for Python."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import pytest
from centrifuge import (  # type: ignore[import-untyped]
    Client,
    PublicationContext,
    ReplyError,
    SubscribedContext,
    SubscribingContext,
    Subscription,
    SubscriptionErrorContext,
    SubscriptionEventHandler,
    SubscriptionState,
    UnsubscribedContext,
)

from fix_server import NewServer, Server, closed

_SECONDS: Final = 30.0


class _Watcher(SubscriptionEventHandler):  # type: ignore[misc]
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.states: list[dict[str, Any]] = []
        self.subscribed = 0
        self.subscribing: list[int] = []
        self.unsubscribed: list[int] = []
        self.errors: list[ReplyError] = []
        self._news = asyncio.Event()

    @property
    def state(self) -> dict[str, Any]:
        return self.states[-1]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for news that make the condition true."""
        async with asyncio.timeout(_SECONDS):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def on_publication(self, ctx: PublicationContext) -> None:
        self.states.append(ctx.pub.data)
        self._news.set()

    async def on_subscribed(self, ctx: SubscribedContext) -> None:
        del ctx
        self.subscribed += 1
        self._news.set()

    async def on_subscribing(self, ctx: SubscribingContext) -> None:
        self.subscribing.append(ctx.code)
        self._news.set()

    async def on_unsubscribed(self, ctx: UnsubscribedContext) -> None:
        self.unsubscribed.append(ctx.code)
        self._news.set()

    async def on_error(self, ctx: SubscriptionErrorContext) -> None:
        assert isinstance(ctx.error, ReplyError)
        self.errors.append(ctx.error)
        self._news.set()


@asynccontextmanager
async def _connected(server: Server) -> AsyncIterator[Client]:
    others = asyncio.all_tasks()
    client = Client(server.live_url, proxy=None, min_reconnect_delay=0.05, max_reconnect_delay=0.2)
    await client.connect()
    try:
        await client.ready(_SECONDS)
        yield client
    finally:
        await client.disconnect()
        await closed(others)


async def _watch(client: Client, channel: str) -> tuple[_Watcher, Subscription]:
    """Subscribe, and wait for the first state."""
    watcher = _Watcher()
    subscription = client.new_subscription(
        channel, events=watcher, min_resubscribe_delay=0.05, max_resubscribe_delay=0.2
    )
    await subscription.subscribe()
    await watcher.until(lambda: bool(watcher.states))
    return watcher, subscription


def _top(server: Server, board: str, rows: int) -> dict[str, Any]:
    """The state of a top view that HTTP knows: ranks are positions."""
    page = server.get(f"/v1/boards/{board}/top?limit={rows}").json()
    assert [row.pop("rank") for row in page["entries"]] == [*range(1, len(page["entries"]) + 1)]
    del page["board"]
    return dict(page)


def _member(server: Server, board: str, member: str) -> dict[str, Any]:
    """The state of a member view that HTTP knows."""
    standing = server.get(f"/v1/boards/{board}/members/{member}").json()
    return {key: standing[key] for key in ("version", "total", "rank", "score")}


async def test_a_top_view_shows_what_http_shows(server: Server) -> None:
    server.create("a")
    for number in range(5):
        server.submit("a", f"m{number}", number)
    async with _connected(server) as client:
        watcher, _ = await _watch(client, "board:a:top:3")
        assert watcher.states == [_top(server, "a", 3)]
        for number in range(5):
            server.submit("a", f"m{number}", 10 - number)
            rows = _top(server, "a", 3)["entries"]
            await watcher.until(lambda rows=rows: watcher.state["entries"] == rows)  # type: ignore[misc]
        server.call("DELETE", "/v1/boards/a/members/m0")
        expected = _top(server, "a", 3)
        await watcher.until(lambda: watcher.state == expected)
    versions = [state["version"] for state in watcher.states]
    assert versions == sorted(set(versions)), "always newer"


async def test_a_member_view_shows_what_http_shows(server: Server) -> None:
    server.create("a", policy="last")
    async with _connected(server) as client:
        watcher, _ = await _watch(client, "board:a:member:bob")
        assert watcher.state == {"version": 0, "total": 0, "rank": None, "score": None}
        server.submit("a", "bob", 5)
        await watcher.until(lambda: watcher.state == _member(server, "a", "bob"))
        # Others move it, without a submit of its own.
        server.submit("a", "ann", 7)
        await watcher.until(lambda: watcher.state == _member(server, "a", "bob"))
        assert watcher.state["rank"] == 2
        server.call("DELETE", "/v1/boards/a/members/bob")
        await watcher.until(lambda: watcher.state["score"] is None)
        assert watcher.state["rank"] is None
        assert watcher.state["total"] == 1


async def test_a_burst_melts_into_few_states_and_ends_at_the_newest(server: Server) -> None:
    server.create("a", policy="sum")
    submits, connections = 3000, 30
    began = time.monotonic()
    async with _connected(server) as client, aiohttp.ClientSession(server.url) as http:
        top, _ = await _watch(client, "board:a:top:10")
        member, _ = await _watch(client, "board:a:member:m0")

        async def submit(number: int) -> None:
            for _ in range(submits // connections):
                body = {"member": f"m{number}", "score": number + 1}
                async with http.post("/v1/boards/a/scores", json=body) as answer:
                    assert answer.status == 200

        async with asyncio.TaskGroup() as group:
            for number in range(connections):
                group.create_task(submit(number))
        expected = await asyncio.to_thread(_top, server, "a", 10)
        assert expected["version"] == submits
        await top.until(lambda: top.state["entries"] == expected["entries"])
        score = submits // connections
        await member.until(lambda: member.state["score"] == score and member.state["rank"] == 30)
        metrics = await asyncio.to_thread(server.metric, "rankwire_live_publications_total")
    # The first state, and one each tick of 100 ms at most.
    assert 1 < len(top.states) <= (time.monotonic() - began) / 0.1 + 2
    assert len(top.states) < submits / 10, "a burst that takes half a minute is none"
    assert metrics < submits / 10
    versions = [state["version"] for state in top.states]
    assert versions == sorted(set(versions)), "always newer"


async def test_watchers_of_one_view_see_the_same(server: Server) -> None:
    server.create("a")
    async with _connected(server) as one, _connected(server) as other:
        watchers = [(await _watch(client, "board:a:top:5"))[0] for client in (one, other)]
        for number in range(1, 4):
            server.submit("a", "ann", number)
            for watcher in watchers:
                await watcher.until(lambda w=watcher, n=number: _best(w) == n)  # type: ignore[misc]
    assert watchers[0].states[1:] == watchers[1].states[1:]


def _best(watcher: _Watcher) -> float | None:
    entries = watcher.state["entries"]
    return entries[0]["score"] if entries else None


async def test_after_unsubscribe_nothing_comes(server: Server) -> None:
    server.create("a")
    async with _connected(server) as client:
        left, subscription = await _watch(client, "board:a:top:5")
        stays, _ = await _watch(client, "board:a:top:6")
        await subscription.unsubscribe()
        await left.until(lambda: left.unsubscribed == [0])
        # A reply after the unsubscribe shows that the server has executed it.
        await client.rpc("top", {"board": "a"})
        seen = len(left.states)
        for number in range(1, 4):
            server.submit("a", "ann", number)
            await stays.until(lambda n=number: _best(stays) == n)  # type: ignore[misc]
        assert len(left.states) == seen
        assert await asyncio.to_thread(server.metric, "rankwire_live_subscriptions") == 1
        await subscription.subscribe()
        await left.until(lambda: _best(left) == 3)


async def test_views_are_counted_by_kind(server: Server) -> None:
    server.create("a")
    async with _connected(server) as client:
        top, _ = await _watch(client, "board:a:top:5")
        await _watch(client, "board:a:page:7-9")
        server.submit("a", "ann", 1)
        await top.until(lambda: _best(top) == 1)
        # A reply after the state shows that the thread is done with that.
        await client.rpc("top", {"board": "a"})
        for name, figure in (
            ("views", 1),
            ("subscriptions", 1),
            ("publications_total", 1),
            ("deliveries_total", 2),
            ("conflated_total", 0),
            ("fanout_seconds_count", 1),
        ):
            key = f'rankwire_view_{name}{{view="top"}}'
            assert await asyncio.to_thread(server.metric, key) == figure, name
        key = 'rankwire_view_fanout_seconds_sum{view="top"}'
        assert 0 < await asyncio.to_thread(server.metric, key) < _SECONDS


async def test_calls_answer_like_http(server: Server) -> None:
    server.create("a", score="float64")
    for number in range(12):
        server.submit("a", f"m {number}é", number / 3)
    async with _connected(server) as client:
        rank = await client.rpc("rank", {"board": "a", "member": "m 7é"})
        assert rank.data == server.get("/v1/boards/a/members/m%207%C3%A9").json()
        for data, query in (
            ({}, ""),
            ({"limit": 3}, "?limit=3"),
            ({"limit": 100, "offset": 5}, "?limit=100&offset=5"),
            ({"offset": 99}, "?offset=99"),
        ):
            top = await client.rpc("top", {"board": "a"} | data)
            assert top.data == server.get(f"/v1/boards/a/top{query}").json()


@pytest.mark.parametrize(
    ("method", "data", "code", "text"),
    [
        ("rank", {"board": "b", "member": "ann"}, 404, 'no board named "b"'),
        ("top", {"board": "b"}, 404, 'no board named "b"'),
        ("rank", {"board": "a", "member": "bob"}, 404, 'no member "bob"'),
        ("rank", {"board": "a"}, 107, "member"),
        ("rank", {"board": "", "member": "ann"}, 107, "board"),
        ("top", {"board": "a", "limit": 0}, 107, "limit"),
        ("top", {"board": "a", "limit": 1001}, 107, "limit"),
        ("top", {"board": "a", "offset": -1}, 107, "offset"),
        ("top", {"board": "a", "rows": 5}, 107, "board, limit, offset"),
        ("top", ["a"], 107, "object"),
        ("drop", {"board": "a"}, 104, ""),
    ],
)
async def test_bad_calls_are_refused_and_the_connection_stays(
    server: Server, method: str, data: object, code: int, text: str
) -> None:
    server.create("a")
    server.submit("a", "ann", 1)
    async with _connected(server) as client:
        with pytest.raises(ReplyError) as caught:
            await client.rpc(method, data)
        assert caught.value.code == code
        assert text in caught.value.message
        answer = await client.rpc("rank", {"board": "a", "member": "ann"})
        assert answer.data["rank"] == 1
    assert server.metric("rankwire_live_accepted_total") == 1


@pytest.mark.parametrize(
    "channel",
    ["board:b:top:10", "board:b:member:ann", "board:a:top:0", "board:a:top:101", "board:a", "a"],
)
async def test_unknown_channels_are_refused(server: Server, channel: str) -> None:
    server.create("a")
    async with _connected(server) as client:
        watcher = _Watcher()
        subscription = client.new_subscription(channel, events=watcher)
        await subscription.subscribe()
        await watcher.until(lambda: watcher.unsubscribed != [])
        assert watcher.unsubscribed == [102]
        assert watcher.states == []
        assert subscription.state is SubscriptionState.UNSUBSCRIBED


async def test_a_dropped_board_ends_its_views_and_a_new_one_begins(server: Server) -> None:
    server.create("a")
    server.submit("a", "ann", 5)
    async with _connected(server) as client:
        watcher, subscription = await _watch(client, "board:a:top:5")
        assert _best(watcher) == 5
        server.call("DELETE", "/v1/boards/a")
        await watcher.until(lambda: watcher.unsubscribed != [])
        assert subscription.state is SubscriptionState.UNSUBSCRIBED
        server.create("a", order="asc")
        server.submit("a", "bob", 9)
        await subscription.subscribe()
        await watcher.until(lambda: watcher.state["entries"] == [{"member": "bob", "score": 9}])


@pytest.mark.parametrize("how", ["kill", "terminate"])
async def test_after_a_restart_the_sdk_comes_back_and_sees_the_newest(
    new_server: NewServer, how: str
) -> None:
    server = await asyncio.to_thread(new_server().start)
    server.create("a")
    server.submit("a", "ann", 1)
    async with _connected(server) as client:
        top, _ = await _watch(client, "board:a:top:5")
        member, _ = await _watch(client, "board:a:member:ann")
        server.submit("a", "ann", 2)
        await top.until(lambda: _best(top) == 2)
        await member.until(lambda: member.state["score"] == 2)
        top.states.clear()
        member.states.clear()
        await asyncio.to_thread(getattr(server, how))
        await top.until(lambda: len(top.subscribing) == 2)
        await asyncio.to_thread(server.restart, same_ports=True)
        # It has the newest state and is not sent it again, also by the process after.
        await top.until(lambda: top.subscribed == 2)
        await member.until(lambda: member.subscribed == 2)
        assert top.states == member.states == []
        server.submit("a", "bob", 3)
        await top.until(lambda: top.states != [] and _best(top) == 3)
        await member.until(lambda: member.states != [] and member.state["rank"] == 2)
        assert top.state == _top(server, "a", 5)
