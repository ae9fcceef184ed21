"""`rankwire health`, asked of real servers and of things that are none."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fix_redis import free_port
from fix_server import Server
from rankwire.cli import main


def health(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["health", *arguments])


@contextmanager
def answering(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """Listen, and do this with each connection that comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/readyz"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_a_server_is_healthy_until_it_stops(server: Server, tmp_path: Path) -> None:
    ready = f"{server.url}/readyz answers 200"
    for host in ("0.0.0.0", "127.0.0.1"):
        file = tmp_path / "own.toml"
        file.write_text(f'[http]\nhost = "{host}"\nport = {server.http_port}\n', "utf-8")
        asked = health("--config", str(file))
        assert (asked.exit_code, ready in asked.output) == (0, True)
    other = health("--url", f"{server.url}/nothing-here")
    assert (other.exit_code, "answers 404" in other.output) == (1, True)
    assert server.terminate() == 0
    stopped = health("--http-port", str(server.http_port))
    assert (stopped.exit_code, "refused" in stopped.output) == (1, True)


def test_an_address_of_the_sixth_version_is_written_as_such() -> None:
    port = free_port()
    asked = health("--http-host", "::", "--http-port", str(port))
    assert (asked.exit_code, f"http://[::1]:{port}/readyz cannot" in asked.output) == (1, True)


def test_who_says_nothing_or_too_slowly_is_not_healthy() -> None:
    def drip(connection: socket.socket) -> None:
        with suppress(OSError):
            for _ in range(100):
                connection.sendall(b"HTTP/1.1 200")
                time.sleep(0.05)

    with answering(drip) as url:
        asked = health("--url", url, "--timeout", "0.3")
    assert (asked.exit_code, "within 0.3 s" in asked.output) == (1, True)


@pytest.mark.parametrize(
    "answer",
    [b"", b"hello\r\n\r\n", b"SSH-2.0 200 OK\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"\xff" * 9000],
)
def test_what_is_not_http_is_not_healthy(answer: bytes) -> None:
    def send(connection: socket.socket) -> None:
        connection.recv(1024)
        connection.sendall(answer)

    with answering(send) as url:
        asked = health("--url", url)
    assert (asked.exit_code, "does not answer in HTTP" in asked.output) == (1, True)


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/readyz", "127.0.0.1:7700", "http://", "http://x:y"]
)
def test_an_address_that_is_none_is_said_to_be(url: str) -> None:
    asked = health("--url", url)
    assert asked.exit_code == 1
    assert "is no address" in asked.output or "cannot be asked" in asked.output


def test_it_loads_nothing_that_a_server_needs() -> None:
    names = ("aiohttp", "asyncio", "granian", "psycopg", "redis", "sqlite3", "starlette")
    code = f"""import sys
from rankwire.cli import main
try:
    main(["health", "--url", "http://127.0.0.1:{free_port()}/"])
except SystemExit as end:
    assert end.code == 1
print([name for name in {names} if name in sys.modules])"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
