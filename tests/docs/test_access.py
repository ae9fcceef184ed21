"""The examples of docs/access.md, run as they are written, on the ports that they name."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fix_server import NewServer

_PAGE = (Path(__file__).parents[2] / "docs" / "access.md").read_text(encoding="utf-8")


def _example(name: str) -> str:
    """Return the code block after the comment that says it is tested."""
    pattern = rf"<!-- tested: {name} -->\n```sh\n(.*?)```"
    found = re.findall(pattern, _PAGE, re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def _run(script: str, directory: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", "set -eu\n" + script],
        capture_output=True,
        text=True,
        check=True,
        cwd=directory,
        env=os.environ | {"PATH": path},
    )
    return done.stdout


def test_the_first_conversation(new_server: NewServer, tmp_path: Path) -> None:
    *preparation, serve = _example("start").splitlines()
    assert serve.startswith("rankwire serve ")
    # Where the server of the fixture runs.
    here = tmp_path / "server-0"
    server = new_server(*shlex.split(serve)[2:], directory=here / "rankwire-data")
    _run("\n".join(preparation), here)
    server.spawn(http_port=7700, live_port=7701).wait_ready()
    answers = _run(_example("use"), here)
    promised = re.search(r"The last line answers `(\{.*\})`", _PAGE)
    assert promised is not None
    assert answers.endswith(promised[1])
