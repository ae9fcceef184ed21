"""Profiles over HTTP: what may stand in one, that it is kept, and where it is added."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_api import BOARD, JSON, MAX_BODY_BYTES, Answer, Client, check_problem, running_api
from fix_server import NewServer
from rankwire import _core
from rankwire.api.members import _check_member
from rankwire.api.problems import ProblemError
from rankwire.model import MemberProfile, Page, Standing, Standings
from rankwire.storage.profiles import Content, KeyUsedError, UnknownProfileError
from rankwire.storage.profiles_sqlite import PROFILES_FILE, SqliteProfiles

ADA = "/v1/profiles/ada"
PROFILE: dict[str, Any] = {
    "name": "Ada Lovelace",
    "avatar": "https://cdn.example.com/ada.png?s=64#top",
    "attributes": {
        "z": "last",
        "country": "GB",
        "level": 42,
        "ratio": 0.1,
        "on": True,
        "clan": None,
    },
}
EMPTY: dict[str, Any] = {"name": None, "avatar": None, "attributes": {}}


async def _put(api: Client, path: str, profile: object, key: str | None = None) -> Answer:
    body = msgspec.json.encode(profile)
    headers = {"content-type": JSON, "content-length": str(len(body))}
    if key is not None:
        headers["idempotency-key"] = key
    answer = await api.send("PUT", path, [body], headers)
    assert answer is not None
    return answer


async def _delete(api: Client, path: str, key: str | None = None) -> Answer:
    answer = await api.send("DELETE", path, headers={"idempotency-key": key} if key else {})
    assert answer is not None
    return answer


async def _board(api: Client, score: str = "int64") -> None:
    await api.call("PUT", BOARD, msgspec.json.encode({"score": score}), JSON)
    await api.post(
        f"{BOARD}/scores:batch",
        [{"member": m, "score": s} for m, s in (("ada", 30), ("bob", 20), ("cyd", 10))],
    )


async def test_a_profile_is_written_read_replaced_and_forgotten(api: Client) -> None:
    written = await _put(api, ADA, PROFILE)
    assert (written.status, written.headers["content-type"]) == (200, JSON)
    kept = dict(written.json)
    assert kept.pop("updated_at").endswith("Z")
    assert kept == {"member": "ada", **PROFILE}
    # The order of fields is the client's.
    assert list(kept["attributes"]) == list(PROFILE["attributes"])
    msgspec.json.decode(written.body, type=MemberProfile)
    read = await api.get(ADA)
    assert (read.status, read.body) == (200, written.body)

    again = await _put(api, ADA, {"name": "A"})
    assert again.json["updated_at"] > written.json["updated_at"]
    assert again.json == {"member": "ada", **EMPTY, "name": "A"} | {
        "updated_at": again.json["updated_at"]
    }
    assert (await api.get(ADA)).body == again.body

    gone = await _delete(api, ADA)
    assert (gone.status, gone.body) == (204, b"")
    for refused in (await api.get(ADA), await _delete(api, ADA)):
        check_problem(refused, ADA, 404, "unknown-profile", "member")


async def test_msgpack_is_taken(api: Client) -> None:
    answer = await api.call("PUT", ADA, msgspec.msgpack.encode(PROFILE), "application/msgpack")
    assert answer.status == 200
    assert (await api.get(ADA)).json["attributes"] == PROFILE["attributes"]
    body = msgspec.msgpack.encode({"attributes": {"x": float("inf")}})
    answer = await api.call("PUT", ADA, body, "application/msgpack")
    check_problem(answer, ADA, 422, "invalid", "attributes.x")


@pytest.mark.parametrize(
    ("profile", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a\x85"}, "name"),
        ({"name": 7}, "name"),
        ({"avatar": ""}, "avatar"),
        ({"avatar": "https://"}, "avatar"),
        ({"avatar": "http://cdn.example.com/a b"}, "avatar"),
        ({"avatar": "http://cdn.example.com/a\n"}, "avatar"),
        ({"avatar": "http:///a"}, "avatar"),
        ({"avatar": 'http://x/"><script>'}, "avatar"),
        ({"avatar": "javascript:alert(1)"}, "avatar"),
        ({"avatar": "ftp://cdn.example.com/a"}, "avatar"),
        ({"avatar": "http://x/" + "a" * 504}, "avatar"),
        ({"attributes": None}, "attributes"),
        ({"attributes": []}, "attributes"),
        ({"attributes": {"a": {}}}, "attributes[...]"),
        ({"attributes": {"a": [1]}}, "attributes[...]"),
        ({"attributes": {"a": 2**63}}, "attributes[...]"),
        ({"attributes": {"a": "x\0"}}, "attributes"),
        ({"attributes": {"\0": 1}}, "attributes"),
        ({"nick": "x"}, "nick"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_changes(
    api: Client, profile: object, field: str
) -> None:
    before = (await _put(api, ADA, PROFILE)).body
    check_problem(await _put(api, ADA, profile), ADA, 422, "invalid", field)
    assert (await api.get(ADA)).body == before


@pytest.mark.parametrize(
    "profile",
    [
        {"name": "x" * 64},
        {"name": "ä" * 64},
        {"name": "👩‍🚀"},
        {"avatar": "http://x/" + "a" * 503},
        {"avatar": "http://[::1]:8080/a(1);b=%20"},
        {"attributes": {"": "", "a b": "line\nline", "min": -(2**63), "max": 2**63 - 1}},
        {"attributes": {"huge": 1e308, "tiny": 5e-324, "third": 1 / 3, "whole": 1.0}},
    ],
)
async def test_what_is_right_comes_back(api: Client, profile: dict[str, Any]) -> None:
    assert (await _put(api, ADA, profile)).status == 200
    found = (await api.get(ADA)).json
    assert {key: found[key] for key in EMPTY} == EMPTY | profile


async def test_lone_surrogates_are_no_text(api: Client) -> None:
    answer = await api.call("PUT", ADA, rb'{"name":"\ud800"}', JSON)
    check_problem(answer, ADA, 400, "malformed", None)


async def test_a_profile_has_at_most_so_many_bytes(api: Client) -> None:
    room = 4096 - len(msgspec.json.encode(EMPTY | {"attributes": {"a": ""}}))
    assert (await _put(api, ADA, {"attributes": {"a": "x" * room}})).status == 200
    before = (await api.get(ADA)).body
    refused = await _put(api, ADA, {"attributes": {"a": "x" * (room + 1)}})
    check_problem(refused, ADA, 413, "too-large", None)
    refused = await _put(api, ADA, {"attributes": {"a": "x" * MAX_BODY_BYTES}})
    check_problem(refused, ADA, 413, "too-large", None)
    assert (await api.get(ADA)).body == before


@given(st.text(max_size=140) | st.characters())
def test_profiles_take_the_members_that_boards_take(member: str) -> None:
    """Two places check the ids of members; they agree."""
    board = _core.Board()
    try:
        member.encode()
    except UnicodeEncodeError:
        return
    try:
        board.submit(member, 1)
        is_taken = True
    except (_core.InvalidError, ValueError):
        is_taken = False
    try:
        _check_member(member)
        assert is_taken
    except ProblemError:
        assert not is_taken


@pytest.mark.parametrize("member", ["", "x" * 129, "é" * 65, "a\nb"])
async def test_members_that_are_none(api: Client, member: str) -> None:
    path = f"/v1/profiles/{quote(member)}"
    for answer in (await api.get(path), await _put(api, path, {}), await _delete(api, path)):
        problem = answer.json
        kind, field = ("invalid", "member") if member else ("unknown-path", None)
        assert (problem["type"], problem.get("field")) == (f"urn:rankwire:problem:{kind}", field)


async def test_a_key_makes_a_write_count_once(api: Client) -> None:
    first = await _put(api, ADA, PROFILE, "k")
    assert "idempotency-replayed" not in first.headers
    later = await _put(api, ADA, {"name": "later"})
    repeat = await _put(api, ADA, PROFILE, "k")
    assert (repeat.status, repeat.body) == (first.status, first.body)
    assert repeat.headers["idempotency-replayed"] == "true"
    # The repeat has not undone what came after the first.
    assert (await api.get(ADA)).body == later.body

    for refused, path in (
        (await _put(api, ADA, {"name": "other"}, "k"), ADA),
        (await _put(api, "/v1/profiles/bob", PROFILE, "k"), "/v1/profiles/bob"),
        (await _delete(api, ADA, "k"), ADA),
    ):
        check_problem(refused, path, 422, "key-reused", "Idempotency-Key")
    assert (await api.get(ADA)).body == later.body

    gone = await _delete(api, ADA, "d")
    assert (gone.status, gone.headers.get("idempotency-replayed")) == (204, None)
    await _put(api, ADA, PROFILE)
    gone = await _delete(api, ADA, "d")
    assert (gone.status, gone.headers.get("idempotency-replayed")) == (204, "true")
    assert (await api.get(ADA)).status == 200
    # A refusal is not kept: what failed may be tried again with its key.
    check_problem(await _delete(api, "/v1/profiles/x", "x"), "/v1/profiles/x", 404,
                  "unknown-profile", "member")  # fmt: skip
    await _put(api, "/v1/profiles/x", {})
    assert (await _delete(api, "/v1/profiles/x", "x")).status == 204


@pytest.mark.parametrize("score", ["int64", "float64"])
async def test_profiles_are_added_where_they_are_asked_for(api: Client, score: str) -> None:
    await _board(api, score)
    await _put(api, ADA, PROFILE)
    await _put(api, "/v1/profiles/cyd", {})
    profiles = {"ada": PROFILE, "bob": None, "cyd": EMPTY}
    for path, body in (
        (f"{BOARD}/top", None),
        (f"{BOARD}/top?limit=2&offset=1", None),
        (f"{BOARD}/members/bob/around?radius=1", None),
        (f"{BOARD}/standings", {"members": ["bob", "ada", "nobody"]}),
    ):
        separator = "&" if "?" in path else "?"
        asked = f"{path}{separator}profiles=true"
        plain = await (api.post(path, body) if body else api.get(path))
        joined = await (api.post(asked, body) if body else api.get(asked))
        assert joined.status == 200
        expected = plain.json
        for entry in expected["entries"]:
            entry["profile"] = profiles[entry["member"]]
        assert joined.json == expected
        assert len(expected["entries"]) >= 2
        msgspec.json.decode(joined.body, type=Standings if body else Page)
        off = f"{path}{separator}profiles=false"
        assert (await (api.post(off, body) if body else api.get(off))).body == plain.body
    for member, profile in profiles.items():
        plain = await api.get(f"{BOARD}/members/{member}")
        joined = await api.get(f"{BOARD}/members/{member}?profiles=true")
        assert joined.json == plain.json | {"profile": profile}
        msgspec.json.decode(joined.body, type=Standing)


async def test_scores_keep_their_digits(api: Client) -> None:
    await api.call("PUT", BOARD, b'{"score":"float64"}', JSON)
    for member, score in (("a", b"1e300"), ("b", b"-0.1"), ("c", b"9007199254740993")):
        body = b'{"member":"%s","score":%s}' % (member.encode(), score)
        await api.call("POST", f"{BOARD}/scores", body, JSON)
    plain = (await api.get(f"{BOARD}/top")).body
    joined = (await api.get(f"{BOARD}/top?profiles=true")).body
    assert joined.replace(b',"profile":null', b"") == plain


async def test_a_page_with_profiles_has_no_tag(api: Client) -> None:
    """The board's version does not tell whether a profile has changed."""
    await _board(api)
    plain = await api.get(f"{BOARD}/top")
    known = {"if-none-match": plain.headers["etag"]}
    assert (await api.get(f"{BOARD}/top", known)).status == 304
    for query in ("profiles=true", "profiles=1", "%70rofiles=true"):
        joined = await api.get(f"{BOARD}/top?{query}", known)
        assert (joined.status, joined.headers.get("etag")) == (200, None)
        assert joined.json["entries"][0]["profile"] is None
    refused = await api.get(f"{BOARD}/top?profiles=maybe")
    check_problem(refused, f"{BOARD}/top", 422, "invalid", "profiles")
    for path in (f"{BOARD}/count?profiles=true", f"{BOARD}?profiles=true"):
        assert (await api.get(path)).status == 422


async def test_a_change_is_seen_at_once(api: Client) -> None:
    """Also after it was cached, and also that there was none."""
    await _board(api)
    for name in (None, "one", "two"):
        if name is not None:
            await _put(api, ADA, {"name": name})
        entry = (await api.get(f"{BOARD}/top?profiles=true")).json["entries"][0]
        assert entry["profile"] == (None if name is None else EMPTY | {"name": name})
    await _delete(api, ADA)
    assert (await api.get(f"{BOARD}/members/ada?profiles=true")).json["profile"] is None


async def test_refusals_of_ranks_stay_with_profiles(api: Client) -> None:
    for path in (f"{BOARD}/top", f"{BOARD}/members/ada", f"{BOARD}/members/ada/around"):
        refused = await api.get(f"{path}?profiles=true")
        check_problem(refused, path, 404, "unknown-board", "board")


async def test_caches_are_counted(api: Client) -> None:
    await _board(api)
    for _ in range(4):
        await api.get(f"{BOARD}/top?profiles=true")
    text = (await api.get("/metrics")).body.decode()
    assert 'rankwire_cache_misses_total{cache_type="profile_local"} 3.0' in text
    assert 'rankwire_cache_hits_total{cache_type="profile_local"} 9.0' in text
    assert 'cache_hit_rate{cache_type="profile_local"} 0.75' in text
    # Without PostgreSQL there is no pool, and without Redis no cache there.
    assert "rankwire_pool_" not in text
    assert "profile_redis" not in text


async def test_a_full_or_broken_storage_refuses(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    async with running_api(directory, busy_seconds=0.05) as api:
        before = (await _put(api, ADA, PROFILE)).body
        with closing(sqlite3.connect(directory / PROFILES_FILE, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for refused in (await _put(api, ADA, {}), await _delete(api, ADA, "k")):
                check_problem(refused, ADA, 503, "unavailable", None)
                assert refused.headers["retry-after"] == "1"
            assert (await api.get(ADA)).body == before
        assert (await _delete(api, ADA, "k")).status == 204


async def test_answers_are_forgotten_after_a_day(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    content = Content(None, None, msgspec.Raw(b"{}"))
    store = SqliteProfiles(tmp_path / "data", 1.0)
    try:
        first = await store.put("ada", content, ("me", "old"))
        await store.put("ada", content, ("me", "new"))
        file = tmp_path / "data" / PROFILES_FILE
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute(
                "UPDATE answers SET given_ms = given_ms - 86400001 "
                "WHERE key = (SELECT key FROM answers ORDER BY given_ms, answer LIMIT 1)"
            )
        assert (await store.put("ada", content, ("me", "third"))).stored is not None
        with closing(sqlite3.connect(file)) as other:
            assert other.execute("SELECT count(*) FROM answers").fetchone() == (2,)
        again = await store.put("ada", content, ("me", "old"))
        assert again.stored is not None
        assert again.answer != first.answer
        assert (await store.put("ada", content, ("me", "new"))).stored is None
        # Keys are their callers' own.
        assert (await store.put("ada", content, ("you", "new"))).stored is not None
        with pytest.raises(KeyUsedError):
            await store.delete("ada", ("me", "new"))
        with pytest.raises(UnknownProfileError):
            await store.delete("nobody", ("me", "none"))
    finally:
        await store.close()


def test_profiles_survive_a_kill(new_server: NewServer) -> None:
    server = new_server().start()
    written = server.call("PUT", ADA, PROFILE)
    assert written.status == 200
    server.kill()
    server.restart()
    assert server.get(ADA).body == written.body
    assert server.terminate() == 0
