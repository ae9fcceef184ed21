"""A board's history over HTTP: records of the journal in the words of the API."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from struct import pack, unpack
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET

from rankwire.api.answers import JSON, Answer, start
from rankwire.api.calls import SESSION_HEADER
from rankwire.api.members import lag_headers
from rankwire.api.problems import INVALID, ProblemError
from rankwire.model import History, HistoryEvent
from rankwire.storage.history import START, Place, Question

if TYPE_CHECKING:
    from rankwire import _core
    from rankwire.api.calls import Call
    from rankwire.model_queries import HistoryQuery
    from rankwire.storage import history

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# A place in the journal: a batch and a record of it. More digits than any has are no place.
_is_place: Final = re.compile(r"([0-9]{1,18})\.([0-9]{1,9})", re.ASCII).fullmatch


class Past:
    """Answers about what happened."""

    def __init__(self, engine: _core.Engine, past: history.History) -> None:
        """Answer for the engine's boards."""
        self._engine = engine
        self._history = past

    async def history(self, call: Call) -> Answer:
        """Tell what changed a board."""
        board = call.board
        query: HistoryQuery = call.query
        # What was waited for is on this node, and so in the journal; a replica may not have it yet.
        is_awaited = query.consistency != "local" or SESSION_HEADER in call.headers
        board_id = self._engine.board_id(board)
        is_float = msgspec.json.decode(self._engine.describe(board))["score"] == "float64"
        member = None if query.member is UNSET else query.member
        place = _place(query.before)
        question = Question(board_id, member, query.limit, place, may_be_late=not is_awaited)
        found = await self._history.look(question)
        events = [_event(event, is_float) for event in found.events]
        body = msgspec.json.encode(History(board, events, _text(found.next)))
        return start(200, JSON, *lag_headers(found.lag)), body


def _place(text: str) -> Place:
    if not text:
        return START
    if (match := _is_place(text)) is None:
        raise ProblemError(INVALID, "this is no `next` of a page", "before")
    return Place(int(match[1]), int(match[2]))


def _text(place: Place | None) -> str | None:
    return None if place is None else f"{place.seq}.{place.index}"


def _event(event: history.Event, is_float: bool) -> HistoryEvent:
    record = event.record
    is_score = record["type"] in {"score", "fix"}
    return HistoryEvent(
        _time(event.at_ms),
        record["type"],
        record.get("member", UNSET),
        _score(record["bits"], is_float) if is_score else UNSET,
        _time(record["stamp_ms"]) if is_score else UNSET,
        UNSET if event.region is None else event.region,
    )


def _score(bits: int, is_float: bool) -> Any:
    return unpack("<d" if is_float else "<q", pack("<Q", bits))[0]


def _time(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)
