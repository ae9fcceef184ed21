"""What the users of one Locust process share: games, credentials, and what was sent when.

Promises: two processes of a run play different games of the same users. What was sent is kept for
the newest `_REMEMBERED` submits, so its memory is bounded.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import random
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from locust.env import Environment
from locust.runners import WorkerRunner

import game
from locust_users import options as command_line
from locust_users.plan import MATCH

GLOBAL: Final = "global"
_REMEMBERED: Final = 20_000
_TOKEN_SECONDS: Final = 3600


class Games(game.Game):
    """Games that go on, of the same users in every process and of another order in each."""

    def __init__(self, users: int, process: int) -> None:
        """Draw the skills, then the games of this process."""
        super().__init__(users)
        self.random = self._random = random.Random(process)
        self.cohorts = users // game.COHORT
        self._endless = self.games(sys.maxsize)

    def next(self) -> tuple[int, int]:
        """Let a random user play."""
        return next(self._endless)

    def match(self) -> list[tuple[int, int]]:
        """Let a part of a cohort play."""
        first = self.random.randrange(self.cohorts) * game.COHORT
        users = self.random.sample(range(first, first + game.COHORT), MATCH)
        return [(user, self._score(user)) for user in users]


class Sent:
    """When which score was sent first, to know how long it took to a watcher."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._moments: OrderedDict[tuple[str, str, int], float] = OrderedDict()

    def note(self, board: str, member: str, score: int) -> None:
        """Note that a score is sent now; a score that was sent before could not be a new one."""
        self._moments.setdefault((board, member, score), time.perf_counter())
        if len(self._moments) > _REMEMBERED:
            self._moments.popitem(last=False)

    def moment(self, board: str, member: str, score: int) -> float | None:
        """Return when a score was sent; None if another process sent it, or long ago."""
        return self._moments.get((board, member, score))


class World:
    """All of it."""

    def __init__(self, options: command_line.Options, process: int) -> None:
        """Make the games of one of the processes."""
        self.options = options
        self.plan = options.plan
        self.games = Games(self.plan.members, process)
        self.random = self.games.random
        self.sent = Sent()
        self._signer = _Signer(options.player_key) if options.player_key else None

    def as_server(self) -> dict[str, str]:
        """Return the headers of a game server."""
        key = self.options.api_key
        return {"authorization": f"Bearer {key}"} if key else {}

    def token(self, member: str) -> str:
        """Return the token of a player; empty on a server that is open for everybody."""
        return self._signer.token(member) if self._signer else ""

    def as_player(self, member: str) -> dict[str, str]:
        """Return the headers of a player."""
        token = self.token(member)
        return {"authorization": f"Bearer {token}"} if token else {}

    def any_cohort(self) -> str:
        """Return the board of a random cohort."""
        return f"cohort-{self.random.randrange(self.games.cohorts)}"

    def any_member(self) -> str:
        """Return a random member."""
        return member(self.random.randrange(self.plan.members))


def member(user: int) -> str:
    """Return what a user is called on the boards."""
    return f"player-{user}"


@functools.cache
def of(environment: Environment) -> World:
    """Return the world of this process, which is made when its first user comes."""
    runner = environment.runner
    process = runner.worker_index if isinstance(runner, WorkerRunner) else 0
    return World(command_line.read(environment.parsed_options), process)


class _Signer:
    """Signs tokens of players, as the game's login server does."""

    def __init__(self, jwk: str) -> None:
        key = msgspec.json.decode(jwk)
        if key.get("alg") != "HS256":
            raise ValueError("--player-key: only HS256 is signed here")
        self._secret = base64.urlsafe_b64decode(key["k"] + "==")
        self._head = _part({"alg": "HS256", "typ": "JWT", "kid": key["kid"]})
        self._end = int(time.time()) + _TOKEN_SECONDS

    def token(self, subject: str) -> str:
        signed = b".".join((self._head, _part({"sub": subject, "exp": self._end})))
        signature = hmac.digest(self._secret, signed, hashlib.sha256)
        return (signed + b"." + _base64(signature)).decode()


def _part(claims: dict[str, Any]) -> bytes:
    return _base64(msgspec.json.encode(claims))


def _base64(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def submits(user: int) -> Iterator[str]:
    """Return the boards that a game of a user is submitted to."""
    yield from (GLOBAL, game.cohort(user))
