"""A server in a process of its own, for tests that talk to it, stop it and kill it.

`Server` starts ``rankwire serve`` on free ports of 127.0.0.1, in a process group of its own, so
that killing it leaves nothing behind. The fixture `new_server` makes servers and ends them after
the test; what they printed is shown when a test fails.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, Self

import pytest

# Only bounds: how long a test waits for what should be there at once.
PATIENCE_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.005
_SHOWN_CHARACTERS: Final = 8_000

_HTTP: Final = re.compile(r"^ +HTTP +http://([0-9.]+):([0-9]+) ", re.MULTILINE)
_LIVE: Final = re.compile(r"^ +live +(ws://[0-9.]+:([0-9]+)/\S+)$", re.MULTILINE)
# The last line of the announcement: it is complete when this one is.
_STORAGE: Final = re.compile(r"^ +storage +.+\n", re.MULTILINE)


def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something that is to happen on its own."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:.0f} s in vain for: {what}")
        time.sleep(_LOOK_SECONDS)


class Reply(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Decode the body."""
        return json.loads(self.body)


class Server:
    """One storage directory and, most of the time, a server process that works on it."""

    def __init__(
        self,
        directory: Path,
        logs: Path,
        *flags: str,
        prefix: Sequence[str] = (),
        heard: bool = True,
    ) -> None:
        """Remember how to start.

        `prefix` is a command that runs the server's command. Unless it is `heard`, the server's
        standard error is a pipe that nobody reads from any more.
        """
        self.directory = directory
        self.flags = flags
        self.credential: str | None = None
        """Sent with every call as `Authorization: Bearer`, if there is one."""
        self.host = "127.0.0.1"
        """Where it listens for HTTP, as it says itself when it is ready."""
        self.http_port = 0
        self.live_port = 0
        self.live_url = ""
        self._prefix = tuple(prefix)
        self._heard = heard
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        logs.mkdir()
        self._logs = logs

    # The process.

    def spawn(self, *, http_port: int = 0, live_port: int = 0) -> Self:
        """Start the process and do not wait for it."""
        assert not self.running
        self._starts += 1
        command = [
            *self._prefix,
            *(sys.executable, "-m", "rankwire", "serve"),
            *("--http-port", str(http_port), "--live-port", str(live_port)),
            *("--storage-path", str(self.directory), *self.flags),
        ]
        with self._file("out").open("wb") as out, self._open_log() as err:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                cwd=self._logs,
                env=_clean_environment(),
            )
        return self

    def wait_ready(self, seconds: float = PATIENCE_SECONDS) -> Self:
        """Wait until the server says where it is and that it is ready."""
        until(self._announced, "a server that is ready", seconds)
        until(lambda: self.get("/readyz").status == 200, "/readyz", seconds)
        return self

    def start(self) -> Self:
        """Start on free ports and wait until it is ready."""
        return self.spawn().wait_ready()

    def restart(self, *, same_ports: bool = False) -> Self:
        """Start again after `kill` or `terminate`."""
        if same_ports:
            return self.spawn(http_port=self.http_port, live_port=self.live_port).wait_ready()
        return self.start()

    def kill(self) -> None:
        """Kill the process group, as a crash would."""
        assert self.running
        os.killpg(self.pid, signal.SIGKILL)
        self.wait()

    def terminate(self) -> int:
        """Ask the server to stop and give its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.wait()

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for the process to end and give its exit code."""
        assert self._process is not None
        return self._process.wait(seconds)

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    def end(self) -> None:
        """Leave no process behind, whatever happened."""
        if self.running:
            self.kill()

    # What it said.

    @property
    def out(self) -> str:
        """Standard output of the last start."""
        return self._file("out").read_text(encoding="utf-8", errors="replace")

    @property
    def log(self) -> str:
        """Standard error of the last start."""
        return self._file("err").read_text(encoding="utf-8", errors="replace")

    def show(self) -> None:
        """Print what the process said, for the report of a failed test."""
        if self._starts:
            code = self._process.poll() if self._process else None
            sys.stdout.write(f"--- {self._logs.name}, start {self._starts}, exit code {code}\n")
            sys.stdout.write(self.out[-_SHOWN_CHARACTERS:] + self.log[-_SHOWN_CHARACTERS:])

    # Its HTTP API.

    @property
    def url(self) -> str:
        """Where the HTTP API is."""
        return f"http://{self.host}:{self.http_port}"

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection(self.host, self.http_port, PATIENCE_SECONDS)
        try:
            sent = {} if body is None else {"content-type": "application/json"}
            if self.credential is not None:
                sent["authorization"] = f"Bearer {self.credential}"
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, sent | dict(headers or {}))
            answer = connection.getresponse()
            answered = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, answered, answer.read())
        finally:
            connection.close()

    def get(self, path: str) -> Reply:
        """GET."""
        return self.call("GET", path)

    def create(self, board: str, **config: str) -> None:
        """Create a board."""
        reply = self.call("PUT", f"/v1/boards/{board}", config)
        assert reply.status in {200, 201}, reply

    def submit(self, board: str, member: str, score: float, **more: object) -> Reply:
        """Submit one score."""
        body = {"member": member, "score": score, **more}
        return self.call("POST", f"/v1/boards/{board}/scores", body)

    def entries(self, board: str) -> list[tuple[int, str, float]]:
        """Every row of a board, which has at most a thousand."""
        page = self.get(f"/v1/boards/{board}/top?limit=1000").json()
        rows = [(row["rank"], row["member"], row["score"]) for row in page["entries"]]
        assert len(rows) == page["total"]
        return rows

    def scores(self, board: str) -> dict[str, float]:
        """Every member's score."""
        return {member: score for _, member, score in self.entries(board)}

    def metric(self, name: str) -> float:
        """Read a figure without labels from the metrics."""
        for line in self.get("/metrics").body.decode().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return float(value)
        return pytest.fail(f"no metric {name}")

    # Inside.

    def _open_log(self) -> BinaryIO:
        log = self._file("err").open("wb")
        if self._heard:
            return log
        log.close()
        reader, writer = os.pipe()
        os.close(reader)
        return os.fdopen(writer, "wb")

    def _file(self, suffix: str) -> Path:
        return self._logs / f"{self._starts:04}.{suffix}"

    def _announced(self) -> bool:
        # Looked at first: a process that ends after this has written all it ever will by then.
        running = self.running
        text = self.out
        if _STORAGE.search(text):
            http, live = _HTTP.search(text), _LIVE.search(text)
            assert http is not None
            self.host, self.http_port = http[1], int(http[2])
            if live is not None:
                self.live_url, self.live_port = live[1], int(live[2])
            else:
                assert "live     off" in text
            return True
        if not running:
            pytest.fail(f"the server ended with exit code {self.wait()}")
        return False


def _clean_environment() -> dict[str, str]:
    """Keep settings of whoever runs the tests out of them."""
    return {k: v for k, v in os.environ.items() if not k.startswith("RANKWIRE_")}


async def closed(others: set[asyncio.Task[Any]]) -> None:
    """Wait until every task but `others` is done.

    The Centrifuge SDK closes its sockets in the background and tells nobody when it is through.
    """
    if tasks := asyncio.all_tasks() - others - {asyncio.current_task()}:
        await asyncio.wait(tasks, timeout=PATIENCE_SECONDS)
    # The transports themselves close in the next turn of the loop.
    await asyncio.sleep(0)


NewServer = Callable[..., Server]


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[NewServer]:
    """Make servers, see `making_servers`."""
    with making_servers(tmp_path) as make:
        yield make


@contextmanager
def making_servers(place: Path) -> Iterator[NewServer]:
    """Give what makes servers, not started yet, from the arguments of `Server`."""
    servers: list[Server] = []

    def make(*flags: str, directory: Path | None = None, **more: Any) -> Server:
        number = len(servers)
        where = directory or place / f"data-{number}"
        server = Server(where, place / f"server-{number}", *flags, **more)
        servers.append(server)
        return server

    try:
        yield make
    finally:
        for server in servers:
            server.end()
            # Pytest shows this only when the test failed.
            server.show()


@pytest.fixture
def server(new_server: NewServer) -> Server:
    """Start a server with default settings, on an empty directory."""
    return new_server().start()
