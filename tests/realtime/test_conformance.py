"""The cases of the Autobahn testsuite, run against the hub's own listener and codec.

Compression (groups 12 and 13) is not offered. Nothing else is left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}
CASES = 301


@pytest.fixture
def echo_port() -> Iterator[int]:
    """Run a hub that sends messages back."""
    command = ["cargo", "run", "--quiet", "--package", "rankwire-hub", "--example", "echo"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.stdin.close()


@pytest.mark.timeout(600)  # the first time, the hub is built
def test_websocket_conformance(echo_port: int, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("kosoku")
    url = f"ws://127.0.0.1:{echo_port}/echo"
    left_out = ("-x", "12.*", "-x", "13.*")
    run = subprocess.run(
        [program, "-m", "fuzzingclient", *left_out, "-p", "2", "-o", tmp_path, url],
        capture_output=True,
        text=True,
        check=False,
    )
    (cases,) = json.loads((tmp_path / "index.json").read_bytes()).values()
    bad = {
        case: result
        for case, result in cases.items()
        if not {result["behavior"], result["behaviorClose"]} <= GOOD
    }
    assert not bad
    assert run.returncode == 0, run.stderr
    assert len(cases) == CASES
