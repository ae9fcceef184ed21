"""A real server as a child process, on free ports.

Promises: the child is ready when the block begins and gone when it ends, however it ends. It sees
none of the settings around it: no ``rankwire.toml`` and no ``RANKWIRE_*`` variable.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from typing import TYPE_CHECKING

import msgspec

from rankwire.cli._api import Api
from rankwire.settings import ENVIRONMENT_PREFIX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

READY_SECONDS = 30.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.05
SHOWN_LOG_LINES = 20


class ChildError(Exception):
    """The server did not start or did not stop as it should."""


class Child(msgspec.Struct, frozen=True):
    """Where a running child is."""

    url: str
    live_url: str
    process_id: int


@contextlib.asynccontextmanager
async def running_server(storage: Path, log: Path) -> AsyncIterator[Child]:
    """Run a server on ``storage`` while the block runs; its output goes to ``log``.

    Raises:
        ChildError: if it does not become ready, or does not end with exit code 0 on SIGTERM.

    """
    http_port, live_port = _free_ports()
    process = await _start(storage, log, http_port, live_port)
    child = Child(
        url=f"http://127.0.0.1:{http_port}",
        live_url=f"ws://127.0.0.1:{live_port}/connection/websocket",
        process_id=process.pid,
    )
    try:
        await _ready(process, child, log)
        yield child
    finally:
        code = await _stop(process)
    if code != 0:
        raise ChildError(f"the server ended with exit code {code}\n{_tail(log)}")


async def _start(
    storage: Path, log: Path, http_port: int, live_port: int
) -> asyncio.subprocess.Process:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(ENVIRONMENT_PREFIX)}
    flags = {
        "--config": os.devnull,  # an empty file: the flags say everything
        "--http-port": http_port,
        "--live-port": live_port,
        "--storage-path": storage,
    }
    words = [str(word) for pair in flags.items() for word in pair]
    with log.open("wb") as output:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "rankwire", "serve", *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            # Ctrl-C is for the parent, which then stops the child in order.
            process_group=0,
        )


async def _ready(process: asyncio.subprocess.Process, child: Child, log: Path) -> None:
    try:
        async with asyncio.timeout(READY_SECONDS), Api(child.url) as api:
            while process.returncode is None:
                if await api.is_ready():
                    return
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError as error:
        raise ChildError(
            f"the server was not ready after {READY_SECONDS:.0f} s\n{_tail(log)}"
        ) from error
    raise ChildError(f"the server ended at once with exit code {process.returncode}\n{_tail(log)}")


async def _stop(process: asyncio.subprocess.Process) -> int:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            return await process.wait()
    except TimeoutError:
        process.kill()
        return await process.wait()


def _free_ports() -> tuple[int, int]:
    """Return two ports that were free a moment ago; held together, so they differ."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(["the last lines of its output:", *lines[-SHOWN_LOG_LINES:]])
