"""First pages that are kept: predicted from reads per change, kept on, and taken back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from fix_engine import commit
from rankwire import _core
from rankwire.ops.caching import meter
from rankwire.ops.caching.first_pages import FirstPages
from rankwire.ops.caching.switch import Limits
from rankwire.storage.sqlite import SqliteStorage

BOARDS: Final = [f"b{number}" for number in range(5)]
LIMITS: Final = (10, 25, 100)
LEAST: Final = 100.0
QUIET: Final = "quiet"
"""A board that the last minute did not see."""


class BusyTraffic:
    """The traffic of an engine whose last minute is the test's, as nobody waits for it."""

    def __init__(self, traffic: _core.Traffic) -> None:
        self.reads = dict.fromkeys(BOARDS, 1_000)
        self.curve = traffic.curve

    def heavy(self, kind: str, limit: int) -> list[tuple[str, int, int]]:
        if kind == "page":
            pages = [
                f"{board}?offset=0&limit={number}" for board in self.reads for number in LIMITS
            ]
            return [(page, 300, 0) for page in [*pages, "b0?offset=100&limit=10"]][:limit]
        return [(board, reads, 7) for board, reads in self.reads.items()][:limit]


class BusyEngine:
    """An engine with such a traffic."""

    def __init__(self, engine: _core.Engine) -> None:
        self.traffic = BusyTraffic(engine.traffic)
        self.page_stats = engine.page_stats
        self.keep_pages = engine.keep_pages


class Boards:
    """Boards that are read and written, and the strategy that watches them."""

    def __init__(self, path: Path) -> None:
        self.storage = SqliteStorage(path, 1.0)
        self.engine = self.storage.recover(1_000, 1_000)
        self.engine.watch_traffic(True)
        for board in [*BOARDS, QUIET]:
            self.engine.create_board(board, "int64", "desc", "best", "first")
        commit(self.engine, self.storage)
        self.busy = BusyEngine(self.engine)
        stands_in: Any = self.busy
        self.pages = FirstPages(stands_in, Limits(1_000_000, 60.0, LEAST), 0.0)
        self.limits: tuple[int, ...] = LIMITS
        self.quiet_reads = 0
        """Of the quiet board, with each of another."""
        self.now = 0.0
        self._chance = random.Random(1)
        self._score = 0

    @property
    def found(self) -> int:
        """First pages that were not made anew, of all boards."""
        stats = self.engine.page_stats()
        return int(stats["reads"] - stats["built"])

    def minutes(self, number: int, *, reads_a_change: float, apply: bool = True) -> None:
        """Read for so long, looking each minute."""
        for _ in range(number):
            for _ in range(1_200):
                board = self._chance.choice(BOARDS)
                self.engine.page(board, 0, self._chance.choice(self.limits))
                for _ in range(self.quiet_reads):
                    self.engine.page(QUIET, 0, self._chance.choice(LIMITS))
                if self._chance.random() * reads_a_change < 1.0:
                    self._score += 1
                    self.engine.submit(self._chance.choice(BOARDS), "ada", self._score)
                    commit(self.engine, self.storage)
            self.now += 60.0
            self.pages.look(self.now, apply=apply)


@pytest.fixture
def boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Boards]:
    monkeypatch.setattr(meter, "LEAST_QUESTIONS", 1_000)
    boards = Boards(tmp_path)
    yield boards
    boards.storage.close()


def test_pages_are_kept_as_predicted(boards: Boards) -> None:
    boards.minutes(2, reads_a_change=30, apply=False)
    advised = boards.pages.strategy()
    assert (advised.state, advised.memory_bytes) == ("off", None)
    assert advised.reason.startswith("advised")
    assert boards.engine.page_stats()["entries"] == 0
    boards.minutes(4, reads_a_change=30)
    kept = boards.pages.strategy()
    assert (kept.state, kept.entries) == ("on", len(BOARDS))
    assert kept.predicted_hit_rate is not None
    assert kept.measured_hit_rate is not None
    assert kept.baseline_hit_rate is not None
    assert kept.measured_hit_rate == pytest.approx(kept.predicted_hit_rate, abs=0.05)
    # A board keeps one page by itself, so every third read found its page before.
    assert kept.baseline_hit_rate == pytest.approx(0.3, abs=0.05)
    assert kept.memory_bytes == boards.engine.page_stats()["bytes"] > 0
    freed = boards.pages.freed(730.0)
    assert freed.resource == "processor"
    assert freed.hits_per_second == pytest.approx(
        20 * (kept.measured_hit_rate or 0) - 20 * 0.3, 0.2
    )


def test_only_what_is_found_more_often_is_freed(boards: Boards) -> None:
    """A board that is not kept is read ten times as often as all the others together."""
    boards.quiet_reads = 10
    boards.minutes(1, reads_a_change=200, apply=False)
    advised, told = boards.pages.strategy(), boards.pages.freed(730.0)
    assert advised.predicted_hit_rate is not None
    assert advised.baseline_hit_rate is not None
    # Of the five boards 15 first pages were read, each of them 300 times in the last minute.
    gain = advised.predicted_hit_rate - advised.baseline_hit_rate
    assert told.hits_per_second == pytest.approx(15 * 300 / 60 * gain)
    before = boards.found
    boards.minutes(1, reads_a_change=200)
    without = (boards.found - before) / 60
    assert boards.pages.strategy().state == "on"
    # What was promised is of a part of the pages, and no window of all of them is over yet.
    assert boards.pages.freed(730.0).hits_per_second is None
    before = boards.found
    boards.minutes(4, reads_a_change=200)
    more = (boards.found - before) / 240 - without
    assert boards.pages.freed(730.0).hits_per_second == pytest.approx(more, rel=0.1, abs=2.0)
    assert more < 20


def test_writes_that_come_more_often_take_them_back(boards: Boards) -> None:
    boards.minutes(3, reads_a_change=30)
    assert boards.pages.strategy().state == "on"
    boards.minutes(1, reads_a_change=2)
    assert boards.pages.strategy().state == "rolled_back"
    assert boards.engine.page_stats()["entries"] == 0
    boards.minutes(8, reads_a_change=30)
    assert boards.pages.strategy().state == "rolled_back"
    # The curve forgets the writes at its own pace: ten minutes of this process, which are not over.
    boards.minutes(3, reads_a_change=30)
    assert boards.pages.strategy().state == "on"


def test_what_brings_too_little_is_not_done(boards: Boards) -> None:
    """A board that is read in one way only keeps its page by itself."""
    boards.limits = (10,)
    boards.minutes(3, reads_a_change=30)
    strategy = boards.pages.strategy()
    assert strategy.state == "off"
    assert "no gain that counts" in strategy.reason


def test_only_boards_above_the_threshold_are_kept(boards: Boards) -> None:
    """Of the reads of each, seven are not certain."""
    boards.busy.traffic.reads |= {"b0": 108, "b1": 107}
    boards.minutes(4, reads_a_change=30)
    assert boards.pages.pattern().names == ["b0", "b2", "b3", "b4"]
    assert boards.pages.strategy().entries == 4
    boards.busy.traffic.reads.clear()
    boards.minutes(1, reads_a_change=30)
    assert boards.pages.pattern().found is False
    assert boards.engine.page_stats()["entries"] == 0
    assert boards.pages.strategy().state == "on"


def test_the_curve_of_pages_is_told_once_there_is_one(boards: Boards) -> None:
    assert boards.pages.curve() is None
    boards.minutes(1, reads_a_change=30, apply=False)
    curve = boards.pages.curve()
    assert curve is not None
    assert [point.entries for point in curve.points][-1] == 1024
