"""Regions whose packets are really late, lost and swallowed; part of `make verify-regions`."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

import pytest
from click.testing import CliRunner

from fix_cluster import on_each
from fix_namespaces import Land, NewLand
from fix_postgres import NewPostgres, Postgres
from fix_redis import free_port
from fix_regions import NAMES, SECRET
from fix_server import NewServer, Reply, Server, until
from rankwire.cli import main

_ROUNDS: Final = 3
_WRITES: Final = 100

pytestmark = [
    pytest.mark.skipif("REGIONS_MINUTES" not in os.environ, reason="left out: make verify-regions"),
    pytest.mark.timeout(600),
]


def test_regions_lose_packets_and_each_other(
    new_land: NewLand,
    new_server: NewServer,
    new_postgres: NewPostgres,
    capsys: pytest.CaptureFixture[str],
) -> None:
    land = new_land(*NAMES)
    with capsys.disabled():
        sys.stdout.write(f"\nthe network between regions is {land.weather}\n")
    servers = _servers(land, new_server, new_postgres)
    on_each(list(servers.values()), Server.start)
    create = partial(servers["eu"].call, "PUT", "/v1/boards/b", {"policy": "sum"})
    # The primary needs the others for its lease.
    until(lambda: create().status in {200, 201}, "a board")
    until(lambda: all(map(_knows, servers.values())), "a board that all know")
    written = 0
    for round_ in range(_ROUNDS):
        until(partial(_have, servers, written), "all that was written", 60)
        alone = NAMES[round_ % len(NAMES)]
        land.cut(alone)
        for name in NAMES:
            # The test cannot reach who is cut off either.
            if name != alone:
                written += _write(servers[name])
        land.heal(alone)
        written += _write(servers[alone])
    until(lambda: _have(servers, written), "all that was written", 60)
    digests = [server.get("/v1/digest").json() for server in servers.values()]
    assert all(digest["boards"] == digests[0]["boards"] for digest in digests)


def _servers(land: Land, new_server: NewServer, new_postgres: NewPostgres) -> dict[str, Server]:
    port = free_port()
    servers = {}
    for name in NAMES:
        # A socket of the file system is there in every namespace.
        postgres = new_postgres().start()
        peers = " ".join(f"{far}=http://{land.address(far)}:{port}" for far in NAMES if far != name)
        server = new_server(
            *("--storage-url", postgres.socket_url, "--auth-mode", "keys"),
            *("--http-host", land.address(name), "--http-port", f"{port}"),
            *("--regions-name", name, "--regions-peers", peers, "--regions-secret", SECRET),
            *("--regions-primary", "eu", "--regions-verify-seconds", "0"),
            prefix=land.prefix(name),
        )
        server.credential = _key(postgres)
        servers[name] = server
    return servers


def _key(postgres: Postgres) -> str:
    scopes = [
        word for scope in ("read", "submit", "admin", "operator") for word in ("--scope", scope)
    ]
    words = ["keys", "create", "--name", "test", *scopes, "--storage-url", postgres.url]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


def _knows(server: Server) -> bool:
    return server.get("/v1/boards/b").status == 200


def _write(server: Server) -> int:
    """Submit ones until each is acknowledged, and give how many."""
    path, body = "/v1/boards/b/scores", {"member": "m", "score": 1}
    for _ in range(_WRITES):
        ask = partial(server.call, "POST", path, body, {"idempotency-key": secrets.token_hex(8)})
        until(partial(_is_done, ask), "an acknowledgement")
    return _WRITES


def _is_done(ask: Callable[[], Reply]) -> bool:
    # A way that was just cut may not be known again yet.
    with suppress(OSError):
        return ask().status == 200
    return False


def _have(servers: dict[str, Server], written: int) -> bool:
    def has(server: Server) -> bool:
        with suppress(OSError):
            reply = server.get("/v1/boards/b/members/m")
            if reply.status == 404:
                return written == 0
            return bool(reply.json()["score"] == written)
        return False

    return all(map(has, servers.values()))
