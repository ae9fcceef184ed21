"""With regions.mode primary one region commits, and at any time at most one."""

from __future__ import annotations

import json
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from cluster_books import PROBE
from fix_regions import SESSION, Region, Regions, in_session, running_regions
from fix_server import Reply, Server, until

# The code of errors for calls that another region takes; not temporary.
_NOT_HERE: Final = 421
# What a promise does, while the nodes do not know of it.
_DEPOSE: Final = """
UPDATE region_state SET epoch = epoch + 1, primary_region = 'us', is_open = false
"""


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, postgres_template: Path) -> Iterator[Regions]:
    place = tmp_path_factory.mktemp("primary")
    with running_regions(place, postgres_template, "--regions-mode", "primary") as regions:
        yield regions


@pytest.fixture
def three(begun: Regions) -> Iterator[Regions]:
    """Lend three regions to a test; in the end eu is the primary again."""
    begun.until_linked()
    yield begun
    begun.heal()
    begun.until_linked()
    begun.until_level()
    if begun["eu"].status()["primary"] != "eu":
        assert _fail_over(begun["eu"], "failback").status == 200
    until(lambda: all(region.status()["primary"] == "eu" for region in begun), "eu as primary")


def _member() -> str:
    return f"t-{secrets.token_hex(4)}"


def _fail_over(region: Region, way: str = "failover", *, force: bool = False) -> Reply:
    body = {"force": force} if way == "failover" else None
    return region.server.call("POST", f"/v1/regions/{way}", body)


def _is_up(region: Region, other: str) -> bool:
    (link,) = [link for link in region.status()["links"] if link["region"] == other]
    return bool(link["up"])


def _refuses(server: Server) -> bool:
    """Whether a write is refused, which is what a primary that is none any more does."""
    reply = server.submit(PROBE, _member(), 1)
    if reply.status == 200:
        return False
    assert reply.status == 503, reply
    return True


def _origin_regions(region: Region, member: str) -> set[str]:
    """Where the scores of a member were committed, as the journal of a region has it."""
    regions = dict(region.postgres.sql("SELECT origin, region FROM origins"))
    return {
        regions[origin] or region.name
        for origin, found in region.journal_by_origin()
        if found.get("member") == member
    }


def test_writes_are_forwarded_to_the_primary(three: Regions) -> None:
    member, token = _member(), "new"
    scores, body = f"/v1/boards/{PROBE}/scores", {"member": member, "score": 1}
    for written, region in enumerate(three, start=1):
        headers = {"idempotency-key": secrets.token_hex(8), SESSION: token}
        first = region.server.call("POST", scores, body, headers)
        reply = region.server.call("POST", scores, body, headers)
        assert (first.status, reply.status) == (200, 200)
        token = reply.headers[SESSION.lower()]
        # Whoever wrote it in a session sees it where it wrote.
        path = f"/v1/boards/{PROBE}/members/{member}"
        assert in_session(region.server, path, token)[0].json()["score"] == written
    three.until_level()
    assert all(region.has(PROBE, member, 3) for region in three)
    assert _origin_regions(three["us"], member) == {"eu"}


async def test_a_submit_over_websocket_is_refused_elsewhere(three: Regions) -> None:
    replies = {region.name: await _submit(region.server) for region in three}
    assert "error" not in replies["eu"]
    for name in ("us", "ap"):
        assert replies[name]["error"]["code"] == _NOT_HERE
        assert "eu" in replies[name]["error"]["message"]


async def _submit(server: Server) -> dict[str, Any]:
    data = {"board": PROBE, "member": _member(), "score": 1}
    commands = ({"id": 1, "connect": {}}, {"id": 2, "rpc": {"method": "submit", "data": data}})
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(server.live_url) as socket,
    ):
        await socket.send_str("\n".join(json.dumps(command) for command in commands))
        async for message in socket:
            for line in message.data.splitlines():
                if json.loads(line).get("id") == 2:
                    return dict(json.loads(line))
    return pytest.fail("no reply")


def test_a_primary_that_is_cut_off_stops_and_another_one_takes_over(three: Regions) -> None:
    before, after = _member(), _member()
    assert three["eu"].server.submit(PROBE, before, 1).status == 200
    three.part("eu")
    until(lambda: _refuses(three["eu"].server), "a primary whose lease has ended")
    report = _fail_over(three["us"])
    assert report.status == 200, report
    assert three["us"].status()["primary"] == "us"
    assert three["us"].server.submit(PROBE, after, 1).status == 200
    until(lambda: three["ap"].server.submit(PROBE, after, 1).status == 200, "a forwarded write")
    assert _refuses(three["eu"].server)
    three.heal()
    until(lambda: three["eu"].status()["primary"] == "us", "a primary that knows of the other one")
    assert three["eu"].server.submit(PROBE, after, 1).status == 200
    three.until_level()
    assert all(region.has(PROBE, after, 3) and region.has(PROBE, before, 1) for region in three)
    assert _origin_regions(three["ap"], after) == {"us"}


def test_a_failover_without_a_majority_is_refused(three: Regions) -> None:
    three.part("us")
    reply = _fail_over(three["us"])
    assert reply.status == 409, reply
    assert three["us"].status()["primary"] == "eu"
    assert three["eu"].server.submit(PROBE, _member(), 1).status == 200


def test_a_failback_waits_for_a_region_that_is_there(three: Regions) -> None:
    assert _fail_over(three["us"]).status == 200
    three.part("eu")
    until(lambda: not _is_up(three["us"], "eu"), "a link that is down")
    assert _fail_over(three["us"], "failback").status == 409
    assert three["us"].status()["primary"] == "us"
    three.heal()
    until(lambda: _fail_over(three["us"], "failback").status == 200, "a failback")
    until(lambda: three["us"].status()["primary"] == "eu", "eu as primary")


def test_a_primary_that_slept_cannot_commit_when_it_wakes(three: Regions) -> None:
    """It has heard of nothing, but knows that its lease is over."""
    eu, member = three["eu"], _member()
    os.kill(eu.server.pid, signal.SIGSTOP)
    try:
        report = _fail_over(three["us"])
        assert report.status == 200, report
        assert three["us"].server.submit(PROBE, member, 1).status == 200
    finally:
        os.kill(eu.server.pid, signal.SIGCONT)
    assert eu.server.submit(PROBE, member, 2).status in {200, 503}
    three.until_linked()
    three.until_level()
    # Forwarded or refused, but not committed there.
    assert _origin_regions(three["ap"], member) == {"us"}


def test_the_database_refuses_what_a_node_believes_that_it_may_commit(three: Regions) -> None:
    """A node looks every second who is primary; the database looks at every commit."""
    eu, member = three["eu"], _member()
    eu.postgres.sql(_DEPOSE)
    assert eu.server.submit(PROBE, member, 1).status == 503
    assert eu.kept_score(PROBE, member) is None
    assert _fail_over(eu).status == 200
    assert eu.server.submit(PROBE, member, 2).status == 200


def test_no_two_regions_were_primary_in_one_epoch(three: Regions) -> None:
    states = [region.status() for region in three]
    assert len({state["epoch"] for state in states}) == 1
    assert [state["region"] for state in states if state["is_primary"]] == ["eu"]
