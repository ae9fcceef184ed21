"""Makes members the same in two regions, and says which of two sums is the true one.

On boards that keep the best or the last score both states are merged in both regions, by the rule
of the board: whatever is repeated or crosses another repair does no harm. Amounts cannot be merged
twice, so of different sums one has to be *true*, and each other region gets a record that counts
nowhere else. A removal counts wherever it is known; among the states after as many removals the
true one is that of the region that was named, or of most of all regions, or of the primary.

Each item says what was seen, so a member that has moved on is left alone: repairs may be sent
again. One repair at a time is written here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from rankwire import _core
from rankwire.sync.regions.compare_wire import (
    MOST_REPAIRS,
    REPAIR,
    Repair,
    RepairAnswer,
    RepairRequest,
    State,
)
from rankwire.sync.regions.errors import PeerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from rankwire.sync.regions.compare import Counted

# With fewer regions none of two that differ has a majority.
_REGIONS_THAT_VOTE: Final = 3
_REPAIR_SECONDS: Final = 30.0


class Replies(Protocol):
    """What hands out the answers to writes: the writer."""

    def reply(self, ticket: int) -> Awaitable[bytes | tuple[bool, bytes] | _core.Repeat]:
        """Give the answer to a ticket, once the write is durable."""
        ...


class Local:
    """The region as this node of it sees it."""

    def __init__(self, engine: _core.Engine, replies: Replies) -> None:
        """Use the node's engine and its writer."""
        self.engine = engine
        self._replies = replies
        self._lock = asyncio.Lock()

    async def repair(self, request: RepairRequest) -> RepairAnswer:
        """Write a repair, durably. Raises _core.RankwireError: nothing was changed then."""
        items = [(item.member, _tuple(item.seen), _tuple(item.given)) for item in request.items]
        async with self._lock:
            ticket = self.engine.repair(request.name, request.board, items)
            answer = await self._replies.reply(ticket)
        if not isinstance(answer, bytes):
            raise TypeError("a repair has no key, and creates nothing")
        return msgspec.json.decode(answer, type=RepairAnswer)


def truth(states: Mapping[str, State], *, regions: int, source: str, primary: str) -> State | None:
    """Choose which state of a sum counts, of those of some of all `regions`, by name.

    None if nobody is to say: the source was not reached, or there are too few to vote and the
    primary is not among them. The time is the latest of all, for times never go back.
    """
    newest = max(state.generation for state in states.values())
    known = {name: state for name, state in states.items() if state.generation == newest}
    votes = Counter(state.code for state in known.values())
    code, count = votes.most_common(1)[0]
    stamp = max(state.stamp for state in known.values())
    if len(votes) > 1:
        has_majority = regions >= _REGIONS_THAT_VOTE and 2 * count > regions
        if source or not has_majority:
            chosen = known.get(source or primary)
            if chosen is None:
                return None
            code = chosen.code
    return State(newest, code, 0 if code is None else stamp)


class Plan(msgspec.Struct):
    """What is to be written in which region to make members the same."""

    items: dict[str, list[Repair]] = msgspec.field(default_factory=dict)

    def merge(self, member: str, states: Mapping[str, State]) -> None:
        """Give each of two regions what the other one has."""
        (one, its), (other, others) = states.items()
        self._add(one, Repair(member, its, others))
        self._add(other, Repair(member, others, its))

    def set(self, member: str, states: Mapping[str, State], true: State) -> None:
        """Bring all regions to one state, also those that differ in its time only."""
        for region, state in states.items():
            if state != true:
                self._add(region, Repair(member, state, true))

    def _add(self, region: str, item: Repair) -> None:
        self.items.setdefault(region, []).append(item)


class Board(msgspec.Struct, frozen=True):
    """Which board is repaired."""

    id: int
    name: str


async def carry_out(
    plan: Plan, board: Board, local: Local, peers: Mapping[str, Counted]
) -> dict[str, str]:
    """Write a plan. Returns the regions where not all of it was, and why; some may have been."""
    reasons = {}
    for region, items in plan.items.items():
        try:
            moved = 0
            for start in range(0, len(items), MOST_REPAIRS):
                some = items[start : start + MOST_REPAIRS]
                request = RepairRequest(board.id, board.name, some)
                moved += (await _write(request, local, peers.get(region))).moved
            if moved:
                reasons[region] = f"in region {region} {moved} members changed meanwhile"
        except (PeerError, msgspec.MsgspecError) as error:
            reasons[region] = str(error)
        except _core.RankwireError as error:
            reasons[region] = error.args[0]
    return reasons


async def _write(request: RepairRequest, local: Local, peer: Counted | None) -> RepairAnswer:
    if peer is None:
        return await local.repair(request)
    return await peer.ask(REPAIR, request, RepairAnswer, _REPAIR_SECONDS)


def _tuple(state: State) -> tuple[int, int | None, int]:
    return state.generation, state.code, state.stamp
