"""Finds the members on which this region and another one may not agree.

Boards have one seed everywhere, so equal contents have equal hashes, and only what differs is
looked at more closely: d differences among n members cost about d · log16(n) hashes, in about as
many rounds as a board has levels, for all boards together. docs/regions.md tells more.

What is found are candidates: with writes going on, a member that one region has just changed is
among them. `settle` tells the late from the different. At most `MOST_FOUND` are found at a time, so
memory is bounded; then it says that it stopped.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import msgspec

from rankwire import _core
from rankwire.sync.regions.compare_wire import OUTLINE, OutlineAnswer, OutlineRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST_FOUND: Final = 100_000
"""Members that are found in one comparison of two regions, and boards that one of them lacks."""

# A board that was never compared is hashed first. If that takes longer, the hashes are kept all the
# same, and the next comparison goes on from there.
_OUTLINE_SECONDS: Final = 60.0

_Answer = TypeVar("_Answer", bound=msgspec.Struct)


class Peer(Protocol):
    """Another region. `rankwire.sync.regions.peers` has the real ones."""

    async def post(self, name: str, body: bytes, seconds: float) -> bytes:
        """Give the answer to a question. Raises PeerError."""
        ...


class Counted:
    """A peer, and how much was exchanged with it."""

    def __init__(self, peer: Peer) -> None:
        """Count from now on."""
        self._peer = peer
        self.rounds = 0
        self.bytes_sent = 0
        self.bytes_received = 0

    async def ask(
        self, name: str, question: msgspec.Struct, kind: type[_Answer], seconds: float
    ) -> _Answer:
        """Ask and decode the answer. Raises PeerError, msgspec.MsgspecError."""
        body = msgspec.msgpack.encode(question)
        self.rounds += 1
        self.bytes_sent += len(body)
        answer = await self._peer.post(name, body, seconds)
        self.bytes_received += len(answer)
        return msgspec.msgpack.decode(answer, type=kind)


class Found(msgspec.Struct, frozen=True):
    """What may differ, and what was compared."""

    members: dict[int, list[str]]
    """By board."""
    only_here: list[int]
    """Boards that the other region did not have when it was asked."""
    only_there: list[int]
    board_count: int
    member_count: int
    is_stopped: bool
    """Whether there may be more."""


async def find(
    engine: _core.Engine,
    peer: Counted,
    boards: Sequence[int] | None = None,
    on_step: Callable[[int], None] = lambda _: None,
    limit: int = MOST_FOUND,
) -> Found:
    """Compare these boards, or all, with a peer.

    `on_step` is told now and then how many boards are compared so far. Raises PeerError,
    msgspec.MsgspecError and _core.InvalidError for answers that are none.
    """
    comparison = _core.Comparison(engine, limit)
    if boards is None:
        after: int | None = 0
        while after is not None:
            tops = await _outline(peer, OutlineRequest(after=after))
            after = await asyncio.to_thread(comparison.boards, after, tops)
            on_step(comparison.board_count)
            # What differs on these boards is looked for before more of them come.
            await _descend(comparison, peer)
    else:
        await asyncio.to_thread(comparison.begin, boards)
        await _descend(comparison, peer)
        on_step(comparison.board_count)
    return Found(
        dict(comparison.found()),
        comparison.only_here,
        comparison.only_there,
        comparison.board_count,
        comparison.member_count,
        comparison.is_stopped,
    )


async def _descend(comparison: _core.Comparison, peer: Counted) -> None:
    while (asks := await asyncio.to_thread(comparison.ask)) is not None:
        answer = await _outline(peer, OutlineRequest(asks=asks))
        await asyncio.to_thread(comparison.take, answer)


async def _outline(peer: Counted, request: OutlineRequest) -> bytes:
    return (await peer.ask(OUTLINE, request, OutlineAnswer, _OUTLINE_SECONDS)).answer


def answer_outline(engine: _core.Engine, request: OutlineRequest) -> OutlineAnswer:
    """Answer `find` of another region. Blocks. Raises _core.InvalidError."""
    if request.after is not None:
        return OutlineAnswer(_core.tops(engine, request.after))
    return OutlineAnswer(_core.outline(engine, request.asks))
