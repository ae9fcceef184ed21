"""Makes members the same in two regions, and says which of two sums is the true one.

On boards that keep the best or the last score both states are merged in both regions, by the rule
of the board: whatever is repeated or crosses another repair does no harm. Amounts cannot be merged
twice, so of different sums one has to be *true*, and each other region gets a record that counts
nowhere else. A removal counts wherever it is known; among the states after as many removals the
true one is that of the region that was named, or of most of all regions, or, when all have been
heard and are of different minds, of the primary. Whoever only lacks a write has no vote, so the
states that `truth` is given have to be proved. In doubt nothing is written.

Each item says what was seen, so a member that has moved on is left alone: repairs may be sent
again.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from rankwire import _core
from rankwire.storage import StorageError
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
    from collections.abc import Mapping

    from rankwire.sync.regions.compare import Counted
    from rankwire.sync.regions.local import Local

_REPAIR_SECONDS: Final = 30.0


def truth(
    states: Mapping[str, State],
    *,
    regions: int,
    source: str,
    primary: str,
    needs_majority: bool = False,
) -> State | None:
    """Choose which state of a sum counts, of those of some of all `regions`, by name.

    None if it is in doubt: the source is not among them, or most regions do not hold one state and
    it is too early, or forbidden, to go by the primary. The time is the latest of all, for times
    never go back.
    """
    newest = max(state.generation for state in states.values())
    known = {name: state for name, state in states.items() if state.generation == newest}
    votes = Counter(state.code for state in known.values())
    code, count = votes.most_common(1)[0]
    stamp = max(state.stamp for state in known.values())
    is_majority = 2 * count > regions
    if needs_majority and not is_majority:
        return None
    if len(votes) > 1 and (source or not is_majority):
        # Those of which nothing is certain may make it one yet.
        is_open = 2 * (count + regions - len(states)) > regions
        chosen = known.get(source) if source else None if is_open else known.get(primary)
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
        except (PeerError, StorageError, msgspec.MsgspecError) as error:
            reasons[region] = str(error)
        except _core.RankwireError as error:
            reasons[region] = error.args[0]
    return reasons


async def _write(request: RepairRequest, local: Local, peer: Counted | None) -> RepairAnswer:
    if peer is None:
        return await local.repair(request)
    return await peer.ask(REPAIR, request, RepairAnswer, _REPAIR_SECONDS)
