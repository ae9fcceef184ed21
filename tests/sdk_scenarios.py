"""What a game does with a Centrifuge SDK, the same for every SDK: see tests/realtime/test_sdk_*.py.

Each scenario runs with a client that `make` makes, against a real server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from fix_sdk import Cable, Guarded, MakeSdk, RefusedError, Sdk, guard
from fix_server import PATIENCE_SECONDS, NewServer, Server

_FRIENDS = ["m07", "m03", "nobody"]
_RANKED = 20


class Scenarios:
    """To be inherited by test classes, next to a fixture `make`."""

    @pytest.mark.parametrize("delta", [False, True], ids=["whole", "delta"])
    async def test_views_show_what_http_shows(
        self, make: MakeSdk, guarded: Guarded, board: str, delta: bool
    ) -> None:
        server = guarded.server
        _fill(server, board)
        views = _views(board)
        changes: list[Callable[[], object]] = [
            lambda: None,
            lambda: server.submit(board, "m05", 96.0),
            lambda: server.submit(board, "nobody", 200),
            lambda: server.call("DELETE", f"/v1/boards/{board}/members/m03"),
            lambda: server.submit(board, '"né\\w', -1),
        ]
        async with make(server.live_url) as sdk:
            await sdk.connect()
            for channel in views:
                data = {"members": _FRIENDS} if channel.endswith("friends") else None
                await sdk.subscribe(channel, data=data, delta=delta)
            for change in changes:
                change()
                for channel, look in views.items():
                    expected = look(server)
                    await sdk.state(channel, lambda state, e=expected: _rest(state) == _rest(e))  # type: ignore[misc]
            for channel in views:
                publications = sdk.all("publication", channel)
                versions = [pub["data"]["version"] for pub in publications]
                assert versions == sorted(set(versions)), "always newer"
                assert [pub["offset"] for pub in publications] == [v + 1 for v in versions]
                assert {next(iter(pub["data"])) for pub in publications} == {"version"}
                assert not any(pub.get("delta", False) for pub in publications[:1])
                assert any(pub.get("delta", delta) for pub in publications) == delta

    async def test_events_tell_of_the_end_of_a_board(
        self, make: MakeSdk, guarded: Guarded, board: str
    ) -> None:
        events, top = f"board:{board}:events", f"board:{board}:top:3"
        async with make(guarded.server.live_url) as sdk:
            await sdk.connect()
            for channel in (events, top):
                await sdk.subscribe(channel)
                await sdk.heard("subscribed", channel)
            guarded.server.call("DELETE", f"/v1/boards/{board}")
            for channel in (events, top):
                # The push says that the views are over; subscribing again, that the board is.
                assert (await sdk.heard("unsubscribed", channel))["code"] == 102
                assert [event["code"] for event in sdk.all("subscribing", channel)] == [0, 2500]
            assert sdk.states(events) == [{"event": "deleted"}]
            guarded.server.create(board)
            await sdk.subscribe(top)
            await sdk.state(top, lambda state: state == {"version": 0, "total": 0, "entries": []})
            assert len(sdk.all("connected")) == 1

    @pytest.mark.parametrize("delta", [False, True], ids=["whole", "delta"])
    async def test_after_a_lost_connection_the_newest_state_comes(
        self, make: MakeSdk, guarded: Guarded, board: str, delta: bool
    ) -> None:
        server = guarded.server
        channel = f"board:{board}:top:10"
        _fill(server, board)
        async with Cable.laid(server) as cable, make(cable.url) as sdk:
            await sdk.connect()
            await sdk.subscribe(channel, delta=delta)
            first = await sdk.heard("subscribed", channel)
            assert (first["recoverable"], first["was_recovering"]) == (True, False)
            await sdk.state(channel, lambda _: True)

            # While it is away the board changes three times: one state tells it all.
            cable.cut()
            await sdk.heard("subscribing", channel, times=2)
            for score in (300, 301, 302):
                server.submit(board, "m15", score)
            seen = len(sdk.states(channel))
            cable.mend()
            again = await sdk.heard("subscribed", channel, times=2)
            assert (again["was_recovering"], again["recovered"]) == (True, True)
            assert again["epoch"] == first["epoch"]
            await sdk.state(channel, lambda state: _best(state) == ("m15", 302))
            assert len(sdk.states(channel)) == seen + 1

            # Without a change nothing comes, and what follows fits.
            cable.cut()
            await sdk.heard("subscribing", channel, times=3)
            cable.mend()
            again = await sdk.heard("subscribed", channel, times=3)
            assert (again["was_recovering"], again["recovered"]) == (True, True)
            for score in (303, 304):
                server.submit(board, "m15", score)
                await sdk.state(channel, lambda state, s=score: _best(state) == ("m15", s))  # type: ignore[misc]
            expected = _top(board, 10)(server)
            assert sdk.states(channel)[seen + 1 :][-1] == expected
            assert len(sdk.states(channel)) == seen + 3

    async def test_another_board_of_the_name_is_not_taken_for_the_old_one(
        self, make: MakeSdk, guarded: Guarded, board: str
    ) -> None:
        server = guarded.server
        channel = f"board:{board}:top:10"
        _fill(server, board)
        async with Cable.laid(server) as cable, make(cable.url) as sdk:
            await sdk.connect()
            await sdk.subscribe(channel, delta=True)
            first = await sdk.heard("subscribed", channel)
            await sdk.state(channel, lambda state: _best(state) == ("m00", 100))
            cable.cut()
            await sdk.heard("subscribing", channel, times=2)
            server.call("DELETE", f"/v1/boards/{board}")
            server.create(board)
            server.submit(board, "eve", 7)
            cable.mend()
            again = await sdk.heard("subscribed", channel, times=2)
            assert (again["was_recovering"], again["recovered"]) == (True, False)
            assert again["epoch"] != first["epoch"]
            await sdk.state(channel, lambda state: _best(state) == ("eve", 7))

    async def test_calls_answer_like_http(
        self, make: MakeSdk, guarded: Guarded, board: str
    ) -> None:
        server = guarded.server
        _fill(server, board)
        at = f"/v1/boards/{board}"
        async with make(server.live_url) as sdk:
            await sdk.connect(token=guarded.signer.token("ada"))
            for method, data, path in (
                ("rank", {"member": "m07"}, "/members/m07"),
                ("top", {"limit": 3, "offset": 2}, "/top?limit=3&offset=2"),
                ("around", {"member": "m07", "radius": 2}, "/members/m07/around?radius=2"),
                ("count", {"min": 85, "max": 95}, "/count?min=85&max=95"),
            ):
                answer = await sdk.rpc(method, {"board": board, **data})
                assert answer == server.get(at + path).json()

            # A player submits for itself, named or not.
            first = await sdk.rpc("submit", {"board": board, "score": 300})
            receipt = {"score": 300, "rank": 1, "previous_score": None, "previous_rank": None}
            own = {"board": board, "member": "ada"}
            assert first == own | receipt | {"changed": True, "version": _RANKED + 1}
            again = await sdk.rpc("submit", own | {"score": 301})
            assert (again["previous_score"], again["score"]) == (300, 301)
            # One that is older does not count.
            late = await sdk.rpc("submit", own | {"score": 5, "at": "2026-01-01T00:00:00+01:00"})
            assert (late["changed"], late["score"], late["version"]) == (False, 301, _RANKED + 2)
            assert server.get(f"{at}/members/ada").json()["score"] == 301

    async def test_calls_are_refused_and_the_connection_stays(
        self, make: MakeSdk, guarded: Guarded, board: str
    ) -> None:
        other = f"{board}-closed"
        guarded.server.create(other)
        guarded.server.submit(board, "m00", 1)
        refusals: list[tuple[str, dict[str, object], int, str]] = [
            ("rank", {"board": "none", "member": "m00"}, 404, 'no board named "none"'),
            ("rank", {"board": board, "member": "bob"}, 404, 'no member "bob"'),
            ("top", {"board": board, "limit": 0}, 107, "limit: "),
            ("submit", {"board": board, "score": "1"}, 107, "score: "),
            ("submit", {"board": board, "member": "bob", "score": 1}, 103, "permission denied"),
            ("submit", {"board": other, "score": 1}, 103, "permission denied"),
            ("drop", {"board": board}, 104, "method not found"),
        ]
        async with make(guarded.server.live_url) as sdk:
            await sdk.connect(token=guarded.signer.token("ada"))
            for method, data, code, words in refusals:
                with pytest.raises(RefusedError) as caught:
                    await sdk.rpc(method, data)
                assert caught.value.code == code
                assert words in caught.value.message
            answer = await sdk.rpc("rank", {"board": board, "member": "m00"})
            assert answer["rank"] == 1
            assert len(sdk.all("connected")) == 1

    async def test_without_a_token_one_may_read_only(
        self, make: MakeSdk, guarded: Guarded, board: str
    ) -> None:
        channel = f"board:{board}:top:3"
        async with make(guarded.server.live_url) as sdk:
            await sdk.connect()
            await sdk.subscribe(channel)
            await sdk.state(channel, lambda state: state["total"] == 0)
            with pytest.raises(RefusedError) as caught:
                await sdk.rpc("submit", {"board": board, "member": "ada", "score": 1})
            assert caught.value.code == 101

    async def test_a_token_for_some_boards_opens_those_only(
        self, make: MakeSdk, guarded: Guarded, board: str
    ) -> None:
        other = f"{board}-other"
        guarded.server.create(other)
        token = guarded.signer.token("ada", boards=[board])
        async with make(guarded.server.live_url) as sdk:
            # The SDK asks for its first token.
            await sdk.connect(more_tokens=[token])
            await sdk.subscribe(f"board:{other}:top:3")
            await sdk.subscribe(f"board:{board}:top:3")
            assert (await sdk.heard("unsubscribed"))["code"] == 103
            assert sdk.all("unsubscribed")[0]["channel"] == f"board:{other}:top:3"
            await sdk.state(f"board:{board}:top:3", lambda state: state["total"] == 0)
            assert sdk.states(f"board:{other}:top:3") == []
            assert len(sdk.all("token")) == 1

    async def test_a_token_that_ends_is_refreshed(
        self, make: MakeSdk, guarded: Guarded, board: str
    ) -> None:
        url, signer = guarded.server.live_url, guarded.signer
        # Good for a second, but for no board here, so that one can tell it from the next.
        short, gone = signer.token("ada", 1, boards=["none"]), signer.token("ada", -60)
        async with make(url) as sdk, make(url) as refused, make(url) as late:
            await sdk.connect(token=short, more_tokens=[signer.token("ada")])
            await refused.connect(token=short, more_tokens=[gone])
            await late.connect(token=gone, more_tokens=[signer.token("ada")])
            await sdk.heard("token")
            await _until_submitted(sdk, board)
            await late.heard("connected")
            await late.rpc("submit", {"board": board, "score": 1})
            assert (await refused.heard("disconnected"))["code"] == 109
            for client in (sdk, refused, late):
                assert len(client.all("token")) == 1
                assert len(client.all("connected")) == 1

    async def test_bad_tokens_end_a_client_for_good(self, make: MakeSdk, guarded: Guarded) -> None:
        url, good = guarded.server.live_url, guarded.signer.token("ada")
        forged = good[:-8] + "AAAAAAAA"
        async with make(url) as bad, make(url) as ended:
            await bad.connect(token=forged, more_tokens=[good])
            await ended.connect(token=guarded.signer.token("ada", -60))
            assert (await bad.heard("disconnected"))["code"] == 3500
            # The SDK would fetch a token now, but it cannot: code 1, "unauthorized".
            assert (await ended.heard("disconnected"))["code"] == 1
            assert bad.all("connected") == bad.all("token") == ended.all("connected") == []

    async def test_after_a_restart_of_the_server_clients_come_back(
        self, make: MakeSdk, new_server: NewServer
    ) -> None:
        server = guard(new_server()).server
        await asyncio.to_thread(server.start)
        server.create("a")
        server.submit("a", "ann", 1)
        channel = "board:a:top:10"
        async with make(server.live_url) as sdk:
            await sdk.connect()
            await sdk.subscribe(channel, delta=True)
            await sdk.state(channel, lambda state: _best(state) == ("ann", 1))
            assert await asyncio.to_thread(server.terminate) == 0
            await sdk.heard("connecting", times=2)
            assert [event["code"] for event in sdk.all("connecting")] == [0, 3001]
            await asyncio.to_thread(server.restart, same_ports=True)
            again = await sdk.heard("subscribed", channel, times=2)
            assert (again["was_recovering"], again["recovered"]) == (True, True)
            server.submit("a", "bob", 2)
            await sdk.state(channel, lambda state: _best(state) == ("bob", 2))
            assert sdk.states(channel)[-1] == _top("a", 10)(server)

    async def test_after_unsubscribe_nothing_comes(
        self, make: MakeSdk, guarded: Guarded, board: str
    ) -> None:
        server = guarded.server
        left, stays = f"board:{board}:top:5", f"board:{board}:top:6"
        async with make(server.live_url) as sdk:
            await sdk.connect()
            for channel in (left, stays):
                await sdk.subscribe(channel)
                await sdk.state(channel, lambda _: True)
            await sdk.unsubscribe(left)
            assert (await sdk.heard("unsubscribed", left))["code"] == 0
            # An answer after it shows that the server has executed it.
            await sdk.rpc("top", {"board": board})
            server.submit(board, "ann", 1)
            await sdk.state(stays, lambda state: _best(state) == ("ann", 1))
            assert len(sdk.states(left)) == 1
            await sdk.subscribe(left)
            await sdk.state(left, lambda state: _best(state) == ("ann", 1))


async def _until_submitted(sdk: Sdk, board: str) -> None:
    """Submit as soon as that is permitted."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                await sdk.rpc("submit", {"board": board, "score": 1})
            except RefusedError as refused:
                assert refused.code == 103  # noqa: PT017 - it may also be permitted
                await asyncio.sleep(0.05)
            else:
                return


def _fill(server: Server, board: str) -> None:
    scores = [{"member": f"m{n:02}", "score": 100 - n} for n in range(_RANKED)]
    assert server.call("POST", f"/v1/boards/{board}/scores:batch", scores).status == 200


def _best(state: dict[str, Any]) -> tuple[str, float] | None:
    entries = state["entries"]
    return (entries[0]["member"], entries[0]["score"]) if entries else None


def _rest(state: dict[str, Any]) -> dict[str, Any]:
    """A state without its version: views do not follow changes that they do not show."""
    return {key: value for key, value in state.items() if key != "version"}


Look = Callable[[Server], dict[str, Any]]


def _views(board: str) -> dict[str, Look]:
    """Channels, and the states that HTTP knows of them."""
    at = f"/v1/boards/{board}"
    return {
        f"board:{board}:top:10": _top(board, 10),
        f"board:{board}:page:4-15": _rows(f"{at}/top?offset=3&limit=12"),
        f"board:{board}:member:m05": lambda server: _standing(server, f"{at}/members/m05"),
        f"board:{board}:around:m05:3": _rows(f"{at}/members/m05/around?radius=3"),
        f"board:{board}:friends": lambda server: _friends(server, at),
    }


def _top(board: str, rows: int) -> Look:
    look = _rows(f"/v1/boards/{board}/top?limit={rows}")
    return lambda server: {key: value for key, value in look(server).items() if key != "from"}


def _rows(path: str) -> Look:
    """Rows whose ranks are their positions."""

    def look(server: Server) -> dict[str, Any]:
        page = server.get(path).json()
        ranks = [row.pop("rank") for row in page["entries"]]
        assert ranks == [*range(ranks[0], ranks[0] + len(ranks))]
        return {key: page[key] for key in ("version", "total", "entries")} | {"from": ranks[0]}

    return look


def _standing(server: Server, path: str) -> dict[str, Any]:
    standing = server.get(path).json()
    return {key: standing[key] for key in ("version", "total", "rank", "score")}


def _friends(server: Server, at: str) -> dict[str, Any]:
    page = server.call("POST", f"{at}/standings", {"members": _FRIENDS}).json()
    return {key: page[key] for key in ("version", "total", "entries")}
