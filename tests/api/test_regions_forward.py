"""Writes that belong to the primary: passed on as they came, and answered as it answers.

The region under test is real and has all that a region has. Its primary is a plain HTTP server, so
that everything which passes between the two can be seen, and all that can go wrong happens.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from fix_postgres import Database, Postgres, fresh_database
from fix_server import Reply, Server, making_servers, until
from rankwire.sync.regions.peers import MOST_PASSED_ON

SECRET = "the-secret-of-a-region-and-its-primary"


class Seen(NamedTuple):
    """A request as it came to the primary."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Primary(ThreadingHTTPServer):
    """Answers every write with `answer`, unless it hangs."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[Seen] = []
        self.answer: tuple[int, dict[str, str], bytes] = (200, {}, b"")
        self.goes_on = threading.Event()
        self.asked_by_regions = 0
        """Pulls and the like, which it answers never well."""

    def will(self, status: int, body: bytes, **headers: str) -> None:
        """Set the answer, and forget what came before."""
        self.seen.clear()
        self.goes_on.set()
        self.answer = (status, {k.replace("_", "-"): v for k, v in headers.items()}, body)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _do(self) -> None:
        primary: Any = self.server
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        if self.path.startswith("/v1/regions/"):
            primary.asked_by_regions += 1
            self.send_response(503)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        primary.seen.append(Seen(self.command, self.path, headers, body))
        primary.goes_on.wait(30)
        status, more, content = primary.answer
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_PUT = do_DELETE = _do  # noqa: N815 - the library calls them

    def log_message(self, *arguments: Any) -> None:
        """Be quiet."""


@pytest.fixture(scope="module")
def primary() -> Iterator[Primary]:
    server = Primary()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.goes_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def us(
    primary: Primary, postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The region `us` in mode `primary`; its primary is `eu`."""
    place = tmp_path_factory.mktemp("us")
    with fresh_database(postgres_server) as database, making_servers(place) as make:
        server = make(
            *("--storage-url", database.url, "--regions-name", "us", "--regions-mode", "primary"),
            *("--regions-peers", f"eu=http://127.0.0.1:{primary.server_port}"),
            *("--regions-secret", SECRET, "--regions-verify-seconds", "0"),
            *("--regions-forward-seconds", "0.5"),
        ).start()
        _follow_eu(server, database)
        yield server


def _follow_eu(server: Server, database: Database) -> None:
    """Let a region know its primary, as if that had told it."""
    database.sql("UPDATE region_state SET epoch = 1, primary_region = 'eu'")
    until(lambda: server.get("/v1/regions").json()["primary"] == "eu", "a primary")


def _kind(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.json()["type"].removeprefix("urn:rankwire:problem:")


@pytest.mark.parametrize("query", ["", "?level=all&timeout_ms=7"])
def test_a_score_goes_as_it_came_and_so_does_its_answer(
    us: Server, primary: Primary, query: str
) -> None:
    primary.will(
        202,
        b'{"rank":1,"at":"the primary"}',
        content_type="application/json",
        rankwire_session="next",
        idempotency_replayed="true",
        x_own="kept",
    )
    headers = {
        "authorization": "Bearer rwk_of_the_client",
        "x-api-key": "rwk_of_the_client",
        "idempotency-key": "k1",
        "rankwire-session": "token",
        "cookie": "none of its business",
    }
    reply = us.call("POST", f"/v1/boards/a%2Eb/scores{query}", {"member": "é", "score": 1}, headers)
    assert (reply.status, reply.body) == (202, b'{"rank":1,"at":"the primary"}')
    assert reply.headers["rankwire-served-by"] == "eu"
    for name, value in (
        ("content-type", "application/json"),
        ("rankwire-session", "next"),
        ("idempotency-replayed", "true"),
        ("x-own", "kept"),
        ("content-length", str(len(reply.body))),
    ):
        assert reply.headers[name] == value
    (seen,) = primary.seen
    assert (seen.method, seen.path) == ("POST", f"/v1/boards/a%2Eb/scores{query}")
    assert seen.body == json.dumps({"member": "é", "score": 1}).encode()
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["rankwire-forwarded"] == "us"
    for name in ("authorization", "x-api-key", "idempotency-key", "rankwire-session"):
        assert seen.headers[name] == headers[name]
    assert "cookie" not in seen.headers
    assert SECRET not in str(seen)


def test_every_write_of_a_board_is_passed_on(us: Server, primary: Primary) -> None:
    for method, path, body in (
        ("POST", "/v1/boards/b/scores", {"member": "ada", "score": 1}),
        ("POST", "/v1/boards/b/scores:batch", [{"member": "ada", "score": 1}]),
        ("DELETE", "/v1/boards/b/members/a%2Fb", None),
    ):
        primary.will(204, b"")
        reply = us.call(method, path, body)
        assert (reply.status, reply.headers["rankwire-served-by"]) == (204, "eu")
        assert [(seen.method, seen.path) for seen in primary.seen] == [(method, path)]
    assert us.metric("rankwire_region_forwarded_total") >= 3


def test_what_is_wrong_is_refused_before_it_is_passed_on(us: Server, primary: Primary) -> None:
    primary.will(200, b"{}")
    for path, body, kind in (
        ("/v1/boards/b/scores", {"member": "ada"}, (422, "invalid")),
        ("/v1/boards/b/scores?level=most", {"member": "ada", "score": 1}, (422, "invalid")),
        ("/v1/boards/b/scores?level=any(0)", {"member": "ada", "score": 1}, (422, "invalid")),
        ("/v1/boards/b/scores?level=any(3)", {"member": "ada", "score": 1}, (422, "invalid")),
        ("/v1/boards/b/scores?nothing=1", {"member": "ada", "score": 1}, (422, "invalid")),
    ):
        assert _kind(us.call("POST", path, body)) == kind
    assert primary.seen == []


def test_reads_stay_here(us: Server, primary: Primary) -> None:
    primary.will(200, b"{}")
    assert us.get("/v1/boards").json()["boards"] == []
    assert _kind(us.get("/v1/boards/b/top")) == (404, "unknown-board")
    assert primary.seen == []


def test_a_request_that_was_passed_on_is_not_passed_on_again(us: Server, primary: Primary) -> None:
    primary.will(200, b"{}")
    body = {"member": "ada", "score": 1}
    reply = us.call("POST", "/v1/boards/b/scores?", body, {"rankwire-forwarded": "ap"})
    assert _kind(reply) == (503, "not-primary")
    assert "'ap'" in reply.json()["detail"]
    assert "retry-after" in reply.headers
    assert primary.seen == []


def test_refusals_and_redirects_of_the_primary_come_back(us: Server, primary: Primary) -> None:
    for status, body in ((409, b'{"status":409}'), (503, b'{"status":503}'), (307, b"")):
        primary.will(status, body, location="http://127.0.0.1:9/elsewhere", retry_after="3")
        reply = us.submit("b", "ada", 1)
        assert (reply.status, reply.body, reply.headers["retry-after"]) == (status, body, "3")
        assert len(primary.seen) == 1


def test_a_primary_that_hangs_is_not_waited_for_long(us: Server, primary: Primary) -> None:
    primary.will(200, b"{}")
    primary.goes_on.clear()
    reply = us.submit("b", "ada", 1)
    primary.goes_on.set()
    assert _kind(reply) == (503, "primary-unreachable")
    assert "gave no answer within 0.5 s" in reply.json()["detail"]
    assert "retry-after" in reply.headers


def test_a_primary_that_waits_for_other_regions_is_given_the_time(
    us: Server, primary: Primary
) -> None:
    primary.will(202, b"{}")
    primary.goes_on.clear()
    # More than `regions.forward_seconds`.
    threading.Timer(0.7, primary.goes_on.set).start()
    path = "/v1/boards/b/scores?level=all&timeout_ms=20000"
    assert us.call("POST", path, {"member": "ada", "score": 1}).status == 202


def test_many_that_are_passed_on_hold_up_neither_pulls_nor_each_other(
    us: Server, primary: Primary
) -> None:
    primary.will(200, b"{}")
    primary.goes_on.clear()
    body = json.dumps({"member": "ada", "score": 1})
    headers = {"content-type": "application/json"}
    path = "/v1/boards/b/scores?level=all&timeout_ms=20000"
    waiting = [HTTPConnection(us.host, us.http_port) for _ in range(MOST_PASSED_ON)]
    for each in waiting:
        each.request("POST", path, body, headers)
    until(lambda: len(primary.seen) == MOST_PASSED_ON, "all of them at the primary")
    reply = us.submit("b", "ada", 1)
    assert _kind(reply) == (503, "busy")
    before = primary.asked_by_regions
    until(lambda: primary.asked_by_regions >= before + 2, "pulls that go on")
    primary.goes_on.set()
    for each in waiting:
        assert each.getresponse().status == 200
        each.close()
    assert us.submit("b", "ada", 1).status == 200


def test_an_answer_that_is_too_large_is_not_taken(us: Server, primary: Primary) -> None:
    primary.will(200, b"x" * (1024**2 + 1))
    assert _kind(us.submit("b", "ada", 1)) == (503, "primary-unreachable")
    primary.will(200, b"x" * 1024**2)
    assert len(us.submit("b", "ada", 1).body) == 1024**2


def test_a_board_that_does_not_come_is_not_there_yet(us: Server, primary: Primary) -> None:
    """This primary's boards come to nobody."""
    primary.will(201, b"{}")
    reply = us.call("PUT", "/v1/boards/new", {})
    assert _kind(reply) == (503, "not-there-yet")
    assert "the primary region has done it" in reply.json()["detail"]
    # One that is not there either way is gone at once.
    primary.will(204, b"")
    assert us.call("DELETE", "/v1/boards/new").status == 204
    primary.will(409, b"{}")
    assert us.call("PUT", "/v1/boards/new", {}).status == 409


def test_without_a_primary_that_listens_writes_are_refused_and_reads_go_on(
    postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        place = tmp_path_factory.mktemp("alone")
        with fresh_database(postgres_server) as database, making_servers(place) as make:
            server = make(
                *("--storage-url", database.url, "--regions-name", "us"),
                *("--regions-peers", f"eu=http://127.0.0.1:{port}", "--regions-secret", SECRET),
            ).start()
            _follow_eu(server, database)
            reply = server.call("PUT", "/v1/boards/b", {})
            assert _kind(reply) == (503, "primary-unreachable")
            detail = reply.json()["detail"]
            assert detail == "the primary region eu cannot be reached: Connection refused"
            assert SECRET not in server.log + server.out
            assert server.get("/v1/boards").status == 200
            # Known to be away, and still here for reads.
            until(lambda: server.get("/health").json()["status"] == "warn", "a warning")
            assert server.get("/readyz").json()["status"] == "degraded"
