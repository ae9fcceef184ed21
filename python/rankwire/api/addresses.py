"""Paths and queries, read from their raw bytes.

Routes match the path as it was sent, so a member id may hold an escaped "/". Each segment is
decoded exactly once. A broken escape or text that is not UTF-8 is malformed; a parameter that is
unknown, given twice or out of range is invalid.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, TypeVar, cast

import msgspec

from rankwire.api.problems import INVALID, MALFORMED, ProblemError

Query = TypeVar("Query", bound=msgspec.Struct)

_HEX: Final = b"0123456789abcdefABCDEF"
_BYTE_OF: Final = {
    bytes((high, low)): bytes.fromhex(chr(high) + chr(low)) for high in _HEX for low in _HEX
}

# Longest query that is remembered, so that the memory for it is small.
_REMEMBERED_BYTES: Final = 64


def decode_text(raw: bytes) -> str:
    """Decode a segment of a path or a part of a query."""
    if b"%" in raw:
        raw = _unescape(raw)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ProblemError(MALFORMED, "the address is not UTF-8") from None


def read_query(kind: type[Query], raw: bytes) -> Query:
    """Read the query string."""
    if len(raw) <= _REMEMBERED_BYTES:
        # The cache keeps the type from the checker, not from us.
        return cast("Query", _read_again(kind, raw))
    return _read(kind, raw)


def _unescape(raw: bytes) -> bytes:
    first, *rest = raw.split(b"%")
    try:
        return first + b"".join(_BYTE_OF[part[:2]] + part[2:] for part in rest)
    except KeyError:
        raise ProblemError(MALFORMED, "the address has a '%' without two hex digits") from None


def _read(kind: type[Query], raw: bytes) -> Query:
    found: dict[str, str] = {}
    for pair in raw.split(b"&"):
        if not pair:
            continue
        # "+" stands for itself: no parameter holds spaces, and numbers are written with it.
        name, _, value = pair.partition(b"=")
        key = decode_text(name)
        if key in found:
            raise ProblemError(INVALID, "the parameter is given twice", key)
        found[key] = decode_text(value)
    return msgspec.convert(found, kind, strict=False)


# Clients ask with the same few queries again and again. Failures are not remembered.
_read_again = lru_cache(maxsize=512)(_read)
