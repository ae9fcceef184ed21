"""What the server sees of this package: one object for a node of a region among others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog

from rankwire.storage.region_rows import LinkRow
from rankwire.sync.regions import levels, verify
from rankwire.sync.regions.acks import Acks
from rankwire.sync.regions.arrivals import Arrivals
from rankwire.sync.regions.failover import Failover
from rankwire.sync.regions.here import Here
from rankwire.sync.regions.leader import Leader
from rankwire.sync.regions.peers import Peer, open_http
from rankwire.sync.regions.puller import HEARD_SECONDS, Link
from rankwire.sync.regions.serving import Serving
from rankwire.sync.regions.sessions import Freshness, Sessions
from rankwire.sync.regions.state import Fenced, State
from rankwire.sync.regions.status import LinkStatus, RegionsStatus, SyncResult
from rankwire.sync.regions.threads import Threads

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from rankwire import _core
    from rankwire.settings_regions import Regions as Settings
    from rankwire.storage.region_journal import RegionJournal
    from rankwire.sync.region import Region
    from rankwire.sync.regions.leader import Besides
    from rankwire.sync.regions.levels import Level
    from rankwire.sync.regions.status import FailoverReport

Handler = Callable[[bytes], Awaitable[bytes]]
"""Answers another region: msgpack for msgpack."""

# How long work on threads has to end.
_STOP_SECONDS: Final = 0.5
# Between the end of a task that should go on for ever and its next beginning.
_AGAIN_SECONDS: Final = 1.0
# A region that lacks more batches than one answer may have is not ready to be primary.
_MOST_BEHIND: Final = 1000

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
        self.http = open_http()
        """For requests to other regions. It gives bodies as they came, deflated or not."""
        self.peers = _peers(settings, self.http)
        self._arrivals = Arrivals()
        self._links = {name: Link(peer) for name, peer in self.peers.items()}
        self._threads = Threads()
        self._state = State(settings, journal, self._threads, storage)
        here = Here(settings, journal, self._threads, region, self._arrivals, self._state)
        self._leader = Leader(here, self._links)
        self._serving = Serving(here)
        self.acks = {name: Acks(peer) for name, peer in self.peers.items()}
        """Who is asked for acknowledgements, and what came of it."""
        self._sessions = Sessions(here)
        self._fresh = Freshness(here)
        self._failover = Failover(here, self.peers, self._find_faults)
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

    def verify(self, local: verify.Local) -> None:
        """Begin to compare the boards with other regions, now and then, on the node that leads."""
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
        await self.http.close()
        await self._threads.end(_STOP_SECONDS)
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

    def refresh(self) -> None:
        """Have it looked at soon who is primary. For any thread."""
        self._state.ask()

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
        await self._threads.run(self._journal.set_out, reason)
        await self._state.refresh()

    # Writes and reads.

    async def until(self, is_so: Callable[[], bool], seconds: float) -> bool:
        """Wait until it is so, looking whenever the engine takes something in. Tells whether."""
        return await self._arrivals.until(is_so, seconds)

    async def sync_score_update(
        self, level: Level, timeout_ms: int, *, is_repeat: bool = False
    ) -> SyncResult:
        """Wait until enough regions have what this node has just committed.

        An update that came before may be of another run of a node: then regions have to have all
        that this node has. Raises WrongLevelError.
        """
        vector = self._region.vector()
        origin = self._region.origin
        wanted = {origin: vector.get(origin, 0)}
        if is_repeat:
            settled = self._state.settled.vector()
            wanted |= {o: n for o, n in vector.items() if n > settled.get(o, 0)}
        result = await levels.sync_score_update(self.acks, self.name, wanted, level, timeout_ms)
        key = (level.kind, "reached" if result.is_reached else "pending")
        self._ack_counts[key] = self._ack_counts.get(key, 0) + 1
        return result

    async def wait_session(self, token: str, timeout_ms: int) -> None:
        """Wait until this node has what a session has seen.

        Raises WrongTokenError, NotThereYetError.
        """
        await self._sessions.wait(token, timeout_ms)

    def token(self, old: str) -> str:
        """Give a session's next token. Raises WrongTokenError, NotThereYetError."""
        return self._sessions.token(old)

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
            links=[self._link_status(*each) for each in self._views().items()],
            degraded=self.degraded,
        )

    @property
    def degraded(self) -> list[str]:
        """What is not as it should be, for people; empty when all is well."""
        found = []
        if self._state.trouble is not None:
            found.append(f"the region's state cannot be read: {self._state.trouble}")
        for name, view in self._views().items():
            if view.trouble is not None:
                found.append(view.trouble)
            elif not self._is_up(view):
                found.append(f"region {name} has not been heard of")
        if (row := self._state.row) and row.primary == self.name and not self._state.is_primary:
            why = "its lease is over" if row.is_open else "a failover has not ended"
            found.append(f"this region is primary and may not act as such: {why}")
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
            "may_write": float(self.may_write),
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
        return {name: self._figures_of(name, view) for name, view in self._views().items()}

    def ack_counts(self) -> Mapping[tuple[str, str], int]:
        """Count updates by the level asked for and whether it was reached in time."""
        return self._ack_counts

    def _handlers(self) -> dict[str, Handler]:
        serving = self._serving
        return {"pull": serving.pull, "await": serving.wait, "promise": self._failover.promise}

    def _views(self) -> dict[str, LinkRow]:
        """Give what is known of each peer: by this node if it leads, else by the one that does."""
        if self._leader.leads:
            return {name: link.row() for name, link in self._links.items()}
        rows = {link.region: link for link in self._state.row.links} if self._state.row else {}
        return {name: rows.get(name) or LinkRow(region=name) for name in self.peers}

    def _age_ms(self, ms: int | None) -> float | None:
        if ms is None or not self._state.clock.is_known:
            return None
        return max(self._state.clock.now() - ms, 0.0)

    def _is_up(self, view: LinkRow) -> bool:
        if self._leader.leads:
            heard = self._links[view.region].heard
            return heard is not None and monotonic() - heard < HEARD_SECONDS
        if view.contact_ms is None or self._state.row is None or self._state.trouble is not None:
            return False
        # As of the moment at which that was read.
        return self._state.row.clock_ms - view.contact_ms < HEARD_SECONDS * 1000

    def _is_off(self, view: LinkRow) -> bool | None:
        if self._leader.leads:
            return self.peers[view.region].is_off
        return None if view.drift_ms is None else abs(view.drift_ms) > self._settings.max_drift_ms

    def _knows_primary(self) -> bool:
        primary = self._state.primary
        if primary == self.name:
            return self._state.is_primary
        view = self._views().get(primary)
        return view is not None and self._is_up(view) and view.epoch == self._state.epoch

    def _link_status(self, name: str, view: LinkRow) -> LinkStatus:
        return LinkStatus(
            region=name,
            url=self.peers[name].url,
            up=self._is_up(view),
            lag_ms=self._age_ms(view.level_ms),
            drift_ms=view.drift_ms,
            behind=view.behind,
            lacking=view.lacking,
            epoch=view.epoch,
            trouble=view.trouble,
        )

    def _figures_of(self, name: str, view: LinkRow) -> dict[str, float | None]:
        link, serving = self._links[name], self._serving
        lag, off = self._age_ms(view.level_ms), self._is_off(view)
        silent = self._age_ms(view.contact_ms)
        return {
            "up": float(self._is_up(view)),
            "lag_seconds": None if lag is None else lag / 1000,
            "silent_seconds": None if silent is None else silent / 1000,
            "drift_seconds": None if view.drift_ms is None else view.drift_ms / 1000,
            "clock_refused": None if off is None else float(off),
            "behind": view.behind,
            "lacking": view.lacking,
            "pulled_batches_total": link.pulled_batches,
            "pulled_bytes_total": link.pulled_bytes,
            "dropped_answers_total": link.dropped,
            "served_batches_total": serving.batches[name],
            "served_bytes_total": serving.bytes[name],
            "failures_total": self.peers[name].failures,
        }

    def _find_faults(self, name: str) -> str | None:
        """Tell why a region should not become the primary now, or be trusted as one."""
        view = self._views()[name]
        if view.trouble is not None:
            return view.trouble
        if not self._is_up(view):
            return f"region {name} has not been heard of"
        if view.behind is None or view.behind > _MOST_BEHIND:
            return f"region {name} lacks {view.behind} batches of this one"
        return None


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
