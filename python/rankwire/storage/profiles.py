"""Profiles of members: what is kept of them, and what a place to keep them promises.

A profile belongs to a member, on whatever boards it is. It is no part of any board: it is not in
the journal, and changing it changes no version. `profiles_sqlite` and `profiles_postgres` keep
them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, Self

import msgspec

Key = tuple[str, str]
"""The key of a write: who sends it, and the text that it carries."""

# Beginnings of the digests of requests; rust/engine/src/key.rs has those of the other writes.
_PUT: Final = 128
_DELETE: Final = 129
_HASH_BYTES: Final = 16
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

PLAIN: Final = b"\0"
"""What a kept answer begins with, as in rust/engine/src/key.rs: JSON is all there is to it."""


class UnknownProfileError(Exception):
    """The member has no profile."""


class KeyUsedError(Exception):
    """The key was used for another write."""


class Content(msgspec.Struct, frozen=True):
    """What a profile says."""

    name: str | None
    avatar: str | None
    attributes: msgspec.Raw
    """A flat JSON object."""


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A profile as it is read: finished JSON, and which of two states of it is newer."""

    version: int
    """When it was written, in microseconds since 1970; grows with every change. 0 for never."""
    body: bytes
    """The JSON of a `Content`; empty if there is none."""


NONE: Final = Stored(0, b"")


class Found(msgspec.Struct, frozen=True):
    """Profiles, and how many seconds old what was read may be; None if it is not old at all."""

    profiles: dict[str, Stored]
    """By member; who has none is left out."""
    lag: float | None = None


class Written(msgspec.Struct, frozen=True):
    """A write that is durable."""

    stored: Stored | None
    """What is there now; None for a repeat, after which nothing is known."""
    answer: bytes
    """The JSON that the write is answered with, as it was when it came first."""


class ProfileStore(Protocol):
    """Where profiles are kept. Everything may raise StorageError, then nothing was changed.

    A write with a key that is known changes nothing and gives the answer from then, or raises
    KeyUsedError if that was another write. Answers are kept in the same transaction as the change.
    """

    async def get_many(self, members: Sequence[str]) -> Found:
        """Read the profiles of these members, as far as they have one."""
        ...

    async def put(self, member: str, content: Content, key: Key | None) -> Written:
        """Write a profile, in the place of the one before. Durable when it returns."""
        ...

    async def delete(self, member: str, key: Key | None) -> Written:
        """Forget a profile. Raises UnknownProfileError. Durable when it returns."""
        ...

    async def close(self) -> None:
        """Let go of everything. Idempotent."""
        ...


class Request(msgspec.Struct, frozen=True):
    """A key and a digest of what is asked for, as they are kept with the answer."""

    key: bytes
    digest: bytes

    @classmethod
    def put(cls, key: Key, member: str, content: Content) -> Self:
        """Describe a put."""
        return cls(_hash(key), _hash((member, msgspec.json.encode(content).decode()), _PUT))

    @classmethod
    def delete(cls, key: Key, member: str) -> Self:
        """Describe a delete."""
        return cls(_hash(key), _hash((member,), _DELETE))

    def repeat(self, digest: bytes, answer: bytes) -> Written:
        """Give what a repeat gets, from the digest and the answer that are kept."""
        if digest != self.digest:
            raise KeyUsedError
        return Written(None, answer.removeprefix(PLAIN))


class _Answer(msgspec.Struct):
    member: str
    name: str | None
    avatar: str | None
    attributes: msgspec.Raw
    updated_at: datetime


def full_json(member: str, stored: Stored) -> bytes:
    """Write a profile as it is answered by itself: with its member and its time."""
    content = msgspec.json.decode(stored.body, type=Content)
    at = _EPOCH + timedelta(microseconds=stored.version)
    return msgspec.json.encode(
        _Answer(member, content.name, content.avatar, content.attributes, at)
    )


def from_columns(version: int, name: str | None, avatar: str | None, attributes: str) -> Stored:
    """Make a profile of what a database holds."""
    raw = msgspec.Raw(attributes.encode())
    return Stored(version, msgspec.json.encode(Content(name, avatar, raw)))


def _hash(texts: Iterable[str], kind: int | None = None) -> bytes:
    """SHA-256 over texts that cannot run into each other, cut as in rust/engine/src/key.rs."""
    hasher = hashlib.sha256(b"" if kind is None else bytes((kind,)))
    for text in texts:
        encoded = text.encode()
        hasher.update(len(encoded).to_bytes(8, "little") + encoded)
    return hasher.digest()[:_HASH_BYTES]
