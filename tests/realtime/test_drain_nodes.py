"""SIGTERM for one of two nodes behind a balancer, under 2,000 live sockets and running submits.

All watchers are told to come back and do, to the other node. No submit that was acknowledged is
lost and none counts twice, though each is sent again until it is acknowledged. And as the node
leaves first, nobody who submits over HTTP notices anything.

`make verify-drain` runs the long form, in which the node's time to leave passes by itself.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import pytest

from fix_balancer import Balancer, balancing
from fix_crowd import Watcher
from fix_postgres import Database
from fix_redis import RedisServer
from fix_server import PATIENCE_SECONDS, NewServer, Server
from fix_submitters import (
    HttpSubmitter,
    LiveSubmitter,
    Submitter,
    end_all,
    eventually,
    submitters_of,
)

_LIVE_SUBMITTERS: Final = 20
_HTTP_SUBMITTERS: Final = 10
_CHANNEL: Final = "board:a:top:10"
_SHUTDOWN: Final = 3001
# What each client needs of this process: its own end, and both ends of the balancer.
_FILES_EACH: Final = 3
_SPARE_FILES: Final = 1000
# Connections that are opened at once.
_AT_ONCE: Final = 200


class Form(NamedTuple):
    """How large and how long."""

    watchers: int
    leave_seconds: int
    drain_seconds: int
    is_told_twice: bool
    """Whether the node is told again, as soon as nobody sends it anything any more."""


_SHORT: Final = Form(2000, 40, 3, is_told_twice=True)
_LONG: Final = Form(6000, 15, 10, is_told_twice=False)


@pytest.fixture
def form() -> Form:
    """Choose the form, and see that this process may have the files for it."""
    form = _LONG if os.environ.get("VERIFY_DRAIN") else _SHORT
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = form.watchers * _FILES_EACH + _SPARE_FILES
    if needed > most:
        pytest.skip(f"{needed} open files are not allowed here: drains are NOT tested")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), most))
    return form


@pytest.mark.timeout(180)
async def test_all_go_to_the_other_node_and_no_submit_is_lost_or_doubled(
    form: Form, new_server: NewServer, postgres: Database, redis_server: RedisServer
) -> None:
    old, new = [
        await asyncio.to_thread(
            new_server(
                *("--storage-url", postgres.url, "--redis-url", redis_server.url),
                *("--node-leave-seconds", str(form.leave_seconds)),
                *("--live-drain-seconds", str(form.drain_seconds)),
                *("--live-tick-ms", "500"),
            ).start
        )
        for _ in range(2)
    ]
    old.create("a", policy="sum")
    async with balancing() as balancer, _watching(balancer, old, form.watchers) as watchers:
        submitters = submitters_of(balancer, live=_LIVE_SUBMITTERS, http=_HTTP_SUBMITTERS)
        async with asyncio.TaskGroup() as group:
            for submitter in submitters:
                group.create_task(submitter.run())
            await eventually(lambda: all(one.acknowledged for one in submitters), "submits")
            balancer.add(new)
            began, ended = await _stop(old, balancer, form)
            await eventually(
                lambda: all(one.has_state for one in watchers), "watchers that are back"
            )
            await end_all(submitters)
        _check(watchers, submitters)
        scores = await asyncio.to_thread(new.scores, "a")
        assert scores == {one.member: one.acknowledged for one in submitters}
        rows = [(member, score) for _, member, score in new.entries("a")][:10]
        await eventually(lambda: all(one.entries == rows for one in watchers), "the last state")
        _report(watchers, submitters, balancer.out_at[old] - began, began, ended)
    assert "Traceback" not in old.log + new.log


@asynccontextmanager
async def _watching(
    balancer: Balancer, node: Server, count: int
) -> AsyncIterator[Sequence[Watcher]]:
    """Have so many clients watch the board, all of them at one node."""
    balancer.add(node)
    port = balancer.live_port
    watchers = [Watcher(port, _CHANNEL, protobuf=number % 2 == 1) for number in range(count)]
    for start in range(0, count, _AT_ONCE):
        some = watchers[start : start + _AT_ONCE]
        await asyncio.gather(*(one.connect() for one in some))
        await eventually(lambda some=some: all(one.has_state for one in some), "a first state")  # type: ignore[misc]
    yield watchers
    for one in watchers:
        one.leave()
    await eventually(lambda: not any(balancer.carried.values()), "the end of all connections")


async def _stop(node: Server, balancer: Balancer, form: Form) -> tuple[float, float]:
    """Stop a node; gives when it was told to and when it had ended."""
    began = time.monotonic()
    os.kill(node.pid, signal.SIGTERM)
    await eventually(lambda: node in balancer.out_at, "a node that gets nothing new")
    if form.is_told_twice:
        await eventually(lambda: not balancer.carried[node, "http"], "an end of its requests")
        os.kill(node.pid, signal.SIGTERM)
    seconds = form.leave_seconds + form.drain_seconds + PATIENCE_SECONDS
    assert await asyncio.to_thread(node.wait, seconds) == 0
    return began, time.monotonic()


def _check(watchers: Sequence[Watcher], submitters: Sequence[Submitter]) -> None:
    """Everybody was told once, and by nobody but the node that ended."""
    assert [[end.code for end in one.told] for one in watchers] == [[_SHUTDOWN]] * len(watchers)
    assert sum(one.lost for one in watchers) == 0
    live = [one for one in submitters if isinstance(one, LiveSubmitter)]
    # One that was told to come back before the balancer knew was told again by the same node.
    assert all(set(one.told) <= {_SHUTDOWN} for one in live)
    assert sum(one.failures for one in submitters if isinstance(one, HttpSubmitter)) == 0


def _report(
    watchers: Sequence[Watcher],
    submitters: Sequence[Submitter],
    out: float,
    began: float,
    ended: float,
) -> None:
    told = sorted(one.told[0].at - began for one in watchers)
    gaps = sorted(one.shown_at[1] - one.told[0].at for one in watchers)
    print(  # noqa: T201  # the figures of this run
        f"{len(watchers)} watchers: out of the balancer after {out:.2f} s, told from {told[0]:.2f}"
        f" to {told[-1]:.2f} s, node ended after {ended - began:.2f} s; from being told to the"
        f" next state {gaps[len(gaps) // 2]:.2f} s at the median and {gaps[-1]:.2f} s at most;"
        f" {sum(one.acknowledged for one in submitters)} submits,"
        f" {sum(one.failures for one in submitters)} sent again"
    )
