"""Players: a game is over, its score goes to two boards, and the player looks where it stands.

A game is 2 submits and 8 reads: 2 top, 3 around and 3 member, see `plan.py`. Submits carry the
player's own token, where there are tokens.
"""

from __future__ import annotations

import functools

import msgspec
from locust import task

from locust_users import checks, world
from locust_users.asking import Asker


class Player(Asker):
    """Plays the games of several players in turn."""

    @task
    def game(self) -> None:
        """Submit the score of a game, and look."""
        user, score = self.world.games.next()
        member = world.member(user)
        headers = self.world.as_player(member)
        for board in world.submits(user):
            self._submit(board, member, score, headers)
        for board in world.submits(user):
            self._look(board, member, headers)
            top = functools.partial(checks.page, first=1)
            self.ask("top", f"{board}/top?limit=10", top, headers=headers)
        self._look(world.GLOBAL, self.world.any_member(), headers)

    def _submit(self, board: str, member: str, score: int, headers: dict[str, str]) -> None:
        body = msgspec.json.encode({"member": member, "score": score})
        check = functools.partial(checks.receipt, member=member, score=score)
        json = {**headers, "content-type": "application/json"}
        self.world.sent.note(board, member, score)
        self.ask("submit", f"{board}/scores", check, headers=json, body=body)

    def _look(self, board: str, member: str, headers: dict[str, str]) -> None:
        place = functools.partial(checks.place, member=member)
        self.ask("member", f"{board}/members/{member}", place, headers=headers)
        near = functools.partial(checks.page, member=member)
        self.ask("around", f"{board}/members/{member}/around?radius=5", near, headers=headers)
