"""Who may do what over HTTP: every operation for every kind of caller, and the order of checks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import structlog

from fix_access import ALL_SCOPES, Known, bearer, known, open_access
from fix_api import BOARD, JSON, Answer, Client, check_problem, running_api
from rankwire import log
from rankwire.api.operations import Operation
from rankwire.api.routes import OPERATIONS

# Callers by operations. A key that is called after a scope has that one alone; elsewhere has all
# scopes and visitor may all that players may, but on other boards. `off` is for who may ask, on a
# server that is in no region.
TABLE = """
               alive ready openapi list_boards describe_board top standing around standings count submit submit_batch create_board delete_board remove_member metrics history get_profile put_profile delete_profile digest ops_report ops_caching health regions verify_regions verifying_regions failover failback take_region_out take_region_in
nobody         ok    ok    ok      401         401            401 401      401    401       401   401    401          401          401          401           401     401     401         401         401            401    401        401         ok     401     401            401               401      401      401             401
wrong_key      ok    ok    ok      401         401            401 401      401    401       401   401    401          401          401          401           401     401     401         401         401            401    401        401         ok     401     401            401               401      401      401             401
revoked_key    ok    ok    ok      401         401            401 401      401    401       401   401    401          401          401          401           401     401     401         401         401            401    401        401         ok     401     401            401               401      401      401             401
read           ok    ok    ok      ok          ok             ok  ok       ok     ok        ok    403    403          403          403          403           403     403     ok          403         403            403    403        403         ok     403     403            403               403      403      403             403
submit         ok    ok    ok      403         403            403 403      403    403       403   ok     ok           403          403          403           403     403     403         ok          403            403    403        403         ok     403     403            403               403      403      403             403
admin          ok    ok    ok      403         403            403 403      403    403       403   403    403          ok           ok           ok            403     ok      403         403         ok             403    403        403         ok     403     off            403               off      off      off             off
operator       ok    ok    ok      403         403            403 403      403    403       403   403    403          403          403          403           ok      403     403         403         403            ok     ok         ok          ok     off     403            off               403      403      403             403
elsewhere      ok    ok    ok      403         403            403 403      403    403       403   403    403          403          403          403           ok      403     403         403         403            ok     ok         ok          ok     off     403            off               403      403      403             403
player         ok    ok    ok      403         ok             ok  ok       ok     ok        ok    ok     403          403          403          403           403     403     ok          403         403            403    403        403         ok     403     403            403               403      403      403             403
expired_player ok    ok    ok      401         401            401 401      401    401       401   401    401          401          401          401           401     401     401         401         401            401    401        401         ok     401     401            401               401      401      401             401
visitor        ok    ok    ok      403         403            403 403      403    403       403   403    403          403          403          403           403     403     403         403         403            403    403        403         ok     403     403            403               403      403      403             403
spectator      ok    ok    ok      403         ok             ok  ok       ok     ok        ok    403    403          403          403          403           403     403     ok          403         403            403    403        403         ok     403     403            403               403      403      403             403
forger         ok    ok    ok      401         401            401 401      401    401       401   401    401          401          401          401           401     401     401         401         401            401    401        401         ok     401     401            401               401      401      401             401
anonymous      ok    ok    ok      401         ok             ok  ok       ok     ok        ok    401    401          401          401          401           401     401     ok          401         401            401    401        401         ok     401     401            401               401      401      401             401
everybody      ok    ok    ok      ok          ok             ok  ok       ok     ok        ok    ok     ok           ok           ok           ok            ok      ok      ok          ok          ok             ok     ok         ok          ok     off     off            off               off      off      off             off
"""  # noqa: E501 - a table is read as a whole


def _revoked(known: Known) -> str:
    key = known.key(*ALL_SCOPES)
    known.revoke(key)
    return key


OTHER_BOARDS = ("other", "a*")
CALLERS: dict[str, Callable[[Known], str | None]] = {
    "nobody": lambda _: None,
    "wrong_key": lambda known: known.key(*ALL_SCOPES)[:-4] + "AAAA",
    "revoked_key": _revoked,
    **{
        scope: lambda known, scope=scope: known.key(scope)  # type: ignore[misc]
        for scope in ALL_SCOPES
    },
    "elsewhere": lambda known: known.key(*ALL_SCOPES, boards=OTHER_BOARDS),
    "player": lambda known: known.signer.token(),
    "expired_player": lambda known: known.signer.token(seconds=-60),
    "visitor": lambda known: known.signer.token(boards=OTHER_BOARDS),
    "spectator": lambda known: known.signer.token(scope="read"),
    "forger": lambda known: known.signer.token()[:-8] + "AAAAAAAA",
    "anonymous": lambda _: None,
    "everybody": lambda _: None,
}
CONTENT = {"board": "b", "member": "ada"}


def _table() -> dict[str, dict[str, str]]:
    header, *rows = [line.split() for line in TABLE.splitlines() if line]
    return {name: dict(zip(header, cells, strict=True)) for name, *cells in rows}


def test_the_table_is_complete() -> None:
    expected = {operation.name for operation in OPERATIONS}
    assert _table().keys() == CALLERS.keys()
    assert all(cells.keys() == expected for cells in _table().values())


class Place(NamedTuple):
    """A board that takes scores from players, one member on it, and who may do anything there."""

    api: Client
    known: Known
    root: dict[str, str]

    async def prepare(self) -> None:
        """Make what is there, as far as it is not."""
        created = await self.send("PUT", BOARD, {"player_submits": True})
        assert created.status in {200, 201}
        score = {"member": "ada", "score": 30}
        assert (await self.send("POST", f"{BOARD}/scores", score)).status == 200
        assert (await self.send("PUT", "/v1/profiles/ada", {"name": "Ada"})).status == 200

    async def send(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Send JSON, by default as who may do everything."""
        content = b"" if body is None else msgspec.json.encode(body)
        return await _send(self.api, method, path, content, JSON, headers or self.root)

    async def everything(self) -> list[bytes]:
        paths = ("/v1/boards", f"{BOARD}/top?limit=1000", "/v1/profiles/ada")
        return [(await self.send("GET", path)).body for path in paths]


async def _send(
    api: Client,
    method: str,
    path: str,
    body: bytes,
    media: str | None,
    headers: dict[str, str],
) -> Answer:
    described = {"content-length": str(len(body)), "content-type": media or JSON} if body else {}
    answer = await api.send(method, path, [body], described | headers)
    assert answer is not None
    return answer


@pytest.fixture
async def place(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """Make a place; the parameters are those of `known`, or "everybody" or "anonymous"."""
    wanted: Any = getattr(request, "param", {})
    rules = {"anonymous": {"anonymous_read": True}, "everybody": {}}.get(str(wanted), wanted)
    people = known(**rules)
    access = open_access() if wanted == "everybody" else people.access
    async with running_api(tmp_path / "data", access=access) as api:
        made = Place(api, people, bearer(people.key(*ALL_SCOPES)))
        await made.prepare()
        yield made


def _requests(operation: Operation) -> list[tuple[str, str | None, bytes]]:
    """Every way of asking: each type of body, which leads past the lean path or not, and HEAD."""
    if operation.body is None:
        methods = ("GET", "HEAD") if operation.method == "GET" else (operation.method,)
        return [(method, None, b"") for method in methods]
    found: list[tuple[str, str | None, bytes]] = []
    for media, example in operation.body.examples.items():
        if isinstance(example, str):
            body = example.encode()
        else:
            codec = msgspec.msgpack if media.endswith("msgpack") else msgspec.json
            body = codec.encode(_with_player_submits(operation, example))
        found.append((operation.method, media, body))
    return found


def _with_player_submits(operation: Operation, example: Any) -> Any:
    """The board of these tests is not the one of the example."""
    return {"player_submits": True} if operation.name == "create_board" else example


@pytest.mark.parametrize(
    ("place", "caller"),
    [(name if name in {"anonymous", "everybody"} else {}, name) for name in CALLERS],
    indirect=["place"],
    ids=list(CALLERS),
)
async def test_everybody_may_do_what_the_table_says(place: Place, caller: str) -> None:
    credential = CALLERS[caller](place.known)
    headers = {} if credential is None else bearer(credential)
    for operation in OPERATIONS:
        path = operation.path.format_map(CONTENT)
        expected = _table()[caller][operation.name]
        for method, media, body in _requests(operation):
            await place.prepare()
            before = await place.everything()
            answer = await _send(place.api, method, path, body, media, headers)
            case = (operation.name, method, media, answer)
            if expected == "ok":
                assert 200 <= answer.status < 300, case
                continue
            if expected == "off":
                check_problem(answer, path, 404, "regions-off", None)
                continue
            assert str(answer.status) == expected, case
            kind = {"401": "unauthorized", "403": "forbidden"}[expected]
            check_problem(answer, path, int(expected), kind, None)
            assert answer.headers.get("www-authenticate") == {"401": "Bearer"}.get(expected)
            assert await place.everything() == before, case


@pytest.mark.parametrize("place", [{}, "anonymous"], indirect=True)
async def test_a_bad_credential_is_worse_than_none(place: Place) -> None:
    headers = [
        bearer("x"),
        bearer("rwk_" + "a" * 12 + "_" + "A" * 43),
        {"x-api-key": "x"},
        {"authorization": "Basic YTpi"},
        {"authorization": "Bearer"},
        place.root | {"x-api-key": place.known.key("read")},
        {"authorization": "Bearer x\xff"},
    ]
    for shown in headers:
        answer = await place.api.get(f"{BOARD}/top", shown)
        check_problem(answer, f"{BOARD}/top", 401, "unauthorized", None)


async def test_a_credential_comes_in_either_header_or_in_both(place: Place) -> None:
    key = place.known.key("read")
    for headers in (
        {"x-api-key": key},
        {"authorization": f"bearer  {key}"},
        {"authorization": f"BEARER {key}"},
        {"authorization": f"Bearer {key}", "x-api-key": key},
        {"x-api-key": place.known.signer.token()},
    ):
        assert (await place.api.get(f"{BOARD}/top", headers)).status == 200


async def test_a_player_submits_for_itself_where_the_board_allows_it(place: Place) -> None:
    await place.send("PUT", "/v1/boards/closed")
    token = bearer(place.known.signer.token("ada"))
    own, other = {"member": "ada", "score": 99}, {"member": "bob", "score": 99}
    before = await place.everything()
    for path, body in (
        (f"{BOARD}/scores", other),
        ("/v1/boards/closed/scores", own),
        ("/v1/boards/closed/scores", other),
        ("/v1/boards/none/scores", own),
        (f"{BOARD}/scores:batch", [own]),
    ):
        for codec, media in ((msgspec.json, JSON), (msgspec.msgpack, "application/msgpack")):
            answer = await _send(place.api, "POST", path, codec.encode(body), media, token)
            check_problem(answer, path, 403, "forbidden", None)
    assert await place.everything() == before
    for codec, media in ((msgspec.json, JSON), (msgspec.msgpack, "application/msgpack")):
        body = codec.encode(own)
        answer = await _send(place.api, "POST", f"{BOARD}/scores", body, media, token)
        assert (answer.status, answer.json["score"]) == (200, 99)
    # A key submits for anybody, also where players do not.
    key = bearer(place.known.key("submit"))
    answer = await place.send("POST", "/v1/boards/closed/scores", other, key)
    assert answer.status == 200


async def test_refusals_do_not_tell_whether_a_board_exists(place: Place) -> None:
    await place.send("PUT", "/v1/boards/closed")
    callers = [
        {},
        bearer(place.known.key("operator")),
        bearer(place.known.key(*ALL_SCOPES, boards=OTHER_BOARDS)),
        bearer(place.known.signer.token(boards=["other"])),
    ]
    asked: list[tuple[str, str, object]] = [
        ("GET", "", None),
        ("PUT", "", None),
        ("DELETE", "", None),
        ("GET", "/top", None),
        ("GET", "/count?min=1", None),
        ("GET", "/members/ada", None),
        ("DELETE", "/members/ada", None),
        ("POST", "/scores", {"member": "ada", "score": 1}),
        ("POST", "/standings", {"members": ["ada"]}),
    ]
    for headers in callers:
        for method, rest, body in asked:
            answers = []
            for board in ("closed", "noboard", "%20"):
                path = f"/v1/boards/{board}{rest}"
                sent = msgspec.json.encode(body) if body else b""
                answer = await _send(place.api, method, path, sent, JSON, headers)
                problem = answer.json
                del problem["instance"]
                answers.append((answer.status, answer.headers, problem))
            assert answers[0] == answers[1] == answers[2]
            assert answers[0][0] == (403 if headers else 401)
    # Nor to a player who may submit, but not there.
    token = bearer(place.known.signer.token())
    answers = []
    for board in ("closed", "noboard"):
        body = {"member": "ada", "score": 1}
        problem = (await place.send("POST", f"/v1/boards/{board}/scores", body, token)).json
        del problem["instance"]
        answers.append(problem)
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", f"{BOARD}/scores", b"{"),
        ("POST", f"{BOARD}/scores", b'{"member":"bob","score":"x"}'),
        ("POST", f"{BOARD}/scores?x=1", b"{"),
        ("POST", f"{BOARD}/scores:batch", b"["),
        ("POST", f"{BOARD}/standings", b"{}"),
        ("PUT", BOARD, b'{"order":"up"}'),
        ("GET", f"{BOARD}/top?limit=x", b""),
        ("GET", f"{BOARD}/members/%zz", b""),
        ("GET", f"{BOARD}/members/%zz/around", b""),
        ("GET", "/v1/boards?limit=x", b""),
        ("GET", "/metrics?x=1", b""),
    ],
)
async def test_rights_come_before_the_input(
    place: Place, method: str, path: str, body: bytes
) -> None:
    """What may not be done is refused unread: the client would hang up when read from."""
    fitting = bearer(place.known.key(*ALL_SCOPES))
    headers = {"content-type": JSON, "content-length": "9"} if body else {}
    for shown, status in (({}, 401), (bearer(place.known.key(boards=("x",))), 403)):
        answer = await place.api.send(method, path, [body], headers | shown, hang_up=True)
        assert answer is not None
        assert answer.status == status
    answer = await place.api.send(method, path, [body], headers | fitting)
    assert answer is not None
    assert answer.status in {400, 422}


async def test_a_player_who_may_not_submit_is_refused_unread(place: Place) -> None:
    await place.send("PUT", "/v1/boards/closed")
    headers = {"content-type": JSON, "content-length": "9"}
    for path, claims in (
        ("/v1/boards/closed/scores", {}),
        (f"{BOARD}/scores", {"scope": "read"}),
        (f"{BOARD}/scores", {"boards": ["other"]}),
    ):
        shown = headers | bearer(place.known.signer.token(**claims))
        answer = await place.api.send("POST", path, [b"{"], shown, hang_up=True)
        assert answer is not None
        assert answer.status == 403


@pytest.mark.parametrize("place", [{"key_rate": 1}], indirect=True)
@pytest.mark.parametrize("media", [JSON, "application/msgpack"])
async def test_a_key_over_its_rate_has_to_wait(place: Place, media: str) -> None:
    codec = msgspec.json if media == JSON else msgspec.msgpack
    key = bearer(place.known.key("submit"))
    one = {"member": "bob", "score": 1}
    # So much at once is allowed after a pause, and delays what comes after it.
    body = codec.encode([one] * 1000)
    answer = await _send(place.api, "POST", f"{BOARD}/scores:batch", body, media, key)
    assert answer.status == 200
    before = await place.everything()
    for path, content in ((f"{BOARD}/scores", one), (f"{BOARD}/scores:batch", [one])):
        answer = await _send(place.api, "POST", path, codec.encode(content), media, key)
        check_problem(answer, path, 429, "too-many-requests", None)
        assert 900 < int(answer.headers["retry-after"]) <= 1000
    assert await place.everything() == before
    # The rate is the key's own, and for nothing but scores.
    other = bearer(place.known.key("submit"))
    assert (await place.send("POST", f"{BOARD}/scores", one, other)).status == 200


@pytest.mark.parametrize("place", [{"member_rate": 1}], indirect=True)
async def test_a_player_over_its_rate_has_to_wait(place: Place) -> None:
    token = bearer(place.known.signer.token("ada"))
    path = f"{BOARD}/scores"
    body = {"member": "ada", "score": 50}
    answer = await place.send("POST", path, body, token)
    # Three at once; the bound is for a machine that takes a second for each.
    for _ in range(1000):
        if answer.status == 200:
            answer = await place.send("POST", path, body, token)
    check_problem(answer, path, 429, "too-many-requests", None)
    assert int(answer.headers["retry-after"]) >= 1
    token = bearer(place.known.signer.token("bob"))
    answer = await place.send("POST", path, {"member": "bob", "score": 50}, token)
    assert answer.status == 200


@pytest.mark.parametrize("rest", ["", "/top", "/members/ada", "/count"])
async def test_a_credential_comes_before_the_board(place: Place, rest: str) -> None:
    for shown, status in (({}, 401), (bearer("x"), 401), (place.root, 400)):
        assert (await place.api.get(f"/v1/boards/%zz{rest}", shown)).status == status


async def test_paths_that_nobody_serves_are_not_guarded(place: Place) -> None:
    assert (await place.api.get("/v1/nothing")).status == 404
    assert (await place.api.call("PATCH", BOARD)).status == 405


@pytest.fixture(params=["text", "json"])
def _logging(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Log as the server does; without its configuration, structlog shows the variables."""
    log.configure("debug", request.param)
    monkeypatch.setattr("rankwire.api.problems._log", structlog.get_logger())
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("_logging")
async def test_a_fault_of_the_server_does_not_log_the_credential(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("on purpose")

    key = place.known.key("read")
    monkeypatch.setattr("rankwire.api.service.Service.standing", break_down)
    monkeypatch.setattr("rankwire.api.service.Service.describe_board", break_down)
    for path in (f"{BOARD}/members/ada", BOARD):
        answer = await place.api.get(path, bearer(key))
        check_problem(answer, path, 500, "internal", None)
    said = "".join(capsys.readouterr())
    assert "on purpose" in said
    assert key.rsplit("_", 1)[-1] not in said
