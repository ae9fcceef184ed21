"""The examples of docs/http.md, run as they are written, on the ports that they name."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fix_server import NewServer

_PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")


def _example(name: str) -> str:
    """Return the code block after the comment that says it is tested."""
    pattern = rf"<!-- tested: {name} -->\n```sh\n(.*?)```"
    found = re.findall(pattern, _PAGE, re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def test_retries_count_once(new_server: NewServer) -> None:
    server = new_server().spawn(http_port=7700, live_port=7701).wait_ready()
    command = ["bash", "-c", "set -eu\n" + _example("retries")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    promised = re.search(r"`ada` has (\d+)", _PAGE)
    assert promised is not None
    assert server.scores("coins") == {"ada": int(promised[1])}
    # The submit twice: what it answers, and the second time that this is a repeat.
    receipts = re.findall(r'{"board":"coins","member":"ada".*?}', done.stdout)
    assert len(receipts) == 2
    assert receipts[0] == receipts[1]
    assert re.findall(r"(?i)^idempotency-replayed: (.*?)\r?$", done.stdout, re.MULTILINE) == [
        "true"
    ]
