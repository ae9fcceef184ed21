"""The two regions of docs/regions.md, made and used as it is written, on the ports named there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fix_postgres import Postgres
from fix_server import NewServer, Server, until

_PAGE = (Path(__file__).parents[2] / "docs" / "regions.md").read_text(encoding="utf-8")


def _block(name: str) -> str:
    (found,) = re.findall(rf"<!-- tested: {name} -->\n```sh\n(.*?)```", _PAGE, re.DOTALL)
    return str(found)


@pytest.fixture
def urls(postgres_server: Postgres) -> Iterator[dict[str, str]]:
    """What `createdb` makes, by the URL of the page."""
    names = re.findall(r"createdb (\w+)", _block("servers"))
    for name in names:
        postgres_server.sql(f"CREATE DATABASE {name} TEMPLATE template0")
    yield {f"postgresql:///{name}": postgres_server.url_of(name) for name in names}
    for name in names:
        postgres_server.sql(f"DROP DATABASE {name} WITH (FORCE)")


def _serve(command: str, urls: dict[str, str], new_server: NewServer) -> Server:
    """Do as a line of the page says, but for where PostgreSQL is."""
    _, _, *words = shlex.split(command)
    flags = dict(zip(words[::2], words[1::2], strict=True))
    ports = (int(flags.pop("--http-port")), int(flags.pop("--live-port")))
    flags["--storage-url"] = urls[flags["--storage-url"]]
    given = [word for flag in flags.items() for word in flag]
    server = new_server(*given, "--regions-secret", "a" * 64)
    return server.spawn(http_port=ports[0], live_port=ports[1]).wait_ready()


def _hears(server: Server) -> bool:
    status: Any = server.get("/v1/regions").json()
    return all(link["up"] for link in status["links"]) and status["primary"] == "eu"


def test_two_regions_on_one_machine(urls: dict[str, str], new_server: NewServer) -> None:
    lines = _block("servers").replace("\\\n", "").splitlines()
    commands = [line.removesuffix(" &") for line in lines if line.startswith("rankwire serve")]
    eu, us = (_serve(command, urls, new_server) for command in commands)
    until(lambda: _hears(eu) and _hears(us), "regions that hear from each other")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"set -eu\n{_block('use')}"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PATH": path},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"achieved":"all"' in done.stdout
    scores = {"ada": 4200, "bob": 5100}
    until(lambda: eu.scores("arcade") == us.scores("arcade") == scores, "the same scores")
