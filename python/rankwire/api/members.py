"""Profiles over HTTP: what may stand in one, and how answers about ranks get them added.

Profiles are added here and not in the core, which knows nothing of them: an answer of the core is
taken apart and put together again, with scores and profiles left in the bytes that they have.
"""

from __future__ import annotations

import re
import unicodedata
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from rankwire.api.answers import (
    JSON,
    JSON_OK,
    JSON_OK_AGAIN,
    NO_CONTENT,
    NO_CONTENT_AGAIN,
    Answer,
    start,
)
from rankwire.api.problems import INVALID, TOO_LARGE, ProblemError
from rankwire.storage.profiles import Content, UnknownProfileError, full_json

if TYPE_CHECKING:
    from rankwire.api.idempotency import Key
    from rankwire.model import ProfileContent
    from rankwire.profiles import Profiles

LAG: Final = "Rankwire-Lag"
"""The header that tells how many seconds a replica was behind which answered."""

_MEMBER_BYTES: Final = 128
_NAME_CHARACTERS: Final = 64
_AVATAR_CHARACTERS: Final = 512
# A scheme, the beginning of a host, and what else an address may be made of (RFC 3986).
_is_address: Final = re.compile(
    r"https?://[A-Za-z0-9\[][A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*"
).fullmatch
_NONE: Final = Raw(b"null")


class _Entry(msgspec.Struct):
    rank: int
    member: str
    score: Raw
    profile: Raw = _NONE


class _Page(msgspec.Struct):
    board: str
    version: int
    total: int
    entries: list[_Entry]
    missing: list[str] | UnsetType = UNSET


class _Standing(msgspec.Struct):
    board: str
    version: int
    member: str
    score: Raw
    rank: int
    total: int
    profile: Raw = _NONE


class Members:
    """Answers about profiles."""

    def __init__(self, profiles: Profiles) -> None:
        """Answer from these."""
        self._profiles = profiles

    async def get(self, member: str) -> Answer:
        """Give a member's profile."""
        _check_member(member)
        found = await self._profiles.get_many([member])
        if (stored := found.profiles.get(member)) is None:
            raise UnknownProfileError
        return _answer(full_json(member, stored), found.lag)

    async def put(self, member: str, wanted: ProfileContent, key: Key | None) -> Answer:
        """Write a member's profile; answered when it is durable."""
        _check_member(member)
        done = await self._profiles.put(member, self._content(wanted), key)
        return JSON_OK if done.stored else JSON_OK_AGAIN, done.answer

    async def delete(self, member: str, key: Key | None) -> Answer:
        """Forget a member's profile; answered when that is durable."""
        _check_member(member)
        done = await self._profiles.delete(member, key)
        return NO_CONTENT if done.stored else NO_CONTENT_AGAIN

    async def join_page(self, body: bytes) -> Answer:
        """Add profiles to entries of a board."""
        page = msgspec.json.decode(body, type=_Page)
        lag = await self._add(page.entries)
        return _answer(msgspec.json.encode(page), lag)

    async def join_standing(self, body: bytes) -> Answer:
        """Add its profile to a member's place."""
        standing = msgspec.json.decode(body, type=_Standing)
        lag = await self._add([standing])
        return _answer(msgspec.json.encode(standing), lag)

    async def _add(self, entries: list[Any]) -> float | None:
        found = await self._profiles.get_many([entry.member for entry in entries])
        for entry in entries:
            if (stored := found.profiles.get(entry.member)) is not None:
                entry.profile = Raw(stored.body)
        return found.lag

    def _content(self, wanted: ProfileContent) -> Content:
        """Check what is to be written and make JSON of it."""
        name, avatar = wanted.name, wanted.avatar
        if name is not None and not (1 <= len(name) <= _NAME_CHARACTERS and _is_line(name)):
            detail = f"a name has 1 to {_NAME_CHARACTERS} characters and none that control"
            raise ProblemError(INVALID, detail, "name")
        if avatar is not None and not (len(avatar) <= _AVATAR_CHARACTERS and _is_address(avatar)):
            detail = f"an avatar is an http or https address of at most {_AVATAR_CHARACTERS} bytes"
            raise ProblemError(INVALID, detail, "avatar")
        for key, value in wanted.attributes.items():
            # PostgreSQL's texts cannot hold it.
            if "\0" in key or (isinstance(value, str) and "\0" in value):
                raise ProblemError(INVALID, "a text holds U+0000", "attributes")
            if isinstance(value, float) and not isfinite(value):
                raise ProblemError(INVALID, "a number is not finite", f"attributes.{key}")
        content = Content(name, avatar, Raw(msgspec.json.encode(wanted.attributes)))
        if len(msgspec.json.encode(content)) > self._profiles.most_bytes:
            detail = f"the profile has more than {self._profiles.most_bytes} bytes as JSON"
            raise ProblemError(TOO_LARGE, detail)
        return content


def lag_headers(lag: float | None) -> tuple[tuple[bytes, bytes], ...]:
    """Say how old an answer may be, if a replica gave it."""
    return () if lag is None else ((LAG.lower().encode(), f"{lag:.3f}".encode()),)


def _answer(body: bytes, lag: float | None) -> Answer:
    return (JSON_OK if lag is None else start(200, JSON, *lag_headers(lag))), body


def _check_member(member: str) -> None:
    """Take the names that boards take."""
    if not (1 <= len(member.encode()) <= _MEMBER_BYTES and _is_line(member)):
        detail = "a member id has 1 to 128 bytes of UTF-8 without control characters"
        raise ProblemError(INVALID, detail, "member")


def _is_line(text: str) -> bool:
    return not any(unicodedata.category(character) == "Cc" for character in text)
