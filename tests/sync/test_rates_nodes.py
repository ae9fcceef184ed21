"""Two nodes that share their rates, one of them with a hub process: what a player spends at one
door is missing at the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from fix_access import Signer
from fix_postgres import Database
from fix_redis import RedisServer
from fix_sdk import RefusedError, Sdk, python_sdk
from fix_server import PATIENCE_SECONDS, NewServer, Server

# Allowed at once after a pause, at one submit a second.
_BURST: Final = 3
# News are that old, and the next submit is still refused.
_SOON_SECONDS: Final = 0.4
_TOO_MANY: Final = 111
_DOORS: Final = [
    ("first", "second"),
    ("first", "hub"),
    ("hub", "first"),
    ("hub", "second"),
]

pytestmark = pytest.mark.usefixtures("no_tasks_left")


@pytest.fixture
def nodes(
    new_server: NewServer,
    postgres: Database,
    redis_server: RedisServer,
    signer: Signer,
    tmp_path: Path,
) -> Iterator[dict[str, Server]]:
    tokens = tmp_path / "players.jwks"
    tokens.write_bytes(signer.jwks())
    region = ("--storage-url", postgres.url, "--redis-url", redis_server.url)
    # In mode open, where no key is needed for it.
    maker = new_server(*region).start()
    assert maker.call("PUT", "/v1/boards/a", {"player_submits": True}).status == 201
    assert maker.terminate() == 0
    guarded = ("--auth-mode", "keys", "--auth-tokens", str(tokens))
    limited = (*region, *guarded, "--auth-member-submits-per-second", "1")
    second = new_server(*limited, "--live-processes", "1", "--live-drain-seconds", "0.1").start()
    yield {"first": new_server(*limited).start(), "second": second}
    # Its hub process ends with it.
    assert second.terminate() == 0


@pytest.fixture
def signer() -> Signer:
    return Signer()


async def test_one_rate_for_all_doors(nodes: dict[str, Server], signer: Signer) -> None:
    members = (f"player-{number}" for number in count())
    for spends, asks in _DOORS:
        deadline = time.monotonic() + PATIENCE_SECONDS
        # Each time another player: one that tried in vain has spent something there.
        while not await _is_heard(nodes, signer, next(members), spends, asks):
            assert time.monotonic() < deadline, f"{asks} hears nothing of {spends}"


async def _is_heard(
    nodes: dict[str, Server], signer: Signer, member: str, spends: str, asks: str
) -> bool:
    async with _player(nodes, signer, member) as player:
        for _ in range(_BURST):
            assert await player.submits(spends)
        await asyncio.sleep(_SOON_SECONDS)
        # Nothing was spent here.
        return not await player.submits(asks)


class _Player:
    def __init__(self, nodes: dict[str, Server], sdk: Sdk, member: str, token: str) -> None:
        self._nodes = nodes
        self._sdk = sdk
        self._score = {"member": member, "score": 1}
        self._token = token

    async def submits(self, door: str) -> bool:
        """Submit a score, and tell whether it was taken."""
        if door == "hub":
            try:
                await self._sdk.rpc("submit", {"board": "a", **self._score})
            except RefusedError as error:
                if error.code != _TOO_MANY:
                    raise
                return False
            return True
        return await asyncio.to_thread(self._posts, self._nodes[door])

    def _posts(self, server: Server) -> bool:
        server.credential = self._token
        reply = server.call("POST", "/v1/boards/a/scores", self._score)
        assert reply.status in {200, 429}, reply
        return reply.status == 200


@asynccontextmanager
async def _player(nodes: dict[str, Server], signer: Signer, member: str) -> AsyncIterator[_Player]:
    token = signer.token(member)
    async with python_sdk(nodes["second"].live_url, protobuf=False) as sdk:
        await sdk.connect(token=token)
        yield _Player(nodes, sdk, member, token)
