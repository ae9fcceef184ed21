"""How long requests wait for one of several equal servers (M/M/c).

Promises: exact for Poisson arrivals and exponential service times, at any load and without
overflow: the probability that a request waits (Erlang C) comes from that of a loss system
(Erlang B), whose recurrence only ever adds positive numbers. Other service times make the waits
longer or shorter; a fixed service time about halves them.

Sources: A. K. Erlang, "Solution of some problems in the theory of probabilities of significance in
automatic telephone exchanges" (1917); R. B. Cooper, "Introduction to Queueing Theory", 2nd edition
(1981), chapter 3, for the recurrence and the distribution of the waits.

A load is in erlangs: arrivals a second times the seconds that each is served.
"""

from __future__ import annotations

from math import inf, isfinite, log
from typing import Final

MOST_SERVERS: Final = 1_000_000
"""The work grows with the number of servers, so there is an end to it."""


def wait_probability(servers: int, load: float) -> float:
    """Tell which part of the requests has to wait; 1 when the servers cannot carry the load.

    Raises ValueError for fewer than one server, more than `MOST_SERVERS` or a load below 0.
    """
    _check(servers, load)
    if load >= servers:
        return 1.0
    blocked = 1.0
    for number in range(1, servers + 1):
        blocked = _block(number, load, blocked)
    return _wait(servers, load, blocked)


def mean_wait(servers: int, load: float, service_seconds: float) -> float:
    """Tell how many seconds a request waits on average; inf when the load cannot be carried.

    Raises ValueError as `wait_probability` does.
    """
    waits = wait_probability(servers, load)
    return inf if load >= servers else waits * service_seconds / (servers - load)


def wait_quantile(servers: int, load: float, service_seconds: float, part: float) -> float:
    """Tell within how many seconds this part of the requests is served; 0 for those at once.

    Raises ValueError as `wait_probability` does, and for a part that is not in [0, 1).
    """
    if not 0 <= part < 1:
        raise ValueError(f"{part} is not a part of all requests")
    waits = wait_probability(servers, load)
    if load >= servers:
        return inf
    if waits <= 1 - part:
        return 0.0
    return service_seconds / (servers - load) * log(waits / (1 - part))


def servers_needed(load: float, most_wait_probability: float = 0.01) -> int:
    """Count the servers, at least 1, with which no larger part of the requests has to wait.

    Raises ValueError for a load that needs more than `MOST_SERVERS`, and for a part of 0 or below.
    """
    if most_wait_probability <= 0:
        raise ValueError("no number of servers makes all waiting impossible")
    _check(1, load)
    blocked = 1.0
    for number in range(1, MOST_SERVERS + 1):
        blocked = _block(number, load, blocked)
        if number > load and _wait(number, load, blocked) <= most_wait_probability:
            return number
    raise ValueError(f"a load of {load} needs more than {MOST_SERVERS:,} servers")


def _block(number: int, load: float, before: float) -> float:
    """Give Erlang B with one server more."""
    return load * before / (number + load * before)


def _wait(servers: int, load: float, blocked: float) -> float:
    """Give Erlang C from Erlang B."""
    return servers * blocked / (servers - load * (1 - blocked))


def _check(servers: int, load: float) -> None:
    if not 1 <= servers <= MOST_SERVERS:
        raise ValueError(f"{servers} servers are not 1 to {MOST_SERVERS:,}")
    if not isfinite(load) or not 0 <= load <= MOST_SERVERS:
        raise ValueError(f"a load of {load} is not 0 to {MOST_SERVERS:,}")
