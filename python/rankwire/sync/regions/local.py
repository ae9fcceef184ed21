"""A region as one node of it sees it, which writes repairs.

Promises: no repair is written twice. A record that puts a sum right counts in the whole region and
is a difference, so it may only be written by who knows of all such records: one node at a time
writes one, after it has taken in all that the region's journal has. Its turn lasts until it is
known what became of the batch, also when nobody waits for the answer any more.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from rankwire import _core
from rankwire.sync.regions.compare_wire import RepairAnswer, RepairRequest, State
from rankwire.sync.regions.vectors import reach

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from rankwire.storage.region_stored import States

# How long a node may need for what the journal has. It is most often there already.
_LEVEL_SECONDS: Final = 5.0
# Between two looks whether the storage has said what became of a batch.
_LOOK_SECONDS: Final = 0.1


class Replies(Protocol):
    """What hands out the answers to writes: the writer."""

    @property
    def trouble(self) -> str | None:
        """Why nothing can be committed now; None when all is well."""
        ...

    def reply(self, ticket: int) -> Awaitable[bytes | tuple[bool, bytes] | _core.Repeat]:
        """Give the answer to a ticket, once the write is durable."""
        ...


class Store(Protocol):
    """What the nodes of the region have in common: their database."""

    def turn(self) -> AbstractAsyncContextManager[Mapping[int, int]]:
        """Wait for the turn to repair; gives the journal's vector. Raises StorageError."""
        ...

    async def stored(self, board: int, members: Sequence[str]) -> States:
        """Give what a node that started now would hold of members. Raises StorageError."""
        ...


class Local:
    """The region as this node of it sees it."""

    def __init__(self, engine: _core.Engine, replies: Replies, store: Store) -> None:
        """Use the node's engine and its writer, and what it shares with the region's others."""
        self.engine = engine
        self._replies = replies
        self._store = store
        # So that a node waits in its database once, however many repairs come.
        self._lock = asyncio.Lock()
        self._writing: set[asyncio.Task[RepairAnswer]] = set()

    async def held(self, board: int, members: Sequence[str], *, is_stored: bool) -> States:
        """Give what this node, or the region's database, holds of members, and as of when.

        Raises StorageError, _core.CorruptError for a database that cannot be read.
        """
        if is_stored:
            return await self._store.stored(board, members)
        return await asyncio.to_thread(_core.states, self.engine, board, members)

    async def repair(self, request: RepairRequest) -> RepairAnswer:
        """Write a repair, durably.

        Raises StorageError and _core.RankwireError: then nothing was changed, as far as is known.
        """
        writing = asyncio.create_task(self._in_turn(request))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        return await asyncio.shield(writing)

    async def _in_turn(self, request: RepairRequest) -> RepairAnswer:
        async with self._lock, self._store.turn() as vector:
            if not await reach(self.engine, vector, _LEVEL_SECONDS):
                message = "the node that was asked is behind its region, and so repairs nothing"
                raise _core.BusyError(message, None, None)
            return await self._write(request)

    async def _write(self, request: RepairRequest) -> RepairAnswer:
        items = [(item.member, _tuple(item.seen), _tuple(item.given)) for item in request.items]
        ticket = self.engine.repair(request.name, request.board, items)
        try:
            answer = await self._replies.reply(ticket)
        except _core.UnavailableError:
            # The batch may yet turn out to be stored.
            while self._replies.trouble is not None:  # noqa: ASYNC110  # the writer tells nobody
                await asyncio.sleep(_LOOK_SECONDS)
            raise
        if not isinstance(answer, bytes):
            raise TypeError("a repair has no key, and creates nothing")
        return msgspec.json.decode(answer, type=RepairAnswer)


def _tuple(state: State) -> tuple[int, int | None, int]:
    return state.generation, state.code, state.stamp
