"""Browsers: nobody in particular turns the pages of leaderboards.

A visit is 6 top, 3 around and 3 member, see `plan.py`. A first page that was seen before is asked
for again with its `ETag`; the second page and the members come with profiles.
"""

from __future__ import annotations

import functools

from locust import task

from locust_users import checks, world
from locust_users.asking import Asker

_ROWS = 10


class Browser(Asker):
    """Reads without a credential."""

    @task
    def visit(self) -> None:
        """Look at the board of all, at one of a cohort, and at some members."""
        for board in (world.GLOBAL, self.world.any_cohort()):
            self._turn_pages(board)
        for _ in range(3):
            member = self.world.any_member()
            path = f"{world.GLOBAL}/members/{member}"
            place = functools.partial(checks.place, member=member)
            self.ask("member with profile", f"{path}?profiles=true", place, headers={})
            near = functools.partial(checks.page, member=member)
            self.ask("around", f"{path}/around?radius=5", near, headers={})

    def _turn_pages(self, board: str) -> None:
        first = functools.partial(checks.page, first=1)
        second = functools.partial(checks.page, first=_ROWS + 1)
        path = f"{board}/top?limit={_ROWS}"
        tag = self.ask("top", path, first, headers={}).get("etag")
        self.ask("page with profiles", f"{path}&offset={_ROWS}&profiles=true", second, headers={})
        known = {"if-none-match": tag} if tag else {}
        self.ask("top again", path, first, headers=known)
