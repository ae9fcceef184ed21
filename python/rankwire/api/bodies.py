"""Request bodies: read within a limit, and decoded by their media type.

A body that is too large is refused by its content-length before a byte is read, or else as soon as
it exceeds the limit. Bodies are JSON in UTF-8 or MessagePack, a batch also NDJSON; without a
content-type a body counts as JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from starlette.types import Receive

from rankwire.api.problems import (
    INVALID,
    TOO_LARGE,
    UNSUPPORTED,
    DisconnectedError,
    ProblemError,
    classify,
)
from rankwire.model import BATCH_ITEMS, Submit, Submits

SMALL_BODY_BYTES: Final = 16 * 1024
"""Limit of every body that does not hold many items."""

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
MSGPACK: Final = "application/msgpack"
_MSGPACK_NAMES: Final = (MSGPACK, "application/x-msgpack", "application/vnd.msgpack")

_UTF8_NAMES: Final = {"utf-8", "utf8", "us-ascii"}

Decode = Callable[[bytes], Any]


class Body(msgspec.Struct, frozen=True):
    """What an operation takes as its body."""

    kind: Any
    """The type, for the document."""
    decoders: Mapping[str, Decode]
    examples: Mapping[str, object]
    is_small: bool = True
    default: Any = None
    """What an empty body stands for; None if there has to be one."""


class Batch(msgspec.Struct, frozen=True):
    """Scores, and the lines on which they stood if they came as lines."""

    submits: list[Submit]
    lines: list[int] | None = None


async def read(receive: Receive, limit: int, length: int = -1) -> bytes:
    """Receive a whole body of at most `limit` bytes, or of `length` bytes if that is known.

    Knowing the length saves asking for more when everything is there: one turn of the event loop,
    and on a busy core a change of threads.
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise DisconnectedError
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        if size == length or not message.get("more_body", False):
            return b"".join((*chunks, chunk)) if chunks else chunk
        chunks.append(chunk)


async def read_body(
    body: Body, headers: Mapping[bytes, bytes], receive: Receive, limit: int
) -> tuple[bytes, Any]:
    """Receive and decode what `body` describes. Gives it as it came, too."""
    if body.is_small:
        limit = min(limit, SMALL_BODY_BYTES)
    announced = headers.get(b"content-length", b"")
    length = int(announced) if announced.isdigit() else -1
    if length > limit:
        raise _too_large(limit)
    if body.default is None:
        decode = _decoder(body, headers)
        content = await read(receive, limit, length)
        return content, decode(content)
    # Nothing has no type, but some clients name one for it.
    content = await read(receive, limit, length)
    return content, _decoder(body, headers)(content) if content else body.default


def plain_decoders(kind: Any) -> dict[str, Decode]:
    """Make the decoders of a type that comes as one JSON or MessagePack value."""
    return {JSON: msgspec.json.Decoder(kind).decode} | dict.fromkeys(
        _MSGPACK_NAMES, msgspec.msgpack.Decoder(kind).decode
    )


def batch_decoders() -> dict[str, Decode]:
    """Make the decoders of a batch."""
    plain = {
        media: lambda content, decode=decode: Batch(decode(content))
        for media, decode in plain_decoders(Submits).items()
    }
    return {**plain, NDJSON: _decode_lines}


_decode_submit: Final = msgspec.json.Decoder(Submit).decode


def _decode_lines(content: bytes) -> Batch:
    """Decode one JSON object a line; blank lines do not count as items."""
    submits: list[Submit] = []
    lines: list[int] = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line or line.isspace():
            continue
        try:
            submits.append(_decode_submit(line))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise at_line(classify(error), len(lines), number) from error
        lines.append(number)
        if len(lines) > BATCH_ITEMS:
            break
    if not 1 <= len(lines) <= BATCH_ITEMS:
        raise ProblemError(INVALID, f"a batch has 1 to {BATCH_ITEMS} items")
    return Batch(submits, lines)


def at_line(problem: ProblemError, index: int, number: int) -> ProblemError:
    """Say on which line an item is that a problem is about."""
    place = f"[{index}]"
    field = problem.field or ""
    if not field.startswith(place):
        field = f"{place}.{field}" if field else place
    return ProblemError(problem.kind, f"line {number}: {problem.detail}", field)


def _decoder(body: Body, headers: Mapping[bytes, bytes]) -> Decode:
    """Choose by content-type, or refuse what cannot be read."""
    encoding = headers.get(b"content-encoding", b"identity").decode("latin-1")
    if encoding.strip().lower() != "identity":
        raise ProblemError(UNSUPPORTED, "a body comes without content-encoding")
    content_type = headers.get(b"content-type", JSON.encode()).decode("latin-1")
    media, *parameters = (part.strip().lower() for part in content_type.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "charset" and value.strip('"') not in _UTF8_NAMES:
            raise ProblemError(UNSUPPORTED, "text comes in UTF-8")
    if (decode := body.decoders.get(media)) is None:
        raise ProblemError(UNSUPPORTED, f"the body is one of {', '.join(body.decoders)}")
    return decode


def _too_large(limit: int) -> ProblemError:
    return ProblemError(TOO_LARGE, f"the body has more than {limit} bytes")
