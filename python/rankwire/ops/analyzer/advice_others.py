"""Recommendations for the API's processor, Redis, and what runs out of room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import ceil, floor, log
from typing import Final, NamedTuple

from rankwire.ops.analyzer.advice import Context, price, recommend
from rankwire.ops.analyzer.readings import Reading, Window
from rankwire.ops.findings import Bottleneck, Known, Prediction, Recommendation
from rankwire.ops.models.queueing import wait_quantile
from rankwire.ops.models.scalability import FEWEST_LEVELS, Fit, Level, fit
from rankwire.profiles import SHARED_SECONDS

# Levels of load that are nearer to each other than this are one.
_LEVEL_RATIO: Final = 1.25
# Requests between two readings that tell a level: the error of their number is a tenth.
_LEAST_REQUESTS: Final = 100
# Between the least and the most load, so that a fit is no fit of noise.
_LEAST_SPREAD: Final = 3.0
_WORST_FIT: Final = 0.2
_REDIS_STEP: Final = 1024**2
_ANY_ROLE: Final = "nodes of every role on the database are counted; those of another serve none"


def levels(readings: Sequence[Reading]) -> list[Level]:
    """Find the levels of load that there were: requests at once, and requests a second."""
    bins: dict[int, list[Level]] = {}
    for before, after in pairwise(readings):
        window = Window(before, after)
        rate, mean = window.rate("requests"), window.mean("requests")
        if rate and mean and rate * window.seconds >= _LEAST_REQUESTS:
            at_once = rate * mean
            bins.setdefault(floor(log(at_once, _LEVEL_RATIO)), []).append(Level(at_once, rate))
    return [
        Level(sum(n for n, _ in each) / len(each), sum(x for _, x in each) / len(each))
        for _, each in sorted(bins.items())
    ]


def fitted(readings: Sequence[Reading]) -> Fit | None:
    """Fit the scalability law to the history; None where that would say nothing."""
    found = levels(readings)
    if len(found) < FEWEST_LEVELS or found[-1].n < _LEAST_SPREAD * found[0].n:
        return None
    law = fit(found)
    return law if law.error <= _WORST_FIT else None


class _Load(NamedTuple):
    """What there is to carry, by one node."""

    rate: float
    utilization: float
    what: str
    """What requests wait for: a core, or the event loop."""
    seconds: float
    """That each of them needs of it."""
    servers: int
    now: int
    needed: int

    @property
    def rate_after(self) -> float:
        return self.rate * self.now / self.needed


def advise_cpu(context: Context, bottleneck: Bottleneck) -> Iterator[Recommendation]:
    """Add nodes until the processor is within the clear level."""
    names = ("api.requests_per_second", "api.cpu_seconds_per_request", "api.process_cpu")
    rate, each, used = (context.figures.get(name) for name in names)
    cores, now = context.gauge("api", "cores"), context.nodes
    if bottleneck.cause is not None or not rate or not each or used is None or not cores:
        return
    if now is None:
        return
    rule = context.rules[bottleneck.type]
    needed = max(now + 1, ceil(now * bottleneck.value / rule.clear))
    loop = context.figures.get("api.loop_cpu") or 0.0
    what = ("the event loop", loop / rate, 1) if loop > used else ("a core", each, int(cores) or 1)
    load = _Load(rate, bottleneck.value, *what, now, needed)
    law = fitted(context.readings)
    after = load.utilization * now / needed
    yield recommend(
        bottleneck,
        "SCALE_API",
        f"Run {needed} nodes in place of {now}, so that the processor is used to {after:.0%}.",
        resource="API nodes",
        model="M/M/c, as the history has too few levels of load" if law is None else "USL",
        inputs={
            "requests_per_second": rate,
            "cpu_seconds_per_request": each,
            "process_cpu": used,
            "loop_cpu": loop,
            "cores": cores,
            "nodes": now,
            "levels": len(levels(context.readings)),
            **({} if law is None else _law_inputs(law)),
        },
        predicted=[
            Prediction(rule.figure, "ratio", load.utilization, after),
            *(_by_queue(load) if law is None else _by_law(load, law)),
        ],
        verify="rate(process_cpu_seconds_total[5m])",
        confidence="medium" if law is not None else "low",
        bill=price(context, "api", needed - now),
        apply=f"replicas: {needed}",
        caveats=[
            _ANY_ROLE,
            "takes for granted that requests are spread evenly over the nodes",
            "work that each node does for all, like following the others, does not get less",
        ],
    )


def _law_inputs(law: Fit) -> dict[str, float | str]:
    peak = law.peak if law.peak < float("inf") else "none"
    return {
        "rate": law.rate,
        "contention": law.contention,
        "coherency": law.coherency,
        "peak": peak,
    }


def _by_law(load: _Load, law: Fit) -> Iterator[Prediction]:
    """Predict the time of a request by Little's law, N / X."""
    before, after = (law.needed(rate) for rate in (load.rate, load.rate_after))
    if before is not None and after is not None:
        change = before / load.rate, after / load.rate_after
        yield Prediction("mean time of a request", "s", *change)


def _by_queue(load: _Load) -> Iterator[Prediction]:
    """Predict the wait for what is the fuller one."""
    erlangs = [rate * load.seconds for rate in (load.rate, load.rate_after)]
    if max(erlangs) < load.servers:
        waits = [wait_quantile(load.servers, each, load.seconds, 0.95) for each in erlangs]
        yield Prediction(f"95th percentile of the wait for {load.what}", "s", waits[0], waits[1])


def advise_redis(context: Context, bottleneck: Bottleneck) -> Iterator[Recommendation]:
    """Give Redis memory for the keys that it evicts, for as long as they would be of use."""
    names = ("redis_memory", "redis_memory_limit", "redis_data_memory", "redis_keys")
    used, limit, data, keys = (context.gauge("cache", name) for name in names)
    evicted = context.figures.get("cache.redis_evicted_per_second")
    if not used or not limit or not data or not keys or evicted is None or bottleneck.cause:
        return
    rule = context.rules["REDIS_MEMORY"]
    more = evicted * SHARED_SECONDS * data / keys
    needed = ceil((used + more) / rule.clear / _REDIS_STEP) * _REDIS_STEP
    # What is evicted is not for want of that much memory.
    if needed <= limit:
        return
    bill = price(context, "cache", max(0, ceil(needed / limit) - 1))
    yield recommend(
        bottleneck,
        "GROW_REDIS",
        f"Raise maxmemory of Redis from {limit:,.0f} to {needed:,} bytes.",
        resource="Redis",
        model="Little's law: keys that leave a second times the seconds that they would stay",
        inputs={
            "used_bytes": used,
            "limit_bytes": limit,
            "evicted_per_second": evicted,
            "bytes_per_key": data / keys,
            "seconds_of_use": SHARED_SECONDS,
        },
        predicted=[
            Prediction("cache.redis_memory_part", "ratio", used / limit, (used + more) / needed),
            Prediction("cache.redis_evicted_per_second", "1/s", evicted, 0.0),
        ],
        verify="rate(redis_evicted_keys_total[5m])",
        confidence="medium",
        bill=bill,
        apply=f"CONFIG SET maxmemory {needed}",
        caveats=["takes for granted that evicted keys are like the others"],
    )


def advise_watchers(context: Context, bottleneck: Bottleneck) -> Iterator[Recommendation]:
    """Add nodes for watchers until their connections are within the clear level."""
    rule, now = context.rules[bottleneck.type], context.nodes
    connections = context.figures.get("websocket.connections")
    limit: Known = context.gauge("websocket", "connections_limit")
    if connections is None or limit is None or now is None:
        return
    needed = max(now + 1, ceil(now * bottleneck.value / rule.clear))
    after = bottleneck.value * now / needed
    yield recommend(
        bottleneck,
        "SCALE_HUBS",
        f"Run {needed} nodes that serve watchers in place of {now}.",
        resource="live nodes",
        model="utilisation law",
        inputs={"connections": connections, "limit": limit, "nodes": now},
        predicted=[Prediction(rule.figure, "ratio", bottleneck.value, after)],
        verify="rankwire_live_connections",
        confidence="high",
        bill=price(context, "api", needed - now),
        apply=f"replicas: {needed}",
        caveats=[_ANY_ROLE, "watchers stay where they are until they connect again"],
    )


def advise_files(context: Context, bottleneck: Bottleneck) -> Iterator[Recommendation]:
    """Raise the limit of open files."""
    used, limit = (context.gauge("host", name) for name in ("files", "files_limit"))
    if used is None or limit is None:
        return
    rule = context.rules[bottleneck.type]
    needed = ceil(used / rule.clear)
    yield recommend(
        bottleneck,
        "RAISE_FILE_LIMIT",
        f"Raise the limit of open files from {limit:.0f} to {needed}.",
        resource="process",
        model="utilisation law",
        inputs={"files": used, "limit": limit},
        predicted=[Prediction(rule.figure, "ratio", bottleneck.value, used / needed)],
        verify="process_open_fds / process_max_fds",
        confidence="high",
        apply=f"LimitNOFILE={needed}",
    )
