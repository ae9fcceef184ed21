"""Digests of all boards over HTTP: what is equal has equal ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fix_api import JSON, Client, running_api


async def _digest(api: Client) -> Any:
    answer = await api.get("/v1/digest")
    assert answer.status == 200
    return answer.json


async def test_it_tells_what_the_engine_holds(api: Client) -> None:
    assert await _digest(api) == {"vector": {}, "boards": []}
    await api.call("PUT", "/v1/boards/b")
    await api.call("PUT", "/v1/boards/a")
    for score in (1, 2):
        await api.post("/v1/boards/b/scores", {"member": "ada", "score": score})
    found = await _digest(api)
    engine = api.writer.engine
    assert found["vector"] == {str(engine.origin): 4}
    assert [board["board"] for board in found["boards"]] == ["a", "b"]
    for board in found["boards"]:
        assert int(board["id"], 16) == engine.board_id(board["board"])
    assert [(board["version"], board["total"]) for board in found["boards"]] == [(0, 0), (2, 1)]


async def test_contents_make_it_and_a_restart_does_not_change_it(tmp_path: Path) -> None:
    at = "2026-01-01T00:00:00Z"
    body = f'{{"member":"ada","score":1,"at":"{at}"}}'.encode()
    async with running_api(tmp_path / "data") as api:
        await api.call("PUT", "/v1/boards/b")
        (empty,) = (await _digest(api))["boards"]
        await api.call("POST", "/v1/boards/b/scores", body, JSON)
        (one,) = (await _digest(api))["boards"]
        await api.call("DELETE", "/v1/boards/b/members/ada")
        (gone,) = (await _digest(api))["boards"]
        assert one["digest"] != empty["digest"] == gone["digest"]
        await api.call("POST", "/v1/boards/b/scores", body, JSON)
        before = await _digest(api)
        (again,) = before["boards"]
        assert (again["digest"], again["total"]) == (one["digest"], 1)
    async with running_api(tmp_path / "data") as api:
        after = await _digest(api)
        assert after["boards"] == before["boards"]
