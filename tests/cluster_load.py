"""Clients of a cluster: writers that keep books, and watchers that keep what they were shown.

Writers have one write at a time under way, over HTTP or WebSocket, at one of the nodes. After an
error they go to the next node. A write with a key is sent again there until it is acknowledged;
one without is left open.

A node shows what others acknowledged a little later. So where the order of writes matters, a member
belongs to one writer, which goes from node to node only after a score that the next node shows. The
end of a member or of a board cannot be told from its absence before; whoever was acknowledged that
stays at the node for the next write.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, Final, NamedTuple
from uuid import uuid4

import aiohttp

from cluster_books import BOARDS, MESS, MOST_OPEN, Book, Books, Newest, draw
from fix_server import PATIENCE_SECONDS, Server

_WRITERS: Final = 9
_WATCHERS: Final = 6
_SHARED: Final = "shared"
_BATCH: Final = 10
# How often a writer goes to another node without a reason.
_WANDERS: Final = 0.05
# Before a client goes to another node, and before it looks again.
_PAUSE_SECONDS: Final = 0.05
_LOOK_SECONDS: Final = 0.01
# A client that waits longer takes its write for lost.
_CLIENT_SECONDS: Final = 5.0
_LOST: Final = (aiohttp.ClientError, ConnectionError, asyncio.TimeoutError)
_DONE: Final = {200, 201, 204}
_UNAVAILABLE: Final = 503
_UNKNOWN: Final = 404
# Of answers over WebSocket.
_TEMPORARY: Final = 100
_UNKNOWN_CODES: Final = {102, 404}
_NEWEST_BOARDS: Final = ("last", "gone")

Channel = str


class Call(NamedTuple):
    """A write, as HTTP puts it."""

    method: str
    path: str
    body: Any = None

    @property
    def submit(self) -> dict[str, Any] | None:
        """What `submit` over WebSocket takes, if this is the submit of one score."""
        board, _, rest = self.path.partition("/")
        return {"board": board, **self.body} if rest == "scores" else None


class Answer(NamedTuple):
    """An acknowledgement."""

    status: int
    body: Any


class NoAnswerError(Exception):
    """Nobody knows whether the write counts."""


class UnknownError(Exception):
    """The node knows no such board or member; it may not have heard of it yet."""


class _StopError(Exception):
    """The load is to end."""


class Door:
    """A client of one node, over HTTP and WebSocket."""

    def __init__(self, http: aiohttp.ClientSession, server: Server) -> None:
        self._http = http
        self._server = server
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._sent = 0

    async def over_http(self, call: Call, key: str | None = None) -> Answer:
        """Make a call. Raises NoAnswerError and UnknownError."""
        address = f"{self._server.url}/v1/boards/{call.path}"
        headers = {} if key is None else {"idempotency-key": key}
        request = self._http.request(call.method, address, json=call.body, headers=headers)
        try:
            async with request as answer:
                # A head without its body is no acknowledgement.
                content = await answer.read()
        except _LOST as error:
            raise NoAnswerError from error
        if answer.status == _UNAVAILABLE:
            raise NoAnswerError(content)
        if answer.status == _UNKNOWN:
            raise UnknownError(content)
        return Answer(answer.status, json.loads(content) if content else None)

    async def over_websocket(self, submit: dict[str, Any], key: str | None) -> Answer:
        """Submit one score. Raises NoAnswerError and UnknownError."""
        data = submit if key is None else submit | {"id": key}
        try:
            if self._socket is None:
                self._socket = await self._http.ws_connect(self._server.live_url)
                await self._ask({"connect": {}})
            reply = await self._ask({"rpc": {"method": "submit", "data": data}})
        except _LOST as error:
            await self.close()
            raise NoAnswerError from error
        if "error" not in reply:
            return Answer(200, reply["rpc"]["data"])
        if reply["error"]["code"] == _TEMPORARY:
            raise NoAnswerError(reply)
        assert reply["error"]["code"] in _UNKNOWN_CODES, reply
        raise UnknownError(reply)

    async def close(self) -> None:
        """Leave."""
        if self._socket is not None:
            await self._socket.close()
        self._socket = None

    async def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Send a command and wait for its reply."""
        assert self._socket is not None
        self._sent += 1
        async with asyncio.timeout(_CLIENT_SECONDS), aclosing(heard(self._socket)) as replies:
            await self._socket.send_str(json.dumps({"id": self._sent, **command}))
            async for reply in replies:
                if reply.get("id") == self._sent:
                    return reply
        raise ConnectionError("closed before it answered")


async def heard(socket: aiohttp.ClientWebSocketResponse) -> AsyncGenerator[dict[str, Any]]:
    """Everything that a node says over a WebSocket, until it closes; pings are answered.

    Whoever stops listening before has to close it, for the loop may end before it does so itself.
    """
    async for message in socket:
        for line in message.data.splitlines():
            if reply := json.loads(line):
                yield reply
            else:
                await socket.send_str("{}")


class Load:
    """What all clients have in common.

    Writers of a region, one of the `regions`, go to its nodes only, which are given by position.
    """

    def __init__(
        self, servers: Sequence[Server], books: Books, regions: Sequence[Sequence[int]] = ()
    ) -> None:
        self.servers = servers
        self.regions = regions or [range(len(servers))]
        self.books = books
        self.acknowledged: Counter[int] = Counter()
        """Writes, by the position of their node."""
        self.watchers: list[Watcher] = []
        self.stopping = False
        self.races = 0
        """How many boards everybody has been asked to create."""
        self.writers: set[asyncio.Task[None]] = set()
        self.busy: dict[int, object] = {}
        """What each writer is about; for the report of a failed test."""

    def __str__(self) -> str:
        return f"{self.acknowledged} acknowledged, {self.busy} under way"

    async def progress(self, *nodes: int, writes: int = _WRITERS) -> None:
        """Wait until each of these nodes, or each node, has acknowledged more writes."""
        before = self.acknowledged.copy()

        def done(node: int) -> bool:
            return self.acknowledged[node] >= before[node] + writes

        deadline = time.monotonic() + PATIENCE_SECONDS
        while not all(done(node) for node in nodes or range(len(self.servers))):
            assert time.monotonic() < deadline, f"no progress after {before}: {self}"
            await asyncio.sleep(_LOOK_SECONDS)

    async def stop(self) -> None:
        """End the writers once all that they may send again is acknowledged."""
        self.stopping = True
        _, late = await asyncio.wait(self.writers, timeout=PATIENCE_SECONDS)
        assert not late, f"writers that cannot end: {self}"

    async def until_shown(self, states: dict[Channel, Any]) -> None:
        """Wait until every watcher was last shown these states."""
        for watcher in self.watchers:
            await watcher.until_shown(states)


class Writer:
    """One client that writes."""

    def __init__(self, number: int, load: Load, http: aiohttp.ClientSession) -> None:
        self._number = number
        self._load = load
        self._books = load.books
        self._chance = random.Random(f"{number} {load.books.acknowledged}")
        self._doors = [Door(http, server) for server in load.servers]
        self._region = load.regions[number % len(load.regions)]
        self._at = self._region[number // len(load.regions) % len(self._region)]
        self._names: Counter[tuple[str, str]] = Counter()
        self._homes: dict[str, int] = {}
        self._races = 0

    async def run(self) -> None:
        """Write until the load stops."""
        kinds = [self._sum, self._best, self._last, self._gone, self._batch, self._life, self._mess]
        if self._number == 0:
            # The others follow.
            kinds.append(self._race)
        try:
            while not self._load.stopping:
                if self._chance.random() < _WANDERS:
                    self._at = self._chance.choice(self._region)
                has_begun = self._races < self._load.races
                try:
                    await (self._race() if has_begun else self._chance.choice(kinds)())
                except NoAnswerError:
                    await self._move()
        except _StopError:
            pass
        finally:
            self._load.busy.pop(self._number, None)
            for door in self._doors:
                await door.close()

    # What it writes.

    async def _sum(self) -> None:
        member, amount = self._member("sum"), draw(self._chance)
        answer = await self._submit("sum", member, amount)
        before = answer.body["previous_score"] or 0
        assert answer.body["score"] - before == amount

    async def _best(self) -> None:
        member, score = self._member("best"), draw(self._chance)
        answer = await self._submit("best", member, score)
        assert answer.body["score"] >= score

    async def _last(self) -> None:
        member = self._name("last", str(self._number))
        book = self._newest("last", member)
        await self._follow(f"last/members/{member}", book)
        score = draw(self._chance)
        answer = await self._submit("last", member, score)
        assert answer.body["score"] == score

    async def _gone(self) -> None:
        member = self._name("gone", str(self._number))
        book = self._newest("gone", member)
        if book.acknowledged is None:
            score, call = self._score("gone", member)
            await self._write_at_home(member, book, score, call)
            return
        await self._follow(f"gone/members/{member}", book)
        # A node that has not heard of the removal before takes a score, and it is void.
        self._homes[member] = self._at
        if self._chance.random() < 1 / 2:
            score, call = self._score("gone", member)
            await self._write_at_home(member, book, score, call)
        else:
            remove = Call("DELETE", f"gone/members/{member}")
            await self._write_at_home(member, book, None, remove)

    async def _batch(self) -> None:
        name = self._name("batch", str(self._number))
        group = tuple(f"{name}-{item}" for item in range(_BATCH))
        self._books.groups[group] = group[0]
        amount = draw(self._chance)
        body = [{"member": member, "score": amount} for member in group]
        book = self._books.of("batch", group[0])
        answer = await self._write(book, amount, Call("POST", "batch/scores:batch", body))
        assert answer.body["submitted"] == answer.body["changed"] == _BATCH

    async def _life(self) -> None:
        """A board that is created, gets a member and is deleted, again and again."""
        board = self._name("life", f"life-{self._number}")
        book = self._books.life(board)
        if book.acknowledged is None:
            await self._write_at_home(board, book, 0, Call("PUT", board, {}))
        elif book.acknowledged == 0:
            score, call = self._score(board, "only")
            await self._write_at_home(board, book, score, call)
        else:
            await self._follow(f"{board}/members/only", book)
            self._homes[board] = self._at
            await self._write_at_home(board, book, None, Call("DELETE", board))

    async def _race(self) -> None:
        """Everybody creates the same board, at about the same time; one of them does."""
        self._races += 1
        self._load.races = max(self._load.races, self._races)
        board = f"race-{self._races}"
        statuses = self._books.made.setdefault(board, [])
        answer = await self._write(Newest(), 0, Call("PUT", board, {}))
        statuses.append(answer.status)

    async def _mess(self) -> None:
        """Anything, on a board where all others do anything as well."""
        member = self._chance.choice("abc")
        body = {"member": member, "score": draw(self._chance)}
        submit = Call("POST", f"{MESS}/scores", body)
        remove = Call("DELETE", f"{MESS}/members/{member}")
        create, drop = Call("PUT", MESS, BOARDS["sum"]), Call("DELETE", MESS)
        call = self._chance.choice((submit, submit, remove, create, create, drop))
        with suppress(UnknownError):
            await self._doors[self._at].over_http(call)

    # How it writes.

    def _member(self, board: str) -> str:
        """One of its own, or one that all share, as often."""
        owner = self._chance.choice((_SHARED, str(self._number)))
        return self._name(board, owner)

    def _name(self, board: str, owner: str) -> str:
        """A name for which not too many writes are open; none where their order matters."""
        books = self._books
        while True:
            name = f"{owner}-{self._names[board, owner]}"
            if board == "life":
                has_room = not books.life(name).open
            elif board in _NEWEST_BOARDS:
                has_room = not books.of(board, name).open
            else:
                member = f"{name}-0" if board == "batch" else name
                has_room = len(books.of(board, member).open) < MOST_OPEN
            if has_room:
                return name
            self._names[board, owner] += 1

    def _newest(self, board: str, member: str) -> Newest:
        book = self._books.of(board, member)
        assert isinstance(book, Newest)
        return book

    def _score(self, board: str, member: str) -> tuple[int, Call]:
        score = draw(self._chance)
        return score, Call("POST", f"{board}/scores", {"member": member, "score": score})

    async def _follow(self, path: str, book: Newest) -> None:
        """Find a node, not always the same, that shows the score that was acknowledged."""
        self._load.busy[self._number] = path, book
        if book.acknowledged is None:
            return
        self._at = self._chance.choice(self._region)
        while not self._load.stopping:
            with suppress(NoAnswerError, UnknownError):
                found = await self._doors[self._at].over_http(Call("GET", path))
                if found.body["score"] == book.acknowledged:
                    return
            await self._move()
        raise _StopError

    async def _submit(self, board: str, member: str, score: int) -> Answer:
        call = Call("POST", f"{board}/scores", {"member": member, "score": score})
        return await self._write(self._books.of(board, member), score, call)

    async def _write_at_home(self, whose: str, book: Book, change: int | None, call: Call) -> None:
        """Write at the node of the write before."""
        self._at = self._homes.setdefault(whose, self._at)
        await self._write(book, change, call, stays=True)

    async def _write(
        self, book: Book, change: int | None, call: Call, *, stays: bool = False
    ) -> Answer:
        """Write until it is acknowledged or, without a key, left open."""
        key = uuid4().hex if self._chance.random() < 1 / 2 else None
        book.begin(change)
        self._load.busy[self._number] = call, key
        try:
            answer = await self._send(call, key)
        except NoAnswerError:
            if key is None:
                self._books.left_open += 1
                raise
            answer = await self._repeat(call, key, stays=stays)
        assert answer.status in _DONE, answer
        book.acknowledge(change)
        self._load.acknowledged[self._at] += 1
        self._books.acknowledged += 1
        return answer

    async def _repeat(self, call: Call, key: str, *, stays: bool) -> Answer:
        """Send a write again, to one node after the other, until it is acknowledged."""
        self._books.repeated += 1
        while True:
            await self._move(by=0 if stays else 1)
            # A node may not have heard of its board or member yet.
            with suppress(NoAnswerError, UnknownError):
                return await self._send(call, key)

    async def _send(self, call: Call, key: str | None) -> Answer:
        door = self._doors[self._at]
        if call.submit is not None and self._chance.random() < 1 / 2:
            return await door.over_websocket(call.submit, key)
        return await door.over_http(call, key)

    async def _move(self, by: int = 1) -> None:
        places = self._region
        self._at = places[(places.index(self._at) + by) % len(places)]
        await asyncio.sleep(_PAUSE_SECONDS)


class Watcher:
    """One client that watches, and comes back as SDKs do: with the position that it has."""

    def __init__(
        self, at: int, servers: Sequence[Server], http: aiohttp.ClientSession, *channels: Channel
    ) -> None:
        self._at = at
        self._servers = servers
        self._http = http
        self.channels = channels
        self._positions: dict[Channel, dict[str, Any]] = {}
        self.shown: dict[Channel, Any] = {}
        self.connections = 0
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Watch one node after the other."""
        while True:
            server = self._servers[self._at % len(self._servers)]
            try:
                async with self._http.ws_connect(server.live_url) as socket:
                    await self._watch(socket)
            except _LOST:
                pass
            self._at += 1
            await asyncio.sleep(_PAUSE_SECONDS)

    async def until_shown(self, states: dict[Channel, Any]) -> None:
        """Wait until it was last shown these states, of its channels."""
        wanted = {channel: states[channel] for channel in self.channels}
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while self.shown != wanted:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            message = f"{self.shown} is shown, {wanted} is there"
            raise AssertionError(message) from None

    async def _watch(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.connections += 1
        commands: list[dict[str, Any]] = [{"id": 1, "connect": {}}]
        for number, channel in enumerate(self.channels, start=2):
            position = self._positions.get(channel, {})
            subscribe = {"channel": channel, "recover": bool(position), **position}
            commands.append({"id": number, "subscribe": subscribe})
        await socket.send_str("\n".join(json.dumps(command) for command in commands))
        versions = dict.fromkeys(self.channels, 0)
        async with aclosing(heard(socket)) as replies:
            async for reply in replies:
                if "error" in reply:
                    assert reply["error"]["code"] == _TEMPORARY, reply
                    return
                self._take(reply, versions)

    def _take(self, reply: dict[str, Any], versions: dict[Channel, int]) -> None:
        if "subscribe" in reply:
            channel = self.channels[reply["id"] - 2]
            subscribed = reply["subscribe"]
            epoch, offset = subscribed["epoch"], subscribed.get("offset", 0)
            self._positions[channel] = {"epoch": epoch, "offset": offset}
            for publication in subscribed.get("publications", ()):
                self._show(channel, publication, versions)
        elif "pub" in reply.get("push", {}):
            self._show(reply["push"]["channel"], reply["push"]["pub"], versions)

    def _show(
        self, channel: Channel, publication: dict[str, Any], versions: dict[Channel, int]
    ) -> None:
        state = publication["data"]
        assert state["version"] >= versions[channel], "versions never go back at one node"
        versions[channel] = state.pop("version")
        self._positions[channel]["offset"] = publication["offset"]
        self.shown[channel] = state
        self._news.set()


def channels(number: int) -> tuple[Channel, ...]:
    """What a watcher watches."""
    return (
        *(f"board:{board}:top:5" for board in ("sum", "best", "batch")),
        f"board:sum:member:{_SHARED}-0",
        f"board:last:member:{number}-0",
    )


@asynccontextmanager
async def running_load(
    servers: Sequence[Server], books: Books, regions: Sequence[Sequence[int]] = ()
) -> AsyncIterator[Load]:
    """Let clients write and watch; the load goes on until `stop`, the watchers until the end."""
    load = Load(servers, books, regions)
    timeout = aiohttp.ClientTimeout(total=_CLIENT_SECONDS)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(timeout=timeout, connector=connector) as http,
        asyncio.TaskGroup() as group,
    ):
        for number in range(_WRITERS):
            load.writers.add(group.create_task(Writer(number, load, http).run()))
        for number in range(_WATCHERS):
            load.watchers.append(Watcher(number, servers, http, *channels(number)))
        watching = [group.create_task(watcher.run()) for watcher in load.watchers]
        yield load
        load.stopping = True
        for task in watching:
            task.cancel()
