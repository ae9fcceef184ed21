"""Redis as the benchmarks of the ranked list have it: one core for it, one for its client.

Promises: commands are encoded before anything is timed, and while they are sent a second pipeline
is always on its way, so that Redis never waits for its client.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import harness
from harness import HOST, BenchError

if TYPE_CHECKING:
    from redis import Redis


@contextlib.contextmanager
def redis(directory: Path) -> Iterator[tuple[harness.Process, Redis, socket.socket]]:
    """Run Redis on the server's core, and this process on the client's."""
    from redis import Redis  # noqa: PLC0415  # only now is it known to be installed

    (port,) = harness.free_ports(1)
    allowed = os.sched_getaffinity(0)
    core, client_core = harness.cores()
    with harness.running(harness.redis_command(port), directory / "redis.log", core) as process:
        process.wait(lambda: harness.answers(port))
        os.sched_setaffinity(0, {client_core})
        try:
            with Redis(port=port) as client, socket.create_connection((HOST, port)) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                yield process, client, connection
        finally:
            os.sched_setaffinity(0, allowed)


def exchange(connection: socket.socket, sent: Sequence[bytes], answers: int) -> bytes:
    """Send pipelines of so many answers each, and return all answers."""
    commands = sum(one.count(b"*") for one in sent)
    received: list[bytes] = []
    seen = 0
    for number, pipeline in enumerate(sent):
        connection.sendall(pipeline)
        while seen < (commands if number == len(sent) - 1 else number * answers):
            received.append(connection.recv(1 << 16))
            if not received[-1]:
                raise BenchError("Redis has closed the connection")
            seen += received[-1].count(b"\n")
    return b"".join(received)
