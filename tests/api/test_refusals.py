"""Refusals beyond the table: methods, sizes, lines of a batch, and how much they quote."""

from __future__ import annotations

import pytest

from fix_api import BOARD, JSON, MAX_BODY_BYTES, Client, check_problem, everything, prepared

SCORES = f"{BOARD}/scores"
BATCH = f"{BOARD}/scores:batch"
NDJSON = "application/x-ndjson"
GOOD = b'{"member":"zoe","score":1}'


@pytest.mark.parametrize(
    "body",
    [
        GOOD + b"\n\n\n" + b'{"member":"zoe","score":"x"}',
        b"\n\n\n" + b'{"member":"zoe","score":0.5}',
    ],
)
async def test_an_error_in_a_line_names_the_line(api: Client, body: bytes) -> None:
    await prepared(api)
    answer = await api.call("POST", BATCH, body, NDJSON)
    assert answer.json["detail"].startswith("line 4: ")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/v1/boards", "GET, HEAD"),
        ("PATCH", BOARD, "DELETE, GET, HEAD, PUT"),
        ("GET", SCORES, "POST"),
        ("HEAD", SCORES, "POST"),
        ("OPTIONS", BATCH, "POST"),
        ("QUERY", f"{BOARD}/top", "GET, HEAD"),
        ("TRACE", f"{BOARD}/members/ada", "DELETE, GET, HEAD"),
        ("POST", "/metrics", "GET, HEAD"),
    ],
)
async def test_methods_that_are_not_served(api: Client, method: str, path: str, allow: str) -> None:
    before = await prepared(api)
    answer = await api.call(method, path)
    assert (answer.status, answer.headers["allow"]) == (405, allow)
    check_problem(answer, path, 405, "method-not-allowed", None)
    assert await everything(api) == before


async def test_a_length_over_the_limit_is_refused_unread(api: Client) -> None:
    await prepared(api)
    limits = {SCORES: 16_384, BATCH: MAX_BODY_BYTES}
    for path, limit in limits.items():
        headers = {"content-type": JSON, "content-length": str(limit + 1)}
        # The client would hang up when read from, so an answer shows that it was not.
        answer = await api.send("POST", path, [GOOD], headers, hang_up=True)
        assert answer is not None
        check_problem(answer, path, 413, "too-large", None)


async def test_encoded_bodies_are_refused(api: Client) -> None:
    await prepared(api)
    headers = {"content-type": JSON, "content-length": "26", "content-encoding": "gzip"}
    answer = await api.send("POST", SCORES, [GOOD], headers)
    assert answer is not None
    check_problem(answer, SCORES, 415, "unsupported-media-type", None)


async def test_refusals_quote_little(api: Client) -> None:
    await prepared(api)
    long = "x" * 10_000
    answers = [
        await api.get(f"{BOARD}/members/{long}"),
        await api.get(f"/v1/boards/{long}"),
        await api.get(f"{BOARD}/top?{long}=1"),
        await api.call("POST", SCORES, f'{{"{long}":1}}'.encode(), JSON),
        await api.call("PUT", "/v1/boards/c", f'{{"order":"{long}"}}'.encode(), JSON),
        await api.get(f"/{long}"),
    ]
    for answer in answers:
        assert answer.status >= 400
        assert len(answer.body) < 800


@pytest.mark.parametrize("path", ["top", "members/ada", "count?min=1", "nope"])
async def test_head_is_get_without_its_body(api: Client, path: str) -> None:
    """The server strips the body; the app gives the same answer."""
    await prepared(api)
    head = await api.call("HEAD", f"{BOARD}/{path}")
    get = await api.get(f"{BOARD}/{path}")
    assert (head.status, head.headers) == (get.status, get.headers)
