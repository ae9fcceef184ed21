"""Answers: what goes to `send`.

An answer is the start message and the body. The start messages of the usual answers exist once and
are sent again and again; the server only reads them, and adds content-length itself.
"""

from __future__ import annotations

from typing import Final

from starlette.types import Message, Send

Answer = tuple[Message, bytes]
Headers = tuple[tuple[bytes, bytes], ...]


def start(status: int, *headers: tuple[bytes, bytes]) -> Message:
    """Make the first message of an answer."""
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


JSON: Final = (b"content-type", b"application/json")
JSON_OK: Final = start(200, JSON)
JSON_CREATED: Final = start(201, JSON)
NO_CONTENT: Final[Answer] = (start(204), b"")

REPLAYED: Final = "Idempotency-Replayed"
"""The header of an answer that was given before."""
_REPLAYED: Final = (REPLAYED.lower().encode(), b"true")
JSON_OK_AGAIN: Final = start(200, JSON, _REPLAYED)
JSON_CREATED_AGAIN: Final = start(201, JSON, _REPLAYED)
NO_CONTENT_AGAIN: Final[Answer] = (start(204, _REPLAYED), b"")


async def send_answer(send: Send, answer: Answer) -> None:
    """Send both messages."""
    await send(answer[0])
    await send({"type": "http.response.body", "body": answer[1]})
