"""Watchers of a game for `bench_units.py` and `bench_predictions.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

import harness
import swarm
import units_fit
from game import COHORT, COHORT_TOP, SHARES, STANDING, TOP, Game, audience_of, fill, write
from rankwire.ops.capacity.model import (
    DRIFT_TICKS,
    PERSONAL_TICK,
    SHARED_TICK,
    Load,
    gathered,
    taken_up,
)
from swarm import Server
from units_requests import HISTORY, Found

_SHARED_CHANGES: Final = 5
_LONGER: Final = 8
# With more nothing is known but that the view always changes.
_SATURATED: Final = 0.98


class Options(msgspec.Struct, frozen=True):
    """The size of the game."""

    users: int
    watchers: int
    games: int
    """A second."""
    seconds: float


def measure(program: Path, directory: Path, options: Options, known: Found) -> Found:
    """Measure deliveries, looks and messages, and how often views change."""
    limit = ("--live-max-connections", str(options.watchers + 20))
    with swarm.serving(directory, "audience", *limit) as server:
        game = Game(options.users)
        fill(server.port, game.history(HISTORY))
        games = list(game.games(int(options.games * (_LONGER * options.seconds + 5))))
        file = directory / "games.ndjson"
        write(file, games)
        # First, as nothing comes into this top once the driver has been there.
        mixed = watch(
            program,
            server,
            options,
            *(
                *audience_of(options.users),
                "--submits",
                str(file),
                "--drive",
                str(2 * options.games),
            ),
            seconds=_LONGER * options.seconds,
        )
        drive = ("--mix", TOP, "--drive", str(_SHARED_CHANGES))
        shared = watch(program, server, options, *drive, seconds=options.seconds)
    return told(shared, mixed, options, known)


def watch(program: Path, server: Server, options: Options, *more: str, seconds: float) -> Any:
    """Let watchers watch while scores are submitted over WebSocket; add how many were committed."""
    before = harness.metrics(server.port)["rankwire_commits_total"]
    result = swarm.run(
        program,
        *("watch", *server.hub, *server.api, "--drive-over", "ws", "--drive-connections", "8"),
        *("--sockets", str(options.watchers), "--seconds", str(seconds), *more),
    )
    commits = harness.metrics(server.port)["rankwire_commits_total"] - before
    traffic = result["traffic"]
    harness.progress(
        f"{traffic['deliveries_per_second']:,.0f} deliveries a second: "
        f"{result['server']['cpu_seconds'] / result['seconds']:.3f} cores"
    )
    return result | {"commits": commits}


def told(shared: Any, mixed: Any, options: Options, known: Found) -> Found:
    """Make the units."""
    delivery = left(shared, options, known) / shared["traffic"]["deliveries_per_second"]
    templates = mixed["traffic"]["templates"]
    updates, cohorts = options.games, options.users / COHORT
    watchers = options.watchers * SHARES[STANDING]
    looks = (
        watchers * gathered(updates, PERSONAL_TICK)
        + cohorts * gathered(updates / cohorts, SHARED_TICK)
        + gathered(updates, SHARED_TICK)
    )
    delivered = mixed["traffic"]["deliveries_per_second"]
    look = (left(mixed, options, known) - delivery * delivered) / looks
    driver = mixed["driver"]
    changes = {
        "change_share": driver["changes"] / driver["receipts"]["count"],
        "change_standing": changed(templates[STANDING], DRIFT_TICKS * PERSONAL_TICK, updates),
        "change_cohort": changed(templates[COHORT_TOP], SHARED_TICK, updates / cohorts),
        "change_top": changed(templates[TOP], SHARED_TICK, updates),
    }
    return changes | {
        "cpu_delivery": delivery,
        "cpu_evaluation": max(0.0, look),
        "bytes_message_standing": mean_bytes(templates[STANDING]),
        "bytes_message_top": mean_bytes(templates[COHORT_TOP]),
        "bytes_frame": frame_bytes(mixed["traffic"]),
    }


def left(result: Any, options: Options, known: Found) -> float:
    """Return the microseconds a second that are no submits, connections or rest."""
    seconds = result["seconds"]
    rate = result["driver"]["receipts"]["count"] / seconds
    changing = result["driver"]["changes"] / max(1, result["driver"]["receipts"]["count"])
    load = Load(ws_submits=rate, changing=changing)
    goes, _ = taken_up(load, known["wake_seconds"], known["commit_seconds"])
    return float(
        (result["server"]["cpu_seconds"] / seconds - known["cpu_base"]) * 1e6
        - known["cpu_idle_connection"] * options.watchers
        - known["cpu_submit_ws"] * rate
        - known["cpu_seal_ws"] * goes
        - known["cpu_commit"] * result["commits"] / seconds
    )


def changed(template: Any, held: float, updates: float) -> float:
    """Find from deliveries how often a view changes for each update of its board."""
    each = min(template["deliveries_per_second_each"], _SATURATED / held)
    if not each:
        return 0.0
    return units_fit.solve(lambda changes: -gathered(changes, held), -each, 0, 1e3 / held) / updates


def mean_bytes(template: Any) -> float:
    """Return the mean of a message."""
    return float(template["message_bytes"] / max(1, template["deliveries"]))


def frame_bytes(traffic: Any) -> float:
    """Return what is beside the messages, for each."""
    messages = sum(template["message_bytes"] for template in traffic["templates"].values())
    return float((traffic["frame_bytes"] - messages) / (traffic["deliveries"] + traffic["pings"]))
