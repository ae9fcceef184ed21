"""A server that is in no region: it does what holds anyway, and refuses to promise more."""

from __future__ import annotations

import msgspec
import pytest

from fix_api import BOARD, JSON, Client, check_problem, everything, prepared

SUBMIT = b'{"member":"ada","score":40}'


@pytest.mark.parametrize("level", ["quorum", "all", "any(1)", "any(2)"])
async def test_a_level_needs_regions(api: Client, level: str) -> None:
    before = await prepared(api)
    for method, path, body in (
        ("POST", f"{BOARD}/scores", SUBMIT),
        ("POST", f"{BOARD}/scores:batch", b"[" + SUBMIT + b"]"),
        ("DELETE", f"{BOARD}/members/ada", b""),
    ):
        answer = await api.call(method, f"{path}?level={level}", body, JSON)
        check_problem(answer, path, 404, "regions-off", "level")
    assert await everything(api) == before


@pytest.mark.parametrize("level", ["", "most", "any(0)", "any(x)", "any(100)"])
async def test_a_level_that_is_none_is_named_with_those_that_are(api: Client, level: str) -> None:
    path = f"{BOARD}/scores"
    answer = await api.call("POST", f"{path}?level={level}", SUBMIT, JSON)
    check_problem(answer, path, 422, "invalid", "level")
    assert "allowed is local, quorum, all or any(K)" in answer.json["detail"]


async def test_what_operators_send_is_checked_before_it_is_refused(api: Client) -> None:
    path = "/v1/regions/out"
    for reason in ("", " ", "a\0b", "a\nb", "\x1b[31mred", "\u202eback", "x" * 201):
        body = msgspec.json.encode({"reason": reason})
        check_problem(await api.call("PUT", path, body, JSON), path, 422, "invalid", "reason")
    path = "/v1/regions/verify"
    answer = await api.call("POST", path, b'{"boards":[]}', JSON)
    check_problem(answer, path, 422, "invalid", "boards")


async def test_here_is_always_local(api: Client) -> None:
    await prepared(api)
    answer = await api.call("POST", f"{BOARD}/scores?level=local&timeout_ms=5", SUBMIT, JSON)
    assert (answer.status, "sync" in answer.json) == (200, False)
    for path in ("/top", "/members/ada", "/members/ada/around", "/count", "", "/history"):
        assert (await api.get(f"{BOARD}{path}?consistency=local")).status == 200
        for other in ("bounded", "session"):
            answer = await api.get(f"{BOARD}{path}?consistency={other}")
            check_problem(answer, BOARD + path, 404, "regions-off", "consistency")


async def test_a_session_is_taken_no_notice_of(api: Client) -> None:
    await prepared(api)
    for path in ("/top", "/members/ada", ""):
        answer = await api.get(BOARD + path, {"rankwire-session": "anything"})
        assert (answer.status, "rankwire-session" in answer.headers) == (200, False)
