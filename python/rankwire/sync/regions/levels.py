"""How many regions an update has to be durable in before its writer is answered.

Promises: `achieved` never says more than is acknowledged, and an update that is committed at home
is answered as such, in time, whatever the other regions do.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from rankwire.sync.regions.errors import WrongLevelError
from rankwire.sync.regions.status import Consistency, PrimaryStatus, RegionSync, SyncResult

if TYPE_CHECKING:
    from rankwire.sync.regions.acks import Acks, Waiter

Kind = Literal["local", "any", "quorum", "all"]
Outcome = Literal["new", "same", "repeat"]
"""What a write did: it is in a batch of this node, it left all as this node had it, or it is the
repeat of one that any node may have committed."""

_ANY: Final = re.compile(r"any\(([1-9][0-9]?)\)")
_WORDS: Final[dict[str, Kind]] = {"local": "local", "quorum": "quorum", "all": "all"}


class Level(msgspec.Struct, frozen=True):
    """What a writer asks for."""

    kind: Kind
    number: int = 1
    """Of regions, with `any`."""

    def __str__(self) -> str:
        return f"any({self.number})" if self.kind == "any" else self.kind

    def needed(self, regions: int) -> int:
        """Give how many of so many regions are needed, this one included.

        Raises WrongLevelError if there are not as many.
        """
        if self.kind == "any" and self.number > regions:
            raise WrongLevelError(
                f"level {self} asks for more than the {regions} regions there are"
            )
        counts = {"local": 1, "any": self.number, "quorum": quorum(regions), "all": regions}
        return counts[self.kind]


def quorum(regions: int) -> int:
    """Give the smallest number of regions of which any two sets share one."""
    return regions // 2 + 1


def parse(text: str) -> Level:
    """Read a level. Raises WrongLevelError."""
    if text in _WORDS:
        return Level(_WORDS[text])
    if found := _ANY.fullmatch(text):
        return Level("any", int(found[1]))
    raise WrongLevelError(
        f"level: found {text[:32]!r}, allowed is local, quorum, all or any(K) with the number of "
        "regions"
    )


def achieved(regions: int, durable: int) -> str:
    """Name the highest level that so many of the regions stand for, this one included."""
    if durable >= regions:
        return "all"
    if durable >= quorum(regions):
        return "quorum"
    return f"any({durable})" if durable > 1 else "local"


async def sync_score_update(
    acks: Mapping[str, Acks],
    home: str,
    wanted: Mapping[int, int],
    position: str | None,
    level: Level,
    timeout_ms: int,
) -> SyncResult:
    """Wait until enough regions have an update that is committed at home.

    `wanted` is what they have to have: of each origin all up to a number. `position` is the
    update's place, if that is known. Raises WrongLevelError.
    """
    regions = len(acks) + 1
    needed = level.needed(regions)
    began = monotonic()
    waits = [_Wait(each, wanted) for each in acks.values()] if needed > 1 else []
    try:
        await _enough(waits, needed - 1, began + timeout_ms / 1000)
        told = [wait.tell(began) for wait in waits]
    finally:
        for wait in waits:
            wait.leave()
    if not waits:
        told = [RegionSync(name, "pending", None, None) for name in acks]
    durable = 1 + sum(row.status == "acknowledged" for row in told)
    waited_ms = (monotonic() - began) * 1000
    lags = [waited_ms if row.after_ms is None else row.after_ms for row in told] if waits else []
    return SyncResult(
        requested=str(level),
        achieved=achieved(regions, durable),
        primary=PrimaryStatus(home, "committed", position),
        regions=told,
        consistency=Consistency(durable / regions, max(lags, default=None)),
        is_reached=durable >= needed,
    )


class _Wait:
    """What one region is waited for."""

    def __init__(self, acks: Acks, wanted: Mapping[int, int]) -> None:
        self._acks = acks
        self._waiters: list[Waiter] = [acks.add(*each) for each in wanted.items()]

    @property
    def is_over(self) -> bool:
        return all(waiter.done.done() for waiter in self._waiters)

    async def over(self) -> None:
        await asyncio.wait([waiter.done for waiter in self._waiters])

    def tell(self, began: float) -> RegionSync:
        name = self._acks.peer.name
        if self.is_over:
            known = max(waiter.done.result() for waiter in self._waiters)
            return RegionSync(name, "acknowledged", max(known - began, 0.0) * 1000, None)
        trouble = self._acks.trouble
        return RegionSync(name, "error" if trouble else "pending", None, trouble)

    def leave(self) -> None:
        for waiter in self._waiters:
            self._acks.leave(waiter)


async def _enough(waits: Sequence[_Wait], needed: int, deadline: float) -> None:
    """Wait until so many are over, or until the deadline."""
    tasks = {asyncio.ensure_future(wait.over()) for wait in waits}
    try:
        while sum(wait.is_over for wait in waits) < needed:
            rest = deadline - monotonic()
            open_ones = {task for task in tasks if not task.done()}
            if rest <= 0 or not open_ones:
                return
            await asyncio.wait(open_ones, timeout=rest, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
