"""Tells the other nodes whose profiles have changed, and hears of it from them.

News may get lost: then a profile is seen when the caches of it end.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

_KIND: Final = "profiles"


class _News(msgspec.Struct):
    """Members whose profiles have changed, told by node `n`."""

    k: str
    n: int
    m: list[str]


class ProfileNews:
    """The news of one node."""

    def __init__(self, tell: Callable[[bytes], object]) -> None:
        """Send through `tell`, which must not block."""
        self._tell = tell
        # Who has written a profile has the newest of it already.
        self._own = secrets.randbits(63)

    def tell(self, members: list[str]) -> None:
        """Tell of changes here."""
        self._tell(msgspec.msgpack.encode(_News(_KIND, self._own, members)))

    def heard(self, message: Mapping[str, Any]) -> list[str]:
        """Give the members that any of the region's news tells of, if others have changed them.

        Raises ValueError if it should be ours and is broken.
        """
        if message.get("k") != _KIND:
            return []
        news = msgspec.convert(message, type=_News)
        return [] if news.n == self._own else news.m
