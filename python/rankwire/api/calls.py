"""A request as the operations see it: decoded, and as it was sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from rankwire.api.idempotency import Key
from rankwire.api.problems import SESSION_FIELD

SESSION_HEADER: Final = SESSION_FIELD.lower().encode()
"""The header with a session's token, as it stands in raw headers."""


class Sent(msgspec.Struct, frozen=True):
    """A request as it was sent."""

    method: str
    path: bytes
    query: bytes
    content: bytes


class Call(msgspec.Struct, frozen=True):
    """A request, decoded."""

    board: str
    member: str
    query: Any
    body: Any
    headers: Mapping[bytes, bytes]
    key: Key | None
    """Of a write, if the client gave one."""
    sent: Sent
