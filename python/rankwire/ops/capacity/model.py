"""What a server needs for a load: processor time, memory and bytes, from measured units.

Promises: pure arithmetic; more of any load never needs less. `make bench-predictions` holds these
functions against a real server.

One law makes costs fall with the load: what comes while a commit is under way, while the server is
at work anyway, or before a view may be sent again, is done together (`gathered`). It takes arrivals
for Poisson.
"""

from __future__ import annotations

from math import exp
from typing import Final

import msgspec

from rankwire import settings
from rankwire.ops.capacity.units import Units

SHARED_TICK: Final = settings.Live().tick_ms / 1000
PERSONAL_TICK: Final = settings.Live().personal_tick_ms / 1000
DELIVERIES_OF_THREAD: Final = settings.Live().deliveries_per_second
"""A thread sends no more messages a second; with more to send, views tick slower."""
DRIFT_TICKS: Final = 5
"""A standing that changed because others moved is told after so many personal ticks."""

TCP_BYTES: Final = 52
"""Head of a segment: IPv4 (RFC 791) 20, TCP (RFC 9293) 20 and its time stamps (RFC 7323) 12."""
TLS_BYTES: Final = 22
"""Of a TLS 1.3 record: head 5, type 1 and tag 16 (RFC 8446)."""
_ROUNDS: Final = 8

SEGMENT_BYTES: Final = 1448
"""Content of a full segment on a path of 1,500 bytes."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What one server is asked to do in a second."""

    http_submits: float = 0
    ws_submits: float = 0
    changing: float = 1
    """Share of these submits that change a board; only those are committed."""
    batched_scores: float = 0
    top_reads: float = 0
    member_reads: float = 0
    around_reads: float = 0
    applied: float = 0
    """Records of other nodes."""
    connections: float = 0
    evaluations: float = 0
    deliveries: float = 0

    @property
    def reads(self) -> float:
        """Reads over HTTP."""
        return self.top_reads + self.member_reads + self.around_reads

    @property
    def submits(self) -> float:
        """Single submits over both doors."""
        return self.http_submits + self.ws_submits


class Audience(msgspec.Struct, frozen=True, kw_only=True):
    """Who watches what while a game goes on."""

    watchers: float
    top: float
    """Share that watches the top 10 of all."""
    cohort: float
    """Share that watches the top 10 of its cohort."""
    standing: float
    """Share that watches its own standing among all."""
    users: float
    cohorts: float
    updates: float
    """Scores a second on the board of all; each goes to a cohort's board as well."""
    changing: float = 1
    """Share of them that change a board."""
    shared_tick: float = SHARED_TICK
    """Seconds between two messages of a view that many watch, as `live.tick_ms`."""
    personal_tick: float = PERSONAL_TICK
    """Seconds between two messages about one's own standing, as `live.personal_tick_ms`."""


class Traffic(msgspec.Struct, frozen=True):
    """What the audience makes a server do in a second, all watchers together."""

    evaluations: float
    deliveries: float
    wire_bytes: float
    """WebSocket frames, heads and pings included, with TLS and TCP/IP: what leaves for players."""


def gathered(rate: float, seconds: float) -> float:
    """Tell how many commits a second so many arrivals make, when each takes so long.

    A commit takes what gathered during the one before. With probability exp(-rate x seconds) that
    is nothing, and the next one begins with the next arrival. Views and their least time between
    two messages are alike.
    """
    return 0.0 if rate <= 0 else 1 / (seconds + exp(-rate * seconds) / rate)


def taken_up(load: Load, wake_seconds: float, commit_seconds: float) -> tuple[float, float]:
    """Tell how often a second submits are taken up, and how often something is committed.

    Several are taken up in one go, which lasts longer when one of them changes a board and has to
    be committed. The two depend on each other; a few rounds settle that.
    """
    changes, goes = load.changing, 0.0
    for _ in range(_ROUNDS):
        goes = gathered(load.submits, wake_seconds + changes * commit_seconds)
        together = load.submits / goes if goes else 1.0
        changes = 1 - (1 - load.changing) ** together
    return goes, goes * changes


def cores(load: Load, units: Units, *, commit_seconds: float | None = None) -> float:
    """Tell how many cores a server uses; a batch's commit is part of its scores' unit."""
    held = units["commit_seconds"] if commit_seconds is None else commit_seconds
    goes, commits = taken_up(load, units["wake_seconds"], held)
    together = load.submits / goes if goes else 0.0
    by_http = load.http_submits / load.submits if goes else 0.0
    with_http = goes * (1.0 - float((1.0 - by_http) ** together))
    with_ws = goes * (1.0 - float(by_http**together))
    counts = {
        "cpu_wake": gathered(load.reads, units["wake_seconds"]),
        "cpu_seal_http": with_http,
        "cpu_seal_ws": with_ws,
        "cpu_commit": commits,
        "cpu_read_top": load.top_reads,
        "cpu_read_member": load.member_reads,
        "cpu_read_around": load.around_reads,
        "cpu_submit_http": load.http_submits,
        "cpu_submit_ws": load.ws_submits,
        "cpu_score_batched": load.batched_scores,
        "cpu_apply": load.applied,
        "cpu_idle_connection": load.connections,
        "cpu_evaluation": load.evaluations,
        "cpu_delivery": load.deliveries,
    }
    return units["cpu_base"] + sum(units.seconds(name) * count for name, count in counts.items())


def service_seconds(load: Load, units: Units) -> float:
    """Tell how long one request or message keeps a core, on average, if nothing is shared.

    This is more than its part of the cores, as nothing gathers here, and does not depend on how
    much there is; 0 when there is nothing.
    """
    commit = load.changing * units.seconds("cpu_commit")
    wake = units.seconds("cpu_wake")
    parts = (
        (load.top_reads, wake + units.seconds("cpu_read_top")),
        (load.member_reads, wake + units.seconds("cpu_read_member")),
        (load.around_reads, wake + units.seconds("cpu_read_around")),
        (load.http_submits, commit + _seconds(units, "cpu_seal_http", "cpu_submit_http")),
        (load.ws_submits, commit + _seconds(units, "cpu_seal_ws", "cpu_submit_ws")),
        (load.deliveries, units.seconds("cpu_delivery")),
    )
    count = sum(amount for amount, _ in parts)
    return sum(amount * each for amount, each in parts) / count if count else 0.0


def _seconds(units: Units, *names: str) -> float:
    return sum(map(units.seconds, names))


def memory(units: Units, *, connections: float, members: float) -> float:
    """Tell the bytes of a server with so many connections and members of all boards."""
    each = units["memory_connection"] + units["memory_connection_kernel"]
    return units["memory_process"] + each * connections + units["memory_member"] * members


def traffic(audience: Audience, units: Units) -> Traffic:
    """Tell what a server does for an audience."""
    updates, watchers = audience.updates, audience.watchers
    of_cohort = updates / audience.cohorts
    standing = watchers * audience.standing
    tick, shared_tick = audience.personal_tick, audience.shared_tick
    evaluations = (
        standing * gathered(updates, tick)
        + (audience.cohorts * gathered(of_cohort, shared_tick) if audience.cohort else 0)
        + (gathered(updates, shared_tick) if audience.top else 0)
    )
    drift = gathered(units["change_standing"] * updates, DRIFT_TICKS * tick)
    own = gathered(updates * audience.changing / audience.users, tick)
    personal = standing * (drift + own)
    shared = watchers * (
        audience.cohort * gathered(units["change_cohort"] * of_cohort, shared_tick)
        + audience.top * gathered(units["change_top"] * updates, shared_tick)
    )
    pings = watchers * units["pings_per_second"]
    frames = (
        personal * units["bytes_message_standing"]
        + shared * units["bytes_message_top"]
        + (personal + shared + pings) * units["bytes_frame"]
    )
    around = (personal + shared + pings) * (TCP_BYTES + TLS_BYTES)
    return Traffic(evaluations, personal + shared, frames + around)


def last_seen_seconds(watchers: float, free: float, units: Units, *, tick: float) -> float:
    """Tell within how long the last of so many watchers of one thread sees a change of their view.

    A change that comes right after another one waits for the end of its tick, and for that of the
    pass before. Then comes a pass over all watchers, in the part of the core that all else leaves
    free: as a job of the lowest class, which takes its work divided by that part (the delay busy
    period of queueing theory). The core is one of those that the units are from.
    """
    one_pass = watchers * units.seconds("cpu_delivery") / free
    return max(tick, one_pass, watchers / DELIVERIES_OF_THREAD) + one_pass


def answer_bytes(load: Load, units: Units) -> float:
    """Tell the bytes a second of all answers over HTTP, with TLS and TCP/IP."""
    answers = (
        (load.top_reads, "bytes_read_top"),
        (load.member_reads, "bytes_read_member"),
        (load.around_reads, "bytes_read_around"),
        (load.http_submits, "bytes_receipt"),
    )
    return sum(count * on_the_wire(units[name]) for count, name in answers)


def on_the_wire(content: float) -> float:
    """Tell the bytes of one message with TLS and the heads of its segments."""
    segments = -(-content // SEGMENT_BYTES)
    return content + segments * TCP_BYTES + TLS_BYTES
