"""Recovery: the last checkpoint and the journal behind it give the boards as they were."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from fix_engine import Kept, boards_sql, journal_sql, journal_tail, rows
from rankwire import _core
from rankwire.storage import StorageError

_CONFIGS: dict[str, dict[str, Any]] = {
    "best-int": {"policy": "best"},
    "last-float-asc": {"policy": "last", "score": "float64", "order": "asc", "ties": "last"},
    "sum-int": {"policy": "sum", "ties": "member"},
    "sum-float": {"policy": "sum", "score": "float64"},
    "best-asc": {"policy": "best", "order": "asc", "ties": "last", "player_submits": True},
}


def _one_write(kept: Kept, chance: random.Random) -> None:
    """Do one of everything that can happen to a board."""
    board = chance.choice([*_CONFIGS])
    member = f"m{chance.randrange(12)}"
    at_ms = chance.choice([None, None, chance.randrange(0, 5)])
    match chance.randrange(20):
        case 0:
            kept.drop(board)
            kept.create(board, **_CONFIGS[board])
        case 1 | 2 if any(row[1] == member for row in rows(kept.engine, board)):
            kept.remove(board, member)
        case 3 | 4:
            items = [(f"m{chance.randrange(12)}", chance.randrange(-3, 4), None) for _ in range(5)]
            kept.commit(kept.engine.submit_batch(board, items))
        case _:
            kept.submit(board, member, chance.randrange(-3, 4), at_ms)


@pytest.mark.parametrize("seed", range(4))
def test_any_history_with_any_checkpoints_comes_back_as_it_was(directory: Path, seed: int) -> None:
    chance = random.Random(seed)
    with Kept(directory) as kept:
        for board, config in _CONFIGS.items():
            kept.create(board, **config)
        before = kept.boards
    for _ in range(12):
        with Kept(directory) as kept:
            assert kept.boards == before
            for _ in range(chance.randrange(12)):
                _one_write(kept, chance)
                if chance.random() < 0.2:
                    kept.checkpoint()
            before = kept.boards
    assert any(board["rows"] for board in before.values())


def test_without_a_checkpoint_the_journal_alone_is_enough(directory: Path) -> None:
    with Kept(directory) as kept:
        kept.create("a", policy="sum")
        for amount in range(1, 11):
            kept.submit("a", "ann", amount)
        before = kept.boards
    assert boards_sql(directory, "SELECT count(*) FROM boards") == [(0,)]
    with Kept(directory) as kept:
        assert kept.boards == before
        assert rows(kept.engine, "a") == [(1, "ann", 55)]


def test_a_checkpoint_alone_is_enough(directory: Path) -> None:
    with Kept(directory) as kept:
        kept.create("a", policy="sum")
        kept.submit("a", "ann", 5)
        kept.checkpoint()
        before = kept.boards
    assert journal_tail(directory) == 0
    with Kept(directory) as kept:
        assert kept.boards == before
        assert kept.checkpoint() is False, "nothing is newer than the checkpoint"


def test_a_batch_in_the_checkpoint_is_not_applied_again(directory: Path) -> None:
    with Kept(directory) as kept:
        kept.create("a", policy="sum")
        kept.submit("a", "ann", 5)
        kept.checkpoint()
    # Replaying from further back is allowed: the vector knows what is in already.
    boards_sql(directory, "UPDATE progress SET journal_seq = 0")
    with Kept(directory) as kept:
        assert rows(kept.engine, "a") == [(1, "ann", 5)]


def test_a_late_score_for_a_removed_member_stays_void(directory: Path) -> None:
    with Kept(directory) as kept:
        kept.create("a", policy="sum")
        kept.submit("a", "ann", 5)
        kept.checkpoint()
        kept.remove("a", "ann")
        kept.checkpoint()
        kept.submit("a", "ann", 1)
        kept.remove("a", "ann")
        kept.submit("a", "ann", 2)
    with Kept(directory) as kept:
        assert rows(kept.engine, "a") == [(1, "ann", 2)]
        kept.remove("a", "ann")
        kept.checkpoint()
    ((generation,),) = boards_sql(directory, "SELECT generation FROM members")
    assert generation == 3
    with Kept(directory) as kept:
        assert rows(kept.engine, "a") == []
        kept.submit("a", "ann", 9)
    with Kept(directory) as kept:
        assert rows(kept.engine, "a") == [(1, "ann", 9)]


def test_times_go_on_after_a_restart(directory: Path) -> None:
    """Equal scores rank by who came first, also across a restart."""
    for number in range(3):
        with Kept(directory) as kept:
            kept.create("a")
            kept.submit("a", f"{9 - number}", 7)
            if number == 0:
                kept.checkpoint()
    with Kept(directory) as kept:
        assert [member for _, member, _ in rows(kept.engine, "a")] == ["9", "8", "7"]


_DAY = 86_400_000 << 16


@pytest.mark.parametrize("checkpoint", [False, True])
def test_times_go_on_when_the_clock_was_set_back(directory: Path, checkpoint: bool) -> None:
    """Who came first stays first, although the clock now says that it is to come tomorrow."""
    with Kept(directory) as kept:
        kept.create("a")
        kept.submit("a", "ann", 7)
        origin = kept.engine.origin
        if checkpoint:
            kept.checkpoint()
    if checkpoint:
        boards_sql(directory, "UPDATE members SET stamp = stamp + ?", _DAY)
    else:
        ((batch,),) = journal_sql(directory, "SELECT batch FROM journal WHERE seq = 2")
        # The one record ends with stamp and generation, the batch with a checksum.
        before, (stamp,), generation = batch[:-16], struct.unpack("<Q", batch[-16:-8]), batch[-8:-4]
        content = before + struct.pack("<Q", stamp + _DAY) + generation
        checksum = zlib.crc32(struct.pack("<QQ", origin, 2) + content)
        later = content + struct.pack("<I", checksum)
        journal_sql(directory, "UPDATE journal SET batch = ? WHERE seq = 2", later)
    with Kept(directory) as kept:
        kept.submit("a", "bob", 7)
        kept.submit("a", "cem", 7)
        assert [member for _, member, _ in rows(kept.engine, "a")] == ["ann", "bob", "cem"]


def test_every_start_writes_under_an_origin_of_its_own_and_the_journal_has_no_gaps(
    directory: Path,
) -> None:
    for _ in range(3):
        with Kept(directory) as kept:
            kept.create("a", policy="sum")
            kept.submit("a", "ann", 1)
            kept.submit("a", "ann", 1)
    journal = journal_sql(directory, "SELECT seq, origin, number FROM journal ORDER BY seq")
    assert [seq for seq, _, _ in journal] == [*range(1, len(journal) + 1)]
    assert len({origin for _, origin, _ in journal}) == 3
    for origin in {origin for _, origin, _ in journal}:
        numbers = [number for _, o, number in journal if o == origin]
        assert numbers == [*range(1, len(numbers) + 1)]


def test_a_failed_checkpoint_leaves_nothing_and_the_next_has_everything(directory: Path) -> None:
    with Kept(directory) as kept:
        kept.create("a")
        kept.submit("a", "ann", 1)
        kept.checkpoint()
        kept.submit("a", "bob", 2)
        before = boards_sql(directory, "SELECT * FROM members, boards, vector, progress")
        # The statement after the members fails: the rows are written and must be taken back.
        trigger = "BEFORE UPDATE ON progress BEGIN SELECT raise(ABORT, 'no'); END"
        boards_sql(directory, f"CREATE TRIGGER fault {trigger}")
        checkpoint = kept.engine.checkpoint()
        assert checkpoint is not None
        with pytest.raises(StorageError, match="cannot store a checkpoint: no"):
            kept.storage.store(checkpoint)
        checkpoint.give_back()
        assert boards_sql(directory, "SELECT * FROM members, boards, vector, progress") == before
        assert kept.engine.stats()["dirty_members"] == 1
        boards_sql(directory, "DROP TRIGGER fault")
        assert kept.checkpoint()
        before_restart = kept.boards
    assert journal_tail(directory) == 0
    with Kept(directory) as kept:
        assert kept.boards == before_restart


def test_a_damaged_batch_is_named(directory: Path) -> None:
    with Kept(directory) as kept:
        kept.create("a")
        kept.submit("a", "ann", 1)
        origin = kept.engine.origin
    ((batch,),) = journal_sql(directory, "SELECT batch FROM journal WHERE seq = 2")
    damaged = batch[:-1] + bytes([batch[-1] ^ 1])
    journal_sql(directory, "UPDATE journal SET batch = ? WHERE seq = 2", damaged)
    with pytest.raises(_core.CorruptError) as caught:
        Kept(directory)
    assert caught.value.args == (
        f"journal batch 2 of origin {origin:016x}: checksum mismatch",
        None,
        None,
    )


@pytest.mark.parametrize("byte", [0, 1, 5, 6, -5, -1])
def test_any_flipped_bit_is_noticed(directory: Path, byte: int) -> None:
    with Kept(directory) as kept:
        kept.create("a")
        kept.submit("a", "ann", 1)
    ((batch,),) = journal_sql(directory, "SELECT batch FROM journal WHERE seq = 2")
    damaged = bytearray(batch)
    damaged[byte] ^= 0x10
    journal_sql(directory, "UPDATE journal SET batch = ? WHERE seq = 2", bytes(damaged))
    with pytest.raises(_core.CorruptError, match="journal batch 2 of origin"):
        Kept(directory)


def test_a_batch_in_the_wrong_place_is_refused(directory: Path) -> None:
    with Kept(directory) as kept:
        kept.create("a", policy="sum")
        kept.submit("a", "ann", 1)
        kept.submit("a", "ann", 2)
    journal_sql(
        directory,
        "UPDATE journal SET batch = (SELECT batch FROM journal WHERE seq = 3) WHERE seq = 2",
    )
    with pytest.raises(_core.CorruptError, match="checksum mismatch"):
        Kept(directory)


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("whole_run", [False, True])
def test_a_missing_batch_is_noticed(directory: Path, checkpoint: bool, whole_run: bool) -> None:
    with Kept(directory) as kept:
        kept.create("a", policy="sum")
        if checkpoint:
            kept.checkpoint()
        kept.submit("a", "ann", 1)
    with Kept(directory) as kept:
        kept.submit("a", "ann", 2)
        if not whole_run:
            kept.submit("a", "ann", 4)
    with Kept(directory) as kept:
        kept.submit("a", "ann", 8)
    # The third batch is the only one of its run, or the first of two.
    journal_sql(directory, "DELETE FROM journal WHERE seq = 3")
    with pytest.raises(_core.CorruptError, match="missing"):
        Kept(directory)


def test_a_journal_that_is_older_than_the_checkpoint_is_refused(directory: Path) -> None:
    """Going on would number new batches as if the checkpoint had them already."""
    with Kept(directory) as kept:
        kept.create("a")
        kept.submit("a", "ann", 1)
        kept.checkpoint()
    for file in directory.glob("journal.sqlite*"):
        file.unlink()
    with pytest.raises(
        _core.CorruptError, match=r"^\('the journal ends at 0, the checkpoint goes to 2'"
    ):
        Kept(directory)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE boards SET ties = 'sometimes'",
        "UPDATE boards SET seed = x'00'",
        "UPDATE boards SET player_submits = 2",
        "UPDATE vector SET number = -1",
        "UPDATE members SET generation = -1",
        "INSERT INTO boards SELECT id + 1, 'b', score, 'up', policy, ties, seed, 1, 0 FROM boards",
    ],
)
def test_a_checkpoint_that_contradicts_itself_is_refused(directory: Path, damage: str) -> None:
    with Kept(directory) as kept:
        kept.create("a")
        kept.submit("a", "ann", 1)
        kept.checkpoint()
    boards_sql(directory, damage)
    with pytest.raises(_core.CorruptError, match="the checkpoint is damaged"):
        Kept(directory)


@pytest.mark.parametrize("file", ["journal.sqlite", "boards.sqlite"])
def test_a_file_that_is_no_database_is_refused(directory: Path, file: str) -> None:
    Kept(directory).close()
    for old in directory.glob(f"{file}*"):
        old.unlink()
    (directory / file).write_bytes(b"score,member\n" * 1000)
    with pytest.raises(StorageError, match=r"cannot open the storage in .*not a database"):
        Kept(directory)
