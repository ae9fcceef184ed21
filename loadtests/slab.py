"""Memory of processes and of the kernel, from `/proc`."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final, Self

_LOOK_SECONDS: Final = 0.25


class Slab:
    """Looks, while a block runs, at the memory that the kernel has for objects of its own."""

    def __init__(self) -> None:
        """Prepare."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._before = self._most = 0.0

    @property
    def grown(self) -> float:
        """How much more it was at most, in bytes."""
        return self._most - self._before

    def __enter__(self) -> Self:
        """Begin."""
        self._before = self._most = bytes_of(Path("/proc/meminfo"), "Slab")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stopping.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            self._most = max(self._most, bytes_of(Path("/proc/meminfo"), "Slab"))


def bytes_of(file: Path, name: str) -> float:
    """Return a figure of a file with lines like `Slab: 1234 kB`, in bytes."""
    lines = file.read_text(encoding="ascii", errors="replace").splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
