"""Makes the boards of a plan, and lets every member play once.

Promises: it is done before the first user comes; boards that exist with the same configuration are
taken as they are, and another one under a name ends the run.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Final
from urllib.parse import urlsplit

import msgspec

import game
from harness import BenchError
from locust_users import world

_BATCH: Final = 5000
_PROFILES: Final = 100
_BOARD: Final = {"policy": "best", "player_submits": True}


def prepare(host: str, members: int, headers: dict[str, str]) -> None:
    """Make the boards, the first scores, and profiles of some members."""
    address = urlsplit(host)
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    with closing(kind(address.netloc, timeout=60)) as connection:
        for path, method, body in _requests(members):
            json = {**headers, "content-type": "application/json"}
            connection.request(method, f"/v1/{path}", msgspec.json.encode(body), json)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status not in {200, 201}:
                raise BenchError(f"{method} {path} was answered {answer.status}: {content[:300]!r}")


def _requests(members: int) -> Iterator[tuple[str, str, object]]:
    scores = [(user, score) for user, score in game.Game(members).history(1)]
    for board in game.boards(members):
        yield f"boards/{board}", "PUT", _BOARD
    yield from _batches(world.GLOBAL, scores)
    for first in range(0, members, game.COHORT):
        yield from _batches(game.cohort(first), scores[first : first + game.COHORT])
    for user in range(min(members, _PROFILES)):
        yield f"profiles/{world.member(user)}", "PUT", {"name": f"Player {user}"}


def _batches(
    board: str, scores: Iterable[tuple[int, int]]
) -> Iterator[tuple[str, str, list[dict[str, object]]]]:
    items = [{"member": world.member(user), "score": score} for user, score in scores]
    for start in range(0, len(items), _BATCH):
        yield f"boards/{board}/scores:batch", "POST", items[start : start + _BATCH]
