"""How Redis is: what INFO tells of every node that is asked.

Promises: an answer within a few seconds, or one of `urls.FAILURES`; figures of several nodes are
added up where they count something, and the worst stands for all where they are parts of a limit.
INFO's own hits and misses are not told: they mix everything that anybody keeps there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from time import perf_counter
from typing import Any, Final

import msgspec

from rankwire.sync.urls import FAILURES, connect_async, parse

_ADDED: Final = {
    "evicted_keys": "evicted",
    "expired_keys": "expired",
    "rejected_connections": "rejected",
}
_SIZES: Final = {
    "used_memory": "memory",
    "maxmemory": "memory_limit",
    "used_memory_dataset": "data_memory",
}


class VitalsError(Exception):
    """Redis could not be asked; the text says why, without the password."""


class RedisInfo(msgspec.Struct, frozen=True):
    """What Redis said at one moment."""

    life: str
    """Changes when a node restarts or another one answers."""
    gauges: Mapping[str, float]
    totals: Mapping[str, float]


class RedisVitals:
    """Asks the Redis of a URL, which may be many nodes. For one event loop."""

    def __init__(self, url: str) -> None:
        """Note where it is; the first question connects. Raises ValueError for a wrong URL."""
        self._address = parse(url)
        self._client: Any = None

    async def read(self) -> RedisInfo:
        """Ask all nodes. Raises VitalsError."""
        try:
            if self._client is None:
                self._client = connect_async(self._address)
            started = perf_counter()
            await self._client.ping()
            seconds = perf_counter() - started
            return combine(await self._infos(), seconds)
        # uvloop says with a RuntimeError that a connection has just been closed.
        except (*FAILURES, RuntimeError) as error:
            await self.close()
            raise VitalsError(f"Redis cannot be asked: {self._address.explain(error)}") from error

    async def close(self) -> None:
        """End the connections. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _infos(self) -> list[Mapping[str, Any]]:
        if self._address.kind != "cluster":
            return [await self._client.info()]
        infos = await self._client.info(target_nodes=self._client.PRIMARIES)
        # A cluster of one node answers without naming it.
        return [infos] if "run_id" in infos else list(infos.values())


def combine(infos: Iterable[Mapping[str, Any]], ping_seconds: float) -> RedisInfo:
    """Make one answer of those of all nodes."""
    infos = sorted(infos, key=lambda info: str(info["run_id"]))
    gauges = {ours: _total(infos, theirs) for theirs, ours in _SIZES.items()}
    gauges |= {
        "keys": sum(_keys(info) for info in infos),
        "clients_part": max(_part(info, "connected_clients", "maxclients") or 0 for info in infos),
        "fragmentation": max(float(info["mem_fragmentation_ratio"]) for info in infos),
        "ping_seconds": ping_seconds,
    }
    # Without a limit there is no part of it.
    if parts := [p for info in infos if (p := _part(info, "used_memory", "maxmemory")) is not None]:
        gauges["memory_part"] = max(parts)
    totals = {ours: _total(infos, theirs) for theirs, ours in _ADDED.items()}
    return RedisInfo(" ".join(str(info["run_id"]) for info in infos), gauges, totals)


def _total(infos: Iterable[Mapping[str, Any]], name: str) -> float:
    return sum(float(info.get(name, 0)) for info in infos)


def _part(info: Mapping[str, Any], used: str, limit: str) -> float | None:
    most = float(info.get(limit, 0))
    return float(info[used]) / most if most else None


def _keys(info: Mapping[str, Any]) -> float:
    databases = [value for key, value in info.items() if key.startswith("db") and key[2:].isdigit()]
    return float(sum(database["keys"] for database in databases))
