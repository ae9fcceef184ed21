"""The live door: the hub in this process, or hub processes beside it.

Without `live.processes` the hub listens by itself. With them it has no door: the processes share
one listener, each is a client of the hub here, and one that dies is started again. Whoever was
connected to it reconnects to another.
"""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import threading
import time
from typing import Final

import msgspec
import structlog

from rankwire import _core, settings

# Files that are left to the rest of the process.
_SPARE_FILES: Final = 1000
# Connections that wait in the kernel to be accepted.
_BACKLOG: Final = 4096
# Between two looks at whether all processes are there. One that keeps dying is started as often.
_LOOK_SECONDS: Final = 1.0
# How much longer than its drain a process may take to end.
_GRACE_SECONDS: Final = 5.0

_log = structlog.get_logger(__name__)


class Live:
    """A running live door."""

    def __init__(
        self, engine: _core.Engine, chosen: settings.Settings, access: _core.Access
    ) -> None:
        """Listen and serve. Raises OSError when the address cannot be had, ValueError for origins."""
        self._settings = chosen
        self._listener: socket.socket | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="hub-processes")
        live = within_files(chosen.live)
        try:
            if live.processes:
                self._listener = _listen(live.host, live.port)
                self.hub = _core.Hub.start_inside(engine, access, live)
                self.port = int(self._listener.getsockname()[1])
            else:
                self.hub = _core.Hub.start(engine, access, live)
                self.port = self.hub.port
        except OSError as error:
            where = f"{live.host}:{live.port}"
            raise OSError(f"cannot listen on {where} for live connections: {error}") from error
        for _ in range(live.processes):
            self._processes.append(self._spawn())
        self._watcher.start()

    @property
    def failed(self) -> bool:
        """Whether the hub broke down: the server has to end."""
        return self.hub.has_failed

    def stop(self) -> None:
        """Tell every client to come back elsewhere, over `live.drain_seconds`, and end."""
        self._stopping.set()
        self._watcher.join()
        within = self._settings.live.drain_seconds
        for process in self._processes:
            process.terminate()
        if self._listener is not None:
            self._listener.close()
        deadline = time.monotonic() + within + _GRACE_SECONDS
        for process in self._processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _log.warning("hub process killed", pid=process.pid)
                process.kill()
                process.wait()
        self.hub.shutdown(within)

    def _watch(self) -> None:
        """Start processes again that have ended."""
        while not self._stopping.wait(_LOOK_SECONDS):
            for number, process in enumerate(self._processes):
                if process.poll() is not None:
                    _log.error("hub process ended", pid=process.pid, code=process.returncode)
                    self._processes[number] = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        assert self._listener is not None
        ours, theirs = socket.socketpair()
        with theirs:
            descriptors = (self._listener.fileno(), theirs.fileno())
            process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [sys.executable, "-m", "rankwire.relay", *map(str, descriptors)],
                stdin=subprocess.PIPE,
                pass_fds=descriptors,
                # Signals of a terminal are for the server, which ends its processes.
                start_new_session=True,
            )
        assert process.stdin is not None
        with process.stdin as pipe:
            pipe.write(settings.to_json(self._settings))
        self.hub.attach(ours.detach())
        return process


def within_files(live: settings.Live) -> settings.Live:
    """Take as many files as this process may have, and no more connections than those allow."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    allowed = max(1, most - _SPARE_FILES)
    if live.max_connections <= allowed:
        return live
    _log.warning(
        "fewer connections than set", allowed=allowed, because="limit of open files", limit=most
    )
    return msgspec.structs.replace(live, max_connections=allowed)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)
