"""What clients and operators see of two regions: boards, levels, sessions, ages, the primary."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from fix_postgres import Postgres
from fix_region_pair import SECRET, Pair, running_pair
from fix_server import Reply, Server, until

SESSION = "rankwire-session"
_NUMBERS = count(1)


@pytest.fixture(scope="module")
def pair(postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with running_pair(tmp_path_factory.mktemp("pair"), postgres_server) as pair:
        yield pair


@pytest.fixture
def board(pair: Pair) -> str:
    """A board of the test's own, made in the region that is not primary."""
    name = f"b{next(_NUMBERS)}"
    assert pair.us.call("PUT", f"/v1/boards/{name}", {}).status == 201
    until(lambda: pair.eu.get(f"/v1/boards/{name}").status == 200, "a board in both regions")
    return name


def _kind(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.json()["type"].removeprefix("urn:rankwire:problem:")


def _scores(board: str, query: str = "") -> str:
    return f"/v1/boards/{board}/scores{query}"


# Boards.


def test_a_board_that_is_made_elsewhere_is_there_at_once(pair: Pair) -> None:
    reply = pair.us.call("PUT", "/v1/boards/made", {"policy": "sum"})
    assert (reply.status, reply.headers["rankwire-served-by"]) == (201, "eu")
    # Without a pause.
    assert pair.us.get("/v1/boards/made").json()["policy"] == "sum"
    assert pair.us.submit("made", "ada", 1).status == 200
    again = pair.us.call("PUT", "/v1/boards/made", {"policy": "sum"})
    assert (again.status, again.headers["rankwire-served-by"]) == (200, "eu")
    assert _kind(pair.us.call("PUT", "/v1/boards/made", {"policy": "best"})) == (
        409,
        "board-conflict",
    )
    assert pair.us.call("DELETE", "/v1/boards/made").status == 204
    assert _kind(pair.us.get("/v1/boards/made")) == (404, "unknown-board")
    assert _kind(pair.us.call("DELETE", "/v1/boards/made")) == (404, "unknown-board")
    # The same name, and another board from the first moment.
    assert pair.us.call("PUT", "/v1/boards/made", {"policy": "last"}).status == 201
    described = pair.us.get("/v1/boards/made").json()
    assert (described["policy"], described["total"]) == ("last", 0)


def test_a_repeat_through_another_region_is_answered_as_the_first_time(pair: Pair) -> None:
    key = {"idempotency-key": "board-1"}
    first = pair.us.call("PUT", "/v1/boards/keyed", {}, key)
    assert (first.status, "idempotency-replayed" in first.headers) == (201, False)
    for server in (pair.us, pair.eu):
        again = server.call("PUT", "/v1/boards/keyed", {}, key)
        assert (again.status, again.body) == (201, first.body)
        assert again.headers["idempotency-replayed"] == "true"


def test_scores_are_committed_where_they_come_in(pair: Pair, board: str) -> None:
    for server, member in ((pair.eu, "ada"), (pair.us, "bob")):
        reply = server.submit(board, member, 1)
        assert reply.status == 200
        assert "rankwire-served-by" not in reply.headers
        assert "sync" not in reply.json()
        assert SESSION not in reply.headers
    for server in pair:
        until(lambda server=server: server.scores(board) == {"ada": 1, "bob": 1}, "both scores")  # type: ignore[misc]


def test_history_tells_where_something_was_committed(pair: Pair, board: str) -> None:
    token = pair.us.call("POST", _scores(board), {"member": "a", "score": 1}, {SESSION: "new"})
    path = f"/v1/boards/{board}/history?timeout_ms=20000"
    headers = {SESSION: token.headers[SESSION]}
    events = pair.eu.call("GET", path, None, headers).json()["events"]
    assert [(event["type"], event["region"]) for event in events] == [
        ("score", "us"),
        ("create", "eu"),
    ]


# Levels.


@pytest.mark.parametrize("level", ["local", "any(1)", "any(2)", "quorum", "all"])
def test_a_level_is_waited_for_and_told(pair: Pair, board: str, level: str) -> None:
    for method, path, body in (
        ("POST", _scores(board, f"?level={level}&timeout_ms=20000"), {"member": "a", "score": 1}),
        ("POST", f"/v1/boards/{board}/scores:batch?level={level}", [{"member": "b", "score": 2}]),
        ("DELETE", f"/v1/boards/{board}/members/a?level={level}", None),
    ):
        reply = pair.us.call(method, path, body)
        assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
        sync = reply.json()["sync"]
        assert sync["requested"] == level
        assert sync["primary"]["region"] == "us"
        (there,) = sync["regions"]
        assert there["region"] == "eu"
        if level in {"any(2)", "quorum", "all"}:
            assert (sync["achieved"], there["status"]) == ("all", "acknowledged")
            assert sync["consistency"]["fraction"] == 1.0
        if method == "POST":
            assert reply.json()["board"] == board


def test_a_repeat_can_ask_for_a_level_too(pair: Pair, board: str) -> None:
    key = {"idempotency-key": "level-1"}
    path, body = _scores(board, "?level=all&timeout_ms=20000"), {"member": "ada", "score": 1}
    first = pair.us.call("POST", path, body, key)
    again = pair.us.call("POST", path, body, key)
    assert (again.status, again.headers["idempotency-replayed"]) == (200, "true")
    assert again.json()["sync"]["achieved"] == "all"
    assert first.json() | {"sync": None} == again.json() | {"sync": None}
    assert first.json()["sync"]["primary"]["position"] is not None
    assert again.json()["sync"]["primary"]["position"] is None
    # What changes nothing has no place either, whether it is one score or many.
    for what, content in (("", body), (":batch", [body])):
        path = f"/v1/boards/{board}/scores{what}?level=all&timeout_ms=20000"
        same = pair.us.call("POST", path, content).json()
        assert not same["changed"]
        assert (same["sync"]["achieved"], same["sync"]["primary"]["position"]) == ("all", None)


def test_a_level_that_cannot_be_is_refused_before_anything_is_written(
    pair: Pair, board: str
) -> None:
    for level in ("any(3)", "any(0)", "any()", "most", "ALL", ""):
        reply = pair.us.call("POST", _scores(board, f"?level={level}"), {"member": "x", "score": 1})
        assert _kind(reply) == (422, "invalid")
        assert reply.json()["field"] == "level"
    for query in ("?timeout_ms=-1", "?timeout_ms=30001", "?timeout_ms=x"):
        reply = pair.us.call("POST", _scores(board, query), {"member": "x", "score": 1})
        assert (_kind(reply), reply.json()["field"]) == ((422, "invalid"), "timeout_ms")
    assert pair.us.scores(board) == {}


def test_no_time_to_wait_is_an_answer_of_its_own(pair: Pair, board: str) -> None:
    """In no time nobody can have acknowledged, so the answer says what is done: it is here."""
    reply = pair.us.call(
        "POST", _scores(board, "?level=all&timeout_ms=0"), {"member": "ada", "score": 5}
    )
    sync = reply.json()["sync"]
    assert reply.status == (200 if sync["is_reached"] else 202)
    assert sync["is_reached"] == (sync["achieved"] == "all")
    assert pair.us.scores(board) == {"ada": 5}


# Sessions.


def test_a_session_reads_its_writes_wherever_it_goes(pair: Pair, board: str) -> None:
    token = "new"
    for number in range(10):
        here, there = (pair.eu, pair.us) if number % 2 else (pair.us, pair.eu)
        wrote = here.call(
            "POST", _scores(board), {"member": "ada", "score": number}, {SESSION: token}
        )
        assert wrote.status == 200, wrote
        token = wrote.headers[SESSION]
        query = "?consistency=session&timeout_ms=20000"
        for path in ("/members/ada", "/top", "/members/ada/around", "/count", ""):
            read = there.call("GET", f"/v1/boards/{board}{path}{query}", None, {SESSION: token})
            assert read.status == 200, read
            token = read.headers[SESSION]
            if path == "/members/ada":
                assert read.json()["score"] == number
        assert len(token) < 400


def test_a_session_sees_the_boards_that_it_makes_and_deletes(pair: Pair) -> None:
    made = pair.us.call("PUT", "/v1/boards/seen", {}, {SESSION: "new"})
    token = made.headers[SESSION]
    for server in pair:
        read = server.call("GET", "/v1/boards/seen?timeout_ms=20000", None, {SESSION: token})
        assert read.status == 200
    gone = pair.eu.call("DELETE", "/v1/boards/seen", None, {SESSION: token})
    token = gone.headers[SESSION]
    read = pair.us.call("GET", "/v1/boards/seen?timeout_ms=20000", None, {SESSION: token})
    assert _kind(read) == (404, "unknown-board")


def test_plain_requests_of_a_session_are_not_taken_for_others(pair: Pair, board: str) -> None:
    """These three have a path of their own when they ask for nothing special."""
    for method, path, body in (
        ("POST", _scores(board), {"member": "ada", "score": 1}),
        ("GET", f"/v1/boards/{board}/top", None),
        ("GET", f"/v1/boards/{board}/members/ada", None),
    ):
        assert SESSION not in pair.us.call(method, path, body).headers
        headers = pair.us.call(method, path, body, {SESSION: "new"}).headers
        # A cache is to give nobody the token of somebody else.
        assert headers[SESSION]
        assert headers["vary"] == SESSION


def test_a_known_version_has_a_token_as_well(pair: Pair, board: str) -> None:
    path = f"/v1/boards/{board}/top"
    etag = pair.us.call("GET", path, None, {SESSION: "new"}).headers["etag"]
    reply = pair.us.call("GET", path, None, {SESSION: "new", "if-none-match": etag})
    assert (reply.status, bool(reply.headers[SESSION])) == (304, True)


def test_a_session_that_cannot_be_caught_up_with_is_told_so(pair: Pair, board: str) -> None:
    # The future of a run of a node: {2: 1000}, as a token.
    future = "AYECzQPo"
    path = f"/v1/boards/{board}/top?timeout_ms=50"
    reply = pair.us.call("GET", path, None, {SESSION: future})
    assert _kind(reply) == (503, "not-there-yet")
    assert "retry-after" in reply.headers
    reply = pair.us.call(
        "POST", _scores(board, "?timeout_ms=50"), {"member": "a", "score": 1}, {SESSION: future}
    )
    assert _kind(reply) == (503, "not-there-yet")
    assert pair.us.scores(board) == {}


@pytest.mark.parametrize("token", ["", "x", "New", "AYEB", "é", "A" * 5000])
def test_what_is_no_token_is_invalid(pair: Pair, board: str, token: str) -> None:
    reply = pair.us.call("GET", f"/v1/boards/{board}/top", None, {SESSION: token})
    assert _kind(reply) == (422, "invalid")
    assert reply.json()["field"] == "Rankwire-Session"


def test_a_read_of_a_session_needs_one(pair: Pair, board: str) -> None:
    reply = pair.us.get(f"/v1/boards/{board}/top?consistency=session")
    assert (_kind(reply), reply.json()["field"]) == ((422, "invalid"), "Rankwire-Session")


# Ages.


def test_reads_with_a_bound_are_served_while_the_regions_hear_from_each_other(
    pair: Pair, board: str
) -> None:
    query = "?consistency=bounded&max_staleness_ms=20000&timeout_ms=20000"
    for path in ("", "/top", "/count"):
        for server in pair:
            assert server.get(f"/v1/boards/{board}{path}{query}").status == 200
    for wrong in ("max_staleness_ms=999", "max_staleness_ms=x"):
        reply = pair.us.get(f"/v1/boards/{board}/top?consistency=bounded&{wrong}")
        assert (_kind(reply), reply.json()["field"]) == ((422, "invalid"), "max_staleness_ms")
    reply = pair.us.get(f"/v1/boards/{board}/top?consistency=strong")
    assert (_kind(reply), reply.json()["field"]) == ((422, "invalid"), "consistency")


# Operators.


def test_the_state_names_the_other_region_and_keeps_the_secret(pair: Pair) -> None:
    for server, name, other in ((pair.eu, "eu", "us"), (pair.us, "us", "eu")):
        status = server.get("/v1/regions").json()
        assert (status["region"], status["primary"]) == (name, "eu")
        assert (status["is_primary"], status["may_name"]) == (name == "eu", name == "eu")
        assert status["may_write"] is True
        assert [link["region"] for link in status["links"]] == [other]
        assert SECRET.encode() not in server.get("/v1/regions").body
        assert SECRET not in server.log + server.out


def test_a_comparison_of_equal_regions_finds_nothing(pair: Pair, board: str) -> None:
    pair.eu.submit(board, "ada", 1)
    assert pair.us.call("POST", "/v1/regions/verify", {"boards": [board]}).status in {200, 202}

    def is_done() -> bool:
        return bool(pair.us.get("/v1/regions/verify").json()["last"])

    until(is_done, "the end of a comparison")
    answer = pair.us.get("/v1/regions/verify").json()
    assert answer["progress"] is None
    assert [peer["region"] for peer in answer["last"]["peers"]] == ["eu"]
    reply = pair.us.call("POST", "/v1/regions/verify", {"source": "nowhere"})
    assert (_kind(reply), reply.json()["field"]) == ((422, "invalid"), "source")


def test_a_region_is_taken_out_and_in_again(pair: Pair) -> None:
    health = pair.us.get("/health").json()
    assert health["status"] == "pass", health
    wrong = pair.us.call("PUT", "/v1/regions/out", {"reason": ""})
    assert (_kind(wrong), wrong.json()["field"]) == ((422, "invalid"), "reason")
    assert pair.us.call("PUT", "/v1/regions/out", {"reason": "a move"}).status == 204
    reply = pair.us.get("/health")
    assert (reply.status, reply.json()["status"]) == (503, "fail")
    assert reply.json()["checks"]["operator:out"] == [
        {
            "status": "fail",
            "componentType": "system",
            "output": "the region is taken out: a move",
        }
    ]
    # Only new traffic is to go elsewhere: what comes all the same is served.
    assert pair.us.get("/readyz").status == 200
    assert pair.us.get("/v1/boards").status == 200
    assert pair.eu.get("/health").status == 200
    assert pair.us.call("DELETE", "/v1/regions/out").status == 204
    assert pair.us.get("/health").status == 200


def test_health_tells_of_the_links(pair: Pair) -> None:
    reply = pair.us.get("/health")
    assert reply.headers["content-type"] == "application/health+json"
    health = reply.json()
    assert (reply.status, health["status"], health["serviceId"]) == (200, "pass", "us"), health
    for name in ("regions:lag", "regions:drift"):
        (check,) = health["checks"][name]
        assert (check["componentId"], check["observedUnit"]) == ("eu", "s")
        assert isinstance(check["observedValue"], float)


def _primary(server: Server) -> str:
    return str(server.get("/v1/regions").json()["primary"])


def test_the_primary_moves_and_comes_back(pair: Pair) -> None:
    reply = pair.us.call("POST", "/v1/regions/failover")
    assert reply.status == 200, reply
    assert (reply.json()["region"], reply.json()["before"]) == ("us", "eu")
    until(lambda: _primary(pair.eu) == "us", "the new primary")
    assert "rankwire-served-by" not in pair.us.call("PUT", "/v1/boards/moved", {}).headers
    reply = pair.eu.call("PUT", "/v1/boards/moved", {})
    assert (reply.status, reply.headers["rankwire-served-by"]) == (200, "us")
    reply = pair.us.call("POST", "/v1/regions/failback")
    assert reply.status == 200, reply
    until(lambda: _primary(pair.us) == "eu", "the old primary")
    until(lambda: pair.eu.get("/v1/regions").json()["may_name"], "a primary that may act")
    reply = pair.us.call("PUT", "/v1/boards/moved", {})
    assert (reply.status, reply.headers["rankwire-served-by"]) == (200, "eu")
