"""Three regions hold the same boards: what is promised of writes, levels and reads."""

from __future__ import annotations

import secrets
from typing import Any, Final

from cluster_books import PROBE
from fix_regions import Region, Regions, in_session
from fix_server import Reply, until

_POLICIES: Final = ("best", "last", "sum")
_PROBLEM: Final = "urn:rankwire:problem:"


def _name() -> str:
    """A name that no other test has, of a member or a board."""
    return f"t-{secrets.token_hex(4)}"


def _at(region: Region, board: str, member: str, score: float, level: str, ms: int = 5000) -> Reply:
    """Submit a score with a level."""
    path = f"/v1/boards/{board}/scores?level={level}&timeout_ms={ms}"
    return region.server.call("POST", path, {"member": member, "score": score})


def _sync(reply: Reply) -> dict[str, Any]:
    return dict(reply.json()["sync"])


def _of(sync: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [row for row in sync["regions"] if row["region"] == name]
    return dict(found)


# Replication.


def test_what_is_written_in_each_region_is_in_all(three: Regions) -> None:
    boards = {policy: _name() for policy in _POLICIES}
    for policy, board in boards.items():
        three["eu"].server.create(board, policy=policy)
    three.until_level()
    for place, region in enumerate(three, start=1):
        for policy, board in boards.items():
            assert region.server.submit(board, "all", 10 * place).status == 200
            assert region.server.submit(board, region.name, place).status == 200
            three.until_level()
            assert region.server.submit(board, f"{policy}-gone", 1).status == 200
            path = f"/v1/boards/{board}/members/{policy}-gone"
            assert region.server.call("DELETE", path).status == 204
    three.until_level()
    own = {"eu": 1, "us": 2, "ap": 3}
    for region in three:
        scores = {policy: region.server.scores(board) for policy, board in boards.items()}
        assert scores == {
            "best": {"all": 30, **own},
            "last": {"all": 30, **own},
            "sum": {"all": 60, **own},
        }


def test_a_board_is_created_and_deleted_from_any_region(three: Regions) -> None:
    board = _name()
    assert three["us"].server.call("PUT", f"/v1/boards/{board}", {"policy": "sum"}).status == 201
    # Whoever was told so can go on there at once.
    assert three["us"].server.submit(board, "m", 1).status == 200
    three.until_level()
    assert three["ap"].server.call("PUT", f"/v1/boards/{board}", {"policy": "sum"}).status == 200
    assert three["ap"].server.call("PUT", f"/v1/boards/{board}", {"policy": "last"}).status == 409
    assert three["ap"].server.call("DELETE", f"/v1/boards/{board}").status == 204
    assert three["ap"].server.get(f"/v1/boards/{board}").status == 404
    three.until_level()
    assert all(region.server.get(f"/v1/boards/{board}").status == 404 for region in three)


def test_one_name_is_one_board_however_many_create_it(three: Regions) -> None:
    board = _name()
    statuses = [
        region.server.call("PUT", f"/v1/boards/{board}", {"policy": "sum"}).status
        for region in three
    ]
    assert sorted(statuses) == [200, 200, 201]
    three.until_level()
    ids = {region.node.digest()[1][board][0] for region in three}
    assert len(ids) == 1


def test_a_region_that_is_cut_off_goes_on_and_catches_up(three: Regions) -> None:
    member = _name()
    three.part("us")
    for region in three:
        assert region.server.submit(PROBE, member, 1).status == 200
    three["ap"].until_has(PROBE, member, 2)
    assert three["us"].has(PROBE, member, 1)
    three.heal()
    for region in three:
        region.until_has(PROBE, member, 3)


def test_data_flow_round_a_cut(three: Regions) -> None:
    member = _name()
    three.part("eu", "us")
    assert three["eu"].server.submit(PROBE, member, 1).status == 200
    three["us"].until_has(PROBE, member, 1)
    assert three["us"].server.submit(PROBE, member, 2).status == 200
    three["eu"].until_has(PROBE, member, 3)


def test_a_network_that_is_cut_one_way_heals(three: Regions) -> None:
    member = _name()
    three.cut("eu", "us")
    three.cut("eu", "ap")
    assert three["eu"].server.submit(PROBE, member, 1).status == 200
    assert three["us"].server.submit(PROBE, member, 2).status == 200
    three["ap"].until_has(PROBE, member, 2)
    three.heal()
    for region in three:
        region.until_has(PROBE, member, 3)


def test_a_removal_is_not_undone_by_what_comes_late(three: Regions) -> None:
    board, member = "gone", _name()
    assert three["us"].server.submit(board, member, 5).status == 200
    three.until_level()
    three.part("us")
    path = f"/v1/boards/{board}/members/{member}"
    assert three["eu"].server.call("DELETE", path).status == 204
    # It was written by someone who did not know of the removal.
    assert three["us"].server.submit(board, member, 6).status == 200
    three.heal()
    for region in three:
        region.until_has(board, member, None)


def test_a_key_counts_once_in_all_regions(three: Regions) -> None:
    member, key = _name(), {"idempotency-key": secrets.token_hex(8)}
    path, body = f"/v1/boards/{PROBE}/scores", {"member": member, "score": 7}
    first = three["us"].server.call("POST", path, body, key)
    three.until_level()
    again = three["ap"].server.call("POST", path, body, key)
    assert (first.status, again.status) == (200, 200)
    assert again.json()["score"] == first.json()["score"] == 7
    three.until_level()
    assert all(region.has(PROBE, member, 7) for region in three)


# Levels.


def test_a_level_is_reached_when_all_is_well(three: Regions) -> None:
    for level, achieved in {"all": "all", "quorum": "quorum", "any(2)": "any(2)"}.items():
        reply = _at(three["us"], PROBE, _name(), 1, level)
        assert reply.status == 200
        sync = _sync(reply)
        assert sync["requested"] == level
        rows = [row["status"] for row in sync["regions"]]
        assert rows.count("acknowledged") + 1 >= {"all": 3}.get(achieved, 2)
        assert sync["primary"]["region"] == "us"
        assert sync["primary"]["status"] == "committed"


def test_a_level_is_never_more_than_what_was_acknowledged(three: Regions) -> None:
    three.part("us")
    member = _name()
    reply = _at(three["eu"], PROBE, member, 1, "all", ms=500)
    assert reply.status == 202
    assert _sync(reply)["achieved"] in {"quorum", "any(2)", "local"}
    assert _of(_sync(reply), "us")["status"] != "acknowledged"
    assert _at(three["eu"], PROBE, member, 1, "quorum").status == 200
    assert three["ap"].has(PROBE, member, 2)
    alone = _at(three["us"], PROBE, member, 1, "quorum", ms=500)
    assert alone.status == 202
    assert _sync(alone)["achieved"] == "local"
    assert _sync(alone)["consistency"]["fraction"] < 1
    # It is committed all the same.
    three.heal()
    for region in three:
        region.until_has(PROBE, member, 3)


def test_a_level_says_what_is_there_when_it_answers(three: Regions) -> None:
    for amount in range(1, 11):
        member = _name()
        assert _at(three["ap"], PROBE, member, amount, "all").status == 200
        rows = {region.name: region.kept_score(PROBE, member) for region in three}
        assert rows == dict.fromkeys(three.names, amount)


# Reads.


def test_a_session_sees_its_writes_in_every_region(three: Regions) -> None:
    member, token = _name(), "new"
    path = f"/v1/boards/{PROBE}/members/{member}"
    for amount in range(1, 10):
        region = three[three.names[amount % 3]]
        body = {"member": member, "score": 1}
        scores = f"/v1/boards/{PROBE}/scores"
        reply, token = in_session(region.server, scores, token, method="POST", body=body)
        assert reply.status == 200
        for other in three:
            reply, token = in_session(other.server, path, token)
            assert reply.status == 200
            assert reply.json()["score"] == amount


def test_a_session_is_refused_rather_than_shown_the_past(three: Regions) -> None:
    member = _name()
    path = f"/v1/boards/{PROBE}/members/{member}"
    assert three["eu"].server.submit(PROBE, member, 1).status == 200
    three.until_level()
    three.part("us")
    assert three["eu"].server.submit(PROBE, member, 1).status == 200
    reply, token = in_session(three["eu"].server, path)
    assert reply.json()["score"] == 2
    refused, same = in_session(three["us"].server, path, token)
    assert refused.status == 503
    assert refused.json()["type"] == f"{_PROBLEM}not-there-yet"
    assert int(refused.headers["retry-after"]) >= 1
    assert three["us"].has(PROBE, member, 1)
    three.heal()
    until(
        lambda: in_session(three["us"].server, path, same)[0].status == 200,
        "a session that goes on",
    )
    assert three["us"].has(PROBE, member, 2)


def test_a_bounded_read_is_refused_when_a_region_is_unheard_of(three: Regions) -> None:
    path = f"/v1/boards/{PROBE}/top?consistency=bounded&max_staleness_ms=3000&timeout_ms=100"
    server = three["us"].server
    until(lambda: server.get(path).status == 200, "a read that is fresh enough")
    three.part("us", "ap")
    three.part("us", "eu")
    until(lambda: server.get(path).status == 503, "a read that is too stale")
    refused = server.get(path)
    assert (refused.status, refused.json()["type"]) == (503, f"{_PROBLEM}too-stale")
    assert server.get(f"/v1/boards/{PROBE}/top").status == 200


# Health.


def test_an_operator_takes_a_region_out_and_in(three: Regions) -> None:
    server = three["us"].server
    assert server.get("/health").status == 200
    assert server.call("PUT", "/v1/regions/out", {"reason": "works on the roof"}).status == 204
    try:
        until(lambda: server.get("/health").status == 503, "a region that is out")
        health = server.get("/health").json()
        assert health["status"] == "fail"
        assert "works on the roof" in str(health["checks"])
        assert three["us"].status()["out_reason"] == "works on the roof"
        # It serves whoever still comes.
        assert server.submit(PROBE, _name(), 1).status == 200
        assert three["eu"].server.get("/health").status == 200
    finally:
        assert server.call("DELETE", "/v1/regions/out").status == 204
    until(lambda: server.get("/health").status == 200, "a region that is in")
