"""Regions in this process for comparisons: real engines, each with the batches of all.

What is damaged is what an engine was recovered from.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Self

from rankwire import _core
from rankwire.sync.regions import verify
from rankwire.sync.regions.errors import PeerError
from rankwire.sync.regions.report import BoardReport, PeerReport, Report
from rankwire.sync.regions.verify import Job, Local

MANY: Final = 1_000_000
POLICIES: Final = ("best", "last", "sum")
Row = tuple[str, int | None, int | None, int]
"""Member, code, stamp, generation, as a storage keeps them."""
Damage = Callable[[list[Row]], list[Row]]


class Journal:
    """Every batch of every region, in an order in which each comes after what it builds on."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int, bytes]] = []
        self.nodes: dict[str, list[Region]] = {}
        """By region."""
        self.turns: dict[str, asyncio.Lock] = {}
        """By region: held by the node of it that writes a repair."""


class Region:
    """One region, or a node of it: writes to the journal of all, and is a peer of the others."""

    trouble: str | None = None

    def __init__(self, name: str, engine: _core.Engine, journal: Journal) -> None:
        self.name = name
        self.engine = engine
        self.journal = journal
        self.local = Local(engine, self, self)
        self.handlers = verify.handlers(self.local)
        self.calls = 0
        self.is_away = False
        self.reads_journal = True
        self.database = self
        """The node that holds what is stored."""
        journal.nodes.setdefault(name, []).append(self)

    @classmethod
    def new(cls, name: str, origin: int, journal: Journal) -> Self:
        recovery = _core.Recovery([])
        return cls(name, recovery.finish(origin, MANY, MANY, True, name), journal)

    async def post(self, name: str, body: bytes, seconds: float) -> bytes:
        """Answer another region; about states after what it would pull by itself."""
        assert seconds > 0
        self.calls += 1
        if self.is_away:
            raise PeerError(f"region {self.name} cannot be reached: it is away")
        if name != "outline":
            self.pull()
        try:
            return await self.handlers[name](body)
        except _core.RankwireError as error:
            raise PeerError(error.args[0]) from error

    def reply(self, ticket: int) -> asyncio.Future[bytes | tuple[bool, bytes] | _core.Repeat]:
        """Commit what is queued, as the writer does, and answer."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        value = self.commit()[ticket]
        if isinstance(value, _core.RankwireError):
            future.set_exception(value)
        else:
            future.set_result(value)
        return future

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[dict[int, int]]:
        """Have the nodes of this region repair one at a time, as their database does."""
        async with self.journal.turns.setdefault(self.name, asyncio.Lock()):
            vector: dict[int, int] = {}
            for node in self.journal.nodes[self.name]:
                for origin, number in node.engine.vector().items():
                    vector[origin] = max(number, vector.get(origin, 0))
            yield vector

    async def stored(self, board: int, members: Sequence[str]) -> Any:
        """Give what the region's database holds: what a node holds whose memory is in order."""
        return _core.states(self.database.engine, board, members)

    def commit(self) -> dict[int, Any]:
        sealed = self.engine.seal(0.0)
        assert sealed is not None
        if sealed.bytes:
            self.journal.batches.append((self.engine.origin, sealed.number, sealed.bytes))
        return dict(sealed.commit())

    def do(self, ticket: int) -> Any:
        value = self.commit()[ticket]
        assert not isinstance(value, _core.RankwireError), value
        return value

    def pull(self) -> None:
        if self.database is not self:
            self.database.pull()
        if self.reads_journal:
            assert self.engine.apply(self.journal.batches) == (len(self.journal.batches), "")

    def create(self, board: str, policy: str = "best", ties: str = "first") -> None:
        self.do(self.engine.create_board(board, "int64", "desc", policy, ties))

    def submit(self, board: str, scores: Mapping[str, int], at_ms: int | None = None) -> None:
        items = [(member, score, at_ms) for member, score in scores.items()]
        self.do(self.engine.submit_batch(board, items))

    def remove(self, board: str, member: str) -> None:
        self.do(self.engine.remove_member(board, member))

    def shown(self, board: str) -> dict[str, float]:
        page, _, _ = self.engine.page(board, 0, MANY)
        return {row["member"]: row["score"] for row in json.loads(page)["entries"]}

    def copy(self, name: str, origin: int, damage: Mapping[str, Damage | None]) -> Region:
        """Recover another region from what this one's tables hold, damaged on the way.

        A board whose damage is None is lost. Everything must be new since the last checkpoint.
        """
        checkpoint = self.engine.checkpoint()
        assert checkpoint is not None
        recovery = _core.Recovery(list(self.engine.vector().items()))
        for index, board in enumerate(checkpoint.boards):
            id_, board_name, *config, seed, version, players, count = board
            change = damage.get(board_name, list)
            if change is None:
                continue
            stored = json.loads(checkpoint.rows(index, 0, count))
            rows: list[Row] = [(row[0], row[2], row[3], row[4]) for row in stored]
            score, order, policy, ties = map(str, config)
            recovery.board(id_, board_name, score, order, policy, ties, seed, version, int(players))
            recovery.members(change(rows))
        checkpoint.give_back()
        engine = recovery.finish(origin, MANY, MANY, True, name)
        return type(self)(name, engine, self.journal)


def changed(**rows: tuple[int | None, int | None, int] | None) -> Damage:
    """Replace members' rows: by code, stamp and generation, or by nothing."""

    def damage(stored: list[Row]) -> list[Row]:
        kept = [row for row in stored if row[0] not in rows]
        return kept + [(member, *row) for member, row in rows.items() if row is not None]

    return damage


async def verified(here: Region, *others: Region, **options: Any) -> Report:
    """Compare one region with others; repair unless told otherwise."""
    chosen: dict[str, Any] = {"repair": True, "primary": here.name} | options
    job = Job(region=here.name, **chosen)
    peers = {other.name: other for other in others}
    async with pulling(here):
        return await verify.ensure_eventual_consistency(here.local, peers, job)


@asynccontextmanager
async def pulling(region: Region) -> AsyncIterator[None]:
    """Have a region pull by itself."""

    async def pull() -> None:
        while True:
            region.pull()
            await asyncio.sleep(0.005)

    task = asyncio.create_task(pull())
    try:
        yield
    finally:
        task.cancel()


def counts(report: Report | PeerReport | BoardReport) -> tuple[int, int, int, int]:
    return report.found, report.resolved, report.failed, report.unsettled


def digests(*regions: Region) -> list[list[tuple[int, int, str]]]:
    """What each region holds, when all have pulled."""
    for region in regions:
        region.pull()
    found = [region.engine.digest()[1] for region in regions]
    return [[(id_, members, digest) for id_, _, _, members, digest in one] for one in found]


def assert_same(*regions: Region) -> None:
    first, *others = digests(*regions)
    assert all(other == first for other in others)


def filled(eu: Region, policy: str = "best", ties: str = "first", members: int = 500) -> None:
    """A board whose scores have ties, some members of which were removed."""
    eu.create("b", policy, ties)
    eu.submit("b", {f"m{i}": i % 40 for i in range(members)})
    for i in range(0, members, 50):
        eu.remove("b", f"m{i}")
    eu.submit("b", {"m50": 7})


def states_of(region: Region, board: str, *members: str) -> list[tuple[int, int]]:
    _, found = _core.states(region.engine, region.engine.board_id(board), members)
    assert found is not None
    return [(code or 0, stamp) for _, code, stamp in found[1]]


def signed(code: int) -> int:
    """A code as a storage keeps it."""
    return code - 2**63
