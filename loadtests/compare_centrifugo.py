"""Centrifugo for `compare.py`: where it is, how it is set, and a run of it.

Promises: it is never built or downloaded here; where it is missing, the reason is told. Its
settings are those that its documentation gives for many connections, and they are a part of the
result.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

import harness
from harness import HOST, BenchError
from swarm import Server

CHANNEL: Final = "board:global:top:10"
MEMBERS: Final = 1000
SETTINGS: Final[dict[str, Any]] = {
    "log": {"level": "error"},
    "admin": {"enabled": False},
    "prometheus": {"enabled": False},
    "health": {"enabled": False},
    # Loopback only, so the API asks for no key, which is the least work.
    "http_api": {"insecure": True},
    # Ours asks nobody who they are either.
    "client": {"allow_anonymous_connect_without_token": True},
    # https://centrifugal.dev/docs/transports/websocket: less memory for each connection, and
    # compression, which costs both memory and time, stays off as by default.
    "websocket": {"compression": False, "read_buffer_size": 512, "use_write_buffer_pool": True},
    # No history, no presence, no recovery: nothing is kept for a channel.
    "channel": {
        "namespaces": [
            {
                "name": "board",
                "allow_subscribe_for_anonymous": True,
                "allow_subscribe_for_client": True,
            }
        ]
    },
}
ENVIRONMENT: Final = {"GOMAXPROCS": "1"}
"""It has one core; with more threads for Go code they would only take turns."""

_MODULE: Final = re.compile(rb"mod\tgithub\.com/centrifugal/centrifugo/v[0-9]+\t(v[^\t\n]+)")


class Centrifugo(msgspec.Struct, frozen=True):
    """A program, and its version as its build says it."""

    program: Path
    version: str


def find() -> Centrifugo | str:
    """Find the program, or return why there is none."""
    named = os.environ.get("CENTRIFUGO")
    if named is not None and not os.access(named, os.X_OK):
        raise BenchError(f"CENTRIFUGO is {named}, which is no program")
    built = harness.ROOT / ".venv" / "tools" / "centrifugo"
    candidates = [named, shutil.which("centrifugo"), shutil.which(built)]
    for candidate in filter(None, candidates):
        program = Path(candidate)
        return Centrifugo(program, version_of(program))
    reason = "no Go toolchain to build it with" if shutil.which("go") is None else "not built yet"
    return f"no centrifugo: CENTRIFUGO is not set, none is on PATH, {reason} (make centrifugo)"


def version_of(program: Path) -> str:
    """Return the version that Go has written into the program."""
    found = _MODULE.search(program.read_bytes())
    return found[1].decode() if found else "unknown"


@contextlib.contextmanager
def serving(directory: Path, centrifugo: Centrifugo) -> Iterator[Server]:
    """Run it on the server's core, and what publishes to it on the client's."""
    port, live_port = harness.free_ports(2)
    core, client_core = harness.cores()
    config = directory / "centrifugo.json"
    listener = {"http_server": {"address": HOST, "port": live_port}}
    config.write_bytes(msgspec.json.encode(SETTINGS | listener))
    command = (centrifugo.program, "--config", config)
    publisher = (
        *(sys.executable, Path(__file__).parent / "peers" / "publisher.py"),
        *(str(port), str(live_port), CHANNEL, str(MEMBERS)),
    )
    log = directory / "centrifugo.log"
    with (
        harness.running(command, log, core, ENVIRONMENT) as process,
        harness.running(publisher, directory / "publisher.log", client_core) as backend,
    ):
        process.wait(lambda: harness.answers(live_port))
        backend.wait(lambda: harness.answers(port))
        yield Server(process, port, live_port)
