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
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from rankwire import _core, settings

if TYPE_CHECKING:
    from collections.abc import Callable

# Files that are left to the rest of the process.
_SPARE_FILES: Final = 1000
# Between two looks at whether all is well. A process that keeps dying is started as often.
_LOOK_SECONDS: Final = 1.0
# How much longer than its drain a process may take to end.
_GRACE_SECONDS: Final = 5.0

_log = structlog.get_logger(__name__)


class Live:
    """A running live door."""

    def __init__(
        self,
        engine: _core.Engine,
        chosen: settings.Settings,
        access: _core.Access,
        on_failure: Callable[[], None],
        cluster: str = "",
    ) -> None:
        """Listen and serve; `on_failure` is called, on a thread, when the hub breaks down.

        Hub processes share their rates with the nodes of `cluster`, if there is one.

        Raises OSError when the address cannot be had, SettingsError when the origins are none.
        """
        live = within_files(chosen.live)
        self.most_connections = live.max_connections * max(1, live.processes)
        """Most watchers at once, those of all hub processes together."""
        self._drain_seconds = live.drain_seconds
        self._on_failure = on_failure
        self._processes: _Processes | None = None
        try:
            if live.processes:
                self.hub = _core.Hub.start_inside(engine, access, live)
                self._processes = _Processes(self.hub, chosen, cluster)
                self.port = self._processes.port
            else:
                self.hub = _core.Hub.start(engine, access, live)
                self.port = self.hub.port
        except OSError as error:
            where = f"{live.host}:{live.port}"
            raise OSError(f"cannot listen on {where} for live connections: {error}") from error
        except ValueError as error:
            raise settings.SettingsError([str(error)]) from error
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="live")
        self._watcher.start()

    def stop(self) -> None:
        """Tell every client to come back elsewhere, over `live.drain_seconds`, and end."""
        self._stopping.set()
        self._watcher.join()
        if self._processes is not None:
            self._processes.stop()
        self.hub.shutdown(self._drain_seconds)

    def _watch(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            if self.hub.has_failed:
                _log.critical("the live door failed")
                self._on_failure()
                return
            if self._processes is not None:
                try:
                    self._processes.renew()
                except OSError as error:
                    _log.error("hub process not started", reason=str(error))


class _Processes:
    """Hub processes, and the listener that they share."""

    def __init__(self, hub: _core.Hub, chosen: settings.Settings, cluster: str) -> None:
        self._hub = hub
        self._cluster = cluster
        self._settings = chosen
        live = chosen.live
        self._listener = socket.socket(fileno=_core.Hub.listen(live))
        self.port = int(self._listener.getsockname()[1])
        self._running = [self._spawn() for _ in range(live.processes)]

    def renew(self) -> None:
        """Start processes again that have ended."""
        for number, process in enumerate(self._running):
            if process.poll() is not None:
                _log.error("hub process ended", pid=process.pid, code=process.returncode)
                self._running[number] = self._spawn()

    def stop(self) -> None:
        """Let them drain, and end them."""
        self._listener.close()
        for process in self._running:
            process.terminate()
        deadline = time.monotonic() + self._settings.live.drain_seconds + _GRACE_SECONDS
        for process in self._running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _log.warning("hub process killed", pid=process.pid)
                process.kill()
                process.wait()

    def _spawn(self) -> subprocess.Popen[bytes]:
        ours, theirs = socket.socketpair()
        with theirs:
            descriptors = (self._listener.fileno(), theirs.fileno())
            command = [sys.executable, "-m", "rankwire.relay"]
            command += [*map(str, descriptors), self._cluster]
            process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                command,
                stdin=subprocess.PIPE,
                pass_fds=descriptors,
                # Signals of a terminal are for the server, which ends its processes.
                start_new_session=True,
            )
        self._hub.attach(ours.detach())
        if (pipe := process.stdin) is not None:
            with pipe:
                pipe.write(settings.to_json(self._settings))
        return process


def within_files(live: settings.Live) -> settings.Live:
    """Take as many files as this process may have, and no more connections than those allow."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    allowed = max(1, most - _SPARE_FILES)
    if most == resource.RLIM_INFINITY or live.max_connections <= allowed:
        return live
    _log.warning("fewer connections than set", allowed=allowed, limit_of_open_files=most)
    return msgspec.structs.replace(live, max_connections=allowed)
