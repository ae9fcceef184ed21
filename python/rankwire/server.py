"""The server: puts the parts together, in order, and takes them apart again.

Starting: read who may do what → listen (alive, not ready) → open and recover the storage → be level
with other nodes, if there are any → reach out to other regions, likewise → start the committer →
open the live door → ready. Stopping, on SIGTERM or SIGINT: go on for `node.leave_seconds` while
saying that it is not ready → stop taking requests and answer those at hand → tell watchers to
reconnect → leave the other regions → commit what is queued → last
checkpoint → leave the other nodes → close the storage.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
import structlog
import uvloop
from granian.constants import Interfaces
from granian.server.embed import Server as Granian

from rankwire import _core, log, notify
from rankwire.access import AccessError, Guard, refusal
from rankwire.api.app import build, counters, of_clients
from rankwire.api.door import Door
from rankwire.api.parts import Parts
from rankwire.api.routes import OPERATIONS
from rankwire.api.server_routes import SERVER
from rankwire.beside import Beside, open_beside
from rankwire.departure import Departure
from rankwire.live import Live
from rankwire.ops.analyzer.sources import Watched
from rankwire.ops.lifecycle import Keeper, Lifecycle
from rankwire.ops.watch import Knowledge, Watch, learn
from rankwire.regional import Among, fences, reach_out
from rankwire.settings import SettingsError, shown_url
from rankwire.storage import StorageError
from rankwire.storage.objects import ObjectStoreError, open_store
from rankwire.storage.postgres import PostgresStorage
from rankwire.storage.sqlite import SqliteStorage
from rankwire.sync.profile_news import ProfileNews
from rankwire.sync.rates import Rates
from rankwire.sync.region import Region
from rankwire.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from rankwire.settings import Settings
    from rankwire.storage import Storage

# How long requests are given to finish when the server stops.
_GRACE_SECONDS: Final = 5.0
# Connections that wait to be accepted, and requests that are worked on at once. Beyond that the
# kernel makes clients wait.
_BACKLOG: Final = 1024
_CONCURRENT_REQUESTS: Final = 4096
# Objects that come to life between two looks of the garbage collector; Python's default is 700.
_GC_THRESHOLD: Final = 50_000

# Between two times that a node which is not level says so.
_LEVEL_SECONDS: Final = 5.0

_T = TypeVar("_T")

_log = structlog.get_logger(__name__)


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises AccessError when the server must not start with these settings, SettingsError when one is
    wrong after all, StorageError when the storage cannot be used, OSError when an address cannot be
    had.
    """
    log.configure(settings.log.level, settings.log.format)
    schedule_as_batch()
    try:
        ended_well = run_tuned(_serve(settings))
    except _core.CorruptError as error:
        raise StorageError(error.args[0]) from error
    if not ended_well:
        sys.exit(1)


def schedule_as_batch() -> None:
    """Ask the kernel not to let threads of this process interrupt each other at every wake-up.

    A request wakes several threads in turn, and the one that wakes another has usually not let go
    of the interpreter yet: running the other at once costs two changes of threads for nothing.
    docs/adr/0004 has the measurements. Has to come before any thread starts.
    """
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def run_tuned(main: Coroutine[None, None, _T]) -> _T:
    """Run a coroutine as the server runs: on uvloop, with a calm garbage collector."""
    # What was imported lives as long as the process, and requests leave no cycles behind, so the
    # collector has little to find and need not look for it all the time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


async def _serve(settings: Settings) -> bool:
    """Serve, and tell whether it ended as it should."""
    departure = Departure(settings.node.leave_seconds)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, departure.ask)
    async with AsyncExitStack() as stack:
        live_failed = asyncio.Event()

        def fail() -> None:
            loop.call_soon_threadsafe(live_failed.set)

        writer = await _Node(settings, stack, departure).open(fail)
        if writer is None:
            return True
        notify.tell(notify.READY)
        alive = asyncio.create_task(notify.keep_alive())
        await departure.wait(writer.failed, live_failed)
        alive.cancel()
        notify.tell(notify.STOPPING)
        _log.info("stopping")
    _log.info("stopped")
    return not (writer.failed.is_set() or live_failed.is_set())


class _Node:
    """Starts every part of a server, in order, and leaves its end on the stack."""

    def __init__(self, settings: Settings, stack: AsyncExitStack, departure: Departure) -> None:
        """Prepare; the departure tells when the server is to end, also while it starts."""
        self._settings = settings
        self._stack = stack
        self._departure = departure
        self._served = SERVER if settings.node.role == "hub" else OPERATIONS

    async def open(self, on_live_failure: Callable[[], None]) -> Writer | None:
        """Start, and return when all is ready; None when it was stopped before that."""
        started = time.monotonic()
        settings = self._settings
        knowledge = await asyncio.to_thread(_learn, settings)
        guard = await asyncio.to_thread(_guard, settings)
        self._ends_on_thread(guard.stop)
        guard.start()
        door = Door(settings.regions.name, self._departure)
        port, leave = await listen(settings, door)
        self._stack.push_async_callback(leave)
        storage, region = await asyncio.to_thread(_storage, settings)
        self._ends_on_thread(storage.close)
        limits = settings.limits
        engine = await asyncio.to_thread(storage.recover, limits.pending_submits, limits.boards)
        if self._departure.asked.is_set():
            return None
        beside = await self._beside(region)
        if region is not None and not await self._join(region, engine, guard):
            return None
        among = await reach_out(settings, storage, region, engine, beside)
        writer = self._writer(storage, engine, region, among)
        live = await self._live(engine, region, guard, on_live_failure)
        parts = self._parts(writer, beside, live, region, among, knowledge)
        parts = msgspec.structs.replace(parts, guard=guard, departure=self._departure)
        door.open(build(parts, guard.access, settings.http.max_body_bytes, self._served))
        # First of all ends, so that what was accepted is answered while everything still works.
        self._stack.push_async_callback(leave)
        stats = engine.stats()
        _log.info("recovered", boards=stats["boards"], members=stats["members"])
        live_port = live.port if live else None
        _announce(settings, guard, (port, live_port), time.monotonic() - started)
        return writer

    def _writer(
        self,
        storage: Storage,
        engine: _core.Engine,
        region: Region | None,
        among: Among | None,
    ) -> Writer:
        """Start to commit, and to compare what is committed with other regions."""
        kept = self._settings.storage
        writer = Writer(
            engine,
            storage,
            checkpoint_members=kept.checkpoint_members,
            checkpoint_seconds=kept.checkpoint_seconds,
            on_commit=region.publish if region else None,
            on_fenced=among.regions.look if among else None,
        )
        writer.start()
        self._stack.push_async_callback(writer.stop)
        if among is not None:
            # Ends before the writer, as comparisons write.
            self._stack.push_async_callback(among.regions.stop)
            among.regions.verify(engine, writer)
        return writer

    async def _beside(self, region: Region | None) -> Beside:
        """Open what is kept beside the boards, and hear of what other nodes do to it."""
        if region is None or not self._settings.redis.url:
            beside = await open_beside(self._settings, region.cluster if region else "")
        else:
            news, loop = ProfileNews(region.tell), asyncio.get_running_loop()
            beside = await open_beside(self._settings, region.cluster, news.tell)

            def hear(message: dict[str, object]) -> None:
                if members := news.heard(message):
                    loop.call_soon_threadsafe(beside.profiles.forget, members)

            region.listen(hear)
        self._stack.push_async_callback(beside.close)
        return beside

    async def _join(self, region: Region, engine: _core.Engine, guard: Guard) -> bool:
        """Follow the other nodes, and tell whether this one has what they have, or was stopped."""
        rates = Rates(guard.access, region.tell)
        region.listen(rates.hear)
        await asyncio.to_thread(region.start, engine)
        self._ends_on_thread(region.stop)
        if self._settings.redis.url and self._settings.auth.mode == "keys":
            rates.start()
            self._ends_on_thread(rates.stop)
        while not self._departure.asked.is_set():
            if await asyncio.to_thread(region.wait_level, _LEVEL_SECONDS):
                return True
            _log.info("waiting to be level with the other nodes", degraded=region.degraded)
        return False

    async def _live(
        self, engine: _core.Engine, region: Region | None, guard: Guard, fail: Callable[[], None]
    ) -> Live | None:
        if self._settings.node.role == "api":
            return None
        cluster = region.cluster if region else ""
        live = await asyncio.to_thread(Live, engine, self._settings, guard.access, fail, cluster)
        self._ends_on_thread(live.stop)
        return live

    def _parts(
        self,
        writer: Writer,
        beside: Beside,
        live: Live | None,
        region: Region | None,
        among: Among | None,
        knowledge: Knowledge,
    ) -> Parts:
        """Begin to look at the server, and put together what the API is an API of."""
        requests = counters(self._served)
        hub, most = (live.hub, live.most_connections) if live else (None, 0)
        regions, view = among or (None, None)
        watched = Watched(writer, beside, hub, region, of_clients(requests), most, view)
        watch = Watch(watched, knowledge, self._settings)
        watch.start()
        self._stack.push_async_callback(watch.stop)
        return Parts(
            writer,
            beside,
            watch,
            requests,
            hub,
            region,
            self._keep(writer),
            regions,
            view,
            self._settings.regions,
        )

    def _keep(self, writer: Writer) -> Keeper | None:
        """Archive the journal, if there is a place for it."""
        if not self._settings.ops.archive_url:
            return None
        keeper = Keeper(Lifecycle(self._settings), lambda: writer.is_leading)
        keeper.start()
        self._ends_on_thread(keeper.stop)
        return keeper

    def _ends_on_thread(self, end: Callable[[], None]) -> None:
        self._stack.push_async_callback(asyncio.to_thread, end)


def _storage(settings: Settings) -> tuple[Storage, Region | None]:
    """Open the storage and, where there may be other nodes, this one's place among them."""
    kept, is_archived = settings.storage, bool(settings.ops.archive_url)
    if not kept.url:
        days = kept.journal_days
        return SqliteStorage(kept.path, kept.busy_seconds, days, is_archived=is_archived), None
    name, fenced = settings.regions.name, fences(settings.regions)
    storage = PostgresStorage(kept, is_archived=is_archived, region=name, fenced=fenced)
    try:
        return storage, Region(settings.redis, storage)
    except ValueError as error:
        storage.close()
        raise SettingsError([f"redis.url: {error}"]) from error


def _learn(settings: Settings) -> Knowledge:
    """Read the files that analytics need, and see that the archive's address is one."""
    try:
        if settings.ops.archive_url:
            open_store(settings.ops.archive_url)
        return learn(settings.ops)
    except ObjectStoreError as error:
        raise SettingsError([f"ops.archive_url: {error}"]) from error
    except ValueError as error:
        raise SettingsError([str(error)]) from error


def _guard(settings: Settings) -> Guard:
    """Read who may do what. Raises AccessError where a server must not start like this."""
    # What the settings alone tell comes first, so that a refusal makes no files.
    if settings.auth.mode == "open" and (words := refusal(settings, knows_anybody=False)):
        raise AccessError("; ".join(words))
    guard = Guard(settings.auth, settings.storage)
    if words := refusal(settings, knows_anybody=guard.access.knows_anybody()):
        guard.stop()
        raise AccessError("; ".join(words))
    return guard


async def listen(settings: Settings, door: Door) -> tuple[int, Callable[[], Awaitable[None]]]:
    """Accept connections. Returns the port, and what ends it after answering requests at hand."""
    host = settings.http.host
    port = _claim_port(host, settings.http.port)
    granian = Granian(
        door,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        websockets=False,
        backlog=_BACKLOG,
        backpressure=_CONCURRENT_REQUESTS,
        log_enabled=False,
    )
    serving = asyncio.create_task(granian.serve())
    # One turn of the loop binds the address or fails to.
    await asyncio.sleep(0)
    if serving.done():
        serving.result()

    has_left = False

    async def leave() -> None:
        nonlocal has_left
        if not has_left:
            has_left = True
            granian.stop()  # type: ignore[no-untyped-call]
            await asyncio.wait([serving], timeout=_GRACE_SECONDS)

    return port, leave


def _claim_port(host: str, port: int) -> int:
    """Find a free port for 0, or make sure that nobody listens on the given one.

    Granian shares ports (SO_REUSEPORT), so by itself it would take turns with another server.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(f"cannot listen on {host}:{port} for HTTP: {error}") from error
        return int(probe.getsockname()[1])


def _announce(
    settings: Settings, guard: Guard, ports: tuple[int, int | None], seconds: float
) -> None:
    """Say where everything is, once everything is there."""
    port, live_port = ports
    http, kept = f"http://{settings.http.host}:{port}", settings.storage
    live = "off: node.role is api"
    if live_port is not None:
        live = f"ws://{settings.live.host}:{live_port}/connection/websocket"
    print(f"rankwire {_core.__version__} is ready after {seconds:.1f} s", flush=True)  # noqa: T201
    print(f"  HTTP     {http}    (try {http}/openapi.json)", flush=True)  # noqa: T201
    print(f"  live     {live}", flush=True)  # noqa: T201
    if settings.regions.is_on:
        others = ", ".join(settings.regions.peer_urls) or "no others"
        print(f"  region   {settings.regions.name}, with {others}", flush=True)  # noqa: T201
    print(f"  access   {guard.describe()}", flush=True)  # noqa: T201
    where = shown_url(kept.url) if kept.url else kept.path.resolve()
    print(f"  storage  {where}", flush=True)  # noqa: T201
