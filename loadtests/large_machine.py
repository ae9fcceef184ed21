"""What `large.py` knows of this machine: its memory, and who uses how much of what during a step.

Promises: looks at files of the kernel only, twice a second, and ends with its block. When memory
comes to its end the clients are killed, before the kernel chooses whom to kill, and so they are
when they take too long.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Self

import msgspec

import harness
import slab
from harness import Process

LEAST_FREE: Final = 2 * 1024**3
"""Bytes that have to stay available."""

_LOOK_SECONDS: Final = 0.5
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
# All sockets but the last few are open: opening is over, and nothing has been closed yet.
_STEADY: Final = 0.98


class Look(msgspec.Struct, frozen=True):
    """The machine at one moment."""

    moment: float
    available: float
    """Bytes that new processes could have."""
    kernel: float
    """Bytes of the kernel's own objects, and of what waits in sockets."""
    sockets: int
    """TCP sockets of all, both ends of a connection."""
    cpu: dict[str, float]
    """Seconds that each process has used."""
    clients: float
    """Seconds of the clients."""
    clients_memory: float
    """Bytes of the clients, resident."""


class Used(msgspec.Struct, frozen=True):
    """What was used while all sockets were open."""

    seconds: float
    available: float
    """Bytes, at the least."""
    kernel: float
    """Bytes, at the most."""
    clients_memory: float
    """Bytes, at the most."""
    cpu: dict[str, float]
    """Cores of each process, and of all clients as `clients`."""


class Watch:
    """Looks, while a block runs, at the machine, at processes by name, and at clients."""

    def __init__(self, processes: Mapping[str, Process], most_seconds: float) -> None:
        """Prepare; clients may take so long."""
        self._processes = processes
        self._most_seconds = most_seconds
        self._clients: list[Process] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._looks: list[Look] = []
        self.killed = ""
        """Why the clients were killed; empty if they were not."""

    def add_client(self, process: Process) -> None:
        """Take a client; its children are counted and end with it."""
        self._clients.append(process)

    def __enter__(self) -> Self:
        """Begin."""
        self._looks.append(self._look())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stopping.set()
        self._thread.join()

    def used(self) -> Used:
        """Tell what was used while all sockets were open."""
        most = max(look.sockets for look in self._looks)
        steady = [look for look in self._looks if look.sockets >= _STEADY * most]
        first, last = steady[0], steady[-1]
        seconds = max(last.moment - first.moment, _LOOK_SECONDS)
        cpu = {name: (used - first.cpu[name]) / seconds for name, used in last.cpu.items()}
        return Used(
            seconds=seconds,
            available=min(look.available for look in self._looks),
            kernel=max(look.kernel for look in self._looks),
            clients_memory=max(look.clients_memory for look in self._looks),
            cpu=cpu | {"clients": max(0.0, last.clients - first.clients) / seconds},
        )

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            look = self._look()
            self._looks.append(look)
            if not self.killed:
                self._judge(look)

    def _judge(self, look: Look) -> None:
        """End the clients if they must not go on."""
        if look.available < LEAST_FREE:
            self.killed = "memory came to its end"
        elif look.moment - self._looks[0].moment > self._most_seconds:
            self.killed = f"not done within {self._most_seconds:.0f} s"
        if self.killed:
            for client in self._clients:
                client.kill()

    def _look(self) -> Look:
        clients = [*family(client.pid for client in self._clients)]
        return Look(
            moment=time.monotonic(),
            available=available(),
            kernel=kernel_memory(),
            sockets=_sockets()["inuse"],
            cpu={name: process.cpu_seconds() for name, process in self._processes.items()},
            clients=sum(map(_cpu_seconds, clients)),
            clients_memory=sum(resident(pid) for pid in clients),
        )


def available() -> float:
    """Return the bytes that new processes could have."""
    return _memory("MemAvailable")


def kernel_memory() -> float:
    """Return the bytes of the kernel's own objects, and of what waits in sockets."""
    return _memory("Slab") + _sockets()["mem"] * float(_PAGE)


def resident(pid: int) -> float:
    """Return the resident bytes of a process, 0 of one that has ended."""
    with contextlib.suppress(OSError):
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
        return float(pages) * _PAGE
    return 0.0


def family(pids: Iterable[int]) -> Iterator[int]:
    """Return processes with their children and those of these."""
    for pid in pids:
        yield pid
        with contextlib.suppress(OSError):
            file = Path(f"/proc/{pid}/task/{pid}/children")
            yield from family(map(int, file.read_text(encoding="ascii").split()))


def _cpu_seconds(pid: int) -> float:
    with contextlib.suppress(OSError):
        fields = harness.stat(pid)
        return (int(fields[11]) + int(fields[12])) / _TICKS
    return 0.0


def _memory(name: str) -> float:
    return slab.bytes_of(Path("/proc/meminfo"), name)


def _sockets() -> dict[str, int]:
    """Return how many TCP sockets there are (`inuse`), and the pages that wait in them (`mem`)."""
    lines = Path("/proc/net/sockstat").read_text(encoding="ascii").splitlines()
    words = next(line for line in lines if line.startswith("TCP:")).split()[1:]
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))
