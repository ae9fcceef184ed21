"""Proves that what is stored is what it should be.

`against` compares a server's memory with the engine that its checkpoint and its journal add up to,
at exactly the batches that the server has. `offline` compares a storage with itself: the checkpoint
and the journal behind it with the journal alone, where that goes back to the beginning. Both build
engines of their own, so they need as much memory as a server, and change nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from rankwire import _core
from rankwire.storage.source import Source, engine_to_read

if TYPE_CHECKING:
    from rankwire.storage.backup import BatchRow, Board

TRIES: Final = 20
"""How often a server is asked that is behind the checkpoint; other nodes write it as well."""

PAUSE_SECONDS: Final = 0.5

_T = TypeVar("_T")

Tell = Callable[[str, int], None]
"""Told what is going on, and how many rows or batches are done."""


class BoardDigest(msgspec.Struct, frozen=True):
    """What a board is, apart from its version: that depends on the order of what came."""

    name: str
    total: int
    digest: str


class State(msgspec.Struct, frozen=True):
    """What an engine held at one moment."""

    vector: Mapping[int, int]
    boards: Mapping[int, BoardDigest]

    @classmethod
    def of(cls, engine: _core.Engine) -> State:
        """Look at an engine. Takes a second for ten million members."""
        vector, boards = engine.digest()
        return cls(
            {origin: number for origin, number in vector if number},
            {board: BoardDigest(name, total, text) for board, name, _, total, text in boards},
        )


class Difference(msgspec.Struct, frozen=True):
    """Something that is not as it should be."""

    what: str
    expected: str
    found: str


class Report(msgspec.Struct):
    """What was compared, and what differs."""

    boards: int = 0
    members: int = 0
    batches: int = 0
    """Of the journal, that were read."""
    differences: list[Difference] = []
    notes: list[str] = []

    def count(self, state: State) -> None:
        """Note the size of what was compared."""
        self.boards = len(state.boards)
        self.members = sum(board.total for board in state.boards.values())


class AheadError(Exception):
    """The checkpoint includes what the server has never seen."""


def against(source: Source, ask: Callable[[], State], tell: Tell) -> Report:
    """Compare a server with a storage. `ask` asks the server.

    Raises AheadError, StorageError, and what `ask` raises.
    """
    report = Report()
    asked = _ask(source, ask)
    report.count(asked)
    source.refresh()

    def compare() -> None:
        engine = _rebuild(source, tell)
        # The journal goes on meanwhile; what is newer than the answer is not looked at.
        _apply(engine, source.tail(), asked.vector, report, tell)
        _compare(asked, State.of(engine), report)

    _try(report, "the server's state", compare)
    return report


def offline(source: Source, tell: Tell) -> Report:
    """Compare a storage with itself. Raises StorageError."""
    report = Report()

    def recover() -> State:
        engine = _rebuild(source, tell)
        _apply(engine, source.tail(), None, Report(), tell)
        return State.of(engine)

    def replay(expected: State) -> None:
        engine = engine_to_read(_core.Recovery([]), source.identity)
        _apply(engine, source.journal(), None, Report(), tell)
        _compare(State.of(engine), expected, report)

    stored = _try(report, "a checkpoint and a journal to start from", recover)
    is_complete = _try(report, "a whole journal", lambda: _read_journal(source, report, tell))
    if stored is None or report.differences:
        return report
    report.count(stored)
    if not is_complete:
        report.notes.append(
            "the journal does not go back to the first batch of every origin (older ones have "
            "expired, or the storage was restored), so it was not replayed from nothing"
        )
        return report
    _try(report, "a journal that can be replayed", lambda: replay(stored))
    if not report.differences:
        report.notes.append("replaying the whole journal from nothing gives the same boards")
    return report


def _ask(source: Source, ask: Callable[[], State]) -> State:
    """Ask until the server has seen all that the checkpoint includes."""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE_SECONDS)
        asked = ask()
        if all(asked.vector.get(origin, 0) >= number for origin, number in source.vector):
            return asked
    raise AheadError("the checkpoint includes what the server has not seen: is it this storage's?")


def _rebuild(source: Source, tell: Tell) -> _core.Engine:
    """Make the engine of the checkpoint."""
    recovery = _core.Recovery(source.vector, source.dropped)
    for number, board in enumerate(source.boards()):
        tell("reading boards of the checkpoint", number)
        _begin(recovery, board)
        source.feed(recovery, board.id)
    return engine_to_read(recovery, source.identity)


def _begin(recovery: _core.Recovery, board: Board) -> None:
    recovery.board(*msgspec.structs.astuple(board))


def _apply(
    engine: _core.Engine,
    journal: Iterator[list[BatchRow]],
    upto: Mapping[int, int] | None,
    report: Report,
    tell: Tell,
) -> None:
    """Apply the journal, as far as a vector goes, if there is one."""
    for rows in journal:
        batches = [
            (origin, number, batch)
            for origin, number, _, batch in rows
            if upto is None or number <= upto.get(origin, 0)
        ]
        count, stop = engine.apply(batches, trust=True)
        if stop:
            origin, number, _ = batches[count]
            message = f"batches before number {number} of origin {origin} are missing"
            raise _core.CorruptError(message, None, None)
        report.batches += len(batches)
        tell("applying batches of the journal", report.batches)


def _read_journal(source: Source, report: Report, tell: Tell) -> bool:
    """Check every batch by itself; tell whether they are all that ever were."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for rows in source.journal():
        for origin, number, _, batch in rows:
            try:
                _core.records(origin, number, batch)
            except _core.CorruptError as error:
                _add(report, f"batch {number} of origin {origin}", "whole", error.args[0])
            first.setdefault(origin, number)
            if number != (expected := last.get(origin, number - 1) + 1):
                _add(report, f"journal of origin {origin}", f"batch {expected}", f"batch {number}")
            last[origin] = number
        report.batches += len(rows)
        tell("checking batches of the journal", report.batches)
    for origin, number in {**dict(source.vector), **source.ends}.items():
        # An origin without any batch is one whose batches have expired.
        if 0 < last.get(origin, 0) < number:
            _add(report, f"journal of origin {origin}", f"ends at {number}", f"{last[origin]}")
    is_whole = all(last.get(origin, 0) >= number for origin, number in source.vector)
    return is_whole and all(number == 1 for number in first.values())


def _compare(expected: State, found: State, report: Report) -> None:
    for origin, number in sorted(expected.vector.items()):
        if (have := found.vector.get(origin, 0)) != number:
            _add(report, f"journal of origin {origin}", f"up to batch {number}", f"{have}")
    for board in sorted(expected.boards.keys() | found.boards.keys()):
        here, there = expected.boards.get(board), found.boards.get(board)
        if here != there:
            _add(report, f"board {board:x}", _words(here), _words(there))


def _words(board: BoardDigest | None) -> str:
    return "none" if board is None else f"{board.name}: {board.total} members, {board.digest}"


def _add(report: Report, what: str, expected: str, found: str) -> None:
    report.differences.append(Difference(what, expected, found))


def _try(report: Report, expected: str, work: Callable[[], _T]) -> _T | None:
    """Work, and report what the core cannot take for what it should be."""
    try:
        return work()
    except (_core.RankwireError, OverflowError, TypeError, ValueError) as error:
        _add(report, "storage", expected, str(error.args[0]))
        return None
