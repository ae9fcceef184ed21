"""The key of a write: what lets a client send it again and have it count once.

The client names a write in the header `Idempotency-Key`; the core keeps the answer under that name
and answers a repeat with it. Names are the caller's own: whatever others choose, nobody meets
another's. The hub makes the same scopes for the `id` of a submit (rust/hub/src/call.rs), so a
client may repeat through either door.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from rankwire.api.problems import INVALID, KEY_FIELD, ProblemError

if TYPE_CHECKING:
    from rankwire import _core

Key = tuple[str, str]
"""Whose name it is, and the name."""

HEADER: Final = KEY_FIELD.lower().encode()
"""As it stands in a request's raw headers."""

CHARACTERS: Final = 128
"""Longest name, as in the core."""

_is_name: Final = re.compile(rb"[ -~]{1,%d}" % CHARACTERS).fullmatch


def read_key(headers: Iterable[tuple[bytes, bytes]], caller: _core.Caller | None) -> Key | None:
    """Read the key of a request; without a caller, of one who may do everything."""
    values = [value for name, value in headers if name == HEADER]
    if not values:
        return None
    if len(values) > 1:
        raise ProblemError(INVALID, "the header is given twice", KEY_FIELD)
    name = _bare(values[0])
    if not _is_name(name):
        detail = f"a key is 1 to {CHARACTERS} printable characters of ASCII"
        raise ProblemError(INVALID, detail, KEY_FIELD)
    return _scope(caller), name.decode()


def _bare(value: bytes) -> bytes:
    """Take off the quotes with which draft-ietf-httpapi-idempotency-key-header writes a key."""
    is_quoted = len(value) > 1 and value.startswith(b'"') and value.endswith(b'"')
    return value[1:-1] if is_quoted else value


def _scope(caller: _core.Caller | None) -> str:
    return "everybody" if caller is None else f"{caller.kind}:{caller.name}"
