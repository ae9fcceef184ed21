"""The links that the failure tests cut do what they say."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from fix_network import Link, running_network
from fix_server import until


class _Echo:
    """Answers what it gets, and remembers it."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.heard = b""
        self.peers: list[int] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            # Wakes the thread, which a close alone does not.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, (_, port) = self._listener.accept()
                self.peers.append(port)
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while piece := connection.recv(1000):
                self.heard += piece
                connection.sendall(piece)


@pytest.fixture
def echo() -> Iterator[_Echo]:
    echo = _Echo()
    yield echo
    echo.close()


@pytest.fixture
def link(echo: _Echo) -> Iterator[Link]:
    with running_network() as network:
        yield network.link(echo.port)


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as cleanup:
        yield cleanup


def _connect(link: Link, cleanup: ExitStack, *, seconds: float = 30.0) -> socket.socket:
    address = ("127.0.0.1", link.port)
    return cleanup.enter_context(socket.create_connection(address, timeout=seconds))


def _hears_nothing(client: socket.socket) -> bool:
    client.settimeout(0.1)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    finally:
        client.settimeout(30.0)
    return False


def test_it_carries_both_ways_until_the_end(link: Link, echo: _Echo, cleanup: ExitStack) -> None:
    client = _connect(link, cleanup)
    client.sendall(b"ping")
    assert client.recv(100) == b"ping"
    assert link.ports() == set(echo.peers)
    much = bytes(range(256)) * 10_000

    def send() -> None:
        client.sendall(much)
        client.shutdown(socket.SHUT_WR)

    threading.Thread(target=send).start()
    answer = b""
    while piece := client.recv(100_000):
        answer += piece
    assert answer == much, "everything comes before the end"
    until(lambda: not link.ports(), "an end")


def test_what_was_cut_off_arrives_when_it_is_healed(
    link: Link, echo: _Echo, cleanup: ExitStack
) -> None:
    client = _connect(link, cleanup)
    client.sendall(b"a")
    assert client.recv(1) == b"a"
    link.cut()
    client.sendall(b"b")
    assert _hears_nothing(client)
    assert echo.heard == b"a"
    # Even if the sender has given up.
    client.close()
    link.heal()
    until(lambda: echo.heard == b"ab", "what was on its way")


def test_what_was_cut_off_arrives_after_what_comes_later(
    link: Link, echo: _Echo, cleanup: ExitStack
) -> None:
    first = _connect(link, cleanup)
    first.sendall(b"a")
    assert first.recv(1) == b"a"
    link.cut()
    first.sendall(b"b")
    assert _hears_nothing(first)
    link.heal(late=0.5)
    _connect(link, cleanup).sendall(b"c")
    assert first.recv(1) == b"b"
    assert echo.heard == b"acb"


def test_answers_alone_are_cut_off(link: Link, echo: _Echo, cleanup: ExitStack) -> None:
    client = _connect(link, cleanup)
    link.cut(requests=False)
    client.sendall(b"a")
    until(lambda: echo.heard == b"a", "the request")
    assert _hears_nothing(client)
    link.heal()
    assert client.recv(1) == b"a"


def test_new_connections_wait(link: Link, echo: _Echo, cleanup: ExitStack) -> None:
    link.cut()
    client = _connect(link, cleanup)
    client.sendall(b"a")
    assert _hears_nothing(client)
    assert echo.peers == []
    link.heal()
    assert client.recv(1) == b"a"


def test_a_reset_breaks_connections_but_not_the_link(
    link: Link, echo: _Echo, cleanup: ExitStack
) -> None:
    client = _connect(link, cleanup)
    client.sendall(b"a")
    assert client.recv(1) == b"a"
    link.reset()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    until(lambda: not link.ports(), "an end")
    again = _connect(link, cleanup)
    again.sendall(b"b")
    assert again.recv(1) == b"b"
    assert echo.heard == b"ab"


def test_a_slow_link_takes_its_time(link: Link, cleanup: ExitStack) -> None:
    client = _connect(link, cleanup)
    client.sendall(b"a")
    assert client.recv(1) == b"a"
    link.slow(0.1)
    began = time.monotonic()
    client.sendall(b"b")
    assert client.recv(1) == b"b"
    assert time.monotonic() - began >= 0.2


def test_nobody_there(link: Link, echo: _Echo, cleanup: ExitStack) -> None:
    echo.close()
    with pytest.raises(ConnectionResetError):
        _connect(link, cleanup).recv(1)
