"""Game servers: a match of many players is over, and all its scores are submitted at once.

A match is two batches of the same scores: to the board of all in MessagePack, to that of the cohort
in NDJSON, each with an idempotency key. With the first match, and with each tenth after it, the
first batch is sent again, as after a timeout; it has to be answered as the first time.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from typing import Final

import msgspec
from locust import task

import game
from locust_users import checks, world
from locust_users.asking import Asker

_AGAIN_EVERY: Final = 10
_REPLAYED: Final = {"idempotency-replayed": "true"}


class Item(msgspec.Struct, frozen=True):
    """A score of a batch."""

    member: str
    score: int


_Items = list[Item]


def _ndjson(items: _Items) -> bytes:
    return b"\n".join(map(msgspec.json.encode, items))


_ENCODERS: Final[dict[str, Callable[[_Items], bytes]]] = {
    "msgpack": msgspec.msgpack.encode,
    "x-ndjson": _ndjson,
}


class GameServer(Asker):
    """Submits for others, with an API key where the server asks for one."""

    matches = 0

    @task
    def match(self) -> None:
        """Submit the scores of a match."""
        played = self.world.games.match()
        items = [Item(world.member(user), score) for user, score in played]
        key = str(uuid.uuid4())
        self._submit(world.GLOBAL, "msgpack", items, key)
        self._submit(game.cohort(played[0][0]), "x-ndjson", items, str(uuid.uuid4()))
        if self.matches % _AGAIN_EVERY == 0:
            self._submit(world.GLOBAL, "msgpack", items, key, again=True)
        self.matches += 1

    def _submit(
        self, board: str, encoding: str, items: _Items, key: str, *, again: bool = False
    ) -> None:
        for item in items:
            self.world.sent.note(board, item.member, item.score)
        self.ask(
            "batch again" if again else f"batch {encoding}",
            f"{board}/scores:batch",
            functools.partial(checks.batch, count=len(items)),
            headers={
                **self.world.as_server(),
                "content-type": f"application/{encoding}",
                "idempotency-key": key,
            },
            body=_ENCODERS[encoding](items),
            expected=_REPLAYED if again else {},
        )
