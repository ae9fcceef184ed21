"""What a replay makes of every answer a server can give, and that it counts no row twice.

The peer is a few lines of aiohttp that give the answers of a script: a healthy server cannot be
made to give them on demand.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from rankwire.cli import _api
from rankwire.cli._api import Api
from rankwire.cli._replaying import Pacer, Plan, Replay, Troubles
from rankwire.cli._rows import BadRow, InputError, Row, SkippedRow, Submit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from rankwire.cli._replaying import Report

UNAVAILABLE = "urn:rankwire:problem:unavailable"
_BUSY = "urn:rankwire:problem:busy"
_TOO_MANY = "urn:rankwire:problem:too-many-requests"


class Peer:
    """Gives the answers of a script, then success; remembers what it was sent."""

    def __init__(self, *script: web.Response | None) -> None:
        self.script = list(script)
        self.bodies: list[object] = []
        self.keys: list[str | None] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.json())
        self.keys.append(request.headers.get("idempotency-key"))
        answer = self.script.pop(0) if self.script else web.json_response({})
        if answer is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return answer


def problem(
    status: int, kind: str, field: str | None = None, wait: str | None = None
) -> web.Response:
    body = {"type": kind, "status": status, "title": "t", "detail": "words", "field": field}
    headers = {"Retry-After": wait} if wait else {}
    return web.Response(status=status, text=json.dumps(body), headers=headers)


@asynccontextmanager
async def listening(peer: Peer) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_post("/v1/boards/b/scores", peer.answer)
    app.router.add_post("/v1/boards/b/scores:batch", peer.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    peer.url = f"http://{host}:{port}"
    try:
        yield
    finally:
        await runner.cleanup()


async def replay(peer: Peer, rows: Iterable[Row], plan: Plan) -> tuple[Report, list[str]]:
    said: list[str] = []
    async with listening(peer), Api(peer.url, plan.connections) as api:
        run = Replay(api, rows, plan, said.append)
        await run.run()
    return run.report(), said


def submits(count: int) -> list[Submit]:
    return [Submit(line, f"m{line}", 1) for line in range(2, 2 + count)]


ONE_BY_ONE = Plan("b", connections=1)


async def test_rows_are_sent_in_order_and_counted_by_kind() -> None:
    peer = Peer()
    rows: list[Row] = [
        Submit(2, "a", 1, "2020-01-01T00:00:00Z"),
        SkippedRow(3),
        BadRow(4, "why"),
        *submits(1),
    ]
    report, said = await replay(peer, rows, ONE_BY_ONE)
    assert peer.bodies == [
        {"member": "a", "score": 1, "at": "2020-01-01T00:00:00Z"},
        {"member": "m2", "score": 1},
    ]
    counts = (report.accepted, report.skipped, report.unreadable, report.refused, report.unknown)
    assert counts == (2, 1, 1, 0, 0)
    assert said == ["line 4: not sent: why"]
    assert not report.succeeded


async def test_connections_work_side_by_side_and_all_rows_arrive() -> None:
    peer = Peer()
    report, _ = await replay(peer, submits(200), Plan("b", connections=8))
    assert report.succeeded
    assert report.accepted == report.requests == len(peer.bodies) == 200


async def test_batches_hold_many_rows() -> None:
    peer = Peer()
    report, _ = await replay(peer, submits(7), Plan("b", connections=1, batch=3))
    assert [len(body) for body in peer.bodies if isinstance(body, list)] == [3, 3, 1]
    assert (report.accepted, report.requests) == (7, 3)


async def test_a_limit_ends_the_replay() -> None:
    report, _ = await replay(Peer(), submits(9), Plan("b", connections=4, limit=5))
    assert report.accepted == 5
    assert report.succeeded


async def test_a_refused_row_is_named_and_the_others_go_on() -> None:
    peer = Peer(problem(422, "urn:rankwire:problem:invalid", "score"))
    report, said = await replay(peer, submits(2), ONE_BY_ONE)
    assert (report.refused, report.accepted) == (1, 1)
    assert said == ["line 2: refused: 422 score: words"]


async def test_a_refused_batch_names_its_lines_and_the_culprit() -> None:
    peer = Peer(problem(422, "urn:rankwire:problem:invalid", "[1].member"))
    report, said = await replay(peer, submits(3), Plan("b", connections=1, batch=3))
    assert report.refused == 3
    assert said == [
        "lines 2 to 4: refused: 422 [1].member: words (line 3; the whole batch was left out)"
    ]


@pytest.mark.parametrize(("status", "kind"), [(503, _BUSY), (429, _TOO_MANY)])
async def test_a_busy_server_is_asked_again(status: int, kind: str) -> None:
    report, _ = await replay(Peer(problem(status, kind, wait="0")), submits(1), ONE_BY_ONE)
    assert (report.accepted, report.retries) == (1, 1)
    assert report.succeeded


async def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_api, "PATIENCE_SECONDS", 0.5)
    peer = Peer(*[problem(503, _BUSY, wait="3600")])
    report, said = await replay(peer, submits(1), ONE_BY_ONE)
    assert (report.refused, report.retries) == (1, 0)
    assert said == ["line 2: refused: 503 words"]


# After each the row may be on the board or not.
OPEN: dict[str, Callable[[], web.Response | None]] = {
    "broken": lambda: None,
    "failed": lambda: problem(500, "x"),
    "unavailable": lambda: problem(503, UNAVAILABLE, wait="0"),
}


@pytest.mark.parametrize("batch", [None, 1])
@pytest.mark.parametrize("fate", OPEN)
async def test_what_has_an_open_fate_is_sent_again_with_its_key(
    fate: str, batch: int | None
) -> None:
    peer = Peer(OPEN[fate]())
    report, said = await replay(peer, submits(2), Plan("b", connections=1, batch=batch))
    assert peer.bodies[0] == peer.bodies[1] != peer.bodies[2]
    assert peer.keys[0] is not None
    assert peer.keys[0] == peer.keys[1] != peer.keys[2]
    assert (report.accepted, report.unknown, report.retries, said) == (2, 0, 1, [])
    assert report.succeeded


async def test_every_call_of_every_run_has_a_key_of_its_own() -> None:
    peer = Peer()
    for batch in (None, 2, None):
        await replay(peer, submits(6), Plan("b", connections=3, batch=batch))
    assert None not in peer.keys
    assert len(set(peer.keys)) == len(peer.keys) == 6 + 3 + 6


async def test_what_is_refused_after_all_was_not_recorded_before() -> None:
    peer = Peer(None, problem(422, "urn:rankwire:problem:invalid", "score"))
    report, said = await replay(peer, submits(2), ONE_BY_ONE)
    assert (report.refused, report.accepted, report.unknown) == (1, 1, 0)
    assert said == ["line 2: refused: 422 score: words"]


@pytest.mark.parametrize("fate", OPEN)
@pytest.mark.parametrize("last", [False, True])
async def test_a_fate_that_stays_open_ends_the_replay(
    monkeypatch: pytest.MonkeyPatch, fate: str, *, last: bool
) -> None:
    """Also when the server was only busy in the end."""
    monkeypatch.setattr(_api, "PATIENCE_SECONDS", 0.5)
    forever = problem(503, _BUSY, wait="3600") if last else problem(503, UNAVAILABLE, wait="3600")
    peer = Peer(OPEN[fate](), forever)
    report, said = await replay(peer, submits(2), ONE_BY_ONE)
    assert len(peer.bodies) == 2
    assert (report.unknown, report.accepted, report.refused) == (1, 0, 0)
    assert said == [f"line 2: outcome unknown: {report.stopped}"]


async def test_a_server_that_went_away_ends_the_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_api, "PATIENCE_SECONDS", 0.0)
    said: list[str] = []
    async with Api("http://127.0.0.1:1") as api:
        run = Replay(api, submits(100), ONE_BY_ONE, said.append)
        await run.run()
    report = run.report()
    assert report.stopped == "no server at http://127.0.0.1:1: Connection refused"
    assert said == [f"line 2: not sent: {report.stopped}"]


async def test_an_unreadable_file_ends_the_replay_after_its_good_rows() -> None:
    def rows() -> Iterator[Row]:
        yield from submits(3)
        raise InputError("line 5 is longer than 1 MiB")

    report, _ = await replay(Peer(), rows(), Plan("b", connections=2))
    assert (report.accepted, report.stopped) == (3, "line 5 is longer than 1 MiB")
    assert not report.succeeded


async def test_an_interrupted_replay_counts_what_was_under_way_as_unknown() -> None:
    peer = Slow()
    async with listening(peer), Api(peer.url) as api:
        run = Replay(api, submits(5), ONE_BY_ONE, print)
        task = asyncio.create_task(run.run())
        await peer.asked.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    run.stop("interrupted")
    report = run.report()
    assert (report.accepted, report.unknown, report.stopped) == (0, 1, "interrupted")


class Slow(Peer):
    """Does not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.set()
        await asyncio.sleep(60)
        return await super().answer(request)


async def test_the_pacer_spreads_rows() -> None:
    pacer = Pacer(rate=200)
    started = time.monotonic()
    for _ in range(11):
        await pacer.wait(2)
    # The first starts at once, the eleventh after twenty rows; lateness may catch up 50 ms.
    assert time.monotonic() - started > 0.1 - 0.05
    unlimited = Pacer(None)
    await asyncio.wait_for(asyncio.gather(*(unlimited.wait(1000) for _ in range(1000))), timeout=5)


def test_the_first_troubles_are_shown_and_the_rest_counted() -> None:
    said: list[str] = []
    troubles = Troubles(said.append)
    for number in range(1234):
        troubles(str(number))
    troubles.close()
    assert said == [*map(str, range(10)), "and 1,224 more"]
