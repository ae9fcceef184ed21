"""What the boards have to hold after a run, and whether they do.

Promises: every member of every board is looked at, by what a node says over HTTP; then all nodes
are compared with it, and what PostgreSQL has. A score that was acknowledged and is not there is
found, and so is one that nobody submitted.

All boards keep the best score. A board has to have for each member at least the best of what was
acknowledged, and at most the best of what was sent: the two are the same unless a submit failed.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

import harness
from cluster import Cluster
from game import boards, players

_PAGE: Final = 1000
_EXAMPLES: Final = 3
_LEVEL_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.1

Scores = dict[int, int]
"""The best score of each user."""


class Expected(msgspec.Struct, frozen=True):
    """What a board has to hold of each user: at least, and at most."""

    least: Scores
    most: Scores


class Found(msgspec.Struct, frozen=True):
    """What was found."""

    members: int
    """Members of all boards that were looked at."""
    wrong: int
    """Of these, and of those that are not there: with a score that cannot be."""
    examples: list[str]
    """Some of them, in words."""
    unlike: list[str]
    """Nodes whose boards are not those of the first one."""
    stored: bool
    """Whether what PostgreSQL holds adds up to the boards of the first node."""


def best_of(games: Iterable[tuple[int, int]]) -> Scores:
    """Return the best score of each user in games."""
    best: Scores = {}
    for user, score in games:
        best[user] = max(score, best.get(user, score))
    return best


class Door(msgspec.Struct, frozen=True):
    """Games that were submitted one way, each to the global board and then to that of its cohort.

    Submits are dealt out to connections in turns.
    """

    games: list[tuple[int, int]]
    """Users and scores."""
    connections: list[tuple[int, int]]
    """Of each how many submits it sent, and how many of these were acknowledged."""

    def submits(self) -> Iterator[tuple[int, bool]]:
        """Give the number of each submit that was sent, and whether it is known to count."""
        step = len(self.connections)
        for number in range(2 * len(self.games)):
            sent, acknowledged = self.connections[number % step]
            if number // step < sent:
                yield number, sent == acknowledged


def expected(history: Scores, doors: Iterable[Door], first: int) -> tuple[Expected, Expected]:
    """Say what the global board has to hold, and what those of cohorts.

    Of each door the global board holds only submits from number `first` on; with 0 it holds the
    history too.
    """
    of_all = Expected(*([{}, {}] if first else [dict(history), dict(history)]))
    of_cohorts = Expected(dict(history), dict(history))
    for door in doors:
        for number, counts in door.submits():
            user, score = door.games[number // 2]
            if number % 2:
                _note(of_cohorts, user, score, counts=counts)
            elif number >= first:
                _note(of_all, user, score, counts=counts)
    return of_all, of_cohorts


def _note(expected: Expected, user: int, score: int, *, counts: bool) -> None:
    for scores in (expected.least, expected.most) if counts else (expected.most,):
        scores[user] = max(score, scores.get(user, score))


def look(cluster: Cluster, users: int, of_all: Expected, of_cohorts: Expected) -> Found:
    """Look at the global board and those of cohorts, and at all who should know the same."""
    port = cluster.apis[0].port
    members, wrong = 0, []
    for board in boards(users):
        held = {int(member.removeprefix("player-")): score for member, score in _rows(port, board)}
        members += len(held)
        expected = of_all if board == "global" else of_cohorts
        wrong += differences(board, held, expected, players(board, users))
    return Found(
        members=members,
        wrong=len(wrong),
        examples=wrong[:_EXAMPLES],
        unlike=_unlike(cluster),
        stored=_is_stored(cluster),
    )


def differences(board: str, held: Scores, expected: Expected, users: range) -> list[str]:
    """Say of each user of a board what is wrong with its score; only `users` may be on it."""
    wrong = []
    for user, score in held.items():
        least, most = expected.least.get(user), expected.most.get(user)
        lowest = score if least is None else least
        if most is None or user not in users or not lowest <= score <= most:
            wrong.append(f"{board}: user {user} has {score}, not {least} to {most}")
    lost = (user for user in users if user in expected.least and user not in held)
    wrong += [f"{board}: user {user} is not there" for user in lost]
    return wrong


def _rows(port: int, board: str) -> list[tuple[str, int]]:
    rows: list[tuple[str, int]] = []
    total = 1
    while len(rows) < total:
        path = f"/v1/boards/{board}/top?limit={_PAGE}&offset={len(rows)}"
        page = harness.call(port, "GET", path)
        total = page["total"]
        rows += [(row["member"], row["score"]) for row in page["entries"]]
        if not page["entries"]:
            break
    return rows


def _unlike(cluster: Cluster) -> list[str]:
    """Wait until all nodes have heard of the same, and name those that show something else."""
    end = time.monotonic() + _LEVEL_SECONDS
    while True:
        digests = [_digest(node.port) for node in cluster.nodes]
        others = [
            node.process.name
            for node, digest in zip(cluster.nodes, digests, strict=True)
            if digest != digests[0]
        ]
        if not others or time.monotonic() > end:
            return others
        time.sleep(_LOOK_SECONDS)


def _digest(port: int) -> tuple[Any, Any] | None:
    """Return what a node has seen and the digests of its boards; None if it is not there."""
    try:
        answer = harness.call(port, "GET", "/v1/digest")
    except OSError:
        return None
    # What has committed nothing yet is known to itself only.
    vector = {origin: number for origin, number in answer["vector"].items() if number}
    held = {row["board"]: (row["id"], row["total"], row["digest"]) for row in answer["boards"]}
    return vector, held


def _is_stored(cluster: Cluster) -> bool:
    where = ("--server", cluster.http_urls[0], "--storage-url", cluster.database.url)
    command = ("setpriv", "--pdeathsig", "KILL", *harness.RANKWIRE, "verify", *where)
    environment = harness.clean_environment()
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if ended.returncode:
        harness.progress(ended.stdout + ended.stderr)
    return ended.returncode == 0
