"""Every endpoint's good path, word for word."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from fix_api import Client
from rankwire import model

BOARD = "/v1/boards/season-1"
CONFIG = {
    "score": "int64",
    "order": "desc",
    "policy": "best",
    "ties": "first",
    "player_submits": False,
}


async def _board(api: Client, config: dict[str, str] | None = None) -> None:
    body = msgspec.json.encode(config or {})
    assert (await api.call("PUT", BOARD, body, "application/json")).status == 201


async def _filled(api: Client) -> None:
    """Three members: ada 30, grace 20, alan 10, at version 3."""
    await _board(api)
    for member, score in (("ada", 30), ("grace", 20), ("alan", 10)):
        await api.post(f"{BOARD}/scores", {"member": member, "score": score})


def _page(*entries: tuple[int, str, int], version: int = 3) -> dict[str, Any]:
    rows = [{"rank": rank, "member": member, "score": score} for rank, member, score in entries]
    return {"board": "season-1", "version": version, "total": 3, "entries": rows}


async def test_boards_are_created_described_listed_and_deleted(api: Client) -> None:
    created = await api.call("PUT", BOARD)
    described = {"board": "season-1", **CONFIG, "version": 0, "total": 0}
    assert (created.status, created.json) == (201, described)
    assert created.headers == {"content-type": "application/json"}

    again = await api.call("PUT", BOARD, msgspec.json.encode(CONFIG), "application/json")
    assert (again.status, again.json) == (200, described)
    read = await api.get(BOARD)
    assert (read.status, read.json) == (200, described)
    assert (await api.get("/v1/boards")).json == {"boards": [described], "next": None}

    deleted = await api.call("DELETE", BOARD)
    assert (deleted.status, deleted.body) == (204, b"")
    assert (await api.get(BOARD)).status == 404
    assert (await api.get("/v1/boards")).json == {"boards": [], "next": None}


async def test_every_configuration_is_kept(api: Client) -> None:
    config = {
        "score": "float64",
        "order": "asc",
        "policy": "sum",
        "ties": "member",
        "player_submits": True,
    }
    body = msgspec.msgpack.encode(config)
    created = (await api.call("PUT", BOARD, body, "application/msgpack")).json
    assert created == {"board": "season-1", **config, "version": 0, "total": 0}


async def test_boards_are_listed_in_pages(api: Client) -> None:
    for name in "cab":
        await api.call("PUT", f"/v1/boards/{name}")
    first = (await api.get("/v1/boards?limit=2")).json
    assert [board["board"] for board in first["boards"]] == ["a", "b"]
    assert first["next"] == "b"
    rest = (await api.get(f"/v1/boards?limit=2&after={first['next']}")).json
    assert [board["board"] for board in rest["boards"]] == ["c"]
    assert rest["next"] is None


async def test_a_submit_is_answered_with_its_receipt(api: Client) -> None:
    await _board(api)
    first = await api.post(f"{BOARD}/scores", {"member": "ada", "score": 10})
    assert (first.status, first.json) == (
        200,
        {
            "board": "season-1",
            "member": "ada",
            "score": 10,
            "rank": 1,
            "previous_score": None,
            "previous_rank": None,
            "changed": True,
            "version": 1,
        },
    )
    worse = await api.post(f"{BOARD}/scores", {"member": "ada", "score": 9})
    assert worse.json == first.json | {
        "previous_score": 10,
        "previous_rank": 1,
        "changed": False,
    }


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'],
)
async def test_json_comes_under_several_names(api: Client, content_type: str) -> None:
    await _board(api)
    answer = await api.call("POST", f"{BOARD}/scores", b'{"member":"ada","score":1}', content_type)
    assert answer.json["score"] == 1


@pytest.mark.parametrize(
    "content_type", ["application/msgpack", "application/x-msgpack", "application/vnd.msgpack"]
)
async def test_messagepack_comes_under_several_names(api: Client, content_type: str) -> None:
    await _board(api)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    item = {"member": "ada", "score": 5, "at": at}
    for path, value in (("scores", item), ("scores:batch", [item])):
        body = msgspec.msgpack.encode(value)
        assert (await api.call("POST", f"{BOARD}/{path}", body, content_type)).status == 200


async def test_a_body_without_a_type_is_json(api: Client) -> None:
    await _board(api)
    answer = await api.call("POST", f"{BOARD}/scores", b'{"member":"ada","score":1}')
    assert answer.json["rank"] == 1


async def test_a_body_may_come_in_pieces(api: Client) -> None:
    await _board(api)
    headers = {"content-type": "application/json", "content-length": "26"}
    chunks = [b'{"member"', b':"ada","sco', b're":1}']
    answer = await api.send("POST", f"{BOARD}/scores", chunks, headers)
    assert answer is not None
    assert answer.json["rank"] == 1


async def test_who_hangs_up_changes_nothing(api: Client) -> None:
    await _board(api)
    headers = {"content-type": "application/json", "content-length": "26"}
    for path in ("scores", "scores:batch"):
        answer = await api.send("POST", f"{BOARD}/{path}", [b'{"member"'], headers, hang_up=True)
        assert answer is None
    assert (await api.get(BOARD)).json["version"] == 0


async def test_times_decide_ties(api: Client) -> None:
    await _board(api)
    times = {"late": "2026-01-01T10:00:00+01:00", "early": "2026-01-01T08:59:59.999Z"}
    for member, at in times.items():
        await api.post(f"{BOARD}/scores", {"member": member, "score": 1, "at": at})
    entries = (await api.get(f"{BOARD}/top")).json["entries"]
    assert [entry["member"] for entry in entries] == ["early", "late"]


BATCH: list[dict[str, object]] = [
    {"member": "ada", "score": 30},
    {"member": "grace", "score": 20, "at": "2026-01-01T00:00:00Z"},
    {"member": "ada", "score": 5},
]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", msgspec.json.encode(BATCH)),
        ("application/msgpack", msgspec.msgpack.encode(BATCH)),
        ("application/x-ndjson", msgspec.json.Encoder().encode_lines(BATCH)),
        ("application/x-ndjson", b"\r\n\n".join(map(msgspec.json.encode, BATCH))),
    ],
)
async def test_a_batch_is_taken_as_a_whole(api: Client, content_type: str, body: bytes) -> None:
    await _board(api)
    answer = await api.call("POST", f"{BOARD}/scores:batch", body, content_type)
    assert answer.status == 200
    receipt = answer.json
    assert receipt.pop("version") > 0
    assert receipt == {"board": "season-1", "submitted": 3, "changed": 2}
    entries = (await api.get(f"{BOARD}/top")).json["entries"]
    assert [(entry["member"], entry["score"]) for entry in entries] == [("ada", 30), ("grace", 20)]


async def test_the_top_comes_in_pages(api: Client) -> None:
    await _filled(api)
    top = await api.get(f"{BOARD}/top")
    assert (top.status, top.json) == (
        200,
        _page((1, "ada", 30), (2, "grace", 20), (3, "alan", 10)),
    )
    assert (await api.get(f"{BOARD}/top?limit=1&offset=1")).json == _page((2, "grace", 20))
    assert (await api.get(f"{BOARD}/top?offset=3")).json == _page()


async def test_a_known_version_is_not_sent_again(api: Client) -> None:
    await _filled(api)
    top = await api.get(f"{BOARD}/top")
    etag = top.headers["etag"]
    origin = api.writer.engine.origin
    assert etag.startswith(f'"{origin:x}.')
    assert etag.endswith('.3"')
    assert top.headers["cache-control"] == "no-cache"
    for known in (etag, f"W/{etag}", f'"other" , {etag}', "*"):
        answer = await api.get(f"{BOARD}/top", {"if-none-match": known})
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers == {"etag": etag, "cache-control": "no-cache"}
    for other in ('"other"', etag.replace(".3", ".2"), etag.strip('"')):
        assert (await api.get(f"{BOARD}/top", {"if-none-match": other})).status == 200

    await api.post(f"{BOARD}/scores", {"member": "alan", "score": 40})
    moved = await api.get(f"{BOARD}/top", {"if-none-match": etag})
    assert (moved.status, moved.json["version"]) == (200, 4)


async def test_a_board_made_anew_has_other_versions(api: Client) -> None:
    await _board(api)
    etag = (await api.get(f"{BOARD}/top")).headers["etag"]
    await api.call("DELETE", BOARD)
    await _board(api)
    assert (await api.get(f"{BOARD}/top")).headers["etag"] != etag


async def test_a_member_has_a_standing_and_neighbours(api: Client) -> None:
    await _filled(api)
    standing = await api.get(f"{BOARD}/members/grace")
    assert (standing.status, standing.json) == (
        200,
        {
            "board": "season-1",
            "version": 3,
            "member": "grace",
            "score": 20,
            "rank": 2,
            "total": 3,
        },
    )
    around = await api.get(f"{BOARD}/members/alan/around?radius=1")
    assert around.json == _page((2, "grace", 20), (3, "alan", 10))
    everyone = (await api.get(f"{BOARD}/top")).json
    assert (await api.get(f"{BOARD}/members/grace/around")).json == everyone


async def test_a_member_is_removed(api: Client) -> None:
    await _filled(api)
    removed = await api.call("DELETE", f"{BOARD}/members/ada")
    assert (removed.status, removed.body) == (204, b"")
    assert (await api.get(f"{BOARD}/members/ada")).status == 404
    assert (await api.get(f"{BOARD}/members/grace")).json["rank"] == 1


async def test_standings_of_named_members(api: Client) -> None:
    await _filled(api)
    answer = await api.post(f"{BOARD}/standings", {"members": ["alan", "zoe", "ada", "alan"]})
    assert answer.json == _page((1, "ada", 30), (3, "alan", 10)) | {"missing": ["zoe"]}


@pytest.mark.parametrize(
    ("query", "count"),
    [("", 3), ("?min=20", 2), ("?max=20", 2), ("?min=11&max=20", 1), ("?min=30&max=10", 0)],
)
async def test_scores_are_counted(api: Client, query: str, count: int) -> None:
    await _filled(api)
    answer = await api.get(f"{BOARD}/count{query}")
    assert answer.json == {"board": "season-1", "version": 3, "count": count, "total": 3}


async def test_float_scores_are_counted_and_kept(api: Client) -> None:
    await _board(api, {"score": "float64", "order": "asc"})
    for member, score in (("ada", 0.1), ("grace", 2)):
        await api.post(f"{BOARD}/scores", {"member": member, "score": score})
    assert (await api.get(f"{BOARD}/count?min=1e-1&max=1.5")).json["count"] == 1
    entries = (await api.get(f"{BOARD}/top")).json["entries"]
    assert [entry["score"] for entry in entries] == [0.1, 2.0]


async def test_the_ends_of_the_range_are_scores(api: Client) -> None:
    await _board(api)
    for member, score in (("most", 2**63 - 1), ("least", -(2**63))):
        await api.post(f"{BOARD}/scores", {"member": member, "score": score})
    entries = (await api.get(f"{BOARD}/top")).json["entries"]
    assert [entry["score"] for entry in entries] == [2**63 - 1, -(2**63)]


async def test_the_server_tells_how_it_is(api: Client) -> None:
    assert (await api.get("/healthz")).json == {"status": "ok"}
    assert (await api.get("/readyz")).json == {"status": "ready"}


async def test_answers_are_what_the_model_says(api: Client) -> None:
    await _filled(api)
    submit = await api.post(f"{BOARD}/scores", {"member": "zoe", "score": 1})
    batch = await api.post(f"{BOARD}/scores:batch", BATCH)
    answers: list[tuple[bytes, Any]] = [
        (submit.body, model.Receipt),
        (batch.body, model.BatchReceipt),
        ((await api.get("/v1/boards")).body, model.Boards),
        ((await api.get(BOARD)).body, model.Board),
        ((await api.get(f"{BOARD}/top")).body, model.Page),
        ((await api.get(f"{BOARD}/members/ada")).body, model.Standing),
        ((await api.post(f"{BOARD}/standings", {"members": ["a"]})).body, model.Standings),
        ((await api.get(f"{BOARD}/count")).body, model.Count),
    ]
    for body, kind in answers:
        decoded = msgspec.json.decode(body, type=kind)
        # Nothing is left out and nothing is added.
        assert msgspec.to_builtins(decoded) == msgspec.json.decode(body)
