"""Tells members that differ from members that are merely late.

Two regions are never level while writes go on, so a member counts as different only by three
looks: what this region held, with the batches that it had taken in; what the other one held, once
it had taken in all of these; and what this region holds once it has taken in all of those. If the
first and the last are the same, the batches between them do not concern the member, and what the
other region held was made of the same records. Equal records give equal states, so if the states
differ something was lost or damaged. Otherwise it is looked at again, some times; what never stands
still is *unsettled*, and counts as neither.

One thing can deceive it: amounts that cancel each other out, all of them with times before the one
that a sum has, seen half by the other region. A repair is not deceived as easily: it says which
state was seen.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import msgspec

from rankwire import _core
from rankwire.sync.regions.compare_wire import (
    MOST_STATES,
    STATES,
    State,
    StatesAnswer,
    StatesRequest,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rankwire.sync.regions.compare import Counted

_LOOKS: Final = 5
# Between two of them; then twice as long, and so on: three seconds in all.
_PAUSE_SECONDS: Final = 0.2
# How long one waits for the other to have the same batches.
_WAIT_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.02
_ANSWER_SECONDS: Final = 10.0


class Settled(msgspec.Struct):
    """What became of members that may differ."""

    name: str | None = None
    """The board's."""
    differing: dict[str, tuple[State, State]] = msgspec.field(default_factory=dict)
    """What this region and the other one hold."""
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


async def settle(
    engine: _core.Engine, peer: Counted, board: int, members: Sequence[str]
) -> Settled:
    """Look which of these members differ, or with none of them which region lacks the board.

    Raises PeerError, msgspec.MsgspecError.
    """
    settled = Settled()
    starts = range(0, max(len(members), 1), MOST_STATES)
    rest = [list(members[start : start + MOST_STATES]) for start in starts]
    for look in range(_LOOKS):
        if look:
            await asyncio.sleep(_PAUSE_SECONDS * 2 ** (look - 1))
        looked = [await _settle_some(engine, peer, board, some, settled) for some in rest]
        rest = [some for some in looked if some is not None]
        if not rest:
            break
    settled.unsettled = [member for some in rest for member in some]
    settled.is_unsettled = bool(rest)
    return settled


async def _settle_some(
    engine: _core.Engine, peer: Counted, board: int, members: list[str], settled: Settled
) -> list[str] | None:
    """Look once, and return what has to be looked at again; None if nothing has."""
    first = await _look_here(engine, board, members)
    there = await _look_there(peer, board, members, first.vector)
    settled.name = first.name or there.name or settled.name
    if first.states is None and there.states is None:
        return None
    if first.states is None or there.states is None:
        return await _settle_board(engine, board, members, (first, there), settled)
    pairs = zip(members, first.states, there.states, strict=True)
    differing = {member: (ours, theirs) for member, ours, theirs in pairs if ours != theirs}
    if not differing:
        return None
    rest = list(differing)
    if not await _are_ordered(engine, first, there):
        return rest
    last = await _look_here(engine, board, rest)
    if not includes(last.vector, there.vector) or last.states is None:
        return rest
    rest = []
    for (member, pair), now in zip(differing.items(), last.states, strict=True):
        if now == pair[0]:
            settled.differing[member] = pair
        else:
            rest.append(member)
    return rest or None


async def _settle_board(
    engine: _core.Engine,
    board: int,
    members: list[str],
    looks: tuple[_Look, _Look],
    settled: Settled,
) -> list[str] | None:
    """Tell whether a board that one region does not show is really not there."""
    first, there = looks
    if not await _are_ordered(engine, first, there):
        return members
    last = await _look_here(engine, board, [])
    is_so = includes(last.vector, there.vector) and (last.name is None) == (first.name is None)
    if not is_so:
        return members
    settled.lacks = "here" if first.states is None else "there"
    return None


async def _are_ordered(engine: _core.Engine, first: _Look, there: _Look) -> bool:
    """Wait until this region has all that the other one had, if that had all of ours."""
    return includes(there.vector, first.vector) and await reach(engine, there.vector, _WAIT_SECONDS)


async def _look_here(engine: _core.Engine, board: int, members: list[str]) -> _Look:
    vector, found = await asyncio.to_thread(_core.states, engine, board, members)
    if found is None:
        return _Look(vector, None, None)
    return _Look(vector, found[0], [State(*state) for state in found[1]])


async def _look_there(
    peer: Counted, board: int, members: list[str], vector: Mapping[int, int]
) -> _Look:
    request = StatesRequest(board, members, dict(vector), int(_WAIT_SECONDS * 1000))
    answer = await peer.ask(STATES, request, StatesAnswer, _ANSWER_SECONDS)
    if answer.states is not None and len(answer.states) != len(members):
        raise msgspec.ValidationError("not as many states as members")
    return _Look(answer.vector, answer.name, answer.states)


async def answer_states(engine: _core.Engine, request: StatesRequest) -> StatesAnswer:
    """Answer `settle` of another region, once everything that it has is here, or after a while."""
    await reach(engine, request.vector, request.wait_ms / 1000)
    look = await _look_here(engine, request.board, request.members)
    return StatesAnswer(dict(look.vector), look.name, look.states)


async def reach(engine: _core.Engine, vector: Mapping[int, int], seconds: float) -> bool:
    """Wait until an engine has taken in all of this, and tell whether it has."""
    end = time.monotonic() + seconds
    while not includes(await asyncio.to_thread(engine.vector), vector):
        if time.monotonic() >= end:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True


def includes(vector: Mapping[int, int], other: Mapping[int, int]) -> bool:
    """Tell whether one vector has at least what the other one has."""
    return all(vector.get(origin, 0) >= number for origin, number in other.items())
