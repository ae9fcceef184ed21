"""The measured programs of the ranked list, which are one example of its crate.

Promises: they run pinned to the cores that they are given, and end with the benchmark.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import harness
from harness import BenchError


def build() -> Path:
    """Build the ranked list's measured programs, and return where they are."""
    if shutil.which("cargo") is None:
        raise BenchError("a Rust toolchain is needed: https://rustup.rs")
    command = ("cargo", "build", "--release", "--quiet", "-p", "rankwire-ranklist")
    if subprocess.run((*command, "--example", "bench"), cwd=harness.ROOT, check=False).returncode:
        raise BenchError("the example was not built")
    target = harness.ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
    return target / "release" / "examples" / "bench"


def run(
    command: harness.Command, used: Iterable[int], environment: Mapping[str, str] | None = None
) -> bytes:
    """Run a program to its end on these cores, and return the last line that it printed."""
    pin = ("taskset", "--cpu-list", ",".join(map(str, used)))
    ended = subprocess.run(
        ("setpriv", "--pdeathsig", "KILL", *pin, *command),
        stdout=subprocess.PIPE,
        env=harness.clean_environment() | dict(environment or {}),
        check=False,
    )
    if ended.returncode:
        raise BenchError(f"{command[0]} failed")
    return ended.stdout.splitlines()[-1]
