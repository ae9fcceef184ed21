"""Thousands of watchers on one event loop: a WebSocket client without anything that costs time.

Half of them speak JSON and half Protobuf. Each watches one channel, keeps the newest state as the
bytes that came, and comes back when it is told to, after a delay by chance as SDKs do. What it is
told at the end of a connection is kept: `told` has code and time, `lost` counts ends without a
word.
"""

from __future__ import annotations

import asyncio
import json
import random
import struct
import time
from typing import Any, Final, NamedTuple

from centrifuge.protocol import client_pb2  # type: ignore[import-untyped]

# The longest delay before coming back: what SDKs begin with.
_DELAY_SECONDS: Final = 0.5
_CLOSE: Final = 8
_SHORT, _LONG = 126, 127


class Told(NamedTuple):
    """The end of a connection, in seconds of the monotonic clock."""

    code: int
    at: float


class Watcher(asyncio.Protocol):
    """One client, over as many connections as it takes."""

    def __init__(self, port: int, channel: str, *, protobuf: bool) -> None:
        """Watch a channel at a port of this machine; see `connect`."""
        self.told: list[Told] = []
        self.lost = 0
        self.shown_at: list[float] = []
        """When each connection had brought its first state."""
        self._port = port
        self._channel = channel
        self._protobuf = protobuf
        self._transport: asyncio.Transport
        self._buffer = bytearray()
        self._head_read = False
        self._has_state = False
        self._said_goodbye = False
        self._stays_away = False
        self._state = b""
        self._task: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Open a connection; the rest comes by itself."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, "127.0.0.1", self._port)

    def leave(self) -> None:
        """Go, and do not come back."""
        self._stays_away = True
        self._transport.close()

    @property
    def has_state(self) -> bool:
        """Whether the connection there is now has brought a state."""
        return self._has_state

    @property
    def entries(self) -> list[tuple[str, float]]:
        """The newest state."""
        data = json.loads(self._state)
        return [(row["member"], row["score"]) for row in data["entries"]]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer.clear()
        self._head_read = self._has_state = self._said_goodbye = False
        form = "Sec-WebSocket-Protocol: centrifuge-protobuf\r\n" if self._protobuf else ""
        transport.write(
            "GET /connection/websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{form}\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Take in whole frames."""
        self._buffer += data
        if not self._head_read:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            assert self._buffer.startswith(b"HTTP/1.1 101 "), bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            self._head_read = True
            self._send(*self._first())
        while (frame := self._next_frame()) is not None:
            self._hear(*frame)

    def connection_lost(self, error: Exception | None) -> None:
        """Come back."""
        del error
        if self._stays_away:
            return
        self.lost += not self._said_goodbye
        self._has_state = False
        self._task = asyncio.create_task(self._come_back())

    async def _come_back(self) -> None:
        while True:
            await asyncio.sleep(random.uniform(0, _DELAY_SECONDS))
            try:
                await self.connect()
            except OSError:
                continue
            return

    def _next_frame(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, start = buffer[1] & 127, 2
        if size == _SHORT:
            start = 4
        elif size == _LONG:
            start = 10
        if len(buffer) < start:
            return None
        if start > 2:
            size = int.from_bytes(buffer[2:start], "big")
        if len(buffer) < start + size:
            return None
        frame = (buffer[0] & 15, bytes(buffer[start : start + size]))
        del buffer[: start + size]
        return frame

    def _hear(self, opcode: int, payload: bytes) -> None:
        if opcode == _CLOSE:
            self.told.append(Told(int.from_bytes(payload[:2], "big"), time.monotonic()))
            self._said_goodbye = True
            self._transport.write(_frame(_CLOSE, payload[:2]))
            self._transport.close()
        elif self._protobuf:
            self._hear_protobuf(payload)
        else:
            for line in payload.split(b"\n"):
                self._hear_json(line)

    def _hear_json(self, line: bytes) -> None:
        if line == b"{}":
            self._send(line)
            return
        message: dict[str, Any] = json.loads(line)
        assert "error" not in message, message
        if "push" in message:
            self._show(json.dumps(message["push"]["pub"]["data"]).encode())

    def _hear_protobuf(self, payload: bytes) -> None:
        place = 0
        while place < len(payload):
            size, place = _varint(payload, place)
            reply = client_pb2.Reply.FromString(payload[place : place + size])
            place += size
            assert not reply.HasField("error"), reply
            if reply.HasField("push"):
                self._show(reply.push.pub.data)
            elif not reply.ByteSize():
                self._send(b"\0")

    def _show(self, state: bytes) -> None:
        self._state = state
        if not self._has_state:
            self._has_state = True
            self.shown_at.append(time.monotonic())

    def _first(self) -> list[bytes]:
        if not self._protobuf:
            subscribe = {"id": 2, "subscribe": {"channel": self._channel, "flag": 1}}
            return [b'{"id":1,"connect":{}}', json.dumps(subscribe).encode()]
        commands = (
            client_pb2.Command(id=1, connect=client_pb2.ConnectRequest()),
            client_pb2.Command(
                id=2, subscribe=client_pb2.SubscribeRequest(channel=self._channel, flag=1)
            ),
        )
        encoded = [command.SerializeToString() for command in commands]
        # A length below 128 is a byte.
        return [bytes((len(one),)) + one for one in encoded]

    def _send(self, *messages: bytes) -> None:
        opcode, between = (2, b"") if self._protobuf else (1, b"\n")
        self._transport.write(_frame(opcode, between.join(messages)))


def _varint(payload: bytes, place: int) -> tuple[int, int]:
    """Read a number of Protobuf; gives it and where it ends."""
    number = shift = 0
    while True:
        byte = payload[place]
        number |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return number, place


def _frame(opcode: int, payload: bytes) -> bytes:
    """Make a client's frame; its mask is zero, so that the bytes stay what they are."""
    size = len(payload)
    head = struct.pack(">BB", 128 | opcode, 128 | size)
    if size >= _SHORT:
        head = struct.pack(">BBH", 128 | opcode, 128 | _SHORT, size)
    return head + bytes(4) + payload
