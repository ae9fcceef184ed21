"""The README's examples, run as they are written, on the ports that they name."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fix_server import Server

_README = Path(__file__).parents[2] / "README.md"
_DEFAULT_PORTS = {"http_port": 7700, "live_port": 7701}


def _example(name: str) -> str:
    """Return the code block after the comment that says it is tested."""
    pattern = rf"<!-- tested: {name} -->\n```\w+\n(.*?)```"
    found = re.findall(pattern, _README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 1
    return str(found[0])


@pytest.fixture
def default_server(new_server: Callable[..., Server]) -> Server:
    return new_server().spawn(**_DEFAULT_PORTS).wait_ready()


def _run_http(example: str) -> str:
    script = "set -eu\n" + example
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout


def test_examples_have_the_five_lines_that_are_promised() -> None:
    for name in ("http", "watcher"):
        assert len([line for line in _example(name).splitlines() if line]) == 5


@pytest.mark.usefixtures("default_server")
def test_http_example() -> None:
    answers = _run_http(_example("http"))
    promised = re.search(r"The last line answers `(\{.*\})`", _README.read_text(encoding="utf-8"))
    assert promised is not None
    assert answers.endswith(promised[1])


@pytest.mark.usefixtures("default_server")
def test_watcher_example_prints_what_the_http_example_changes() -> None:
    create, *submits = _example("http").splitlines()
    _run_http(create)
    with subprocess.Popen(
        [sys.executable, "-c", _example("watcher")],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as watcher:
        try:
            assert watcher.stdout is not None
            lines = iter(watcher.stdout)
            _pages_until(lines, total=0)
            _run_http("\n".join(submits))
            entries = _pages_until(lines, total=2)["entries"]
            assert [row["member"] for row in entries] == ["bob", "ada"]
        finally:
            os.killpg(watcher.pid, signal.SIGKILL)


def _pages_until(lines: Iterator[str], *, total: int) -> dict[str, list[dict[str, object]]]:
    """Read publications until one has so many members; pytest's timeout is the bound."""
    for line in lines:
        message = json.loads(line)
        page = message.get("push", {}).get("pub", {}).get("data", {})
        if page.get("total") == total:
            return dict(page)
    pytest.fail("the watcher ended")
