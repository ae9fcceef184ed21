"""Watchers: one WebSocket each, which speaks version 2 of the Centrifuge protocol in JSON.

A fifth watches the ten best of all, two fifths the ten best of a cohort, and two fifths the place
of one member. Told to Locust, with the type WS: how long `connect` (handshake and command) and
`subscribe` (until the first state is here) took; `delivery top` and `delivery standing`, from the
moment at which a score was sent until a state shows it, for scores that this process sent; and as a
failure of `state` each state that is not well-formed or whose version is not newer than the one
before. A connection that ends, or is silent for longer than pings may take, is a failure of
`connection`; its watcher comes back after a second.
"""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec
import websocket
from locust import User, task

from locust_users import world
from locust_users.view import View

_SILENCE_SECONDS: Final = 40.0
"""A server pings every 25 s."""
_AGAIN_SECONDS: Final = 1.0
_ROTATION: Final = ("top", "cohort", "standing", "cohort", "standing")


class Push(msgspec.Struct, frozen=True):
    """A publication, with its state as it came."""

    channel: str
    pub: _Publication | None = None


class _Publication(msgspec.Struct, frozen=True):
    data: msgspec.Raw
    offset: int


class Message(msgspec.Struct, frozen=True):
    """What a server says: a reply, a push, or with nothing in it a ping."""

    id: int = 0
    error: dict[str, Any] | None = None
    push: Push | None = None


class WrongError(Exception):
    """The server said something that it should not."""


_decoder: Final = msgspec.json.Decoder(Message)


class Live(User):
    """Watches one view until the end."""

    watchers = 0
    """How many there were in this process."""

    def on_start(self) -> None:
        """Choose what to watch, in turns, so that the parts are exact."""
        self._world = world.of(self.environment)
        self._member = self._world.any_member()
        kind = _ROTATION[Live.watchers % len(_ROTATION)]
        Live.watchers += 1
        board = self._world.any_cohort() if kind == "cohort" else world.GLOBAL
        self._view = View(board, self._member if kind == "standing" else None)
        self._socket: websocket.WebSocket | None = None

    def on_stop(self) -> None:
        """Close the connection."""
        self._close()

    @task
    def watch(self) -> None:
        """Connect, and take what comes for as long as it comes."""
        name, began = "connect", time.perf_counter()
        try:
            self._connect()
            self._tell("connect", began)
            name, began = "subscribe", time.perf_counter()
            self._subscribe()
            self._tell("subscribe", began)
            name, began = "connection", time.perf_counter()
            while True:
                for message in self._receive():
                    self._take(message)
        except (OSError, websocket.WebSocketException, msgspec.DecodeError, WrongError) as error:
            self._tell(name, began, error)
        self._close()
        time.sleep(_AGAIN_SECONDS)

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.shutdown()
            self._socket = None

    def _connect(self) -> None:
        self._socket = websocket.create_connection(
            self._world.options.live_url,
            timeout=_SILENCE_SECONDS,
            enable_multithread=False,
            skip_utf8_validation=True,
            redirect_limit=0,
        )
        token = self._world.token(self._member)
        self._send({"id": 1, "connect": {"token": token} if token else {}})
        _succeeded(self._receive()[0], 1)

    def _subscribe(self) -> None:
        """Subscribe, and take the state that comes right after the reply."""
        self._view.begin()
        self._send({"id": 2, "subscribe": {"channel": self._view.channel}})
        reply, *more = self._receive()
        _succeeded(reply, 2)
        for message in more or self._receive():
            self._take(message)

    def _send(self, command: object) -> None:
        if self._socket is not None:
            self._socket.send(msgspec.json.encode(command).decode())

    def _receive(self) -> list[Message]:
        """Wait for a frame, which has a message a line; pings are answered and not returned."""
        while self._socket is not None:
            kind, lines = self._socket.recv_data()
            if kind != websocket.ABNF.OPCODE_TEXT:
                code, reason = int.from_bytes(lines[:2]), lines[2:].decode(errors="replace")
                raise WrongError(f"the server closed the connection: {code} {reason}")
            messages = [_decoder.decode(line) for line in lines.split(b"\n")]
            told = [message for message in messages if message.id or message.push]
            if len(told) < len(messages):
                self._send({})
            if told:
                return told
        raise WrongError("there is no connection")

    def _take(self, message: Message) -> None:
        """Check a state, and tell how long its newest row took, of those that this process sent."""
        came = time.perf_counter()
        if message.push is None or message.push.pub is None:
            raise WrongError(f"unexpected: {message}")
        if message.push.channel != self._view.channel:
            raise WrongError(f"a state of {message.push.channel} came to {self._view.channel}")
        news = self._view.take(bytes(message.push.pub.data))
        if isinstance(news, str):
            self._tell("state", came, WrongError(news))
            return
        moments = [self._world.sent.moment(self._view.board, *row) for row in news]
        if known := [moment for moment in moments if moment is not None]:
            self._tell(f"delivery {self._view.kind}", max(known))

    def _tell(self, name: str, since: float, error: Exception | None = None) -> None:
        self.environment.events.request.fire(
            request_type="WS",
            name=name,
            response_time=(time.perf_counter() - since) * 1000,
            response_length=0,
            exception=error,
            context={},
        )


def _succeeded(reply: Message, number: int) -> None:
    """Refuse a reply that is an error or answers something else."""
    if reply.error is not None or reply.id != number:
        raise WrongError(f"command {number} was answered {reply}")
