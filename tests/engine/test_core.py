"""The Python surface of the Rust core: types, exceptions, misuse, threads."""

from __future__ import annotations

import itertools
import json
import math
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import rankwire
from fix_engine import LIMIT, rows
from rankwire import _core
from rankwire.settings import Live
from rankwire.times import BUCKETS

_SECONDS: Final = 30.0
# How long a committer waits at most that is to be woken at once.
_PATIENCE: Final = 10.0


def _engine(pending_ops: int = LIMIT, boards: int = LIMIT) -> _core.Engine:
    return _core.Recovery([]).finish(7, pending_ops, boards)


def _commit(engine: _core.Engine) -> dict[int, Any]:
    sealed = engine.seal(0.0)
    assert sealed is not None
    return dict(sealed.commit())


@pytest.fixture
def engine() -> _core.Engine:
    """An engine with a board and two members."""
    engine = _engine()
    engine.create_board("a", "int64", "desc", "best", "first")
    engine.submit("a", "ann", 5)
    engine.submit("a", "bob", 3)
    _commit(engine)
    return engine


# Answers.


def test_build_info_tells_of_this_machine() -> None:
    info = _core.build_info()
    assert info == {
        "version": rankwire.__version__,
        "optimized": info["optimized"],
        "arch": platform.machine(),
        "os": sys.platform,
    }
    assert type(info["optimized"]) is bool
    assert _core.__version__ == rankwire.__version__


def test_every_write_is_answered_by_its_ticket() -> None:
    engine = _engine()
    tickets = [
        engine.create_board("a", "int64", "desc", "sum", "first"),
        engine.create_board("a", "int64", "desc", "sum", "first"),
        engine.submit("a", "ann", 5),
        engine.submit_batch("a", [("ann", 1, None), ("bob", 2, 1_000)]),
        engine.remove_member("a", "bob"),
        engine.drop_board("a"),
    ]
    assert tickets == sorted(set(tickets))
    answers = _commit(engine)
    assert [*answers] == tickets
    created, confirmed, submitted, batch, removed, dropped = answers.values()
    assert created[0] is True
    assert confirmed[0] is False
    assert json.loads(created[1])["policy"] == "sum"
    assert json.loads(submitted) == {
        "board": "a",
        "member": "ann",
        "score": 5,
        "rank": 1,
        "previous_score": None,
        "previous_rank": None,
        "changed": True,
        "version": 1,
    }
    assert json.loads(batch)["submitted"] == 2
    assert removed == dropped == b""


def test_a_board_knows_whether_players_may_submit(engine: _core.Engine) -> None:
    engine.create_board("b", "int64", "desc", "best", "first", player_submits=True)
    _commit(engine)
    assert [engine.player_submits(board) for board in "ab"] == [False, True]
    assert [board["player_submits"] for board in json.loads(engine.boards("", 2))["boards"]] == [
        False,
        True,
    ]


def test_nothing_is_seen_before_the_commit(engine: _core.Engine) -> None:
    engine.submit("a", "cem", 9)
    assert rows(engine, "a")[0] == (1, "ann", 5)
    sealed = engine.seal(0.0)
    assert sealed is not None
    assert rows(engine, "a")[0] == (1, "ann", 5)
    sealed.commit()
    assert rows(engine, "a")[0] == (1, "cem", 9)


def test_reads_answer_with_json_bytes(engine: _core.Engine) -> None:
    page, board_id, version = engine.page("a", 0, 10)
    assert json.loads(page) == {
        "board": "a",
        "version": version,
        "total": 2,
        "entries": [
            {"rank": 1, "member": "ann", "score": 5},
            {"rank": 2, "member": "bob", "score": 3},
        ],
    }
    assert board_id > 0
    assert version == 2
    answers = {
        "standing": engine.standing("a", "bob"),
        "around": engine.around("a", "bob", 1),
        "standings": engine.standings("a", ["bob", "nobody"]),
        "count": engine.count("a", 4, None),
        "describe": engine.describe("a"),
        "boards": engine.boards("", 10),
    }
    assert {type(answer) for answer in answers.values()} == {bytes}
    found = {name: json.loads(answer) for name, answer in answers.items()}
    assert found["standing"]["rank"] == 2
    assert [row["member"] for row in found["around"]["entries"]] == ["ann", "bob"]
    assert found["standings"]["missing"] == ["nobody"]
    assert found["count"]["count"] == 1
    assert found["describe"]["total"] == 2
    assert found["boards"] == {"boards": [found["describe"]], "next": None}


def test_stats_count(engine: _core.Engine) -> None:
    engine.submit("a", "ann", 1)
    assert engine.stats()["pending_ops"] == 1
    _commit(engine)
    stats = engine.stats()
    size = stats.pop("journal_bytes_total")  # type: ignore[misc]  # the rest is compared whole
    assert size > 0
    stats.pop("oldest_read_versions")  # type: ignore[misc]  # other engines of this process count
    assert stats == {
        "submits_total": 3,
        "changes_total": 2,
        "rejected_total": 0,
        "applied_records_total": 0,
        "not_committed_total": 0,
        "batches_total": 1,
        "pending_ops": 0,
        "boards": 1,
        "members": 2,
        "dirty_members": 2,
    }


def test_the_stub_knows_every_figure(engine: _core.Engine) -> None:
    assert engine.stats().keys() == _core_types("Stats")
    hub = _core.Hub.start(engine, _everybody(), Live(port=0))
    try:
        assert hub.port > 0
        stats = hub.stats()
        assert stats.keys() == _core_types("HubStats")
        assert list(stats["by_view"]) == ["top", "page", "member", "around", "friends", "events"]
        for view in stats["by_view"].values():
            assert view.keys() == _core_types("ViewStats")
            assert tuple(view["fanout"]) == (*BUCKETS, math.inf)
    finally:
        hub.shutdown(1.0)


def _core_types(name: str) -> set[str]:
    """Names of a TypedDict that only the stub declares."""
    stub = Path(rankwire.__file__).with_name("_core.pyi").read_text(encoding="utf-8")
    body = stub.split(f"class {name}(TypedDict):\n")[1].split("\n\n")[0]
    return {line.split(":")[0].strip() for line in body.splitlines() if ":" in line}


# Refusals.


def _queued(write: Callable[[_core.Engine], int]) -> Callable[[_core.Engine], Any]:
    """A write whose refusal is its answer."""

    def call(engine: _core.Engine) -> Any:
        ticket = write(engine)
        answer = _commit(engine)[ticket]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return call


_Refusal = tuple[Callable[[_core.Engine], Any], type, str, str | None, int | None]

_WORDS: Final = ("int64", "desc", "best", "first")
_REFUSALS: Final[dict[str, _Refusal]] = {
    "no board to read": (lambda e: e.page("b", 0, 1), _core.NotFoundError, "board", "board", None),
    "no member to read": (
        lambda e: e.standing("a", "x"), _core.NotFoundError, "member", "member", None
    ),
    "no board to write to": (
        _queued(lambda e: e.submit("b", "x", 1)), _core.NotFoundError, "board", "board", None
    ),
    "no member to remove": (
        _queued(lambda e: e.remove_member("a", "x")), _core.NotFoundError, "member", "member", None
    ),
    "another configuration": (
        _queued(lambda e: e.create_board("a", "int64", "asc", "best", "first")),
        _core.ConflictError, "another configuration", "board", None,
    ),
    "other submitters": (
        _queued(lambda e: e.create_board("a", *_WORDS, player_submits=True)),
        _core.ConflictError, "another configuration", "board", None,
    ),
    "no board to ask about": (
        lambda e: e.player_submits("b"), _core.NotFoundError, "board", "board", None
    ),
    "unknown word": (
        lambda e: e.create_board("b", "int64", "up", "best", "first"),
        _core.InvalidError, "`up`", "order", None,
    ),
    "board name": (
        _queued(lambda e: e.create_board("", "int64", "desc", "best", "first")),
        _core.InvalidError, "board name", "board", None,
    ),
    "member name": (
        _queued(lambda e: e.submit("a", "", 1)), _core.InvalidError, "member id", "member", None
    ),
    "fraction": (
        _queued(lambda e: e.submit("a", "x", 1.5)), _core.InvalidError, "integer", "score", None
    ),
    "not a number": (
        _queued(lambda e: e.submit("a", "x", float("nan"))),
        _core.InvalidError, "finite", "score", None,
    ),
    "too large": (
        lambda e: e.submit("a", "x", 2**63), _core.InvalidError, "64 bits", "score", None
    ),
    "text for a score": (
        lambda e: e.submit("a", "x", "5"),  # type: ignore[arg-type]  # that is the point
        _core.InvalidError, "integer or a float", "score", None,
    ),
    "future": (
        _queued(lambda e: e.submit("a", "x", 1, 2**45)), _core.InvalidError, "future", "at", None
    ),
    "item of a batch": (
        _queued(lambda e: e.submit_batch("a", [("x", 1, None), ("y", 2, None), ("", 3, None)])),
        _core.InvalidError, "member id", "member", 2,
    ),
    "bound of a count": (lambda e: e.count("a", 1.5), _core.InvalidError, "integer", "score", None),
}  # fmt: skip


@pytest.mark.parametrize("name", _REFUSALS)
def test_refusals_carry_message_field_and_index(engine: _core.Engine, name: str) -> None:
    call, kind, text, field, index = _REFUSALS[name]
    before = rows(engine, "a")
    with pytest.raises(_core.RankwireError) as caught:
        call(engine)
    assert type(caught.value) is kind
    message, *where = caught.value.args
    assert text in message
    assert where == [field, index]
    assert rows(engine, "a") == before


def test_a_bool_is_the_integer_that_it_is(engine: _core.Engine) -> None:
    ticket = engine.submit("a", "x", True)
    assert json.loads(_commit(engine)[ticket])["score"] == 1


def test_limits_are_kept() -> None:
    engine = _engine(pending_ops=3, boards=1)
    engine.create_board("a", "int64", "desc", "best", "first")
    refused = engine.create_board("b", "int64", "desc", "best", "first")
    with pytest.raises(_core.BusyError):
        engine.submit_batch("a", [("x", 1, None)] * 2)
    engine.submit("a", "x", 1)
    with pytest.raises(_core.BusyError) as caught:
        engine.submit("a", "x", 2)
    assert caught.value.args == ("too many submits are waiting for the storage", None, None)
    error = _commit(engine)[refused]
    assert type(error) is _core.LimitError
    assert error.args == ("the server holds its limit of 1 boards", None, None)
    engine.submit("a", "x", 2)


def test_a_closed_engine_refuses_writes_and_seals_what_waits(engine: _core.Engine) -> None:
    ticket = engine.submit("a", "ann", 9)
    engine.close()
    with pytest.raises(_core.UnavailableError, match="shutting down"):
        engine.submit("a", "ann", 10)
    assert json.loads(_commit(engine)[ticket])["score"] == 9
    assert engine.seal(60.0) is None
    assert rows(engine, "a")[0] == (1, "ann", 9)


def test_a_stalled_engine_refuses_everyone_until_it_resumes(engine: _core.Engine) -> None:
    waiting = engine.submit("a", "ann", 9)
    ((ticket, error),) = engine.stall()
    assert ticket == waiting
    assert isinstance(error, _core.UnavailableError)
    with pytest.raises(_core.UnavailableError):
        engine.submit("a", "ann", 10)
    engine.resume()
    engine.submit("a", "ann", 8)
    _commit(engine)
    assert rows(engine, "a")[0] == (1, "ann", 8)


# Misuse.


def test_a_batch_is_decided_once(engine: _core.Engine) -> None:
    for decide in ("commit", "abort"):
        engine.submit("a", "ann", 9)
        sealed = engine.seal(0.0)
        assert sealed is not None
        assert len(getattr(sealed, decide)()) == 1
        for again in (sealed.commit, sealed.abort, sealed.refuse, lambda s=sealed: s.bytes):
            with pytest.raises(RuntimeError, match="already committed or aborted"):
                again()


def test_an_aborted_batch_never_happened(engine: _core.Engine) -> None:
    before = rows(engine, "a")
    ticket = engine.submit("a", "ann", 9)
    sealed = engine.seal(0.0)
    assert sealed is not None
    number = sealed.number
    ((answered, error),) = sealed.abort()
    assert answered == ticket
    assert isinstance(error, _core.UnavailableError)
    assert rows(engine, "a") == before
    engine.submit("a", "ann", 8)
    following = engine.seal(0.0)
    assert following is not None
    assert following.number == number, "the number is free again"
    following.commit()


def test_a_refused_batch_may_still_be_committed(engine: _core.Engine) -> None:
    engine.submit("a", "ann", 9)
    sealed = engine.seal(0.0)
    assert sealed is not None
    ((_, error),) = sealed.refuse()
    assert isinstance(error, _core.UnavailableError)
    assert sealed.refuse() == []
    assert sealed.commit() == []
    assert rows(engine, "a")[0] == (1, "ann", 9)


def test_one_batch_at_a_time(engine: _core.Engine) -> None:
    engine.submit("a", "ann", 9)
    sealed = engine.seal(0.0)
    assert sealed is not None
    engine.submit("a", "ann", 10)
    with pytest.raises(BaseException, match="neither committed nor aborted") as caught:
        engine.seal(0.0)
    assert type(caught.value).__name__ == "PanicException"
    # It is a mistake of the caller's, not the end of the engine.
    sealed.commit()
    assert rows(engine, "a")[0] == (1, "ann", 9)


def test_a_seal_without_writes_is_empty(engine: _core.Engine) -> None:
    sealed = engine.seal(0.0)
    assert sealed is not None
    assert sealed.bytes == b""
    assert sealed.commit() == []
    with pytest.raises(RuntimeError):
        engine.seal(-1.0)


def test_a_recovery_finishes_once(engine: _core.Engine) -> None:
    del engine
    recovery = _core.Recovery([])
    recovery.finish(1, LIMIT, LIMIT)
    for again in (
        lambda: recovery.finish(1, LIMIT, LIMIT),
        lambda: recovery.members([]),
        lambda: recovery.copied(b""),
        lambda: recovery.board(1, "a", "int64", "desc", "best", "first", bytes(16), 0, 0),
    ):
        with pytest.raises(RuntimeError, match="already finished"):
            again()


def test_a_checkpoint_is_given_back_once(engine: _core.Engine) -> None:
    checkpoint = engine.checkpoint()
    assert checkpoint is not None
    assert engine.checkpoint() is None
    assert checkpoint.vector == [(7, 1)]
    assert checkpoint.dropped == []
    ((_, name, score, order, policy, ties, seed, version, players, members),) = checkpoint.boards
    assert (name, score, order, policy, ties) == ("a", "int64", "desc", "best", "first")
    assert players is False
    assert (len(seed), version, members) == (16, 2, 2)
    assert {member for member, *_ in json.loads(checkpoint.rows(0, 0, 10))} == {"ann", "bob"}
    assert json.loads(checkpoint.rows(0, 2, 10)) == []
    with pytest.raises(IndexError):
        checkpoint.rows(1, 0, 10)
    checkpoint.give_back()
    with pytest.raises(RuntimeError, match="already given back"):
        checkpoint.give_back()
    with pytest.raises(RuntimeError, match="already given back"):
        checkpoint.rows(0, 0, 10)
    assert engine.checkpoint() is not None


@pytest.mark.parametrize("kind", [_core.Engine, _core.Sealed, _core.Checkpoint, _core.Hub])
def test_what_others_make_cannot_be_made(kind: type) -> None:
    with pytest.raises(TypeError):
        kind()


def test_a_recovery_refuses_what_contradicts_itself() -> None:
    recovered = _core.Recovery([(1, 5)]).finish(2, LIMIT, LIMIT)
    assert recovered.apply([(1, 5, b"included, so not looked at")]) == (1, "")
    assert recovered.apply([(1, 7, b"")]) == (0, "gap")
    with pytest.raises(_core.CorruptError, match="too short"):
        recovered.apply([(1, 6, b"")])
    recovery = _core.Recovery([(1, 5)])
    recovery.board(1, "a", "int64", "desc", "best", "first", bytes(16), 1, 0)
    recovery.members([("ann", 1, 1, 0), ("ann", 2, 2, 0)])
    with pytest.raises(_core.CorruptError, match='checkpoint of board "a": a member has two rows'):
        recovery.finish(2, LIMIT, LIMIT)


def test_what_two_origins_did_adds_up_in_any_order() -> None:
    """A score taken before a removal that its taker had not heard of is void, late or not."""
    batches: dict[tuple[int, int], bytes] = {}

    def replica(origin: int, *known: tuple[int, int]) -> _core.Engine:
        engine = _core.Recovery([]).finish(origin, LIMIT, LIMIT)
        ready = [(*place, batches[place]) for place in known]
        assert engine.apply(ready) == (len(ready), "")
        return engine

    def keep(engine: _core.Engine) -> None:
        sealed = engine.seal(0.0)
        assert sealed is not None
        batches[engine.origin, sealed.number] = sealed.bytes
        sealed.commit()

    one = replica(1)
    one.create_board("a", "int64", "desc", "sum", "first")
    one.submit("a", "ann", 5)
    one.submit("a", "bob", 1)
    keep(one)
    one.remove_member("a", "ann")
    keep(one)
    two = replica(2, (1, 1))
    two.submit("a", "ann", 100)
    two.submit("a", "bob", 10)
    keep(two)
    three = replica(3, (1, 1), (1, 2))
    three.submit("a", "ann", 7)
    keep(three)
    orders = [
        order
        for order in itertools.permutations([(1, 1), (1, 2), (2, 1), (3, 1)])
        if order[0] == (1, 1)
    ]
    assert len(orders) == 6
    for order in orders:
        assert rows(replica(9, *order), "a") == [(1, "bob", 11), (2, "ann", 7)], order


def _everybody() -> _core.Access:
    return _core.Access("open", False, "", "", 0, 0)


def test_origins_that_are_none_are_refused(engine: _core.Engine) -> None:
    with pytest.raises(ValueError, match=r"live\.origins"):
        _core.Hub.start(engine, _everybody(), Live(port=0, origins="example.com"))


def test_a_hub_on_a_taken_port_is_refused(engine: _core.Engine) -> None:
    hub = _core.Hub.start(engine, _everybody(), Live(port=0))
    try:
        with pytest.raises(OSError, match="in use"):
            _core.Hub.start(engine, _everybody(), Live(port=hub.port))
        with pytest.raises(ValueError, match="negative"):
            hub.shutdown(-1.0)
    finally:
        hub.shutdown(1.0)
        hub.shutdown(1.0)


# Threads.


def test_others_run_while_seal_waits(engine: _core.Engine) -> None:
    """Holding the interpreter would stop this thread until the patience is over."""
    sealed: list[_core.Sealed | None] = []
    committer = threading.Thread(target=lambda: sealed.append(engine.seal(_PATIENCE)))
    committer.start()
    began = time.monotonic()
    for number in range(100):
        engine.submit("a", f"m{number}", number)
    assert sealed == [], "not woken yet"
    engine.wake()
    committer.join(_SECONDS)
    assert time.monotonic() - began < _PATIENCE
    assert sealed[0] is not None
    assert len(sealed[0].commit()) == 100


def test_close_ends_the_wait_of_seal(engine: _core.Engine) -> None:
    sealed: list[_core.Sealed | None] = []
    committer = threading.Thread(target=lambda: sealed.append(engine.seal(_PATIENCE)))
    committer.start()
    engine.close()
    committer.join(_SECONDS)
    assert sealed == [None]


def _reads(engine: _core.Engine) -> Iterator[dict[str, Any]]:
    yield json.loads(engine.page("a", 0, 100)[0])
    yield json.loads(engine.around("a", "m50", 10))
    yield json.loads(engine.standings("a", [f"m{n}" for n in range(0, 100, 7)]))


def test_many_threads_read_while_one_writes(engine: _core.Engine) -> None:
    """Each answer is of one version, and versions never go back for a reader."""
    engine.create_board("a", "int64", "desc", "best", "first")
    engine.submit_batch("a", [(f"m{n}", 0, None) for n in range(100)])
    _commit(engine)
    end = threading.Event()
    looked = [0] * 4
    faults: list[object] = []

    def read(reader: int) -> None:
        last = 0
        try:
            while not end.is_set():
                for answer in _reads(engine):
                    entries = answer["entries"]
                    scores = [row["score"] for row in entries]
                    ranks = [row["rank"] for row in entries]
                    assert scores == sorted(scores, reverse=True)
                    assert ranks == sorted(set(ranks))
                    assert answer["total"] == 102
                    assert answer["version"] >= last
                    last = answer["version"]
                looked[reader] += 1
        except BaseException as fault:  # noqa: BLE001  # shown by the test's own thread
            faults.append(fault)

    readers = [threading.Thread(target=read, args=(reader,)) for reader in range(4)]
    for reader in readers:
        reader.start()
    deadline = time.monotonic() + _SECONDS
    score = 0
    while (min(looked) < 20 or score < 300) and not faults and time.monotonic() < deadline:
        score += 1
        engine.submit_batch("a", [(f"m{n}", score * n, None) for n in range(0, 100, 3)])
        _commit(engine)
    end.set()
    for reader in readers:
        reader.join(_SECONDS)
    assert faults == []
    assert min(looked) >= 20


def test_many_threads_write_and_every_ticket_is_answered_once(engine: _core.Engine) -> None:
    engine.create_board("sum", "int64", "desc", "sum", "first")
    _commit(engine)
    tickets: list[list[int]] = [[] for _ in range(4)]

    def write(writer: int) -> None:
        for _ in range(500):
            tickets[writer].append(engine.submit("sum", "all", 1))

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for writer in writers:
        writer.start()
    answers: dict[int, Any] = {}
    while any(writer.is_alive() for writer in writers) or engine.stats()["pending_ops"]:
        found = _commit(engine)
        assert not answers.keys() & found.keys()
        answers |= found
    assert answers.keys() == {ticket for own in tickets for ticket in own}
    assert rows(engine, "sum") == [(1, "all", 2000)]
    scores = [json.loads(answers[ticket])["score"] for ticket in sorted(answers)]
    assert scores == [*range(1, 2001)], "in the order of the tickets"
