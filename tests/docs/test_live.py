"""The examples of docs/live.md, run as they are written, on the ports that they name."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from fix_server import NewServer

_PAGE = Path(__file__).parents[2] / "docs" / "live.md"
_EXPECTED = ["1 eve 9000\n", "2 ada 4200\n"]


@pytest.fixture(autouse=True)
def default_server(new_server: NewServer) -> None:
    server = new_server().spawn(http_port=7700, live_port=7701).wait_ready()
    server.create("arcade")
    server.submit("arcade", "ada", 4200)


def _example(name: str) -> str:
    """Return the code block after the comment that says it is tested."""
    pattern = rf"<!-- tested: {name} -->\n```\w+\n(.*?)```"
    found = re.findall(pattern, _PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 1
    return str(found[0])


@contextmanager
def _running(command: Sequence[str], directory: Path) -> Iterator[Iterator[str]]:
    """Run a program and give the lines that it prints."""
    with subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            yield iter(process.stdout)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def _read_expected(lines: Iterator[str]) -> None:
    """Read until the submit shows; pytest's timeout is the bound."""
    for line in lines:
        if line == _EXPECTED[0]:
            assert next(lines) == _EXPECTED[1]
            return
        assert line == "1 ada 4200\n"
    pytest.fail("the program ended")


def test_python_example(tmp_path: Path) -> None:
    with _running([sys.executable, "-c", _example("python")], tmp_path) as lines:
        _read_expected(lines)


def test_retries_example(tmp_path: Path) -> None:
    with _running([sys.executable, "-c", _example("retries")], tmp_path) as lines:
        (receipt,) = [ast.literal_eval(line) for line in lines]
    assert (receipt["member"], receipt["score"], receipt["rank"]) == ("eve", 9000, 1)


def test_javascript_example(tmp_path: Path, node_modules: Path) -> None:
    (tmp_path / "node_modules").symlink_to(node_modules)
    (tmp_path / "example.mjs").write_text(_example("javascript"), encoding="utf-8")
    with _running(["node", "example.mjs"], tmp_path) as lines:
        _read_expected(lines)
