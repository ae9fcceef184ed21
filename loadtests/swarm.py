"""The load generator for live views, which is the crate `rust/swarm`, and a server for it.

Promises: server and generator run pinned to the cores that they are given and end with the
benchmark; a run of the generator in which anything was wrong is no result.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

import harness
from harness import HOST, BenchError, Process


class Server(msgspec.Struct, frozen=True):
    """A server of ours and where it listens."""

    process: Process
    port: int
    live_port: int

    @property
    def live_url(self) -> str:
        """Where watchers connect."""
        return f"ws://{HOST}:{self.live_port}/connection/websocket"

    @property
    def hub(self) -> tuple[str, ...]:
        """Arguments of the generator that say where the hub is."""
        return ("--url", self.live_url, "--server-pid", str(self.process.pid))

    @property
    def api(self) -> tuple[str, ...]:
        """Arguments of the generator that say where the HTTP API is."""
        return ("--http", f"http://{HOST}:{self.port}")


def build() -> Path:
    """Build the generator, and return where it is."""
    if shutil.which("cargo") is None:
        raise BenchError("a Rust toolchain is needed: https://rustup.rs")
    command = ("cargo", "build", "--release", "--quiet", "-p", "rankwire-swarm")
    if subprocess.run(command, cwd=harness.ROOT, check=False).returncode:
        raise BenchError("the generator was not built")
    target = harness.ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
    return target / "release" / "rankwire-swarm"


@contextlib.contextmanager
def serving(directory: Path, name: str, *flags: str) -> Iterator[Server]:
    """Run our server on its core while the block runs."""
    port, live_port = harness.free_ports(2)
    command = harness.serve_command(port, live_port, directory / name, *flags)
    log = directory / f"{name}.log"
    with harness.running(command, log, harness.cores()[0]) as process:
        process.wait(lambda: harness.is_ready(port))
        yield Server(process, port, live_port)


def run(program: Path, *arguments: str) -> Any:
    """Run the generator to its end on the client's core, and return its result."""
    result = attempt(program, *arguments)
    if not result["ok"]:
        raise BenchError(f"something was wrong: {msgspec.json.encode(result).decode()}")
    return result


def attempt(program: Path, *arguments: str) -> Any:
    """Do the same, but return a result in which something was wrong too: its `ok` is false."""
    pin = ("setpriv", "--pdeathsig", "KILL", "taskset", "--cpu-list", str(harness.cores()[1]))
    command = (*pin, str(program), *arguments, "--output", "json")
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if ended.returncode not in {0, 1}:
        raise BenchError("the generator failed")
    return msgspec.json.decode(ended.stdout)


def hub_seconds(result: Any) -> float:
    """Return the processor time of the hub's threads in a result."""
    threads: dict[str, float] = result["server"]["threads"]
    seconds = sum(used for name, used in threads.items() if name.startswith("rankwire-hub"))
    if not seconds:
        raise BenchError(f"the hub has no threads of its own: {threads}")
    return seconds
