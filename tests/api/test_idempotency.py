"""Writes with a key: they count once, and a repeat is answered as the first time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import pytest

from fix_access import ALL_SCOPES, Known, bearer, known
from fix_api import BOARD, JSON, Answer, Client, check_problem, running_api
from rankwire.api.routes import OPERATIONS

MSGPACK: Final = "application/msgpack"
SUM: Final = {"policy": "sum"}
ONE: Final = {"member": "ada", "score": 5}
REPLAYED: Final = "idempotency-replayed"


class Write(NamedTuple):
    """A request that changes something, and that would fail or count again the next time."""

    method: str
    path: str
    body: object = None
    media: str = JSON

    async def send(self, api: Client, key: str | None, **headers: str) -> Answer:
        """Send it, with a key if there is one."""
        content = b""
        if self.body is not None:
            codec = msgspec.msgpack if self.media == MSGPACK else msgspec.json
            content = codec.encode(self.body)
            headers |= {"content-length": str(len(content)), "content-type": self.media}
        if key is not None:
            headers["idempotency-key"] = key
        answer = await api.send(self.method, self.path, [content], headers)
        assert answer is not None
        return answer


WRITES: Final = {
    "create_board": (201, Write("PUT", "/v1/boards/new", SUM)),
    "delete_board": (204, Write("DELETE", BOARD)),
    "submit": (200, Write("POST", f"{BOARD}/scores", ONE)),
    "submit past the lean path": (200, Write("POST", f"{BOARD}/scores", ONE, MSGPACK)),
    "submit_batch": (200, Write("POST", f"{BOARD}/scores:batch", [ONE, ONE])),
    "remove_member": (204, Write("DELETE", f"{BOARD}/members/ada")),
}
CREATE: Final = Write("PUT", BOARD, SUM)
SUBMIT: Final = WRITES["submit"][1]


@pytest.fixture
async def place(api: Client) -> Client:
    """Make a board that sums, with one member."""
    assert (await CREATE.send(api, None)).status == 201
    assert (await SUBMIT.send(api, None)).status == 200
    return api


async def _version(api: Client) -> int:
    version: int = (await api.get(BOARD)).json["version"]
    return version


async def _score(api: Client, member: str = "ada") -> int:
    score: int = (await api.get(f"{BOARD}/members/{member}")).json["score"]
    return score


def test_every_operation_that_changes_something_is_tried() -> None:
    others = {"profiles", "regions"}
    of_boards = [operation for operation in OPERATIONS if operation.tag not in others]
    keyed = {operation.name for operation in of_boards if operation.takes_key}
    assert keyed == {name.split()[0] for name in WRITES}
    assert keyed == {
        operation.name
        for operation in of_boards
        if operation.method != "GET" and operation.name != "standings"
    }


@pytest.mark.parametrize("name", WRITES)
async def test_a_repeat_is_answered_as_the_first_time(place: Client, name: str) -> None:
    status, write = WRITES[name]
    first = await write.send(place, "a")
    assert (first.status, REPLAYED in first.headers) == (status, False)
    boards = (await place.get("/v1/boards")).body
    for _ in range(2):
        again = await write.send(place, "a")
        assert (again.status, again.body) == (status, first.body)
        assert again.headers == first.headers | {REPLAYED: "true"}
    assert (await place.get("/v1/boards")).body == boards


@pytest.mark.parametrize("name", WRITES)
async def test_another_request_with_the_key_is_refused(place: Client, name: str) -> None:
    status, write = WRITES[name]
    other = Write("POST", "/v1/boards/other/scores:batch", [ONE])
    await Write("PUT", "/v1/boards/other").send(place, None)
    assert (await other.send(place, "b")).status == 200
    assert (await write.send(place, "a")).status == status
    before = (await place.get("/v1/boards")).body
    for request, key in ((other, "a"), (write, "b")):
        answer = await request.send(place, key)
        check_problem(answer, request.path, 422, "key-reused", "Idempotency-Key")
    assert (await place.get("/v1/boards")).body == before
    # The first answer stays what it was.
    assert (await write.send(place, "a")).status == status


@pytest.mark.parametrize(
    "other",
    [
        Write("POST", f"{BOARD}/scores", {**ONE, "score": 6}),
        Write("POST", f"{BOARD}/scores", {**ONE, "member": "bob"}),
        Write("POST", f"{BOARD}/scores", {**ONE, "at": "2020-01-01T00:00:00Z"}),
        Write("POST", f"{BOARD}/scores:batch", [ONE]),
        Write("DELETE", f"{BOARD}/members/ada"),
    ],
)
async def test_what_differs_in_anything_is_another_request(place: Client, other: Write) -> None:
    assert (await SUBMIT.send(place, "a")).status == 200
    version = await _version(place)
    check_problem(await other.send(place, "a"), other.path, 422, "key-reused", "Idempotency-Key")
    assert await _version(place) == version


async def test_the_same_may_be_written_differently(place: Client) -> None:
    first = await SUBMIT.send(place, "a")
    for again in (
        Write("POST", f"{BOARD}/scores", {"score": 5, "member": "ada"}, MSGPACK),
        Write("POST", "/v1/boards/%62/scores", {**ONE, "at": None}),
    ):
        answer = await again.send(place, '"a"')
        assert (answer.body, answer.headers[REPLAYED]) == (first.body, "true")
    assert await _score(place) == 10


async def test_the_answer_to_a_board_that_was_there_is_kept_too(place: Client) -> None:
    first = await CREATE.send(place, "a")
    assert first.status == 200
    await SUBMIT.send(place, None)
    again = await CREATE.send(place, "a")
    assert (again.status, again.body, again.headers[REPLAYED]) == (200, first.body, "true")
    # Gone meanwhile: the answer is that of then, and nothing is created.
    assert (await Write("DELETE", BOARD).send(place, None)).status == 204
    assert (await CREATE.send(place, "a")).body == first.body
    assert (await place.get(BOARD)).status == 404


async def test_a_repeat_is_answered_though_it_would_fail_by_now(place: Client) -> None:
    most = Write("POST", f"{BOARD}/scores", {"member": "max", "score": 2**63 - 1})
    first = await most.send(place, "a")
    assert (await most.send(place, None)).status == 422
    assert (await most.send(place, "a")).body == first.body
    assert (await Write("DELETE", BOARD).send(place, None)).status == 204
    again = await most.send(place, "a")
    assert (again.status, again.body) == (200, first.body)
    # Another request with the key is refused for that, whatever else is wrong with it.
    answer = await SUBMIT.send(place, "a")
    check_problem(answer, SUBMIT.path, 422, "key-reused", "Idempotency-Key")


async def test_a_refusal_is_not_remembered(place: Client) -> None:
    late = Write("POST", "/v1/boards/late/scores", ONE)
    assert (await late.send(place, "a")).status == 404
    assert (await late.send(place, "a")).status == 404
    assert (await Write("PUT", "/v1/boards/late").send(place, None)).status == 201
    answer = await late.send(place, "a")
    assert (answer.status, REPLAYED in answer.headers) == (200, False)
    # Nor does a refused request take the key away from another.
    assert (await Write("DELETE", "/v1/boards/none").send(place, "b")).status == 404
    assert (await SUBMIT.send(place, "b")).status == 200


async def test_many_at_once_count_once(place: Client) -> None:
    answers = await asyncio.gather(*(SUBMIT.send(place, "a") for _ in range(20)))
    assert {(answer.status, answer.body) for answer in answers} == {(200, answers[0].body)}
    assert sum(REPLAYED not in answer.headers for answer in answers) == 1
    assert await _score(place) == 10
    # Different ones are all counted, beside their repeats.
    answers = await asyncio.gather(*(SUBMIT.send(place, f"k{n % 10}") for n in range(20)))
    assert len({answer.body for answer in answers}) == 10
    assert await _score(place) == 60


GOOD: Final = ("x", " ", "~" * 128, 'a"b', '"', '"a', "a,b;c", "a\\", '"' + "x" * 128 + '"')
BAD: Final = ("", '""', "x" * 129, '"' + "x" * 129 + '"', "é", "a\tb", "a\x7f", '"\x1f"')


@pytest.mark.parametrize("write", [SUBMIT, WRITES["submit_batch"][1]], ids=["lean", "not lean"])
async def test_a_key_is_printable_text(place: Client, write: Write) -> None:
    for key in GOOD:
        before = await _version(place)
        first, again = await write.send(place, key), await write.send(place, key)
        assert (first.status, again.status) == (200, 200), key
        assert REPLAYED not in first.headers, key
        assert REPLAYED in again.headers, key
        assert await _version(place) > before
    before = await _version(place)
    for key in BAD:
        answer = await write.send(place, key)
        check_problem(answer, write.path, 422, "invalid", "Idempotency-Key")
    assert await _version(place) == before


@pytest.mark.parametrize("name", WRITES)
async def test_a_bad_key_is_refused_unread(place: Client, name: str) -> None:
    """The client would hang up when read from."""
    _, write = WRITES[name]
    headers = {"content-type": write.media, "content-length": "9", "idempotency-key": ""}
    answer = await place.send(write.method, write.path, [b"{"], headers, hang_up=True)
    assert answer is not None
    check_problem(answer, write.path, 422, "invalid", "Idempotency-Key")


@pytest.mark.parametrize("media", [JSON, MSGPACK])
async def test_two_keys_are_none(place: Client, media: str) -> None:
    codec = msgspec.json if media == JSON else msgspec.msgpack
    body = codec.encode(ONE)
    before = await _version(place)
    for keys in (("a", "a"), ("a", "b")):
        headers = [("content-type", media), ("content-length", str(len(body)))]
        headers += [("idempotency-key", key) for key in keys]
        answer = await place.send("POST", SUBMIT.path, [body], _Pairs(headers))
        assert answer is not None
        check_problem(answer, SUBMIT.path, 422, "invalid", "Idempotency-Key")
    assert await _version(place) == before


class _Pairs(dict[str, str]):
    """Headers of which some have the same name."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        super().__init__(pairs)
        self._pairs = pairs

    def items(self) -> Any:
        return self._pairs


async def test_reads_take_no_notice_of_a_key(place: Client) -> None:
    for key in ("a", ""):
        for _ in range(2):
            answer = await place.get(f"{BOARD}/top", {"idempotency-key": key})
            assert (answer.status, REPLAYED in answer.headers) == (200, False)
            answer = await Write("POST", f"{BOARD}/standings", {"members": ["ada"]}).send(
                place, key
            )
            assert (answer.status, REPLAYED in answer.headers) == (200, False)


class Place(NamedTuple):
    """A board that sums and takes scores from players, and who is known there."""

    api: Client
    known: Known


@pytest.fixture
async def guarded(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    people = known(**getattr(request, "param", {}))
    async with running_api(tmp_path / "data", access=people.access) as api:
        root = bearer(people.key(*ALL_SCOPES))
        created = await Write("PUT", BOARD, {**SUM, "player_submits": True}).send(api, None, **root)
        assert created.status == 201
        yield Place(api, people)


async def test_callers_never_meet_each_others_keys(guarded: Place) -> None:
    api, people = guarded
    root = bearer(people.key(*ALL_SCOPES))
    # A player may be called like a key, and like what makes the two differ.
    keys = [people.key("submit"), people.key("submit")]
    key_id = people.records[-1][0]
    for member in ("ada", key_id, f"key:{key_id}", "everybody"):
        write = Write("POST", f"{BOARD}/scores", {"member": member, "score": 1})
        shown = [*(bearer(key) for key in keys), bearer(people.signer.token(member))]
        for headers in (*shown, *shown):
            assert (await write.send(api, member, **headers)).status == 200
        entry = (await api.get(f"{BOARD}/members/{member}", root)).json
        assert entry["score"] == len(shown)
    # Nor is another's request a reason to refuse theirs.
    other = Write("POST", f"{BOARD}/scores", {"member": "bob", "score": 1})
    token = people.signer.token("bob")
    answer = await other.send(api, "ada", **bearer(token))
    assert (answer.status, REPLAYED in answer.headers) == (200, False)


async def test_the_caller_is_who_it_is_and_not_how_it_shows_that(guarded: Place) -> None:
    api, people = guarded
    write = Write("POST", f"{BOARD}/scores", ONE)
    first = await write.send(api, "a", **bearer(people.signer.token("ada")))
    newer = {"x-api-key": people.signer.token("ada", seconds=600)}
    again = await write.send(api, "a", **newer)
    assert (again.status, again.body, again.headers[REPLAYED]) == (200, first.body, "true")


async def test_who_may_not_any_more_gets_no_answer_again(guarded: Place) -> None:
    api, people = guarded
    key = people.key("submit")
    assert (await SUBMIT.send(api, "a", **bearer(key))).status == 200
    people.revoke(key)
    assert (await SUBMIT.send(api, "a", **bearer(key))).status == 401
    # Nor who learns of the key's text.
    answer = await SUBMIT.send(api, "a", **bearer(people.signer.token("bob")))
    assert answer.status == 403


@pytest.mark.parametrize("guarded", [{"member_rate": 1}], indirect=True)
@pytest.mark.parametrize("media", [JSON, MSGPACK])
async def test_repeats_count_against_the_rate(guarded: Place, media: str) -> None:
    api, people = guarded
    write = Write("POST", f"{BOARD}/scores", ONE, media)
    token = bearer(people.signer.token("ada"))
    answer = await write.send(api, "a", **token)
    # Three at once; the bound is for a machine that takes a second for each.
    for _ in range(1000):
        if answer.status == 200:
            answer = await write.send(api, "a", **token)
    check_problem(answer, write.path, 429, "too-many-requests", None)


async def test_answers_outlive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "data"
    firsts = {}
    async with running_api(path) as api:
        await CREATE.send(api, None)
        await SUBMIT.send(api, None)
        # The board is deleted last.
        for name in sorted(WRITES, key=lambda name: name == "delete_board"):
            firsts[name] = await WRITES[name][1].send(api, f"{name} 1")
            assert firsts[name].status == WRITES[name][0]
    for _ in range(2):
        async with running_api(path) as api:
            boards = (await api.get("/v1/boards")).body
            for name, first in firsts.items():
                again = await WRITES[name][1].send(api, f"{name} 1")
                assert again.headers == first.headers | {REPLAYED: "true"}
                assert (again.status, again.body) == (first.status, first.body)
            assert (await api.get("/v1/boards")).body == boards
