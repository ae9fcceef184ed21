"""A leaderboard's backend beside Centrifugo: keeps one board, and publishes its top 10.

Started by `compare_fanout.py`: ``python publisher.py PORT API_PORT CHANNEL MEMBERS``. It answers
the three requests that the load generator makes of any server: a submit, the top, and one member.

Promises: a submit is answered when Centrifugo has taken the publication, and publications are sent
one after the other on one connection, so that versions go forward for every watcher. It does
no more than it must: nothing is stored, and what it takes is not counted.
"""

from __future__ import annotations

import asyncio
import heapq
import re
import sys
from typing import Any, Final

import msgspec
import uvloop

HOST: Final = "127.0.0.1"
SHOWN: Final = 10
_LENGTH: Final = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)
_PROBLEMS: Final = (ConnectionError, asyncio.IncompleteReadError)


class Exchange(msgspec.Struct):
    """The first line and the body of a request or of an answer."""

    line: str
    body: bytes


class Submit(msgspec.Struct, frozen=True):
    """A score that a member has reached."""

    member: str
    score: int


class Board:
    """Members with their best scores."""

    def __init__(self, members: int) -> None:
        """Add so many members, as the other side has them."""
        self._scores = {f"player-{number}": number for number in range(members)}
        self.version = 0

    def take(self, submit: Submit) -> bool:
        """Take a score; returns whether it changed anything."""
        if submit.score <= self._scores.get(submit.member, -1):
            return False
        self._scores[submit.member] = submit.score
        self.version += 1
        return True

    def page(self) -> dict[str, Any]:
        """Return the state that watchers get."""
        best = heapq.nlargest(SHOWN, self._scores.items(), key=lambda item: item[1])
        entries = [{"member": member, "score": score} for member, score in best]
        return {"version": self.version, "total": len(self._scores), "entries": entries}


class Publisher:
    """Takes submits over HTTP, and publishes the board over another connection."""

    def __init__(self, board: Board, channel: str, api_port: int) -> None:
        self._board = board
        self._channel = channel
        self._api_port = api_port
        self._turn = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection until it ends."""
        try:
            while True:
                request = await receive(reader)
                status, content = await self._answer(request)
                body = msgspec.json.encode(content)
                head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
        except _PROBLEMS:
            writer.close()

    async def _answer(self, request: Exchange) -> tuple[str, dict[str, Any]]:
        if request.line.startswith("GET "):
            return "200 OK", self._board.page()
        submit = msgspec.json.decode(request.body, type=Submit)
        async with self._turn:
            changed = self._board.take(submit)
            version = self._board.version
            if changed and not await self._publish():
                return "502 Bad Gateway", {}
        return "200 OK", {"version": version, "changed": changed}

    async def _publish(self) -> bool:
        """Publish the board; returns whether it was taken."""
        body = msgspec.json.encode({"channel": self._channel, "data": self._board.page()})
        head = (
            f"POST /api/publish HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        if self._streams is None:
            self._streams = await asyncio.open_connection(HOST, self._api_port)
        reader, writer = self._streams
        writer.write(head.encode() + body)
        answer = await receive(reader)
        # A publication that was refused is answered 200 too, with an error in the body.
        return " 200 " in answer.line and "error" not in msgspec.json.decode(answer.body)


async def receive(reader: asyncio.StreamReader) -> Exchange:
    """Read a request or an answer whose length is told."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    body = await reader.readexactly(int(length[1]) if length else 0)
    return Exchange(head.partition(b"\r\n")[0].decode(), body)


async def main(port: int, api_port: int, channel: str, members: int) -> None:
    """Serve until the process is ended."""
    publisher = Publisher(Board(members), channel, api_port)
    async with await asyncio.start_server(publisher.serve, HOST, port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    _, port_, api_port_, channel_, members_ = sys.argv
    uvloop.run(main(int(port_), int(api_port_), channel_, int(members_)))
