"""Examples of documents run on the ports that the documents name: one at a time on a machine."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def named_ports() -> Iterator[None]:
    """Wait for the tests of other processes that use the same ports."""
    with (Path(tempfile.gettempdir()) / "rankwire-tests-of-documents").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
