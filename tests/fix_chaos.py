"""A process that believes in another time of day, or whose disk is slow.

`new_chaos` compiles `cluster/chaos.c` and makes the handles of processes: `variables` start one
under it, and its clock and its disk can be changed while it runs.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Final

import pytest

_SOURCE: Final = Path(__file__).parent / "cluster" / "chaos.c"
_COMPILE: Final = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
# As in `struct chaos`.
_FORM: Final = struct.Struct("=qq")


class Chaos:
    """What one process, with its children, is made to believe."""

    def __init__(self, library: Path, file: Path) -> None:
        """Begin without any fault."""
        self.variables = {"LD_PRELOAD": str(library), "CHAOS": str(file)}
        self._file = file
        self._clock_seconds = 0
        self._sync_millis = 0
        file.write_bytes(_FORM.pack(0, 0))

    @property
    def prefix(self) -> tuple[str, ...]:
        """A command that runs another one under it."""
        return ("env", *(f"{name}={value}" for name, value in self.variables.items()))

    def jump(self, clock_seconds: int) -> None:
        """Set its clock so far ahead of the real one, or behind."""
        self._clock_seconds = clock_seconds
        self._write()

    def slow_syncs(self, millis: int) -> None:
        """Make each sync of a file take so much longer."""
        self._sync_millis = millis
        self._write()

    def _write(self) -> None:
        # In place: the process has the file mapped.
        with self._file.open("r+b") as file:
            file.write(_FORM.pack(self._clock_seconds, self._sync_millis))


NewChaos = Callable[[], Chaos]


@pytest.fixture(scope="session")
def chaos_library() -> Iterator[Path]:
    """Compile the library, where other users can read it: PostgreSQL runs as one."""
    if shutil.which("cc") is None:
        reason = "cc is not there: slow disks and jumping clocks are NOT tested"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    place = Path(tempfile.mkdtemp(prefix="rankwire-chaos-"))
    try:
        place.chmod(0o755)
        library = place / "chaos.so"
        subprocess.run(["cc", *_COMPILE, "-o", library, _SOURCE], check=True)
        yield library
    finally:
        shutil.rmtree(place)


@pytest.fixture
def new_chaos(chaos_library: Path) -> NewChaos:
    """Make handles of processes that are still to be started."""
    numbers = count(len(list(chaos_library.parent.iterdir())))
    return lambda: Chaos(chaos_library, chaos_library.with_name(f"process-{next(numbers)}"))
