"""What reads ask for, beside an independent cache simulator; and first pages that are kept."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

import libcachesim  # type: ignore[import-untyped]  # has no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fix_engine import LIMIT
from rankwire import _core

_NEVER: Final = 1e9
_BOUND: Final = 0.02
"""What is promised of a curve: the mean of its absolute errors at ten sizes."""


def _engine() -> _core.Engine:
    return _core.Recovery([]).finish(7, LIMIT, LIMIT)


def _commit(engine: _core.Engine) -> dict[int, Any]:
    sealed = engine.seal(0.0)
    assert sealed is not None
    return dict(sealed.commit())


def _create(engine: _core.Engine, board: str, members: int = 0) -> None:
    engine.create_board(board, "int64", "desc", "last", "member")
    if members:
        engine.submit_batch(board, [(f"player-{n:03}", n, None) for n in range(members)])
    _commit(engine)


@pytest.fixture
def engine() -> _core.Engine:
    """An engine with two boards of 100 members."""
    engine = _engine()
    _create(engine, "a", 100)
    _create(engine, "b", 100)
    return engine


# What is recorded.


def test_reads_count_only_while_they_are_watched(engine: _core.Engine) -> None:
    def read() -> None:
        engine.page("a", 0, 10)
        engine.standing("a", "player-001")
        engine.around("a", "player-001", 2)
        engine.standings("a", ["player-001", "nobody"])
        engine.count("b", 5, None)

    read()
    assert engine.traffic.curve("leaderboard", [9]) == []
    engine.watch_traffic(True)
    read()
    engine.describe("a")
    with pytest.raises(_core.NotFoundError):
        engine.page("c", 0, 10)
    traffic = engine.traffic
    # Five reads of two boards, and one page.
    assert traffic.curve("leaderboard", [9]) == pytest.approx([2 / 5])
    assert traffic.curve("page", [9]) == pytest.approx([1.0])
    assert traffic.unique("leaderboard") == pytest.approx(2, abs=0.1)
    engine.watch_traffic(False)
    read()
    assert traffic.curve("leaderboard", [9]) == pytest.approx([2 / 5])


def test_the_last_whole_minute_is_told_by_name() -> None:
    traffic = _engine().traffic
    traffic.profiles(["ann", "ann", "bob"], 59.0, 60.0)
    assert traffic.heavy("user_profile", 10) == []
    traffic.profiles(["cyd"], 61.0, 60.0)
    assert traffic.heavy("user_profile", 10) == [("ann", 2, 0), ("bob", 1, 0)]
    assert traffic.heavy("user_profile", 1) == [("ann", 2, 0)]


def test_a_page_that_changed_is_a_miss(engine: _core.Engine) -> None:
    engine.watch_traffic(True)
    assert engine.traffic.curve("page", [1]) == []
    for _ in range(2):
        engine.page("a", 0, 10)
        engine.page("a", 0, 10)
        engine.submit("a", "player-001", 1000)
        _commit(engine)
    assert engine.traffic.curve("page", [1]) == pytest.approx([0.5])


def test_a_profile_that_is_too_old_is_a_miss() -> None:
    traffic = _engine().traffic
    for now in (0.0, 10.0, 11.0, 12.0):
        traffic.profiles(["ann"], now, 10.0)
    assert traffic.curve("user_profile", [0, 1]) == pytest.approx([1.0, 0.5])


def test_what_cannot_be_is_refused() -> None:
    traffic = _engine().traffic
    with pytest.raises(_core.InvalidError, match="kind is"):
        traffic.unique("boards")  # type: ignore[arg-type]
    for now, seconds in ((-1.0, 1.0), (1.0, float("nan")), (float("inf"), 1.0)):
        with pytest.raises(_core.InvalidError, match="number of seconds"):
            traffic.profiles(["ann"], now, seconds)
    for entries in (0, 1 << 25):
        with pytest.raises(_core.InvalidError, match="entries are"):
            _core.Frequency(entries)


def test_frequencies_count_to_fifteen() -> None:
    frequency = _core.Frequency(1000)
    for _ in range(20):
        frequency.add("ann")
    frequency.add("bob")
    assert [frequency.estimate(name) for name in ("ann", "bob", "cyd")] == [15, 1, 0]


# Curves.


def _zipf(skew: float) -> list[int]:
    weights = list(itertools.accumulate(n**-skew for n in range(1, 20_001)))
    return random.Random(1).choices(range(20_000), cum_weights=weights, k=50_000)


def _shifting() -> list[int]:
    drawn = random.Random(2)
    return [
        (start + drawn.randrange(1500 if drawn.random() < 0.9 else 15_000)) % 15_000
        for start in range(0, 15_000, 1500)
        for _ in range(5000)
    ]


def _exact(trace: Sequence[int], size: int) -> float:
    cache, request = libcachesim.LRU(size), libcachesim.Request()
    request.obj_size = 1
    missed = 0
    for name in trace:
        request.obj_id = name
        missed += not cache.get(request)
    return missed / len(trace)


@pytest.mark.parametrize(
    "trace",
    [
        pytest.param(_zipf(0.7), id="zipf-0.7"),
        pytest.param(_zipf(1.0), id="zipf-1.0"),
        pytest.param(_zipf(1.2), id="zipf-1.2"),
        pytest.param([n % 12_000 for n in range(50_000)], id="scan"),
        pytest.param(_shifting(), id="shifting-hot-set"),
    ],
)
def test_a_curve_is_near_what_a_cache_simulator_says(trace: list[int]) -> None:
    traffic = _engine().traffic
    for at in range(0, len(trace), 100):
        traffic.profiles([str(name) for name in trace[at : at + 100]], 0.0, _NEVER)
    sizes = [20_000 >> step for step in range(10)]
    curve = traffic.curve("user_profile", sizes)
    errors = [abs(ours - _exact(trace, size)) for ours, size in zip(curve, sizes, strict=True)]
    assert sum(errors) / len(errors) <= _BOUND


# Pages.

_BOARDS: Final = ("a", "b", "c")
_LIMITS: Final = (1, 3, 100)
_board = st.sampled_from(_BOARDS)
_member = st.sampled_from(["ann", "bob", "cyd", "dan", "eve"])
_READ = st.tuples(st.just("read"), _board)
_STEP = st.one_of(
    st.tuples(st.just("create"), _board),
    st.tuples(st.just("drop"), _board),
    st.tuples(st.just("submit"), _board, _member, st.integers(0, 5)),
    st.tuples(st.just("remove"), _board, _member),
    st.tuples(
        st.just("keep"), st.lists(_board, max_size=4), st.sampled_from([0, 300, 700, 100_000])
    ),
)


class _Pair:
    """Two engines that are told the same; only the first one keeps pages."""

    def __init__(self) -> None:
        self.keeping, self.plain = _engine(), _engine()
        self.most_bytes = 0

    def do(self, what: str, *values: Any) -> None:
        match what, values:
            case "keep", (boards, most_bytes):
                self.keeping.keep_pages(boards, most_bytes)
                self.most_bytes = most_bytes
            case "read", (board,):
                self.compare(board)
            case _:
                for engine in (self.keeping, self.plain):
                    write(engine, what, *values)
                    _commit(engine)

    def compare(self, board: str) -> None:
        for limit in _LIMITS * 2:
            kept, plain = (page_of(engine, board, limit) for engine in (self.keeping, self.plain))
            assert kept == plain
            if kept is not None:
                assert json.loads(kept[0])["version"] == kept[1]
            stats = self.keeping.page_stats()
            assert stats["bytes"] <= self.most_bytes
            assert (stats["entries"] == 0) == (stats["bytes"] == 0)


def write(engine: _core.Engine, what: str, *values: Any) -> None:
    """Queue a write."""
    match what:
        case "create":
            (board,) = values
            engine.create_board(board, "int64", "desc", "last", "member")
        case "drop":
            engine.drop_board(*values)
        case "submit":
            engine.submit(*values)
        case "remove":
            engine.remove_member(*values)


def page_of(engine: _core.Engine, board: str, limit: int) -> tuple[bytes, int] | None:
    """Read a first page with its version; None if there is no such board."""
    try:
        page, board_id, version = engine.page(board, 0, limit)
    except _core.NotFoundError:
        return None
    assert board_id == engine.board_id(board)
    return page, version


@settings(max_examples=200, deadline=None)
@given(st.lists(_STEP | _READ, max_size=40))
def test_a_kept_page_is_what_a_fresh_one_would_be(steps: list[tuple[Any, ...]]) -> None:
    pair = _Pair()
    pair.do("keep", _BOARDS, 100_000)
    pair.do("create", "a")
    for step in steps:
        pair.do(*step)
    for board in _BOARDS:
        pair.compare(board)


def test_pages_that_are_kept_are_found_again(engine: _core.Engine) -> None:
    engine.keep_pages(["a"], 100_000)
    first, *_ = engine.page("a", 0, 10)
    again, *_ = engine.page("a", 0, 10)
    assert again is first
    engine.page("a", 0, 100)
    engine.page("a", 0, 10)
    # Neither pages of other boards, nor later ones, nor long ones.
    for board, offset, limit in (("b", 0, 10), ("a", 10, 10), ("a", 0, 101)):
        engine.page(board, offset, limit)
    stats = engine.page_stats()
    assert (stats["reads"], stats["hits"], stats["misses"]) == (5, 2, 2)
    assert (stats["entries"], stats["built"]) == (2, 3)
    assert 0 < stats["built_seconds"] < 1
    engine.keep_pages([], 0)
    assert engine.page_stats()["entries"] == engine.page_stats()["bytes"] == 0


def test_pages_stay_while_others_are_kept_as_well(engine: _core.Engine) -> None:
    engine.keep_pages(["a"], 100_000)
    engine.page("a", 0, 10)
    engine.keep_pages(["b", "a"], 100_000)
    engine.page("a", 0, 10)
    assert engine.page_stats()["hits"] == 1


def test_a_board_made_anew_shows_nothing_old(engine: _core.Engine) -> None:
    engine.keep_pages(["a"], 100_000)
    before = engine.page("a", 0, 10)
    engine.drop_board("a")
    _commit(engine)
    with pytest.raises(_core.NotFoundError):
        engine.page("a", 0, 10)
    _create(engine, "a")
    # As many changes as before: the versions are equal, the boards are not.
    for score in range(before[2]):
        engine.submit("a", "zoe", score)
        _commit(engine)
    page, board_id, version = engine.page("a", 0, 10)
    assert version == before[2]
    assert board_id != before[1]
    assert [row["member"] for row in json.loads(page)["entries"]] == ["zoe"]


def test_pages_take_no_more_bytes_than_they_may() -> None:
    engine = _engine()
    boards = [f"board-{n}" for n in range(20)]
    for board in boards:
        _create(engine, board, 100)
    engine.keep_pages(boards, 1_000_000)
    for board in boards:
        engine.page(board, 0, 100)
    size = engine.page_stats()["bytes"] // 20
    engine.keep_pages(boards, 5 * size + 100)
    stats = engine.page_stats()
    assert (stats["entries"], stats["evictions"]) == (5, 15)
    # Those that were read last are left.
    for board in boards[15:]:
        engine.page(board, 0, 100)
    assert engine.page_stats()["hits"] == 5
    engine.page(boards[15], 0, 100)
    engine.page(boards[0], 0, 100)
    assert engine.page_stats()["bytes"] <= 5 * size + 100
    engine.page(boards[15], 0, 100)
    engine.page(boards[16], 0, 100)
    assert engine.page_stats()["hits"] == 7
    engine.keep_pages(boards, size // 2)
    engine.page(boards[0], 0, 100)
    assert engine.page_stats()["refused"] == 1
    with pytest.raises(_core.InvalidError, match="at most 1024 boards"):
        engine.keep_pages([str(n) for n in range(1025)], size)


def test_no_reader_sees_a_version_older_than_one_that_was_committed(
    engine: _core.Engine,
) -> None:
    engine.keep_pages(["a"], 100_000)
    committed = engine.page("a", 0, 10)[2]
    stopped = threading.Event()
    reads = [0, 0, 0]
    failures: list[tuple[int, int, int]] = []

    def read(reader: int) -> None:
        while not stopped.is_set():
            before = committed
            page, _, version = engine.page("a", 0, 10)
            shown = json.loads(page)["version"]
            if not before <= version == shown:
                failures.append((before, version, shown))
            reads[reader] += 1

    readers = [threading.Thread(target=read, args=(n,)) for n in range(len(reads))]
    for reader in readers:
        reader.start()
    for score in itertools.count(1000):
        engine.submit("a", "player-001", score)
        _commit(engine)
        committed = json.loads(engine.describe("a"))["version"]
        # Whoever waits for the interpreter gets it.
        time.sleep(0)
        if min(reads) >= 300:
            break
    stopped.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert engine.page_stats()["hits"] > 0
