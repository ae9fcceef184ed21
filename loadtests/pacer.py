"""An HTTP client with an open load: each request has its moment, however slow the answers are.

Usage: `pacer.py PORT FILE RATE CONNECTIONS`. FILE has a request a line, as JSON of method,
path and body (null for none). They are sent at RATE a second, in their order, each on the next free
connection; when none is free they wait, and their latency counts from their moment. It runs in a
process of its own, says when it is ready, begins at a line on standard input, and prints one JSON
object: answers, failures, bytes and latencies.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, cast

import msgspec
import uvloop

import harness
from harness import HOST, BenchError, Process

_LENGTH: Final = b"content-length: "
# Answers that are still missing when everything was sent come within so long.
_PATIENCE_SECONDS: Final = 10.0


class Request(msgspec.Struct, frozen=True, array_like=True):
    """What is sent."""

    method: str
    path: str
    body: object = None

    def encode(self) -> bytes:
        """Make the bytes."""
        head = f"{self.method} {self.path} HTTP/1.1\r\nHost: {HOST}\r\n"
        if self.body is None:
            return f"{head}\r\n".encode()
        content = msgspec.json.encode(self.body)
        kind = "Content-Type: application/json\r\n"
        return f"{head}{kind}Content-Length: {len(content)}\r\n\r\n".encode() + content


class Result(msgspec.Struct, frozen=True):
    """What came of it."""

    sent: int
    answered: int
    """With success."""
    failed: int
    seconds: float
    """From the first request to the last answer."""
    bytes_received: int
    """Heads and bodies of answers."""
    p50_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        """Answers a second; fewer than asked for when the server was late."""
        return self.answered / self.seconds


@contextlib.contextmanager
def pacing(
    port: int, directory: Path, requests: Sequence[Request], rate: float, connections: int = 64
) -> Iterator[Process]:
    """Give a process on the client's core that sends requests once it is told to go on."""
    file = directory / "requests.ndjson"
    file.write_bytes(b"\n".join(map(msgspec.json.encode, requests)))
    words = (str(port), str(file), str(rate), str(connections))
    command = (sys.executable, __file__, *words)
    log = directory / "pacer.log"
    with harness.running(command, log, harness.cores()[1], talks=True) as process:
        yield process


def result_of(process: Process) -> Result:
    """Wait until everything is answered; refuse a result with failures."""
    result = msgspec.json.decode(process.hear(), type=Result)
    if result.failed or not result.answered:
        raise BenchError(f"not everything was answered with success: {result}")
    return result


class Pacer:
    """Sends requests at their moments."""

    def __init__(self, requests: list[bytes], rate: float) -> None:
        """Prepare; the clock starts with `run`."""
        self._requests = requests
        self._rate = rate
        self._free: deque[Connection] = deque()
        self._next = 0
        self._start = 0.0
        self._waiter: asyncio.Future[None] | None = None
        self.failed = 0
        self.bytes = 0
        self.latencies: list[float] = []

    def free(self, connection: Connection) -> None:
        """Take a connection that has nothing to do."""
        self._free.append(connection)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def answered(self, moment: float, status: bytes, size: int) -> None:
        """Count an answer."""
        self.bytes += size
        if status[:1] == b"2":
            self.latencies.append(time.perf_counter() - moment)
        else:
            self.failed += 1

    async def run(self, connections: int, port: int) -> Result:
        """Send everything and wait for the answers."""
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            await loop.create_connection(lambda: Connection(self), HOST, port)
        self._start = time.perf_counter()
        for number, request in enumerate(self._requests):
            moment = self._start + number / self._rate
            if (early := moment - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            while not self._free:
                self._waiter = loop.create_future()
                await asyncio.wait_for(self._waiter, _PATIENCE_SECONDS)
            self._free.popleft().send(request, moment)
        await self._all_answered()
        return self._result()

    async def _all_answered(self) -> None:
        end = time.perf_counter() + _PATIENCE_SECONDS
        while len(self.latencies) + self.failed < len(self._requests):
            if time.perf_counter() > end:
                break
            await asyncio.sleep(0.005)

    def _result(self) -> Result:
        ordered = sorted(self.latencies) or [0.0]
        return Result(
            sent=len(self._requests),
            answered=len(self.latencies),
            failed=len(self._requests) - len(self.latencies),
            seconds=time.perf_counter() - self._start,
            bytes_received=self.bytes,
            p50_ms=ordered[len(ordered) // 2] * 1000,
            p99_ms=ordered[len(ordered) * 99 // 100] * 1000,
        )


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request on its way."""

    def __init__(self, pacer: Pacer) -> None:
        """Belong to a pacer."""
        self._pacer = pacer
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._moment = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._pacer.free(self)

    def send(self, request: bytes, moment: float) -> None:
        """Send a request."""
        self._moment = moment
        if self._transport is not None:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer."""
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        at = head.lower().find(_LENGTH)
        length = int(head[at + len(_LENGTH) :].partition(b"\r\n")[0]) if at >= 0 else 0
        if len(body) >= length:
            size, self._buffer = len(self._buffer), b""
            self._pacer.answered(self._moment, head[9:12], size)
            self._pacer.free(self)


def main() -> None:
    port, file, rate, connections = sys.argv[1:]
    lines = Path(file).read_bytes().splitlines()
    requests = [msgspec.json.decode(line, type=Request).encode() for line in lines]
    print("ready", flush=True)
    sys.stdin.readline()
    pacer = Pacer(requests, float(rate))
    result = uvloop.run(pacer.run(int(connections), int(port)))
    print(msgspec.json.encode(result).decode(), flush=True)


if __name__ == "__main__":
    main()
