"""What the server sees of this package: one object for a node of a region among others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import structlog

from rankwire.sync.regions import levels, verify
from rankwire.sync.regions.acks import Acks
from rankwire.sync.regions.arrivals import Arrivals
from rankwire.sync.regions.failover import Failover
from rankwire.sync.regions.here import Here
from rankwire.sync.regions.leader import Leader
from rankwire.sync.regions.peers import MOST_PASSED_ON, Peer, open_http
from rankwire.sync.regions.puller import Link
from rankwire.sync.regions.serving import Serving
from rankwire.sync.regions.sessions import Freshness, Sessions
from rankwire.sync.regions.state import Fenced, State
from rankwire.sync.regions.status import RegionsStatus, SyncResult
from rankwire.sync.regions.store import RegionStore
from rankwire.sync.regions.threads import Threads
from rankwire.sync.regions.views import Views

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from rankwire import _core
    from rankwire.settings_regions import Regions as Settings
    from rankwire.storage.region_journal import RegionJournal
    from rankwire.storage.region_rows import RegionState
    from rankwire.sync.region import Region
    from rankwire.sync.regions.leader import Besides
    from rankwire.sync.regions.levels import Level, Outcome
    from rankwire.sync.regions.local import Replies
    from rankwire.sync.regions.status import FailoverReport

Handler = Callable[[bytes], Awaitable[bytes]]
"""Answers another region: msgpack for msgpack."""

# How long work on threads has to end.
_STOP_SECONDS: Final = 0.5
# One looks at the region's row, one leads, one promises; and one for whoever takes the region out.
_URGENT_THREADS: Final = 4
# Between the end of a task that should go on for ever and its next beginning.
_AGAIN_SECONDS: Final = 1.0

_log = structlog.get_logger(__name__)


class Regions:
    """A node's part in the regions. Made on the event loop, and for it alone."""

    def __init__(
        self,
        settings: Settings,
        journal: RegionJournal,
        region: Region,
        storage: Fenced,
        *,
        may_lead: bool = True,
    ) -> None:
        """Prepare; `start` begins the work. Owns the journal from now on.

        Unless it `may_lead`, the node neither pulls nor compares.
        """
        self._may_lead = may_lead
        self.name = settings.name
        self._settings = settings
        self._journal = journal
        self._region = region
        self._http = open_http()
        self.passing_on = open_http(MOST_PASSED_ON)
        """For clients' requests that belong elsewhere. They take no connection from replication."""
        self.peers = _peers(settings, self._http)
        self._arrivals = Arrivals()
        self._links = {name: Link(peer) for name, peer in self.peers.items()}
        self._threads, self._urgent = Threads(), Threads(_URGENT_THREADS)
        self._state = State(settings, journal, self._urgent, storage)
        self._here = here = Here(
            settings, journal, self._threads, self._urgent, region, self._arrivals, self._state
        )
        self._leader = Leader(here, self._links)
        self._serving = Serving(here)
        self.acks = {name: Acks(peer) for name, peer in self.peers.items()}
        """Who is asked for acknowledgements, and what came of it."""
        self._sessions = Sessions(here)
        self._fresh = Freshness(here)
        self._views = Views(here, self._links, self._leader, self._serving)
        self._failover = Failover(here, self.peers, self._views.find_fault)
        self._ack_counts: dict[tuple[str, str], int] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.forwarded = 0
        """Requests that were forwarded to the primary; whoever forwards counts."""
        self.verifier: verify.Verifier | None = None
        """What compares the boards with other regions; None before `verify`."""
        self.handlers = self._handlers()
        """What answers other regions, by the last word of the path."""

    # Its life.

    async def start(self, engine: _core.Engine) -> None:
        """Begin. No other region and no database has to be there for it."""
        self._state.engine = engine
        self._region.watch(self._arrivals.notify)
        work: list[Callable[[], Coroutine[Any, Any, None]]] = [self._state.run]
        work += [self._leader.run] if self._may_lead else []
        work += [acks.run for acks in self.acks.values()]
        self._tasks = [asyncio.create_task(_for_ever(each)) for each in work]

    def verify(self, engine: _core.Engine, writer: Replies) -> None:
        """Begin to compare the boards with other regions, now and then, on the node that leads."""
        local = verify.Local(engine, writer, RegionStore(self._journal, self._threads))
        self.handlers |= verify.handlers(local)
        self.verifier = verify.Verifier(
            local,
            self.name,
            lambda: self.peers,
            lambda: self.primary or "",
            self._settings.verify_seconds,
            lambda: self._leader.leads,
        )
        self.verifier.start()

    async def stop(self) -> None:
        """End everything and close the journal."""
        if self.verifier is not None:
            await self.verifier.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(self._http.close(), self.passing_on.close())
        await asyncio.gather(*(each.end(_STOP_SECONDS) for each in (self._threads, self._urgent)))
        # One whose connection hangs is left behind.
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(self._journal.close), _STOP_SECONDS)

    @property
    def beside(self) -> Besides | None:
        """What else the leader replicates; to be set before `start`."""
        return self._leader.beside

    @beside.setter
    def beside(self, beside: Besides | None) -> None:
        self._leader.beside = beside

    # The primary.

    @property
    def primary(self) -> str | None:
        """The primary region; None while none is known."""
        return self._state.primary or None

    @property
    def primary_url(self) -> str | None:
        """Where the primary is asked; None if it is this region, or unknown."""
        peer = self.peers.get(self._state.primary)
        return peer.url if peer else None

    @property
    def may_write(self) -> bool:
        """Whether scores are committed here."""
        return self._settings.mode == "active-active" or self._state.is_primary

    @property
    def may_name(self) -> bool:
        """Whether boards are created and deleted here."""
        return self._state.is_primary

    def look(self) -> None:
        """Look who is primary, and let the engine refuse accordingly from now on.

        Blocks: for the committer's thread, when a write was fenced.
        """
        self._state.look()

    async def failover(self, *, force: bool) -> FailoverReport:
        """Make this region the primary. Raises FailoverError, StorageError."""
        return await self._failover.run(force=force)

    async def failback(self) -> FailoverReport:
        """Make the region of the settings primary again. Raises FailoverError, StorageError."""
        return await self._failover.fail_back()

    @property
    def out_reason(self) -> str | None:
        """Why an operator has taken the region out; None if nobody has, as far as is known."""
        return self._state.row.out_reason if self._state.row else None

    async def set_out(self, reason: str | None) -> None:
        """Take the region out, or in again. Raises StorageError."""
        await self._urgent.run(self._journal.set_out, reason)
        await self._state.refresh()

    # Writes and reads.

    async def until(self, is_so: Callable[[], bool], seconds: float) -> bool:
        """Wait until it is so, looking whenever the engine takes something in. Tells whether."""
        return await self._arrivals.until(is_so, seconds)

    async def sync_score_update(
        self, level: Level, timeout_ms: int, outcome: Outcome = "new"
    ) -> SyncResult:
        """Wait until enough regions have what a write was answered for.

        Unless it is new, which batch that was is not known: then they have to have all that this
        node or, for a repeat, this region has. Raises WrongLevelError, StorageError.
        """
        origin = self._region.origin
        number = self._region.number_of(origin)
        wanted: Mapping[int, int] = {origin: number}
        position = f"{origin}:{number}" if outcome == "new" else None
        if outcome != "new" and level.needed(len(self.peers) + 1) > 1:
            has = await self._here.seen(is_repeat=outcome == "repeat")
            settled = self._state.settled.vector()
            wanted = {o: n for o, n in has.items() if n > settled.get(o, 0)} or {origin: 0}
        result = await levels.sync_score_update(
            self.acks, self.name, wanted, position, level, timeout_ms
        )
        key = (level.kind, "reached" if result.is_reached else "pending")
        self._ack_counts[key] = self._ack_counts.get(key, 0) + 1
        return result

    async def wait_session(self, token: str, timeout_ms: int) -> None:
        """Wait until this node has what a session has seen.

        Raises WrongTokenError, NotThereYetError.
        """
        await self._sessions.wait(token, timeout_ms)

    async def token(self, old: str, *, is_repeat: bool = False) -> str:
        """Give a session's next token, after the repeat of a write or after anything else.

        Raises WrongTokenError, NotThereYetError, StorageError.
        """
        return await self._sessions.token(old, is_repeat=is_repeat)

    async def wait_fresh(self, max_staleness_ms: int, timeout_ms: int) -> float:
        """Wait until nothing here is older than that; gives how old it is. Raises TooStaleError."""
        return await self._fresh.wait(max_staleness_ms, timeout_ms)

    # What is told of it.

    def status(self) -> RegionsStatus:
        """Give everything, as this node knows it."""
        state, row = self._state, self._state.row
        lease = row.lease_until_ms - state.clock.now() if row and state.is_primary else None
        return RegionsStatus(
            region=self.name,
            mode=self._settings.mode,
            epoch=row.epoch if row else None,
            primary=self.primary,
            is_primary=state.is_primary,
            is_open=bool(row and row.is_open),
            may_write=self.may_write,
            may_name=self.may_name,
            lease_ms=None if lease is None or lease == float("inf") else lease,
            leads=self._leader.leads,
            out_reason=self.out_reason,
            clock_ms=state.clock.now() if state.clock.is_known else None,
            links=self._views.statuses(),
            degraded=self.degraded,
        )

    @property
    def degraded(self) -> list[str]:
        """What is not as it should be, for people; empty when all is well."""
        found = []
        if self._state.trouble is not None:
            found.append(f"the region's state cannot be read: {self._state.trouble}")
        found += self._views.faults()
        if (row := self._state.row) and (fault := self._primary_fault(row)):
            found.append(fault)
        if self.beside is not None:
            found += self.beside.troubles.values()
        return list(dict.fromkeys(found))

    def figures(self) -> dict[str, float | None]:
        """Give figures for metrics; None is not known."""
        row = self._state.row
        own = {
            "epoch": row.epoch if row else None,
            "is_primary": float(self._state.is_primary),
            "primary_known": float(self._knows_primary()),
            "leads": float(self._leader.leads),
            "is_out": float(self.out_reason is not None),
            "session_waits_total": self._sessions.waits,
            "session_refusals_total": self._sessions.refusals,
            "bounded_waits_total": self._fresh.waits,
            "bounded_refusals_total": self._fresh.refusals,
            "forwarded_total": self.forwarded,
            "requests_refused_total": self._serving.refused,
        }
        return own if self.verifier is None else {**own, **self.verifier.figures()}

    def link_figures(self) -> dict[str, dict[str, float | None]]:
        """Give figures of each other region; None is not known."""
        return self._views.figures()

    def ack_counts(self) -> Mapping[tuple[str, str], int]:
        """Count updates by the level asked for and whether it was reached in time."""
        return self._ack_counts

    def _knows_primary(self) -> bool:
        primary = self._state.primary
        return self._state.is_primary if primary == self.name else self._views.agrees(primary)

    def _primary_fault(self, row: RegionState) -> str | None:
        """Tell what is wrong with who is primary; that it does not answer is told of its link."""
        if not row.epoch:
            return (
                "there is no primary yet: it begins when every region has answered and their "
                "settings agree, or with `rankwire regions failover`"
            )
        if row.primary not in self._settings.all_names:
            return (
                f"the primary is {row.primary}, which is none of the regions in the settings: "
                "`rankwire regions failover` chooses another"
            )
        if row.primary != self.name or self._state.is_primary:
            return None
        why = "its lease is over" if row.is_open else "a failover has not ended"
        return f"this region is primary and may not act as such: {why}"

    def _handlers(self) -> dict[str, Handler]:
        serving = self._serving
        return {"pull": serving.pull, "await": serving.wait, "promise": self._failover.promise}


def _peers(settings: Settings, http: ClientSession) -> dict[str, Peer]:
    urls = settings.peer_urls
    return {name: Peer(name, url, http, settings.secret) for name, url in urls.items()}


async def _for_ever(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Begin work that should never end again if it does."""
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001  # whatever it is, it is said and done again
            _log.exception("a task of regions failed")
        await asyncio.sleep(_AGAIN_SECONDS)
