"""The examples of docs/operations.md, run as they are written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fix_postgres import Database
    from fix_server import NewServer

_PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")


def test_a_server_moves_to_postgresql(
    new_server: NewServer, postgres: Database, tmp_path: Path
) -> None:
    old = new_server(directory=tmp_path / "rankwire-data").start()
    old.create("cup")
    old.submit("cup", "ada", 3)
    old.submit("cup", "bob", 4)
    entries, digest = old.entries("cup"), old.get("/v1/digest").json()
    old.terminate()
    (script,) = re.findall(r"<!-- tested: move -->\n```sh\n(.*?)```", _PAGE, re.DOTALL)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", "set -eu\n" + script],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "DATABASE_URL": postgres.url},
    )
    assert "No difference: 1 boards with 2 members" in done.stdout
    one, two = (new_server("--storage-url", postgres.url).start() for _ in range(2))
    assert one.entries("cup") == two.entries("cup") == entries
    assert one.get("/v1/digest").json() == digest
