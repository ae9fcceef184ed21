"""A small disk for PostgreSQL's data, which a test can fill.

It is a file system in memory, mounted over the data directory in a mount namespace of its own that
a process holds. The user whom servers run as makes the namespace, so that it may also enter it.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

_SIZE: Final = "96m"
_MOUNT: Final = f'mount -t tmpfs -o size={_SIZE},mode=0700 none "$0" && echo mounted && exec cat'


class SmallDisk:
    """The disk of a server that is to be started with `prefix`, on `data`."""

    def __init__(self, data: Path) -> None:
        """Mount it over a directory of the server's user."""
        self.data = data
        self._user = data.owner()
        namespaces = ("--user", "--map-current-user", "--keep-caps", "--mount")
        pipe = subprocess.PIPE
        self._holder = subprocess.Popen(
            ["unshare", *namespaces, "sh", "-c", _MOUNT, str(data)],
            stdin=pipe, stdout=pipe, stderr=pipe, user=self._user, cwd="/",
        )  # fmt: skip

    def why_not(self) -> str | None:
        """Say why it is not there."""
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        if self._holder.stdout.readline() == b"mounted\n":
            return None
        return self._holder.stderr.read().decode().strip()

    @property
    def prefix(self) -> tuple[str, ...]:
        """A command that runs another one where the disk is."""
        namespaces = ("--user", "--preserve-credentials", "--mount")
        return ("nsenter", f"--target={self._holder.pid}", *namespaces)

    def copy(self, data: Path) -> None:
        """Put the files of a data directory on it."""
        self._run(f'cp -r "{data}"/. "$0"')

    def fill(self) -> None:
        """Leave no room."""
        self._run('cat /dev/zero >"$0/ballast" 2>/dev/null || true')

    def free(self) -> None:
        """Make room again."""
        self._run('rm "$0/ballast"')

    def end(self) -> None:
        """Let it vanish."""
        self._holder.communicate()

    def _run(self, script: str) -> None:
        command = [*self.prefix, "sh", "-c", script, str(self.data)]
        subprocess.run(command, user=self._user, cwd="/", check=True)


@pytest.fixture
def small_disk(postgres_template: Path) -> Iterator[SmallDisk]:
    """Make a small disk with a fresh data directory on it."""
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        pytest.skip("NOT TESTED, a full disk: unshare and nsenter of util-linux are missing")
    data = Path(tempfile.mkdtemp(prefix="rankwire-disk-"))
    shutil.chown(data, postgres_template.owner())
    disk = SmallDisk(data)
    try:
        if why_not := disk.why_not():
            pytest.skip(f"NOT TESTED, a full disk: no mount namespace here: {why_not}")
        disk.copy(postgres_template)
        yield disk
    finally:
        disk.end()
        data.rmdir()
