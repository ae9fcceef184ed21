"""Two regions in mode `primary`: every write is committed in one of them, wherever it comes in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fix_postgres import Postgres
from fix_region_pair import Pair, running_pair
from fix_server import Server, until

SESSION = "rankwire-session"


@pytest.fixture(scope="module")
def pair(postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    place = tmp_path_factory.mktemp("pair")
    with running_pair(place, postgres_server, "--regions-mode", "primary") as pair:
        assert pair.us.call("PUT", "/v1/boards/b", {}).status == 201
        yield pair


def _status(server: Server) -> dict[str, object]:
    return dict(server.get("/v1/regions").json())


def test_every_write_is_done_by_the_primary_and_comes_back(pair: Pair) -> None:
    for method, path, body, status in (
        ("POST", "/scores", {"member": "ada", "score": 1}, 200),
        ("POST", "/scores:batch", [{"member": "bob", "score": 2}], 200),
        ("POST", "/scores?level=all&timeout_ms=20000", {"member": "cy", "score": 3}, 200),
        ("DELETE", "/members/bob", None, 204),
    ):
        reply = pair.us.call(method, f"/v1/boards/b{path}", body)
        assert (reply.status, reply.headers["rankwire-served-by"]) == (status, "eu")
        if "level" in path:
            assert reply.json()["sync"]["primary"]["region"] == "eu"
            assert reply.json()["sync"]["achieved"] == "all"
        there = pair.eu.call(method, f"/v1/boards/b{path}", body)
        assert "rankwire-served-by" not in there.headers
    for server in pair:
        until(lambda server=server: server.scores("b") == {"ada": 1, "cy": 3}, "all writes")  # type: ignore[misc]


def test_a_session_reads_what_the_primary_did_for_it(pair: Pair) -> None:
    token = "new"
    for number in range(10, 20):
        body = {"member": "session", "score": number}
        wrote = pair.us.call("POST", "/v1/boards/b/scores", body, {SESSION: token})
        assert (wrote.status, wrote.headers["rankwire-served-by"]) == (200, "eu")
        token = wrote.headers[SESSION]
        path = "/v1/boards/b/members/session?timeout_ms=20000"
        read = pair.us.call("GET", path, None, {SESSION: token})
        assert (read.status, read.json()["score"]) == (200, number)
        assert "rankwire-served-by" not in read.headers
        token = read.headers[SESSION]


def test_a_key_counts_once_through_both_regions(pair: Pair) -> None:
    assert pair.eu.call("PUT", "/v1/boards/sums", {"policy": "sum"}).status == 201
    until(lambda: pair.us.get("/v1/boards/sums").status == 200, "the board")
    body, key = {"member": "ada", "score": 5}, {"idempotency-key": "once"}
    replies = [
        server.call("POST", "/v1/boards/sums/scores", body, key)
        for server in (pair.us, pair.eu, pair.us)
    ]
    assert len({reply.body for reply in replies}) == 1
    assert [r.headers.get("idempotency-replayed") for r in replies] == [None, "true", "true"]
    until(lambda: pair.us.scores("sums") == {"ada": 5}, "one amount")


def test_after_a_failover_the_other_region_writes(pair: Pair) -> None:
    assert pair.us.call("POST", "/v1/regions/failover").status == 200
    until(lambda: _status(pair.eu)["primary"] == "us", "the new primary")
    assert "rankwire-served-by" not in pair.us.submit("b", "after", 1).headers
    reply = pair.eu.submit("b", "after", 2)
    assert (reply.status, reply.headers["rankwire-served-by"]) == (200, "us")
    assert not _status(pair.eu)["may_write"]
    until(lambda: pair.eu.scores("b").get("after") == 2, "the write")
