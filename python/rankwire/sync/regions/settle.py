"""Tells members that differ from members that are merely late.

Two regions are never level while writes go on, so a member counts as different only by three
looks: what this region held, with the batches that it had taken in; what the other one held, once
it had taken in all of these; and what this region holds once it has taken in all of those. If the
first and the last are the same, the batches between them do not concern the member, and what the
other region held was made of the same records. Equal records give equal states, so if the states
differ something was lost or damaged. Otherwise it is looked at again, some times; what never stands
still is *unsettled*, and counts as neither.

Such a look asks a node for what it has in memory, which is quick, and other nodes of its region may
hold something else. Before anything is repaired it has to be certain: then the regions' databases
are asked, and what is the same is proved like what differs. So a node whose memory is damaged
neither spreads that nor passes for its region.

One thing can deceive it: amounts that cancel each other out, all of them with times before the one
that a sum has, seen half by the other region. A repair is not deceived as easily: it says which
state was seen.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from rankwire.sync.regions.compare_wire import (
    MOST_STATES,
    STATES,
    State,
    StatesAnswer,
    StatesRequest,
)
from rankwire.sync.regions.vectors import includes, reach

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rankwire.storage.region_stored import States
    from rankwire.sync.regions.compare import Counted
    from rankwire.sync.regions.local import Local

_LOOKS: Final = 5
# Between two of them; then twice as long, and so on: three seconds in all.
_PAUSE_SECONDS: Final = 0.2
# How long one waits for the other to have the same batches.
_WAIT_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 10.0


class Settled(msgspec.Struct):
    """What became of members that may differ."""

    name: str | None = None
    """The board's."""
    differing: dict[str, tuple[State, State]] = msgspec.field(default_factory=dict)
    """What this region and the other one hold."""
    same: dict[str, State] = msgspec.field(default_factory=dict)
    """What both hold, of members for which that was to be proved as well."""
    unsettled: list[str] = msgspec.field(default_factory=list)
    lacks: str | None = None
    """Whether the board is not "here" or not "there", while the other side has it."""
    is_unsettled: bool = False
    """Whether even that is not certain."""


class _Look(msgspec.Struct):
    """What one region holds of a board: its name and states, or None."""

    vector: Mapping[int, int]
    name: str | None
    states: list[State] | None


class _Looks:
    """How to look at a board in this region and in another one."""

    def __init__(self, local: Local, peer: Counted, board: int, are_thorough: bool) -> None:
        self.are_thorough = are_thorough
        self._local = local
        self._peer = peer
        self._board = board

    async def here(self, members: list[str]) -> _Look:
        return _look(await self._local.held(self._board, members, is_stored=self.are_thorough))

    async def there(self, members: list[str], vector: Mapping[int, int]) -> _Look:
        """Look once the other region has what is in the vector, or after a while."""
        wait_ms = int(_WAIT_SECONDS * 1000)
        request = StatesRequest(self._board, members, dict(vector), wait_ms, self.are_thorough)
        answer = await self._peer.ask(STATES, request, StatesAnswer, _ANSWER_SECONDS)
        if answer.states is not None and len(answer.states) != len(members):
            raise msgspec.ValidationError("not as many states as members")
        return _Look(answer.vector, answer.name, answer.states)

    async def are_ordered(self, first: _Look, there: _Look) -> bool:
        """Wait until this region has all that the other one had, if that had all of ours."""
        if not includes(there.vector, first.vector):
            return False
        # What a node has in memory is in its database.
        return await reach(self._local.engine, there.vector, _WAIT_SECONDS)


async def settle(
    local: Local,
    peer: Counted,
    board: int,
    members: Sequence[str],
    *,
    is_thorough: bool = False,
) -> Settled:
    """Look which of these members differ, or with none of them which region lacks the board.

    With `is_thorough` the databases say what the regions hold, and what is the same is proved as
    well. Raises PeerError, msgspec.MsgspecError; then also StorageError, _core.CorruptError.
    """
    looks = _Looks(local, peer, board, is_thorough)
    settled = Settled()
    starts = range(0, max(len(members), 1), MOST_STATES)
    rest = [list(members[start : start + MOST_STATES]) for start in starts]
    for look in range(_LOOKS):
        if look:
            await asyncio.sleep(_PAUSE_SECONDS * 2 ** (look - 1))
        looked = [await _settle_some(looks, some, settled) for some in rest]
        rest = [some for some in looked if some is not None]
        if not rest:
            break
    settled.unsettled = [member for some in rest for member in some]
    settled.is_unsettled = bool(rest)
    return settled


async def _settle_some(looks: _Looks, members: list[str], settled: Settled) -> list[str] | None:
    """Look once, and return what has to be looked at again; None if nothing has."""
    first = await looks.here(members)
    there = await looks.there(members, first.vector)
    settled.name = first.name or there.name or settled.name
    if first.states is None and there.states is None:
        return None
    if first.states is None or there.states is None:
        return await _settle_board(looks, members, (first, there), settled)
    pairs = zip(members, first.states, there.states, strict=True)
    seen = {member: pair for member, *pair in pairs if looks.are_thorough or pair[0] != pair[1]}
    if not seen:
        return None
    rest = list(seen)
    if not await looks.are_ordered(first, there):
        return rest
    last = await looks.here(rest)
    if not includes(last.vector, there.vector) or last.states is None:
        return rest
    rest = []
    for (member, (ours, theirs)), now in zip(seen.items(), last.states, strict=True):
        if now != ours:
            rest.append(member)
        elif ours == theirs:
            settled.same[member] = ours
        else:
            settled.differing[member] = ours, theirs
    return rest or None


async def _settle_board(
    looks: _Looks, members: list[str], seen: tuple[_Look, _Look], settled: Settled
) -> list[str] | None:
    """Tell whether a board that one region does not show is really not there."""
    first, there = seen
    if not await looks.are_ordered(first, there):
        return members
    last = await looks.here([])
    is_so = includes(last.vector, there.vector) and (last.name is None) == (first.name is None)
    if not is_so:
        return members
    settled.lacks = "here" if first.states is None else "there"
    return None


async def answer_states(local: Local, request: StatesRequest) -> StatesAnswer:
    """Answer `settle` of another region, once everything that it has is here, or after a while."""
    await reach(local.engine, request.vector, request.wait_ms / 1000)
    held = await local.held(request.board, request.members, is_stored=request.is_stored)
    look = _look(held)
    return StatesAnswer(dict(look.vector), look.name, look.states)


def _look(held: States) -> _Look:
    vector, found = held
    if found is None:
        return _Look(vector, None, None)
    return _Look(vector, found[0], [State(*state) for state in found[1]])
