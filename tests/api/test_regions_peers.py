"""What regions ask of each other: who may, what is read, and what at most."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import Message

from fix_access import ALL_SCOPES, bearer, known
from fix_api import Answer, check_problem
from rankwire.api.peers import PEER_ROUTES, PeerEndpoint, PeerRoute
from rankwire.ops.metrics import Requests
from rankwire.storage import StorageError
from rankwire.sync.regions.compare_wire import OutlineRequest, StatesRequest
from rankwire.sync.regions.errors import NotAPeerError, TooManyError
from rankwire.sync.regions.wire import (
    MOST_ORIGINS,
    REQUEST_BYTES,
    PullRequest,
    decode,
    encode,
)

SECRET = "a secret of thirty-two characters".replace(" ", "-")
LIMIT = 64 * 1024
PATH = "/v1/regions/pull"


class Door:
    """One of the endpoints, and how much it has read of a request."""

    def __init__(
        self, handler: Callable[[bytes], Awaitable[bytes]] | None, secret: str = SECRET
    ) -> None:
        handlers = None if handler is None else {"pull": handler}
        self._app = PeerEndpoint(PeerRoute("pull", LIMIT), handlers, secret, Requests())
        self.read = 0

    async def send(self, body: bytes, headers: dict[str, str] | None = None) -> Answer:
        """Send a body in one piece, by default with the secret and its length."""
        shown = {"content-length": str(len(body)), **bearer(SECRET), **(headers or {})}
        scope = {
            "raw_path": PATH.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in shown.items()],
        }
        sent: list[Message] = []

        async def receive() -> Message:
            self.read += 1
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        start, end = sent
        names = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], names, end["body"])


async def _twice(body: bytes) -> bytes:
    return body * 2


async def test_whoever_does_not_show_the_secret_is_refused_and_nothing_is_read() -> None:
    people = known()
    others = [
        {"authorization": ""},
        {"authorization": "Bearer "},
        {"authorization": f"Bearer {SECRET[:-1]}"},
        {"authorization": f"Bearer {SECRET}x"},
        {"authorization": f"Bearer {SECRET.upper()}"},
        {"authorization": f"Basic {SECRET}"},
        {"authorization": SECRET},
        {"authorization": "Bearer é\xff"},
        {"authorization": "Bearer", "x-api-key": SECRET},
        bearer(people.key(*ALL_SCOPES)),
        bearer(people.signer.token()),
    ]
    for headers in others:
        door = Door(_twice)
        answer = await door.send(b"x", headers)
        check_problem(answer, PATH, 401, "unauthorized", None)
        assert SECRET.encode() not in answer.body
        assert door.read == 0


async def test_an_empty_secret_lets_nobody_in() -> None:
    door = Door(_twice, secret="")
    answer = await door.send(b"x", {"authorization": "Bearer "})
    check_problem(answer, PATH, 401, "unauthorized", None)


async def test_without_regions_nobody_is_asked_for_the_secret() -> None:
    door = Door(None)
    check_problem(await door.send(b"x"), PATH, 404, "regions-off", None)
    assert door.read == 0


async def test_bodies_go_through_as_they_are_or_deflated() -> None:
    for size in (0, 10, 1000, 20_000):
        body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        for encoding, sent in (("identity", body), ("deflate", zlib.compress(body, 9))):
            answer = await Door(_twice).send(sent, {"content-encoding": encoding})
            assert (answer.status, answer.headers["content-type"]) == (200, "application/msgpack")
            is_deflated = answer.headers.get("content-encoding") == "deflate"
            assert is_deflated == (2 * size >= 1024)
            got = zlib.decompress(answer.body) if is_deflated else answer.body
            assert got == body * 2


@pytest.mark.parametrize("is_announced", [True, False])
async def test_a_body_that_is_too_large_is_refused(is_announced: bool) -> None:
    door = Door(_twice)
    answer = await door.send(b"x" * (LIMIT + 1), {} if is_announced else {"content-length": ""})
    check_problem(answer, PATH, 413, "too-large", None)
    assert door.read == (0 if is_announced else 1)
    assert (await Door(_twice).send(b"x" * LIMIT)).status == 200


async def test_a_body_is_bounded_also_after_it_is_inflated() -> None:
    for size, status in ((LIMIT, 200), (LIMIT + 1, 413), (1000 * LIMIT, 413)):
        bomb = zlib.compress(b"0" * size, 9)
        # So small that it is within the limit before.
        assert len(bomb) <= LIMIT
        assert (await Door(_twice).send(bomb, {"content-encoding": "deflate"})).status == status


async def test_a_body_that_cannot_be_inflated_is_malformed() -> None:
    deflated = zlib.compress(b"x" * 1000)
    for body in (b"", b"x", deflated[:-1], b"x" + deflated, b"\0" * 20_000):
        answer = await Door(_twice).send(body, {"content-encoding": "deflate"})
        check_problem(answer, PATH, 400, "malformed", None)
    answer = await Door(_twice).send(b"x", {"content-encoding": "gzip"})
    check_problem(answer, PATH, 415, "unsupported-media-type", None)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ValueError("no message"), 400, "malformed"),
        (NotAPeerError("xx is no peer"), 403, "forbidden"),
        (TooManyError("too many wait"), 503, "busy"),
        (StorageError("away"), 503, "unavailable"),
    ],
)
async def test_what_a_handler_refuses_is_a_problem(error: Any, status: int, kind: str) -> None:
    async def refuse(_: bytes) -> bytes:
        raise error

    answer = await Door(refuse).send(b"x")
    check_problem(answer, PATH, status, kind, None)
    assert answer.json["detail"] == str(error)
    assert ("retry-after" in answer.headers) == (status == 503)


async def test_a_body_that_is_nested_too_deeply_is_malformed() -> None:
    async def pull(body: bytes) -> bytes:
        return bytes(decode(body, PullRequest).epoch)

    unknown_field = b"\x81\xa1z" + b"\x91" * (LIMIT // 2)
    check_problem(await Door(pull).send(unknown_field), PATH, 400, "malformed", None)


def test_the_largest_requests_that_are_well_formed_fit() -> None:
    vector = {2**63 - 1 - number: 2**63 - 1 for number in range(MOST_ORIGINS)}
    pull = PullRequest(
        region="u" * 63, vector=vector, direct=[], wait_ms=500, epoch=1, primary="", open=[*vector]
    )
    states = StatesRequest(2**63 - 1, ["\U0001f600" * 255] * 1000, vector, 5000)
    for request in (pull, states, OutlineRequest(None, bytes(2**20))):
        assert 2**20 < len(encode(request)) <= REQUEST_BYTES
        assert decode(encode(request), type(request)) == request


def test_only_repairs_may_be_large() -> None:
    limits = {route.handler: route.limit for route in PEER_ROUTES}
    assert limits.pop("repair") == 16 * 1024**2
    assert set(limits.values()) == {REQUEST_BYTES}
    assert {"pull", "await", "promise", "outline", "states", "keys", "profiles"} == set(limits)
