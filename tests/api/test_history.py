"""A board's history over HTTP: everything that changed it, newest first, page by page."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fix_api import BOARD, JSON, Client, check_problem, running_api
from fix_engine import journal_sql
from rankwire import model
from rankwire.api.calls import Call, Sent
from rankwire.api.past import Past
from rankwire.model_queries import HistoryQuery
from rankwire.storage import history
from rankwire.storage.history import START, Question, SqliteHistory

HISTORY = f"{BOARD}/history"
EVENTS = [
    ("create", None, None),
    ("score", "ada", 30),
    ("score", "bob", -5),
    ("score", "ada", 40),
    ("delete", "bob", None),
    ("score", "bob", 2**62),
]


@pytest.fixture
async def board(api: Client) -> Client:
    """A board with a past, beside another one."""
    await api.call("PUT", BOARD)
    await api.call("PUT", "/v1/boards/other")
    for number, (event, member, score) in enumerate(EVENTS, 1):
        if event == "score":
            await api.post(f"{BOARD}/scores", {"member": member, "score": score})
        elif event == "delete":
            await api.call("DELETE", f"{BOARD}/members/{member}")
        await api.post("/v1/boards/other/scores:batch", [{"member": "ada", "score": number}] * 3)
    return api


def _told(events: list[Any]) -> list[tuple[str, str | None, int | None]]:
    return [(event["type"], event.get("member"), event.get("score")) for event in events]


async def _pages(api: Client, query: str) -> list[list[Any]]:
    """Every page, following `next`."""
    pages = []
    before = ""
    while True:
        answer = await api.get(f"{HISTORY}?{query}{before}")
        assert answer.status == 200
        page = msgspec.json.decode(answer.body, type=model.History)
        assert page.board == "b"
        pages.append(answer.json["events"])
        assert len(pages) < 100
        if page.next is None:
            return pages
        before = f"&before={page.next}"


async def test_everything_that_changed_a_board_newest_first(board: Client) -> None:
    # A score that changes nothing is no event.
    await board.post(f"{BOARD}/scores", {"member": "ada", "score": 1})
    (events,) = await _pages(board, "")
    assert _told(events) == EVENTS[::-1]
    now = datetime.now(UTC)
    times = [datetime.fromisoformat(event["at"]) for event in events]
    assert times == sorted(times, reverse=True)
    assert all(abs((now - at).total_seconds()) < 60 for at in times)
    for event in events:
        assert ("reached_at" in event) == (event["type"] == "score")


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 7])
async def test_pages_join_without_gap_or_repeat(board: Client, limit: int) -> None:
    pages = await _pages(board, f"limit={limit}")
    assert [event for page in pages for event in _told(page)] == EVENTS[::-1]
    assert all(len(page) == limit for page in pages[:-1])
    assert len(pages[-1]) <= limit


async def test_pages_divide_a_batch(api: Client) -> None:
    await api.call("PUT", BOARD)
    items = [{"member": f"m{number}", "score": number} for number in range(10)]
    await api.post(f"{BOARD}/scores:batch", items)
    pages = await _pages(api, "limit=4")
    assert [len(page) for page in pages] == [4, 4, 3]
    members = [event.get("member") for page in pages for event in page]
    assert members == [item["member"] for item in items[::-1]] + [None]


async def test_of_one_member(board: Client) -> None:
    (events,) = await _pages(board, "member=bob")
    assert _told(events) == [event for event in EVENTS[::-1] if event[1] == "bob"]
    assert [len(page) for page in await _pages(board, "member=bob&limit=2")] == [2, 1]
    assert await _pages(board, "member=nobody") == [[]]


async def test_the_work_of_a_question_is_bounded(
    board: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page ends where it has looked through enough, be it empty, and the next one goes on."""
    for bound, value in (("MOST_BATCHES", 2), ("MOST_BATCHES", 1), ("MOST_BYTES", 100)):
        with monkeypatch.context() as patch:
            patch.setattr(history, bound, value)
            pages = await _pages(board, "member=bob")
            assert [event for page in pages for event in _told(page)] == [
                event for event in EVENTS[::-1] if event[1] == "bob"
            ]
            assert len(pages) >= 4
            assert [] in pages


async def test_scores_and_times_are_exact(api: Client) -> None:
    await api.call("PUT", BOARD, b'{"score":"float64","policy":"sum"}', JSON)
    at = "2026-01-02T03:04:05.678Z"
    for score in (0.1, -1e300, 1e300):
        await api.post(f"{BOARD}/scores", {"member": "ada", "score": score, "at": at})
    events, _ = await _pages(api, "limit=3")
    assert [event["score"] for event in events] == [1e300, -1e300, 0.1]
    reached = {datetime.fromisoformat(event["reached_at"]) for event in events}
    assert reached == {datetime.fromisoformat(at)}


async def test_a_board_that_was_made_again_has_only_its_own_past(board: Client) -> None:
    await board.call("DELETE", BOARD)
    check_problem(await board.get(HISTORY), HISTORY, 404, "unknown-board", "board")
    await board.call("PUT", BOARD)
    assert await _pages(board, "") == [[{"at": (await _pages(board, ""))[0][0]["at"],
                                         "type": "create"}]]  # fmt: skip


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "before=x", "before=1", "before=1.", "before=-1.0",
     "before=1.1.1", "before=%D9%A1.0", "before=9999999999999999999.0", "after=1"],
)  # fmt: skip
async def test_wrong_questions(board: Client, query: str) -> None:
    refused = await board.get(f"{HISTORY}?{query}")
    check_problem(refused, HISTORY, 422, "invalid", query.partition("=")[0])


async def test_places_that_are_none(board: Client) -> None:
    """Whoever makes up a place gets some page, and no fault."""
    for before in ("0.0", "0.7", "1.999999999", "999999999999999999.999999999"):
        answer = await board.get(f"{HISTORY}?before={before}")
        assert answer.status == 200, before
    last = (await board.get(f"{HISTORY}?before=999999999999999999.5")).json["events"]
    assert _told(last) == EVENTS[::-1]


async def test_it_outlives_the_server(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    for number in range(2):
        async with running_api(directory) as api:
            await api.call("PUT", BOARD)
            await api.post(f"{BOARD}/scores", {"member": "ada", "score": number + 1})
    async with running_api(directory) as api:
        (events,) = await _pages(api, "")
    assert _told(events) == [("score", "ada", 2), ("score", "ada", 1), ("create", None, None)]


class _Asked:
    """A history that keeps what it is asked."""

    def __init__(self) -> None:
        self.questions: list[Question] = []

    async def look(self, question: Question) -> history.Past:
        self.questions.append(question)
        return history.Past([], None)

    async def close(self) -> None:
        pass


async def test_what_was_waited_for_is_not_read_from_a_replica(board: Client) -> None:
    asked = _Asked()
    past = Past(board.writer.engine, asked)
    read, bounded = HistoryQuery(), HistoryQuery(consistency="bounded")
    for query, headers in ((read, {}), (bounded, {}), (read, {b"rankwire-session": b"new"})):
        sent = Sent("GET", b"", b"", b"")
        await past.history(Call("b", "", query, None, headers, None, sent))
    assert [question.may_be_late for question in asked.questions] == [True, False, False]


async def test_a_damaged_journal_is_a_fault(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    async with running_api(directory) as api:
        await api.call("PUT", BOARD)
        journal_sql(directory, "UPDATE journal SET batch = x'00'")
        refused = await api.get(HISTORY)
        check_problem(refused, HISTORY, 500, "internal", None)


async def test_long_questions_leave_the_event_loop_alone(tmp_path: Path) -> None:
    """What a question looks through is read and decoded while others are answered."""
    directory = tmp_path / "data"
    async with running_api(directory) as api:
        await api.call("PUT", BOARD)
        await api.call("PUT", "/v1/boards/other")
        for score in range(40):
            items = [{"member": f"m{number}", "score": score} for number in range(500)]
            await api.post(f"{BOARD}/scores:batch", items)
        source = SqliteHistory(directory, 1.0)
        try:
            board = api.writer.engine.board_id("other")
            asked = asyncio.create_task(source.look(Question(board, None, 1000, START)))
            turns = 0
            while not asked.done():
                await asyncio.sleep(0)
                turns += 1
            past = await asked
        finally:
            await source.close()
        assert turns > 1
        assert [event.record["type"] for event in past.events] == ["create"]
        assert past.next is None
