"""What a step of `large.py` has shown: its figures, what the model predicts of them, its limit.

Promises: a figure that was not measured is None. What is predicted comes from the shipped units and
the same functions that the planner sizes machines with.
"""

from __future__ import annotations

import os
from typing import Any, Final

import msgspec

import game
from large_load import BOARDS_OF_GAME, MEASURED, READS_PER_GAME, Found, Step
from large_machine import LEAST_FREE
from rankwire.ops.capacity import model
from rankwire.ops.capacity.fleet import Choice, Sizing
from rankwire.ops.capacity.model import Load
from rankwire.ops.capacity.scenario import Demand, Reads, Scenario, Views
from rankwire.ops.capacity.units import Units
from rankwire.ops.prices import Catalogue

BOUND_MS: Final = 150.0
"""Within which 99 % of the requests have to be answered."""
MINUTE: Final = 60
SHARED: Final = (game.TOP, game.COHORT_TOP)
"""Views that many watch."""

_KB: Final = 1024.0
_BUSY: Final = 0.95
"""From here on a core, or the machine, has nothing left to give."""
_KEPT_RATE: Final = 0.95
"""A driver that was slower has not put the load on the cluster that it should have."""


class Prediction(msgspec.Struct, frozen=True):
    """What the model says of the load of a step; of a socket only its server's end."""

    api_cores: float
    hub_cores: float
    """Of all hubs together."""
    deliveries_per_second: float
    hub_memory: float
    """Bytes of one hub, without what the kernel has."""
    own_bytes: float
    kernel_bytes: float
    last_seen_ms: float


class Before:
    """What there was before the first sockets: what they leave is not given back at once."""

    def __init__(self, kernel: float) -> None:
        """Take the bytes of the kernel."""
        self.kernel = kernel
        self._hubs: dict[str, float] = {}

    def of_hub(self, name: str, now: float) -> float:
        """Tell the bytes of a hub that is seen for the first time now, or was then."""
        return self._hubs.setdefault(name, now)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A step and what it has shown."""

    step: Step
    hubs: int
    carried: bool
    limit: str
    """What it missed, or what stood in the way; empty when it was carried."""
    busiest: str
    """What was nearest to its end."""
    api_p99_ms: float | None = None
    submit_p99_ms: float | None = None
    read_p99_ms: float | None = None
    batch_p99_ms: float | None = None
    delivery_p99_ms: float | None = None
    """Of views that many watch, from the moment at which a submit was sent."""
    standing_p99_ms: float | None = None
    """Of own standings, which are told once a second at most."""
    top_max_ms: float | None = None
    """Of the top of all."""
    deliveries_per_second: float | None = None
    stale: int | None = None
    errors: int | None = None
    wrong: int | None = None
    """Watchers that in the end did not show what the HTTP API says."""
    api_cores: float | None = None
    hub_cores: float | None = None
    database_cores: float | None = None
    redis_cores: float | None = None
    clients_cores: float | None = None
    hub_memory: float | None = None
    own_bytes: float | None = None
    """Of a socket, in its hub's process."""
    kernel_bytes: float | None = None
    """Of a socket, in the kernel; both ends are on this machine, so half of what was seen."""
    client_bytes: float | None = None
    """Of a socket, in the generator's process."""
    available: float | None = None
    """Bytes of the machine, at the least."""
    others: float = 0.0
    predicted: Prediction | None = None


def not_tried(step: Step, hubs: int, why: str) -> Row:
    """Make the row of a step that was not begun."""
    return Row(step=step, hubs=hubs, carried=False, limit=why, busiest="")


def row_of(step: Step, hubs: int, users: int, found: Found, before: Before, units: Units) -> Row:
    """Make the row of a step."""
    told = Told(found.result, step)
    cores = dict(found.used.cpu) | told.cpu()
    row = Row(
        step=step,
        hubs=hubs,
        carried=False,
        limit=found.trouble,
        busiest=busiest(cores, found.used.available),
        available=found.used.available,
        others=found.others,
        predicted=predict(step, hubs, users, units),
    )
    if found.trouble:
        return row
    used = _used(row, told, cores) | _of_socket(row, found, told, before)
    row = msgspec.structs.replace(row, **used, **_latencies(found, told))
    missed = "; ".join(misses(row, found))
    return msgspec.structs.replace(row, carried=not missed, limit=missed)


def _latencies(found: Found, told: Told) -> dict[str, float | None]:
    batch_ms = found.batches.p99_ms if found.batches else None
    return {
        "api_p99_ms": _most(told.requests("all"), batch_ms),
        "submit_p99_ms": _most(told.requests("submit_http"), told.requests("submit_ws")),
        "read_p99_ms": _most(*map(told.requests, ("top", "around", "member"))),
        "batch_p99_ms": batch_ms,
        "delivery_p99_ms": _most(*(told.delivery(view, "p99_ms") for view in SHARED)),
        "standing_p99_ms": told.delivery(game.STANDING, "p99_ms"),
        "top_max_ms": told.delivery(game.TOP, "max_ms"),
    }


def _used(row: Row, told: Told, cores: dict[str, float]) -> dict[str, float | None]:
    return {
        "deliveries_per_second": told.phase.get("deliveries_per_second"),
        "stale": told.count("stale"),
        "errors": told.errors(),
        "wrong": told.wrong(),
        "api_cores": _sum(cores, "api-"),
        "hub_cores": _sum(cores, "hub-"),
        "database_cores": cores.get("postgres"),
        "redis_cores": cores.get("redis"),
        "clients_cores": cores.get("clients"),
        "hub_memory": told.hub_memory(row.hubs),
    }


def _of_socket(row: Row, found: Found, told: Told, before: Before) -> dict[str, float | None]:
    sockets, used = row.step.sockets, found.used
    return {
        "own_bytes": told.own_bytes(before),
        "kernel_bytes": max(0.0, used.kernel - before.kernel) / sockets / 2,
        "client_bytes": used.clients_memory / sockets,
    }


def misses(row: Row, found: Found) -> list[str]:
    """Say which bounds were missed, and by what."""
    step, missed = row.step, []
    if row.api_p99_ms is not None and row.api_p99_ms >= BOUND_MS:
        missed.append(f"99 % of the requests within {row.api_p99_ms:,.0f} ms, not {BOUND_MS:g}")
    for name, count in (("errors", row.errors), ("stale", row.stale), ("wrong", row.wrong)):
        if count:
            missed.append(f"{count:,} {name}")
    ready = found.result.get("sockets", 0)
    if ready < step.sockets:
        missed.append(f"{ready:,} of {step.sockets:,} sockets")
    if found.batches is not None and found.batches.failed:
        missed.append(f"{found.batches.failed:,} batches failed")
    late = Told(found.result, step).late()
    if late < _KEPT_RATE:
        missed.append(f"only {late:.0%} of the submits came through")
    if row.available is not None and row.available < LEAST_FREE:
        missed.append("less than 2 GiB of memory were left")
    return missed


class Told:
    """Reads the generator's result."""

    def __init__(self, result: Any, step: Step) -> None:
        """Take it; None when there is none."""
        self._result = result or {}
        self._step = step
        phases = self._result.get("phases") or []
        self.phase: dict[str, Any] = next(
            (phase for phase in phases if phase["name"] == MEASURED), {}
        )

    def requests(self, kind: str) -> float | None:
        """Tell the p99 of requests of a kind."""
        return _p99(self.phase.get("api", {}).get(kind))

    def delivery(self, view: str, name: str) -> float | None:
        """Tell a figure of the latency of a view's deliveries."""
        told = self.phase.get("delivery", {}).get("by_template", {}).get(view)
        return float(told[name]) if told and told["count"] else None

    def cpu(self) -> dict[str, float]:
        """Tell the cores of processes while the step was measured."""
        told = (self.phase.get("cpu") or {}).items()
        return {name: float(share) for name, share in told if name != "all"}

    def count(self, name: str) -> int | None:
        """Tell a count."""
        told = self._result.get(name)
        return int(told["count"] if isinstance(told, dict) else told) if told is not None else None

    def errors(self) -> int | None:
        """Tell how much went wrong."""
        told = self._result.get("errors")
        return None if told is None else sum(map(_total, told.values()))

    def wrong(self) -> int | None:
        """Tell how many watchers were wrong in the end."""
        checked = self._result.get("checked")
        return int(checked["wrong"]) if checked else None

    def late(self) -> float:
        """Tell which share of the submits over HTTP came through in time."""
        told = self.phase.get("api", {}).get("submit_http")
        asked = self._step.games / 2 * BOARDS_OF_GAME * self._step.seconds
        return float(told["count"]) / asked if told and asked else 1.0

    def hub_memory(self, hubs: int) -> float | None:
        """Tell the bytes of a hub."""
        sizes = self._hubs("after", "rss_kb").values()
        return sum(sizes) / hubs if sizes else None

    def own_bytes(self, before: Before) -> float | None:
        """Tell by how much hubs have grown since they had no sockets, for each socket."""
        first = self._hubs("before", "anon_kb")
        grown = [
            size - before.of_hub(name, first[name])
            for name, size in self._hubs("opened", "anon_kb").items()
        ]
        return max(0.0, sum(grown)) / self._step.sockets if grown else None

    def _hubs(self, when: str, what: str) -> dict[str, float]:
        told = (self._result.get("memory") or {}).get("processes") or {}
        return {
            name: one[when][what] * _KB for name, one in told.items() if name.startswith("hub-")
        }


def predict(step: Step, hubs: int, users: int, units: Units) -> Prediction:
    """Ask the model about a step, as the planner does about a scenario."""
    sizing = Sizing(scenario_of(step, users, units), units, Catalogue.load(), Choice())
    api, live = sizing.load("api", 1), sizing.load("live", hubs)
    batched = step.batched * BOARDS_OF_GAME
    committed = batched * units["change_share"]
    api = msgspec.structs.replace(api, batched_scores=batched)
    live = msgspec.structs.replace(live, applied=live.applied + committed)
    watched = sizing.audience(hubs)
    watched = msgspec.structs.replace(watched, updates=watched.updates + step.batched)
    seen = model.traffic(watched, units)
    live = msgspec.structs.replace(live, evaluations=seen.evaluations, deliveries=seen.deliveries)
    hub_cores = _cores(live, units)
    free = max(1 - hub_cores, 1e-9)
    top = step.sockets * game.SHARES[game.TOP] / hubs
    members = 2 * users
    return Prediction(
        api_cores=_cores(api, units),
        hub_cores=hub_cores * hubs,
        deliveries_per_second=seen.deliveries * hubs,
        hub_memory=model.memory(units, connections=step.sockets / hubs, members=members)
        - units["memory_connection_kernel"] * step.sockets / hubs,
        own_bytes=units["memory_connection"],
        kernel_bytes=units["memory_connection_kernel"],
        last_seen_ms=model.last_seen_seconds(top, free, units, tick=model.SHARED_TICK) * 1000,
    )


def scenario_of(step: Step, users: int, units: Units) -> Scenario:
    """Describe the single submits of a step as a scenario."""
    demand = Demand(
        users=users,
        updates_per_minute=max(step.games * MINUTE, 1e-9),
        connections=step.sockets,
        response_ms=BOUND_MS,
        reads_per_update=READS_PER_GAME if step.reads else 0,
        cohort=game.COHORT,
        changing=units["change_share"],
        over_websocket=0.5,
        reads=Reads(top=0.4, around=0.3, member=0.3),
        views=Views(
            top=game.SHARES[game.TOP],
            cohort=game.SHARES[game.COHORT_TOP],
            standing=game.SHARES[game.STANDING],
        ),
    )
    return Scenario(name=step.series, demand=demand)


def busiest(cores: dict[str, float], available: float) -> str:
    """Say what was nearest to its end."""
    machine = os.cpu_count() or 1
    name, most = max(cores.items(), key=lambda one: one[1], default=("", 0.0))
    if sum(cores.values()) >= _BUSY * machine:
        shares = sorted(cores.items(), key=lambda one: -one[1])[:3]
        told = ", ".join(f"{name} {used:.2f}" for name, used in shares)
        return f"all {machine} cores: {told}"
    if most >= _BUSY and name.startswith(("api-", "hub-", "redis")):
        return f"{name}, which has {most:.2f} cores"
    if available < 1.5 * LEAST_FREE:
        return "memory"
    return f"nothing; most have {name} with {most:.2f} of {machine} cores"


def _cores(load: Load, units: Units) -> float:
    return model.cores(load, units, commit_seconds=units["database_commit_seconds"])


def _sum(cores: dict[str, float], prefix: str) -> float | None:
    found = [used for name, used in cores.items() if name.startswith(prefix)]
    return sum(found) if found else None


def _most(*values: float | None) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _p99(told: dict[str, float] | None) -> float | None:
    return float(told["p99_ms"]) if told and told["count"] else None


def _total(value: object) -> int:
    """Count errors, whether they are told by kind or as lists of examples."""
    if isinstance(value, dict):
        return sum(map(_total, value.values()))
    return int(value) if isinstance(value, int) else 0
