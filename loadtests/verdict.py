"""Whether a run was as it has to be: checks, each with what was measured.

Promises: what was not measured is no success. Nothing is judged by the generator's word alone that
somebody else knows: what the boards hold is compared by `book.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from book import Found
from scenario import Scenario

# Requests at the edges of a phase that may be counted in the next one or not at all.
_EDGE_REQUESTS: Final = 2


class Check(msgspec.Struct, frozen=True):
    """Something that has to be: what, what was allowed, what was measured, and whether it holds."""

    what: str
    allowed: str
    measured: float | None
    """None if it is not known."""
    ok: bool


def judge(scenario: Scenario, result: Any, found: Found) -> list[Check]:
    """Check a run: its scenario, the generator's result, and what the boards hold."""
    return [
        *_latencies(scenario, result),
        *_load(scenario, result),
        *_watchers(scenario, result),
        *_boards(found),
    ]


def worst_p99(summaries: Iterable[Any]) -> float | None:
    """Return the largest 99th percentile of summaries that count anything, in milliseconds."""
    counted = (summary["p99_ms"] for summary in summaries if summary and summary["count"])
    return max(counted, default=None)


def _latencies(scenario: Scenario, result: Any) -> Iterator[Check]:
    """Each kind of request, and all of them, in every phase that has any."""
    bound = scenario.bounds.api_p99_ms
    kinds = sorted({kind for phase in result["phases"] for kind in phase["api"]})
    for kind in kinds:
        worst = worst_p99(phase["api"].get(kind) for phase in result["phases"])
        what = "all requests" if kind == "all" else kind
        yield _below(f"99th percentile of {what}, worst phase (ms)", bound, worst)


def _load(scenario: Scenario, result: Any) -> Iterator[Check]:
    """Check that the load which was asked for was made, and that all of it was answered."""
    for phase, told in zip(scenario.phases, result["phases"], strict=True):
        games = scenario.games_per_second * phase.factor
        what = f"games a second, {phase.name}"
        yield _rate(scenario, phase.seconds, what, games, _games(told))
        reads = games * scenario.game.reads_per_game
        what = f"reads a second, {phase.name}"
        yield _rate(scenario, phase.seconds, what, reads, _reads(told))
    for what, driver in (("HTTP", "driver"), ("WebSocket", "driver_ws")):
        hands = result[driver]["by_connection"]
        sent, acknowledged = (sum(one[place] for one in hands) for place in (0, 1))
        yield _is(f"submits over {what} acknowledged, of all that were sent", sent, acknowledged)
    yield _is("errors of any kind", 0, sum(result["errors"].values()))
    yield _is("the generator found nothing wrong", 1, int(result["ok"]))


def _rate(scenario: Scenario, seconds: int, what: str, asked: float, made: int) -> Check:
    slack = asked * scenario.bounds.load_error + _EDGE_REQUESTS / seconds
    rate = round(made / seconds, 2)
    allowed = f"{asked:,.1f} ± {slack:,.1f}"
    return Check(what, allowed, rate, abs(made / seconds - asked) <= slack)


def _games(phase: Any) -> int:
    """Return how many games ended: each is two submits."""
    return _count(phase, "submit_http", "submit_ws") // 2


def _reads(phase: Any) -> int:
    return _count(phase, "top", "around", "member")


def _count(phase: Any, *kinds: str) -> int:
    return sum(phase["api"][kind]["count"] for kind in kinds if kind in phase["api"])


def _watchers(scenario: Scenario, result: Any) -> Iterator[Check]:
    """Check that all are there and see what they have to."""
    wanted = scenario.sockets.count
    yield _is("sockets opened", wanted, result["opening"]["ready"])
    yield _is("sockets open in the end", wanted, result["sockets"])
    checked = result["checked"] or {}
    yield _is("subscriptions compared", wanted, checked.get("subscriptions"))
    yield _is("channels with a wrong state", 0, checked.get("wrong"))
    late = f"deliveries after more than {scenario.bounds.stale_seconds} s"
    yield _is(late, 0, result["stale"])
    yield _at_least("deliveries in all", 1, sum(one["deliveries"] for one in result["phases"]))
    if scenario.sockets.reconnects_per_minute:
        planned = scenario.sockets.reconnects_per_minute * scenario.seconds / 60
        least = round(planned * (1 - scenario.bounds.load_error)) - _EDGE_REQUESTS
        yield _at_least("reconnects", least, _reconnects(result["churn"]))
    if scenario.cut:
        dropped = wanted - scenario.cut.stay
        yield _is("sockets cut that are back", dropped, _reconnects(result["cut"]))
    if scenario.slow:
        yield _at_least("slow sockets closed that are back", 0, _reconnects(result["slow"]))
    yield _is("requests for events answered", len(scenario.requests), len(result["at"]))


def _reconnects(told: Any) -> int | None:
    return None if told is None else int(told["reconnects"])


def _boards(found: Found) -> Iterator[Check]:
    yield _at_least("members looked at", 1, found.members)
    yield _is("members with a score that was lost or never sent", 0, found.wrong)
    yield _is("nodes that show other boards", 0, len(found.unlike))
    yield _is("PostgreSQL holds these boards", 1, int(found.stored))


def _is(what: str, wanted: float, measured: float | None) -> Check:
    return Check(what, f"{wanted:,}", measured, measured == wanted)


def _below(what: str, bound: float, measured: float | None) -> Check:
    return Check(what, f"< {bound:,}", measured, measured is not None and measured < bound)


def _at_least(what: str, bound: float, measured: float | None) -> Check:
    return Check(what, f">= {bound:,}", measured, measured is not None and measured >= bound)
