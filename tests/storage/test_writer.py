"""The writer on a real storage: what is answered is stored, what is refused is not there."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from fix_engine import Kept, boards_of, boards_sql, journal_sql, journal_tail, keep, rows
from rankwire import _core
from rankwire.storage import Batch, StorageError
from rankwire.storage.sqlite import SqliteStorage

_BUSY = 0.05
_SECONDS = 20.0


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(_SECONDS):
        while not condition():  # noqa: ASYNC110  # conditions are of other threads
            await asyncio.sleep(0.005)


@contextmanager
def _locked(file: Path, how: str = "IMMEDIATE") -> Iterator[None]:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute(f"BEGIN {how}")
        yield
        other.execute("ROLLBACK")


class _Fault(SqliteStorage):
    """A real storage that stores a batch and then reports that it could not, when told to."""

    lies = 0

    def append(self, batch: Batch) -> None:
        super().append(batch)
        if self.lies:
            self.lies -= 1
            raise StorageError("the disk did not answer")


class _Counting(SqliteStorage):
    """A real storage that counts the checkpoints it was given."""

    stores = 0

    def store(self, checkpoint: _core.Checkpoint) -> None:
        self.stores += 1
        super().store(checkpoint)


class _Broken(SqliteStorage):
    """A storage with a mistake in it."""

    def append(self, batch: Batch) -> None:
        del batch
        raise ZeroDivisionError


class _BrokenCheckpoints(SqliteStorage):
    """A storage with a mistake elsewhere."""

    def store(self, checkpoint: _core.Checkpoint) -> None:
        del checkpoint
        raise ZeroDivisionError


async def test_what_is_answered_is_in_the_journal(directory: Path) -> None:
    async with keep(SqliteStorage(directory, _BUSY)) as running:
        await running.create("a", policy="sum")
        for number in range(1, 20):
            receipt = await running.submit("a", "ann", 1)
            assert receipt["score"] == number
            # Already there for someone else to see, without any goodbye.
            assert journal_sql(directory, "SELECT max(seq) FROM journal") == [(number + 1,)]


async def test_writes_that_come_together_share_a_commit(directory: Path) -> None:
    async with keep(SqliteStorage(directory, _BUSY)) as running:
        await running.create("a", policy="sum")
        await asyncio.gather(*(running.submit("a", f"m{n}", 1) for n in range(500)))
        assert journal_sql(directory, "SELECT max(seq) FROM journal")[0][0] < 10
        assert len(rows(running.engine, "a")) == 500


async def test_stopping_takes_a_last_checkpoint_and_refuses_what_comes(directory: Path) -> None:
    async with keep(SqliteStorage(directory, _BUSY)) as running:
        await running.create("a")
        answers = [asyncio.ensure_future(running.submit("a", f"m{n}", n)) for n in range(100)]
        await asyncio.sleep(0)
        await running.writer.stop()
        assert [answer["score"] for answer in await asyncio.gather(*answers)] == [*range(100)]
        with pytest.raises(_core.UnavailableError, match="shutting down"):
            await running.submit("a", "late", 1)
        before = boards_of(running.engine)
        # Stopped already; leaving the block is another stop.
    assert journal_tail(directory) == 0
    with Kept(directory) as kept:
        assert kept.boards == before


async def test_a_full_checkpoint_does_not_wait_for_its_time(directory: Path) -> None:
    storage = SqliteStorage(directory, _BUSY)
    async with keep(storage, checkpoint_members=10) as running:
        await running.create("a")
        for number in range(9):
            await running.submit("a", f"m{number}", 1)
        await running.submit("a", "m9", 1)
        await _until(lambda: journal_tail(directory) == 0)
        assert boards_sql(directory, "SELECT count(*) FROM members") == [(10,)]


async def test_a_small_checkpoint_comes_in_time(directory: Path) -> None:
    async with keep(SqliteStorage(directory, _BUSY), checkpoint_seconds=0.1) as running:
        await running.create("a")
        await running.submit("a", "ann", 1)
        await _until(lambda: boards_sql(directory, "SELECT count(*) FROM members") == [(1,)])


@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
async def test_a_locked_journal_refuses_writes_and_recovers_by_itself(
    directory: Path, how: str
) -> None:
    async with keep(SqliteStorage(directory, _BUSY)) as running:
        await running.create("a", policy="sum")
        await running.submit("a", "ann", 1)
        with _locked(directory / "journal.sqlite", how):
            with pytest.raises(_core.UnavailableError, match="could not commit"):
                await running.submit("a", "ann", 10)
            # From now on nobody waits.
            with pytest.raises(_core.UnavailableError, match="could not commit"):
                running.engine.submit("a", "ann", 100)
            assert running.writer.trouble == "cannot write to the journal: database is locked"
            assert rows(running.engine, "a") == [(1, "ann", 1)]
        await _until(lambda: running.writer.trouble is None)
        assert (await running.submit("a", "ann", 1000))["score"] == 1001
        assert running.engine.stats()["not_committed_total"] == 2
        before = boards_of(running.engine)
    with Kept(directory) as kept:
        assert kept.boards == before


async def test_stopping_while_the_journal_is_locked_ends_and_applies_nothing(
    directory: Path,
) -> None:
    async with keep(SqliteStorage(directory, _BUSY)) as running:
        await running.create("a", policy="sum")
        await running.submit("a", "ann", 1)
        with _locked(directory / "journal.sqlite"):
            with pytest.raises(_core.UnavailableError):
                await running.submit("a", "ann", 10)
            async with asyncio.timeout(_SECONDS):
                await running.writer.stop()
    with Kept(directory) as kept:
        assert rows(kept.engine, "a") == [(1, "ann", 1)]


async def test_a_locked_checkpoint_does_not_hold_up_writes(directory: Path) -> None:
    storage = _Counting(directory, _BUSY)
    async with keep(storage, checkpoint_members=1) as running:
        await running.create("a", policy="sum")
        with _locked(directory / "boards.sqlite"):
            # What a failed checkpoint had is in the next one, changed again or not.
            await running.submit("a", "once", 1)
            await _until(lambda: storage.stores > 0)
            number = 0
            while storage.stores < 4:
                number += 1
                assert (await running.submit("a", "ann", 1))["score"] == number
            assert boards_sql(directory, "SELECT count(*) FROM members") == [(0,)]
            assert running.writer.trouble is None
        rows_after = [("ann", number), ("once", 1)]
        query = "SELECT member, score FROM members ORDER BY member"
        await _until(lambda: boards_sql(directory, query) == rows_after)


@pytest.mark.parametrize("lies", [1, 3])
async def test_a_batch_that_was_stored_after_all_counts_once(directory: Path, lies: int) -> None:
    """The one case in which a refused write may turn out to be applied."""
    storage = _Fault(directory, _BUSY)
    async with keep(storage) as running:
        await running.create("a", policy="sum")
        total = 0
        for amount in (1, 10, 100)[:lies]:
            storage.lies = 1
            with pytest.raises(_core.UnavailableError, match="could not commit"):
                await running.submit("a", "ann", amount)
            total += amount
            await _until(lambda: running.writer.trouble is None)
            assert rows(running.engine, "a") == [(1, "ann", total)]
        assert (await running.submit("a", "ann", 1000))["score"] == total + 1000
        before = boards_of(running.engine)
    with Kept(directory) as kept:
        assert kept.boards == before
        assert rows(kept.engine, "a") == [(1, "ann", total + 1000)]


async def test_a_writer_that_breaks_answers_everyone_and_says_so(directory: Path) -> None:
    async with keep(_Broken(directory, _BUSY)) as running:
        answers = [running.submit("a", "ann", 1), running.create("a"), running.submit("a", "x", 1)]
        async with asyncio.timeout(_SECONDS):
            results = await asyncio.gather(*answers, return_exceptions=True)
            await running.writer.failed.wait()
        assert all(isinstance(result, _core.UnavailableError) for result in results), results
        assert running.writer.trouble == "the committer failed"
        with pytest.raises(_core.UnavailableError):
            await running.create("b")
    with Kept(directory) as kept:
        assert kept.boards == {}


def test_holds_tells_the_truth(directory: Path) -> None:
    with Kept(directory) as kept:
        storage = kept.storage
        kept.create("a")
        kept.engine.submit("a", "ann", 1)
        sealed = kept.engine.seal(0.0)
        assert sealed is not None
        assert sealed.number == 2
        assert [storage.holds(number) for number in (1, 2, 3)] == [True, False, False]
        with _locked(directory / "journal.sqlite"):
            for call in (
                lambda: storage.append(Batch(2, sealed.bytes)),
                lambda: storage.holds(1),
                lambda: storage.holds(2),
            ):
                with pytest.raises(StorageError, match="cannot write to the journal"):
                    call()
        assert [storage.holds(number) for number in (1, 2, 3)] == [True, False, False]
        storage.append(Batch(2, sealed.bytes))
        assert [storage.holds(number) for number in (1, 2, 3)] == [True, True, False]
        with pytest.raises(StorageError, match="cannot write to the journal"):
            storage.append(Batch(2, sealed.bytes))
        sealed.commit()
    with Kept(directory) as kept:
        # Numbers are those of the run: nothing of the run before is taken for one of this.
        assert [kept.storage.holds(number) for number in (1, 2)] == [False, False]
        kept.submit("a", "bob", 1)
        assert [kept.storage.holds(number) for number in (1, 2)] == [True, False]


async def test_a_checkpoint_thread_that_breaks_down_ends_the_service(directory: Path) -> None:
    async with keep(_BrokenCheckpoints(directory, _BUSY), checkpoint_seconds=0.1) as running:
        await running.create("a")
        await running.writer.failed.wait()
        assert running.writer.trouble == "the checkpointer failed"
        with pytest.raises(_core.UnavailableError):
            await running.submit("a", "ann", 1)
