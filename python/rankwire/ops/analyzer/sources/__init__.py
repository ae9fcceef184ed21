"""What the analyzer asks, each a `Source`: the names and columns of their readings stand with them.

Promises: asking never blocks the event loop; a source that cannot be asked raises
UnavailableError, one that this node does not have AbsentError, and none of them ever answers with
a zero for what it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from rankwire import _core
from rankwire.beside import Beside
from rankwire.ops.analyzer.sources.api import ApiSource
from rankwire.ops.analyzer.sources.cache import CacheSource
from rankwire.ops.analyzer.sources.database import PostgresSource, SqliteSource
from rankwire.ops.analyzer.sources.host import HostSource
from rankwire.ops.analyzer.sources.regions import RegionsSource
from rankwire.ops.analyzer.sources.websocket import WebsocketSource
from rankwire.ops.metric_regions import RegionView
from rankwire.ops.metrics import Requests
from rankwire.sync.region import Region
from rankwire.writer import Writer

if TYPE_CHECKING:
    from rankwire.ops.analyzer.readings import Source
    from rankwire.ops.loop_lag import LoopLag
    from rankwire.settings import Settings


class Watched(msgspec.Struct, frozen=True):
    """The running parts of a server that sources read from."""

    writer: Writer
    beside: Beside
    hub: _core.Hub | None
    region: Region | None
    requests: Mapping[str, Requests]
    """By operation, as the API counts them; those that clients call."""
    most_connections: int = 0
    """Most watchers of the hub and its processes at once."""
    among: RegionView | None = None
    """This region among others, if there are any; without them there is no such source."""


def make_sources(watched: Watched, loop_lag: LoopLag, settings: Settings) -> list[Source]:
    """Make all sources of a server, on its event loop. Raises ValueError for a wrong Redis URL.

    Whoever has `loop_lag` starts and stops it.
    """
    database = watched.beside.database
    kept = SqliteSource(settings.storage.path) if database is None else PostgresSource(database)
    host = HostSource()
    return [
        ApiSource(watched, loop_lag, host, settings.limits.pending_submits),
        kept,
        CacheSource(watched.writer.engine, watched.beside.profiles, settings.redis.url),
        WebsocketSource(watched.hub, watched.most_connections),
        host,
        *(() if watched.among is None else (RegionsSource(watched.among),)),
    ]
