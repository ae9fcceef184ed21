"""The load generator, built for tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

_ROOT: Final = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def swarm_program() -> Path:
    """Build the generator, and return where it is."""
    command = ("cargo", "build", "--quiet", "-p", "rankwire-swarm")
    subprocess.run(command, cwd=_ROOT, check=True, timeout=110)
    return _ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug" / "rankwire-swarm"
