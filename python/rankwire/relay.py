"""A hub process: holds live connections for a server on the same machine.

A process has as many sockets as it may have files open. A server with `live.processes` starts so
many of these; each serves clients from the listener that all of them share, and gets what they
watch from the server over one socket. It ends when told to, or when the server is gone.

Started as ``python -m rankwire.relay LISTENER TRUNK CLUSTER`` with two inherited file descriptors,
the name of the cluster whose nodes share their rates, empty for none, and the settings as JSON on
standard input. It limits its own clients, so it shares rates as a node of its own.
"""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Final

import structlog

from rankwire import _core, log
from rankwire.access import Guard
from rankwire.live import within_files
from rankwire.settings import Settings, from_json

# Between two looks at whether the hub is well.
_LOOK_SECONDS: Final = 0.2

_log = structlog.get_logger(__name__)


def main() -> int:
    """Serve until SIGTERM, or until the server is gone. Returns the exit code."""
    listener, trunk, cluster = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    settings = from_json(sys.stdin.buffer.read())
    log.configure(settings.log.level, settings.log.format)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    # The server's own to act on: it ends its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    guard = Guard(settings.auth, settings.storage)
    guard.start()
    try:
        with _sharing(settings, guard, cluster):
            return _serve(settings, guard, (listener, trunk), stop)
    finally:
        guard.stop()


def _sharing(settings: Settings, guard: Guard, cluster: str) -> AbstractContextManager[None]:
    if not cluster or not settings.redis.url:
        return nullcontext()
    # Only now: a server alone need not load what Redis needs, in each of its processes.
    from rankwire.sync.rates import sharing  # noqa: PLC0415
    from rankwire.sync.urls import parse  # noqa: PLC0415

    return sharing(guard.access, parse(settings.redis.url), cluster)


def _serve(
    settings: Settings, guard: Guard, descriptors: tuple[int, int], stop: threading.Event
) -> int:
    hub = _core.Hub.relay(guard.access, within_files(settings.live), *descriptors)
    while not stop.wait(_LOOK_SECONDS):
        if hub.has_failed:
            _log.error("the server is gone")
            return 1
    hub.shutdown(settings.live.drain_seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
