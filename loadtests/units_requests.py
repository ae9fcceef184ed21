"""Requests and commits for `bench_units.py`: at known rates, on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

import harness
import pacer
import postgres_side
import swarm
import units_fit
from game import Game, fill
from harness import BenchError
from pacer import Request, Result
from postgres_side import Postgres
from rankwire.ops.capacity.model import gathered
from swarm import Server
from units_fit import Sample

HISTORY: Final = 8
"""Games of each user before anything is measured."""

_BATCH: Final = 1000
_EACH: Final = 3000
_LEVELS: Final = (400, 1500, 4000)
_BATCHES: Final = 40
_DATABASE_LEVELS: Final = (300, 1500)
# Enough for any engine here.
_PENDING: Final = 1 << 20
_BOARDS: Final = 100_000
_TOGETHER: Final = 64
_PATIENCE_SECONDS: Final = 30.0
_JOURNAL: Final = """
SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0)
FROM pg_inherits WHERE inhparent = 'journal'::regclass
"""
_MEMBERS: Final = "SELECT pg_total_relation_size('members'), count(*) FROM members"

Found = dict[str, float]
"""Units by name, in their units."""


class Players(msgspec.Struct, frozen=True):
    """Who is on the boards, and how long each level takes."""

    users: int
    seconds: float


def measure(program: Path, directory: Path, players: Players, known: Found) -> Found:
    """Measure reads and submits over both doors."""
    with swarm.serving(directory, "requests") as server:
        fill(server.port, Game(players.users).history(HISTORY))
        bench = Bench(server, directory, players)
        found = bench.reads(known["cpu_base"])
        found |= bench.over_websocket(program, known | found)
        found |= bench.over_http(known["cpu_base"], found)
        return found | bench.batches(known["cpu_base"])


def read_request(kind: str, user: int) -> Request:
    """Make a read of the board of all."""
    member = f"/v1/boards/global/members/player-{user}"
    paths = {
        "top": "/v1/boards/global/top?limit=10",
        "member": member,
        "around": f"{member}/around?radius=5",
    }
    return Request("GET", paths[kind])


class Bench:
    """One server, under one load after the other."""

    def __init__(self, server: Server, directory: Path, players: Players) -> None:
        """Take a filled server."""
        self._server = server
        self._directory = directory
        self._players = players
        self._random = random.Random(2)
        self._best = itertools.count(10_000_000, 1000)

    def rest(self) -> float:
        """Return the cores that it uses by itself."""
        before, began = self._server.process.cpu_seconds(), time.monotonic()
        time.sleep(self._players.seconds)
        return (self._server.process.cpu_seconds() - before) / (time.monotonic() - began)

    def reads(self, base: float) -> Found:
        """Fit the three reads, the waking, and how much is served in one go."""
        kinds = ("top", "member", "around")
        levels, found = [], {}
        for kind in kinds:
            cores, result = self._paced([kind], _EACH)
            levels.append(Sample({f"read_{kind}": result.per_second}, cores - base))
            found[f"bytes_read_{kind}"] = result.bytes_received / result.answered
        for level in _LEVELS:
            cores, result = self._paced(kinds, level)
            thirds = {f"read_{kind}": result.per_second / len(kinds) for kind in kinds}
            levels.append(Sample(thirds, cores - base))
        return found | fit_reads(levels)

    def over_websocket(self, program: Path, known: Found) -> Found:
        """Fit submits over WebSocket, of which some change the board and some do not."""
        samples = []
        commits: dict[float, float] = {}
        for kind, level in itertools.product(("change", "nothing"), _LEVELS):
            rate, done, cores = self._driven(program, kind, level)
            samples.append(self._sample(kind, rate, done, cores - known["cpu_base"], known))
            if kind == "change":
                commits[rate] = done
        costs, error = units_fit.fit(samples, ("submit", "seal", "commit"))
        harness.progress(f"submits over WebSocket: within {error:.0%}")
        return {
            "cpu_submit_ws": costs["submit"] * 1e6,
            "cpu_seal_ws": costs["seal"] * 1e6,
            "cpu_commit": costs["commit"] * 1e6,
            "commit_seconds": commit_seconds(commits),
        }

    def over_http(self, base: float, known: Found) -> Found:
        """Fit submits over HTTP; what a commit costs is known."""
        samples, receipt = [], 0.0
        for kind, level in itertools.product(("change", "nothing"), _LEVELS):
            before = self._commits()
            cores, result = self._paced([kind], level)
            done = (self._commits() - before) / result.seconds
            cores -= base + known["cpu_commit"] / 1e6 * done
            samples.append(self._sample(kind, result.per_second, done, cores, known))
            receipt = result.bytes_received / result.answered
        costs, error = units_fit.fit(samples, ("submit", "seal"))
        harness.progress(f"submits over HTTP: within {error:.0%}")
        return {
            "cpu_submit_http": costs["submit"] * 1e6,
            "cpu_seal_http": costs["seal"] * 1e6,
            "bytes_receipt": receipt,
        }

    def _sample(self, kind: str, rate: float, done: float, cores: float, known: Found) -> Sample:
        """Make a sample of submits; with something to commit, a go lasts as long as its commit."""
        goes = done if kind == "change" else gathered(rate, known["wake_seconds"])
        return Sample({"submit": rate, "seal": goes, "commit": done}, cores)

    def _driven(self, program: Path, kind: str, level: float) -> tuple[float, float, float]:
        """Submit over WebSocket; return submits and commits a second, and the cores used."""
        file = self._directory / "submits.ndjson"
        count = int(level * (self._players.seconds + 2))
        items = (next(self._items(1)) for _ in range(count))
        worse = {} if kind == "change" else {"score": 1}
        lines = [msgspec.json.encode({"board": "global"} | item | worse) for item in items]
        file.write_bytes(b"\n".join(lines))
        before = self._commits()
        result = swarm.run(
            program,
            *("watch", *self._server.hub, "--sockets", "1", "--processes", "1"),
            *("--mix", "board:cohort-0:top:10", "--seconds", str(self._players.seconds)),
            *("--drive", str(level), "--drive-over", "ws", "--drive-connections", "64"),
            *("--submits", str(file)),
        )
        seconds = float(result["seconds"])
        rate = result["driver"]["receipts"]["count"] / seconds
        done = (self._commits() - before) / seconds
        cores = float(result["server"]["cpu_seconds"]) / seconds
        harness.progress(f"{kind} over WebSocket at {rate:,.0f}/s: {cores:.3f} cores")
        return rate, done, cores

    def batches(self, base: float) -> Found:
        """Measure scores in batches of 1,000 that all change the board."""
        cores, result = self._paced(["batch"], _BATCHES)
        return {"cpu_score_batched": (cores - base) * 1e6 / (result.per_second * _BATCH)}

    def _paced(self, kinds: Sequence[str], rate: float) -> tuple[float, Result]:
        """Send some kinds of requests in turns; return the cores used, and what came of it."""
        count = int(rate * self._players.seconds)
        made = [self._request(kind) for kind in itertools.islice(itertools.cycle(kinds), count)]
        with pacer.pacing(self._server.port, self._directory, made, rate) as client:
            client.hear()
            before = self._server.process.cpu_seconds()
            client.go_on()
            result = pacer.result_of(client)
            cores = (self._server.process.cpu_seconds() - before) / result.seconds
        what = ", ".join(kinds)
        harness.progress(f"{what} at {result.per_second:,.0f}/s: {cores:.3f} cores")
        return cores, result

    def _request(self, kind: str) -> Request:
        if kind == "batch":
            return Request("POST", "/v1/boards/global/scores:batch", [*self._items(_BATCH)])
        if kind in {"change", "nothing"}:
            (item,) = self._items(1)
            better = item if kind == "change" else item | {"score": 1}
            return Request("POST", "/v1/boards/global/scores", better)
        return read_request(kind, self._random.randrange(self._players.users))

    def _items(self, count: int) -> Iterator[dict[str, object]]:
        """Make scores that all change the board: ever more, and to another place each time."""
        for _ in range(count):
            user = self._random.randrange(self._players.users)
            score = next(self._best) + self._random.randrange(1_000_000)
            yield {"member": f"player-{user}", "score": score}

    def _commits(self) -> float:
        return harness.metrics(self._server.port)["rankwire_commits_total"]

    def database(self, postgres: Postgres) -> Found:
        """Fit what commits cost PostgreSQL, and what they leave on its disk."""
        size = float(postgres.sql(_JOURNAL)[0][0])
        samples, scores, kept = [], 0.0, 0.0
        commits: dict[float, float] = {}
        loads = [*((["change"], rate, 1) for rate in _DATABASE_LEVELS), (["batch"], 20, _BATCH)]
        for kinds, level, each in loads:
            before, used = self._commits(), postgres.cpu_seconds()
            _, result = self._paced(kinds, level)
            used = (postgres.cpu_seconds() - used) / result.seconds
            done = (self._commits() - before) / result.seconds
            samples.append(Sample({"commit": done, "score": result.per_second * each}, used))
            # Batches pack better; what is kept is that of single submits.
            if each == 1:
                commits[result.per_second] = done
                scores += result.answered
                kept = float(postgres.sql(_JOURNAL)[0][0]) - size
        costs, error = units_fit.fit(samples, ("commit", "score"))
        harness.progress(f"PostgreSQL: within {error:.0%}")
        return {
            "database_cpu_commit": costs["commit"] * 1e6,
            "database_cpu_score": costs["score"] * 1e6,
            "database_commit_seconds": commit_seconds(commits),
            "database_bytes_score": kept / scores,
        }


def on_postgres(directory: Path, players: Players) -> Found:
    """Measure what a server makes PostgreSQL do, and what its records cost another node."""
    core, _ = harness.cores()
    with postgres_side.postgres(directory, core) as postgres:
        flags = ("--storage-url", postgres.url, "--storage-checkpoint-seconds", "1")
        with swarm.serving(directory, "on-postgres", *flags) as server:
            fill(server.port, Game(players.users).history(HISTORY))
            # Each is on two boards.
            members = 2 * players.users
            size = checkpoint(postgres, members) / members
            found = Bench(server, directory, players).database(postgres)
        return found | {"database_bytes_member": size} | applied(postgres)


def checkpoint(postgres: Postgres, members: int) -> float:
    """Wait until all members are in a checkpoint, and return its bytes."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < end:
        size, count = postgres.sql(_MEMBERS)[0]
        if count == members:
            return float(size)
        time.sleep(0.1)
    raise BenchError("there was no checkpoint in time")


def applied(postgres: Postgres) -> Found:
    """Have an engine alone take in the journal."""
    from rankwire import _core  # noqa: PLC0415  # --help needs no extension

    rows = postgres.sql("SELECT origin, number, batch FROM journal ORDER BY seq")
    engine = _core.Recovery([]).finish(1, _PENDING, _BOARDS, True)
    engine.track(False)
    began = time.process_time()
    for start in range(0, len(rows), _TOGETHER):
        some = rows[start : start + _TOGETHER]
        if engine.apply(some) != (len(some), ""):
            raise BenchError("the journal has gaps")
    used = time.process_time() - began
    return {"cpu_apply": used * 1e6 / float(str(engine.stats()["applied_records_total"]))}


# Fitting.


def fit_reads(levels: Sequence[Sample]) -> Found:
    """Try how much is served in one go, and take what explains the levels best."""
    names = ("wake", "read_top", "read_member", "read_around")
    tried = []
    for step in range(1, 51):
        held = step * 1e-4
        samples = [
            Sample(
                {**level.counts, "wake": gathered(sum(level.counts.values()), held)}, level.cores
            )
            for level in levels
        ]
        costs, error = units_fit.fit(samples, names)
        tried.append((error, held, costs))
    error, held, costs = min(tried, key=lambda one: one[0])
    harness.progress(f"reads: within {error:.0%}")
    return {"wake_seconds": held} | {f"cpu_{name}": cost * 1e6 for name, cost in costs.items()}


def commit_seconds(commits: Mapping[float, float]) -> float:
    """Find how long a commit takes from how many there are a second at the highest rate."""
    rate = max(commits)
    return units_fit.solve(lambda held: gathered(rate, held), commits[rate], 1e-6, 1.0)
