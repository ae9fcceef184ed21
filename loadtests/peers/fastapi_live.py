"""What a team writes today: a leaderboard in FastAPI over Redis, with live views over Pub/Sub.

Started by `compare_job.py` under uvicorn, with ``REDIS_PORT`` in the environment. Paths and answers
are those of our HTTP API as far as a game needs them; live views are bare JSON texts at
``/ws?channel=board:NAME:top:N``.

It is a best case. Each request is one round trip to Redis, a script that does all of it and
answers from one moment. A change is published once, the process has one subscription, and
however many changes come within a tick, each watched view is read and encoded once, and sent only
if it looks different. Watchers get it one after the other, which is the cheapest way, and a slow
one holds up those behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from fastapi import FastAPI, HTTPException, Response, WebSocket, WebSocketDisconnect
from pydantic import BaseModel
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import PubSub

TICK_SECONDS: Final = 0.1
"""The least time between two updates of the views: as long as ours by default."""
CHANGED: Final = "changed"
"""The Pub/Sub channel; messages are names of boards."""
POLICIES: Final = "policies"
"""The hash of boards and whether they keep the best score or the last one."""

_CHANNEL: Final = re.compile(r"board:(.+):top:([1-9][0-9]?|100)")
_NO_SUCH_CHANNEL: Final = 4404

_SUBMIT: Final = """
local scores, version = KEYS[1], KEYS[2]
local member, score, policy, board = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local changed
if policy == 'best' then
  changed = redis.call('ZADD', scores, 'GT', 'CH', score, member)
else
  changed = redis.call('ZADD', scores, 'CH', score, member)
end
local now
if changed == 1 then
  now = redis.call('INCR', version)
  redis.call('PUBLISH', 'changed', board)
else
  now = tonumber(redis.call('GET', version) or 0)
  score = redis.call('ZSCORE', scores, member)
end
return {score, redis.call('ZREVRANK', scores, member) + 1, changed, now}
"""
_TOP: Final = """
return {redis.call('GET', KEYS[2]) or '0', redis.call('ZCARD', KEYS[1]), tonumber(ARGV[1]),
        redis.call('ZREVRANGE', KEYS[1], ARGV[1], ARGV[2], 'WITHSCORES')}
"""
_AROUND: Final = """
local rank = redis.call('ZREVRANK', KEYS[1], ARGV[1])
if not rank then return false end
local first = math.max(rank - ARGV[2], 0)
return {redis.call('GET', KEYS[2]) or '0', redis.call('ZCARD', KEYS[1]), first,
        redis.call('ZREVRANGE', KEYS[1], first, rank + ARGV[2], 'WITHSCORES')}
"""
_MEMBER: Final = """
local rank = redis.call('ZREVRANK', KEYS[1], ARGV[1])
if not rank then return false end
return {redis.call('GET', KEYS[2]) or '0', redis.call('ZCARD', KEYS[1]), rank + 1,
        redis.call('ZSCORE', KEYS[1], ARGV[1])}
"""


class Submit(BaseModel):
    """A score that a member has reached."""

    member: str
    score: int


class Configuration(BaseModel):
    """What a board is like."""

    policy: str = "best"


class View:
    """What the watchers of one channel see."""

    def __init__(self, board: str, size: int) -> None:
        self.board = board
        self.size = size
        self.version = -1
        self.text = ""
        self.opening = asyncio.Lock()
        self._shown = b""
        self.users = 0
        """Watchers, and those who are about to be; without any it is not kept up to date."""
        self.watchers: set[WebSocket] = set()

    async def refresh(self) -> bool:
        """Read it again; returns whether there is something new to see."""
        page = await ask("top", self.board, 0, self.size - 1)
        version = int(page[0])
        if version <= self.version:
            return False
        self.version = version
        entries = [{"member": row["member"], "score": row["score"]} for row in rows_of(page)]
        shown = msgspec.json.encode({"total": page[1], "entries": entries})
        if shown == self._shown:
            return False
        self._shown, self.text = shown, f'{{"version":{version},{shown[1:].decode()}'
        return True

    async def send(self) -> None:
        """Send it to all who watch."""
        text = self.text
        for watcher in list(self.watchers):
            try:
                await watcher.send_text(text)
            except (RuntimeError, WebSocketDisconnect):
                self.watchers.discard(watcher)


# The default of 100 connections would answer 500 to more requests at once.
pool = ConnectionPool(
    port=int(os.environ["REDIS_PORT"]), max_connections=1024, decode_responses=True
)
redis = Redis(connection_pool=pool)
scripts: dict[str, str] = {}
policies: dict[str, str] = {}
views: dict[str, View] = {}
dirty: set[str] = set()
is_dirty = asyncio.Event()


@contextlib.asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Load the scripts, and serve the views meanwhile."""
    texts = {"submit": _SUBMIT, "top": _TOP, "around": _AROUND, "member": _MEMBER}
    for name, text in texts.items():
        scripts[name] = await redis.script_load(text)
    known: dict[Any, Any] = await redis.hgetall(POLICIES)
    policies.update(known)
    async with redis.pubsub() as subscription, asyncio.TaskGroup() as tasks:
        await subscription.subscribe(CHANGED)
        serving = [tasks.create_task(listen(subscription)), tasks.create_task(update_views())]
        yield
        for task in serving:
            task.cancel()


app = FastAPI(lifespan=lifespan)


# Requests.


async def ask(script: str, board: str, *arguments: str | int) -> Any:
    """Run a script on a board's keys."""
    keys = (f"board:{board}", f"version:{board}")
    return await redis.evalsha(scripts[script], len(keys), *keys, *map(str, arguments))


def rows_of(page: list[Any]) -> list[dict[str, object]]:
    """Make the entries of a page, which is version, total, first place and pairs."""
    first, pairs = page[2] + 1, page[3]
    return [
        {"rank": rank, "member": member, "score": int(score)}
        for rank, (member, score) in enumerate(
            zip(pairs[::2], pairs[1::2], strict=True), start=first
        )
    ]


def answer(content: dict[str, object]) -> Response:
    """Encode an answer; FastAPI's own way would check it once more first."""
    return Response(msgspec.json.encode(content), media_type="application/json")


def page_of(board: str, page: list[Any]) -> Response:
    """Answer with a page."""
    content = {"version": int(page[0]), "total": page[1], "entries": rows_of(page)}
    return answer({"board": board, **content})


def check(board: str, found: object = True) -> None:
    """Answer 404 for boards and members that are not there."""
    if board not in policies or not found:
        raise HTTPException(404)


@app.put("/v1/boards/{board}")
async def create(board: str, configuration: Configuration) -> Response:
    policies[board] = configuration.policy
    await redis.hset(POLICIES, board, configuration.policy)
    return answer({"board": board, "policy": configuration.policy})


@app.post("/v1/boards/{board}/scores")
async def submit(board: str, submit: Submit) -> Response:
    check(board)
    told = await ask("submit", board, submit.member, submit.score, policies[board], board)
    score, rank, changed, version = told
    receipt = {"board": board, "member": submit.member, "score": int(score), "rank": rank}
    return answer({**receipt, "changed": bool(changed), "version": version})


@app.get("/v1/boards/{board}/top")
async def top(board: str, limit: int = 10, offset: int = 0) -> Response:
    check(board)
    return page_of(board, await ask("top", board, offset, offset + limit - 1))


@app.get("/v1/boards/{board}/members/{member}/around")
async def around(board: str, member: str, radius: int = 5) -> Response:
    page = await ask("around", board, member, radius)
    check(board, page)
    return page_of(board, page)


@app.get("/v1/boards/{board}/members/{member}")
async def standing(board: str, member: str) -> Response:
    told = await ask("member", board, member)
    check(board, told)
    version, total, rank, score = told
    place = {"board": board, "version": int(version), "member": member, "score": int(score)}
    return answer({**place, "rank": rank, "total": total})


# Live views.


@app.websocket("/ws")
async def watch(websocket: WebSocket, channel: str) -> None:
    await websocket.accept()
    named = _CHANNEL.fullmatch(channel)
    if named is None or named[1] not in policies:
        await websocket.close(_NO_SUCH_CHANNEL)
        return
    view = views.setdefault(channel, View(named[1], int(named[2])))
    view.users += 1
    try:
        await begin(view, websocket)
        # Watchers say nothing; this waits for their end.
        while True:
            await websocket.receive_text()
    except WebSocketDisconnect:
        pass
    finally:
        view.watchers.discard(websocket)
        view.users -= 1
        if not view.users:
            views.pop(channel, None)


async def begin(view: View, websocket: WebSocket) -> None:
    """Send the newest state and add a watcher, with nothing between that could be missed."""
    # One at a time: a second refresh could find what the first watcher would then never be sent.
    async with view.opening:
        if not view.text:
            await view.refresh()
    sent = ""
    while sent != view.text:
        sent = view.text
        await websocket.send_text(sent)
    view.watchers.add(websocket)


async def listen(subscription: PubSub) -> None:
    """Note which boards have changed."""
    async for message in subscription.listen():
        if message["type"] == "message":
            dirty.add(message["data"])
            is_dirty.set()


async def update_views() -> None:
    """Send what has changed, once for each tick."""
    while True:
        await is_dirty.wait()
        is_dirty.clear()
        boards = dirty.copy()
        dirty.clear()
        for view in list(views.values()):
            if view.board in boards and await view.refresh():
                await view.send()
        await asyncio.sleep(TICK_SECONDS)
