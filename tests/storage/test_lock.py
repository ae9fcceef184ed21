"""The lock: one process at a time uses a storage directory."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fix_engine import Kept
from rankwire.storage import StorageError

_HOLD = """
import sys
from pathlib import Path
from rankwire.storage.sqlite import SqliteStorage
storage = SqliteStorage(Path(sys.argv[1]), 1.0)
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_second_opener_is_refused_and_changes_nothing(directory: Path) -> None:
    with Kept(directory) as kept:
        kept.create("a")
        for _ in range(2):
            with pytest.raises(StorageError) as caught:
                Kept(directory)
            assert str(caught.value) == f"another Rankwire uses the storage in {directory}"
        kept.submit("a", "ann", 1)
        before = kept.boards
    with Kept(directory) as kept:
        assert kept.boards == before


def test_the_lock_is_free_after_close_which_may_come_twice(directory: Path) -> None:
    kept = Kept(directory)
    kept.close()
    kept.close()
    Kept(directory).close()


def test_the_lock_is_free_after_a_refusal(directory: Path) -> None:
    directory.mkdir()
    (directory / "boards.sqlite").write_bytes(b"x" * 5000)
    for _ in range(2):
        with pytest.raises(StorageError, match="not a database"):
            Kept(directory)
    (directory / "boards.sqlite").unlink()
    Kept(directory).close()


def test_the_lock_goes_with_a_killed_process(directory: Path) -> None:
    command = [sys.executable, "-c", _HOLD, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"locked\n"
            with pytest.raises(StorageError, match="another Rankwire uses the storage"):
                Kept(directory)
        finally:
            holder.kill()
        assert holder.wait() == -signal.SIGKILL
    Kept(directory).close()
