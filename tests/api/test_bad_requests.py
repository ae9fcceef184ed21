"""Bad requests: each is refused with its status, its type and its field, and changes nothing."""

from __future__ import annotations

import msgspec
import pytest

from fix_api import MAX_BODY_BYTES, Client, check_problem, everything, prepared

BOARD = "/v1/boards/b"
SCORES = f"{BOARD}/scores"
BATCH = f"{BOARD}/scores:batch"
JSON = "application/json"
NDJSON = "application/x-ndjson"
MSGPACK = "application/msgpack"
GOOD = b'{"member":"zoe","score":1}'


def _packed(value: object) -> bytes:
    return msgspec.msgpack.encode(value)


def _submit(score: str, more: str = "") -> bytes:
    return b'{"member":"zoe","score":' + score.encode() + more.encode() + b"}"


# Method, path, body, content-type; then status, type and field of the refusal.
Row = tuple[str, str, bytes, str | None, int, str, str | None]

ADDRESSES: list[Row] = [
    ("GET", "/", b"", None, 404, "unknown-path", None),
    ("GET", "/v1", b"", None, 404, "unknown-path", None),
    ("GET", f"{BOARD}/", b"", None, 404, "unknown-path", None),
    ("GET", f"{BOARD}/top/", b"", None, 404, "unknown-path", None),
    ("GET", f"{BOARD}/members/", b"", None, 404, "unknown-path", None),
    ("GET", "/v1/boards//top", b"", None, 404, "unknown-path", None),
    ("POST", "/v1/boards//scores", GOOD, JSON, 404, "unknown-path", None),
    ("GET", f"{BOARD}/members/a/b", b"", None, 404, "unknown-path", None),
    ("GET", "/V1/boards", b"", None, 404, "unknown-path", None),
    ("GET", "*", b"", None, 404, "unknown-path", None),
    ("GET", f"{BOARD}/members/%zz", b"", None, 400, "malformed", None),
    ("GET", f"{BOARD}/members/a%2", b"", None, 400, "malformed", None),
    ("GET", f"{BOARD}/members/%ff", b"", None, 400, "malformed", None),
    ("GET", f"{BOARD}/members/%ed%a0%80", b"", None, 400, "malformed", None),
    ("GET", f"{BOARD}/members/%ff/around", b"", None, 400, "malformed", None),
    ("GET", "/v1/boards/%/top", b"", None, 400, "malformed", None),
    ("POST", "/v1/boards/%ff/scores", GOOD, JSON, 400, "malformed", None),
    ("PUT", "/v1/boards/%ff", b"", None, 400, "malformed", None),
    ("GET", f"{BOARD}/top?limit=%f", b"", None, 400, "malformed", None),
    ("GET", "/v1/boards/none/top", b"", None, 404, "unknown-board", "board"),
    ("GET", "/v1/boards/none", b"", None, 404, "unknown-board", "board"),
    ("DELETE", "/v1/boards/none", b"", None, 404, "unknown-board", "board"),
    ("GET", "/v1/boards/none/count", b"", None, 404, "unknown-board", "board"),
    ("GET", "/v1/boards/none/members/a", b"", None, 404, "unknown-board", "board"),
    ("DELETE", "/v1/boards/none/members/a", b"", None, 404, "unknown-board", "board"),
    ("POST", "/v1/boards/none/scores", GOOD, JSON, 404, "unknown-board", "board"),
    ("POST", "/v1/boards/none/scores:batch", b"[%s]" % GOOD, JSON, 404, "unknown-board", "board"),
    (
        "POST",
        "/v1/boards/none/standings",
        b'{"members":["a"]}',
        JSON,
        404,
        "unknown-board",
        "board",
    ),
    ("GET", f"{BOARD}/members/zoe", b"", None, 404, "unknown-member", "member"),
    ("GET", f"{BOARD}/members/zoe/around", b"", None, 404, "unknown-member", "member"),
    ("DELETE", f"{BOARD}/members/zoe", b"", None, 404, "unknown-member", "member"),
]

QUERIES: list[Row] = [
    *(
        ("GET", f"{BOARD}/{path}", b"", None, 422, "invalid", field)
        for path, field in (
            ("top?limit=0", "limit"),
            ("top?limit=1001", "limit"),
            ("top?limit=ten", "limit"),
            ("top?limit=", "limit"),
            ("top?limit", "limit"),
            ("top?limit=1.5", "limit"),
            ("top?limit=" + "9" * 300, "limit"),
            ("top?offset=-1", "offset"),
            ("top?offset=4294967296", "offset"),
            ("top?limit=1&limit=1", "limit"),
            ("top?size=1", "size"),
            ("top?%C3%A9=1", "é"),
            ("members/ada?x=1", "x"),
            ("members/ada/around?radius=501", "radius"),
            ("members/ada/around?radius=-1", "radius"),
            ("count?min=NaN", "min"),
            ("count?max=Infinity", "max"),
            ("count?min=1&max=inf", "max"),
            ("count?min=1.5&max=2", "min"),
            ("count?min=1&max=2.5", "max"),
            ("count?min=9223372036854775808", "min"),
            ("count?min=1e400", "min"),
            ("count?min=null", "min"),
            ("count?max=", "max"),
        )
    ),
    ("GET", "/v1/boards?limit=0", b"", None, 422, "invalid", "limit"),
    ("GET", "/v1/boards?offset=0", b"", None, 422, "invalid", "offset"),
    ("GET", "/healthz?x=1", b"", None, 422, "invalid", "x"),
    ("POST", f"{SCORES}?x=1", GOOD, JSON, 422, "invalid", "x"),
    ("DELETE", f"{BOARD}?force=1", b"", None, 422, "invalid", "force"),
]

BOARDS: list[Row] = [
    *(
        ("PUT", f"/v1/boards/{name}", b"", None, 422, "invalid", "board")
        for name in ("-a", ".a", "a%20b", "a%2Fb", "%C3%A4", "x" * 65)
    ),
    ("PUT", BOARD, b'{"order":"asc"}', JSON, 409, "board-conflict", "board"),
    ("PUT", "/v1/boards/c", b'{"order":"up"}', JSON, 422, "invalid", "order"),
    ("PUT", "/v1/boards/c", b'{"score":64}', JSON, 422, "invalid", "score"),
    ("PUT", "/v1/boards/c", b'{"size":1}', JSON, 422, "invalid", "size"),
    ("PUT", "/v1/boards/c", b"[]", JSON, 422, "invalid", None),
    ("PUT", "/v1/boards/c", b"{", JSON, 400, "malformed", None),
    ("PUT", "/v1/boards/c", b"{}", "text/plain", 415, "unsupported-media-type", None),
]

SUBMITS: list[Row] = [
    ("POST", SCORES, b"", JSON, 400, "malformed", None),
    ("POST", SCORES, b"{", JSON, 400, "malformed", None),
    ("POST", SCORES, GOOD + b"x", JSON, 400, "malformed", None),
    ("POST", SCORES, b"\xef\xbb\xbf" + GOOD, JSON, 400, "malformed", None),
    ("POST", SCORES, b'{"member":"\xff","score":1}', JSON, 400, "malformed", None),
    ("POST", SCORES, b'{"member":"\\ud800","score":1}', JSON, 400, "malformed", None),
    # JSON has no word for these; MessagePack has.
    ("POST", SCORES, _submit("NaN"), JSON, 400, "malformed", None),
    ("POST", SCORES, _submit("Infinity"), JSON, 400, "malformed", None),
    ("POST", SCORES, _submit("01"), JSON, 400, "malformed", None),
    ("POST", SCORES, b"[]", JSON, 422, "invalid", None),
    ("POST", SCORES, b"null", JSON, 422, "invalid", None),
    ("POST", SCORES, b"{}", JSON, 422, "invalid", "member"),
    ("POST", SCORES, b'{"member":"zoe"}', JSON, 422, "invalid", "score"),
    ("POST", SCORES, b'{"member":7,"score":1}', JSON, 422, "invalid", "member"),
    ("POST", SCORES, b'{"member":"","score":1}', JSON, 422, "invalid", "member"),
    ("POST", SCORES, b'{"member":"a\\nb","score":1}', JSON, 422, "invalid", "member"),
    ("POST", SCORES, b'{"member":"%s","score":1}' % (b"x" * 129), JSON, 422, "invalid", "member"),
    *(
        ("POST", SCORES, _submit(score), JSON, 422, "invalid", "score")
        for score in (
            '"1"',
            "true",
            "null",
            "[1]",
            "1.5",
            "1e400",
            "1e19",
            "9223372036854775808",
            "-9223372036854775809",
            "9" * 600,
        )
    ),
    *(
        ("POST", SCORES, _submit("1", f',"at":{at}'), JSON, 422, "invalid", "at")
        for at in (
            '"2026-01-01T00:00:00"',
            '"2026-01-01"',
            '"yesterday"',
            "1767225600",
            '"2026-13-01T00:00:00Z"',
            '"9999-01-01T00:00:00Z"',
            '"0001-01-01T00:00:00+00:01"',
        )
    ),
    ("POST", SCORES, _submit("1", ',"points":1'), JSON, 422, "invalid", "points"),
    ("POST", SCORES, GOOD, "text/plain", 415, "unsupported-media-type", None),
    ("POST", SCORES, GOOD, NDJSON, 415, "unsupported-media-type", None),
    ("POST", SCORES, GOOD, "", 415, "unsupported-media-type", None),
    ("POST", SCORES, GOOD, f"{JSON}; charset=latin-1", 415, "unsupported-media-type", None),
    ("POST", SCORES, GOOD + b" " * 16_384, JSON, 413, "too-large", None),
    ("POST", SCORES, b"\xc1", MSGPACK, 400, "malformed", None),
    ("POST", SCORES, _packed({"member": "zoe"}), MSGPACK, 422, "invalid", "score"),
    ("POST", SCORES, _packed({1: 2}), MSGPACK, 422, "invalid", None),
    *(
        ("POST", SCORES, _packed({"member": "zoe", "score": s}), MSGPACK, 422, "invalid", "score")
        for s in (float("nan"), float("inf"), float("-inf"), 2**63, "1")
    ),
]

_TAIL = [{"member": "zoe", "score": 1}] * 17
_HUGE_ITEM = _packed([*_TAIL, {"member": "a", "score": 2**63}])
_NAN_ITEM = _packed([{"member": "a", "score": float("nan")}])
_MANY_NAMES = msgspec.json.encode({"members": ["a"] * 1001})
TOO_MANY = 10_001

BATCHES: list[Row] = [
    *(
        ("POST", BATCH, body, JSON, 422, "invalid", field)
        for body, field in (
            (b"[]", None),
            (b"{}", None),
            (b"[%s]" % b",".join([b"0"] * TOO_MANY), "[0]"),
            (msgspec.json.encode([*_TAIL, {"member": "zoe", "score": "1"}]), "[17].score"),
            (msgspec.json.encode([*_TAIL, {"member": "zoe", "score": 1.5}]), "[17].score"),
            (msgspec.json.encode([*_TAIL, {"member": "zoe"}]), "[17].score"),
            (msgspec.json.encode([*_TAIL, {"member": "", "score": 1}]), "[17].member"),
            (b'[{"member":"zoe","score":1,"at":"2026-01-01T00:00:00"}]', "[0].at"),
            (b'[{"member":"zoe","score":1,"x":1}]', "[0].x"),
            (b'[{"member":"zoe","score":1},7]', "[1]"),
        )
    ),
    ("POST", BATCH, b"[" + GOOD, JSON, 400, "malformed", None),
    ("POST", BATCH, GOOD, JSON, 422, "invalid", None),
    ("POST", BATCH, b"[%s]" % GOOD, "text/csv", 415, "unsupported-media-type", None),
    ("POST", BATCH, b" " * (MAX_BODY_BYTES + 1), JSON, 413, "too-large", None),
    ("POST", BATCH, _HUGE_ITEM, MSGPACK, 422, "invalid", "[17].score"),
    ("POST", BATCH, _NAN_ITEM, MSGPACK, 422, "invalid", "[0].score"),
    ("POST", BATCH, b"", NDJSON, 422, "invalid", None),
    ("POST", BATCH, b"\n \r\n", NDJSON, 422, "invalid", None),
    ("POST", BATCH, GOOD + GOOD, NDJSON, 400, "malformed", "[0]"),
    ("POST", BATCH, GOOD + b"\n\n{", NDJSON, 400, "malformed", "[1]"),
    ("POST", BATCH, GOOD + b'\n{"member":"\xff","score":1}', NDJSON, 400, "malformed", "[1]"),
    ("POST", BATCH, GOOD + b'\n{"member":"a"}', NDJSON, 422, "invalid", "[1].score"),
    ("POST", BATCH, GOOD + b"\n7", NDJSON, 422, "invalid", "[1]"),
    ("POST", BATCH, GOOD + b"\n" + _submit("1.5"), NDJSON, 422, "invalid", "[1].score"),
    ("POST", f"{BOARD}/standings", b'{"members":[]}', JSON, 422, "invalid", "members"),
    ("POST", f"{BOARD}/standings", b'{"members":"ada"}', JSON, 422, "invalid", "members"),
    ("POST", f"{BOARD}/standings", b'{"members":["a",1]}', JSON, 422, "invalid", "members[1]"),
    ("POST", f"{BOARD}/standings", b"{}", JSON, 422, "invalid", "members"),
    ("POST", f"{BOARD}/standings", _MANY_NAMES, JSON, 422, "invalid", "members"),
]


def _name(row: Row) -> str:
    return f"{row[0]} {row[1][:40]} {row[2][:40]!r}"


@pytest.mark.parametrize("sized", [True, False], ids=["sized", "unsized"])
@pytest.mark.parametrize(
    "row",
    [*ADDRESSES, *QUERIES, *BOARDS, *SUBMITS, *BATCHES],
    ids=_name,
)
async def test_bad_requests(api: Client, row: Row, sized: bool) -> None:
    """Without a content-length a submit takes the framework's way instead of the lean one."""
    method, path, body, content_type, status, kind, field = row
    before = await prepared(api)
    headers = {"content-length": str(len(body))} if sized and body else {}
    if content_type is not None:
        headers["content-type"] = content_type
    answer = await api.send(method, path, [body[:9], body[9:]], headers)
    assert answer is not None
    check_problem(answer, path, status, kind, field)
    assert await everything(api) == before
