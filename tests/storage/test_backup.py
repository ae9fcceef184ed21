"""Backups: what a file holds, where it can be restored, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import msgspec
import pytest

from fix_storage import KINDS, Kind, NewPlace, Place, fill
from rankwire.settings import Storage
from rankwire.storage import StorageError, backup, transfer
from rankwire.storage.backup import BackupError, Board, Counts, Members, Writer, check, output, read
from rankwire.storage.keys import ApiKey, open_keys
from rankwire.storage.proof import State
from rankwire.storage.source import open_source
from rankwire.storage.transfer import examine
from storage import golden_backup

KEYS = [
    ApiKey("a" * 12, "game", bytes(range(32)), ("read", "submit"), ("cup", "season-*"), 1000),
    ApiKey("b" * 12, "of the Ärzte", b"\xff" * 32, ("operator",), (), 2000, 3000),
]


def _add_keys(place: Place) -> None:
    with open_keys(place.settings) as store:
        for key in KEYS:
            store.add(key)


def _filled(place: Place) -> State:
    with place.open() as node:
        fill(node)
        state = node.state
    _add_keys(place)
    return state


# From every kind of storage to every kind.


@pytest.mark.parametrize("target", KINDS)
def test_what_was_saved_comes_back(
    place: Place, new_place: NewPlace, target: Kind, tmp_path: Path
) -> None:
    state = _filled(place)
    file = tmp_path / "boards.rwb"
    counts = place.backup(file)
    assert (counts.boards, counts.batches, counts.keys) == (3, 5, 2)
    assert check(file) == counts
    restored = new_place(target)
    restored.restore(file)
    assert restored.offline().differences == []
    with open_keys(restored.settings) as store:
        assert store.all() == KEYS
    with restored.open() as node:
        assert node.state.boards == state.boards
        assert node.state.vector == state.vector
        # And it goes on: names are known, generations hold, a checkpoint can follow.
        node.create("new")
        node.submit("sum", "bob", 1)
        node.engine.drop_board("gone")
        node.commit()
        node.checkpoint()
        after = node.state
    assert restored.state().boards == after.boards
    assert restored.offline().differences == []


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_taken_after_a_restore(new_place: NewPlace, kind: Kind, tmp_path: Path) -> None:
    """Of boards in the checkpoint and behind it; those that ended are free."""
    source, target = new_place("sqlite"), new_place(kind)
    with source.open() as node:
        node.create("kept")
        node.create("ended")
        node.checkpoint()
        node.create("late")
        node.engine.drop_board("ended")
        node.commit()
    source.backup(tmp_path / "b")
    target.restore(tmp_path / "b")
    if kind == "postgres":
        found = target.boards_sql("SELECT name FROM names ORDER BY name")
        assert found == [("kept",), ("late",)]
    with target.open() as node:
        node.create("ended")


def test_a_second_backup_of_the_restored_is_the_same(
    place: Place, new_place: NewPlace, tmp_path: Path
) -> None:
    _filled(place)
    first, second = tmp_path / "first", tmp_path / "second"
    place.backup(first)
    other = new_place("postgres" if place.kind == "sqlite" else "sqlite")
    other.restore(first)
    other.backup(second)
    again = new_place(place.kind)
    again.restore(second)
    again.backup(tmp_path / "third")

    def content(file: Path) -> list[object]:
        return _normal(file)

    assert content(tmp_path / "third") == content(first) == content(second)


def _normal(file: Path) -> list[object]:
    """What a backup says, apart from where it was made and how it is cut."""
    rows: list[object] = []
    members: list[object] = []
    for record in read(file):
        match record:
            case backup.About():
                pass
            case Members(board=board, rows=some):
                # PostgreSQL keeps scores for people as doubles, exact up to 2**53.
                members += [
                    (board, member, None if score is None else float(score), *key)
                    for member, score, *key in some
                ]
            case backup.Batches(rows=batches):
                rows += batches
            case backup.Vector(origins=origins, dropped=dropped):
                rows += [*sorted(origins), sorted(dropped)]
            case _:
                rows.append(record)
    return [rows, sorted(members, key=repr)]


def test_an_empty_storage_can_be_saved(place: Place, new_place: NewPlace, tmp_path: Path) -> None:
    with place.open():
        pass
    assert place.backup(tmp_path / "b") == Counts()
    other = new_place("sqlite")
    other.restore(tmp_path / "b")
    assert other.state().boards == {}


def test_a_storage_that_is_not_there_cannot_be_saved(place: Place, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no storage in "):
        place.backup(tmp_path / "b")
    assert not (tmp_path / "b").exists()
    assert not place.settings.path.exists()


def test_a_backup_while_a_node_runs_has_what_was_committed(
    place: Place, new_place: NewPlace, tmp_path: Path
) -> None:
    """The snapshot begins when the source opens; a checkpoint and more come while it is read."""
    with place.open() as node:
        fill(node)
        before = node.state
        source = open_source(place.settings)
        node.submit("best", "late", 9)
        node.checkpoint()
        node.submit("best", "later", 10)
        with output(tmp_path / "b", replace=False) as file:
            transfer.save(source, file, lambda _: None)
        source.close()
        node.submit("best", "last", 11)
    other = new_place(place.kind)
    other.restore(tmp_path / "b")
    assert other.state() == before


def test_profiles_travel(new_place: NewPlace, tmp_path: Path) -> None:
    row = ("ann", "Ann Ä", None, '{"level":7,"big":1e308}', 1_700_000_000_123_456)
    file = _written(tmp_path / "0", ABOUT, VECTOR, backup.Profiles([row]))
    for number, kind in enumerate(("sqlite", "postgres", "sqlite"), start=1):
        place = new_place(kind)  # type: ignore[arg-type]
        place.restore(file)
        file = tmp_path / f"{number}"
        assert place.backup(file).profiles == 1
        (found,) = [record for record in read(file) if isinstance(record, backup.Profiles)]
        assert found.rows == [row]


# What is refused.


def test_only_an_empty_storage_is_restored_into(place: Place, tmp_path: Path) -> None:
    state = _filled(place)
    place.backup(tmp_path / "b")
    with pytest.raises(StorageError, match=r"the storage in .* is not empty"):
        place.restore(tmp_path / "b")
    assert place.state() == state


def test_a_storage_with_only_a_journal_is_not_empty(place: Place, tmp_path: Path) -> None:
    with place.open() as node:
        node.create("b")
    place.backup(tmp_path / "b")
    with pytest.raises(StorageError, match="is not empty"):
        place.restore(tmp_path / "b")


def test_a_storage_in_use_is_not_restored_into(
    place: Place, new_place: NewPlace, tmp_path: Path
) -> None:
    source = new_place("sqlite")
    _filled(source)
    source.backup(tmp_path / "b")
    with place.open() as node:
        with pytest.raises(StorageError, match="uses the storage in"):
            place.restore(tmp_path / "b")
        node.create("mine")
        assert [board.name for board in node.state.boards.values()] == ["mine"]


def test_keys_that_are_there_stay(place: Place, new_place: NewPlace, tmp_path: Path) -> None:
    _filled(place)
    place.backup(tmp_path / "b")
    other = new_place(place.kind)
    with open_keys(other.settings) as store:
        store.add(KEYS[0])
        store.revoke(KEYS[0].id, 5000)
    other.restore(tmp_path / "b")
    with open_keys(other.settings) as store:
        assert [key.revoked_ms for key in store.all()] == [5000, 3000]


def test_a_restore_that_fails_leaves_nothing(
    place: Place, new_place: NewPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last rows are the ones that fail, when all others have been written."""
    source = new_place("sqlite")
    state = _filled(source)
    source.backup(tmp_path / "b")
    contents = examine(tmp_path / "b", lambda _: None)
    target = transfer.open_target(place.settings)

    def broken(path: Path) -> object:
        for record in read(path):
            if isinstance(record, backup.Keys):
                raise BackupError("on purpose")
            yield record

    with monkeypatch.context() as context:
        context.setattr(backup, "read", broken)
        with pytest.raises(BackupError, match="on purpose"):
            transfer.restore(tmp_path / "b", contents, target, lambda _: None)
    target.close()
    assert place.boards_sql("SELECT count(*) FROM boards") == [(0,)]
    assert place.journal_sql("SELECT count(*) FROM journal") == [(0,)]
    # And it can be tried again.
    place.restore(tmp_path / "b")
    assert place.state() == state


def test_scores_that_nodes_would_round_differently_do_not_go_to_them(
    new_place: NewPlace, tmp_path: Path
) -> None:
    place = new_place("sqlite")
    with place.open() as node:
        node.create("a", "float64", "desc", "sum", "first")
        node.create("dropped", "float64", "desc", "sum", "first")
        node.checkpoint()
        node.create("b", "float64", "desc", "sum", "first")
        node.create("fine", "float64", "desc", "best", "first")
        node.engine.drop_board("dropped")
        node.commit()
    place.backup(tmp_path / "b")
    assert examine(tmp_path / "b", lambda _: None).rounding == ["a", "b"]


# The file.


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    file = tmp_path / "whole"
    golden_backup.copy(file)
    return file


def test_backups_of_the_first_format_are_restored(
    whole: Path, new_place: NewPlace, tmp_path: Path
) -> None:
    for kind in KINDS:
        place = new_place(kind)
        place.restore(whole)
        found = {
            f"{board:x}": [digest.name, digest.total, digest.digest]
            for board, digest in place.state().boards.items()
        }
        assert found == golden_backup.expected()
    assert tmp_path.is_dir()


def test_every_cut_is_noticed(whole: Path) -> None:
    content = whole.read_bytes()
    for size in range(0, len(content), 7):
        whole.write_bytes(content[:size])
        with pytest.raises(BackupError, match=r"is damaged: it ends too early|is not a backup"):
            check(whole)


def test_every_flipped_byte_is_noticed(whole: Path) -> None:
    content = whole.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 0x11
        whole.write_bytes(changed)
        with pytest.raises(BackupError, match=r"damaged|is not a backup"):
            check(whole)


def test_more_at_the_end_is_noticed(whole: Path) -> None:
    with whole.open("ab") as file:
        file.write(b"x")
    with pytest.raises(BackupError, match="checksum does not match"):
        check(whole)


def test_a_newer_format_says_so(whole: Path) -> None:
    content = bytearray(whole.read_bytes())
    content[16:20] = struct.pack(">I", 3)
    whole.write_bytes(content)
    with pytest.raises(BackupError, match=r"has format 3, .* knows formats up to 2: .* newer"):
        check(whole)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04" * 100, gzip.compress(b"x" * 1000)], ids=["empty", "zip", "gzip"]
)
def test_what_is_no_backup_says_so(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "foreign"
    file.write_bytes(content)
    with pytest.raises(BackupError, match=r"foreign is not a backup of Rankwire"):
        check(file)


def _written(file: Path, *records: backup.Record) -> Path:
    with file.open("wb") as opened:
        writer = Writer(opened)
        for record in records:
            writer.add(record)
        writer.finish()
    return file


ABOUT = backup.About("0", "sqlite", 0)
VECTOR = backup.Vector([], [])
BOARD = Board(1, "b", "int64", "desc", "best", "first", bytes(16), 1, 0)


@pytest.mark.parametrize(
    "records",
    [[], [VECTOR, ABOUT], [ABOUT, BOARD, VECTOR], [ABOUT, VECTOR, Members(1, []), BOARD]],
)
def test_records_out_of_order_are_refused(tmp_path: Path, records: list[backup.Record]) -> None:
    file = _written(tmp_path / "b", *records)
    check(file)
    with pytest.raises(BackupError, match=r"out of order|does not hold what its end says"):
        examine(file, lambda _: None)


def test_a_journal_that_does_not_fit_its_checkpoint_is_refused(
    new_place: NewPlace, tmp_path: Path
) -> None:
    place = new_place("sqlite")
    with place.open() as node:
        node.create("b")
        node.submit("b", "ann", 1)
        node.submit("b", "ann", 2)
    place.backup(tmp_path / "b")
    records = list(read(tmp_path / "b"))
    (batches,) = [record for record in records if isinstance(record, backup.Batches)]
    holed = backup.Batches([batches.rows[0], batches.rows[2]])
    file = _written(tmp_path / "holed", *(holed if r is batches else r for r in records))
    with pytest.raises(BackupError, match=r"lacks batches before number 3 of origin"):
        examine(file, lambda _: None)


def test_a_wrong_number_of_rows_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "b"
    with file.open("wb") as opened:
        writer = Writer(opened)
        writer.add(ABOUT)
        writer.add(VECTOR)
        writer.counts.members = 1
        writer.finish()
    check(file)
    with pytest.raises(BackupError, match="does not hold what its end says"):
        examine(file, lambda _: None)


def test_a_file_that_is_exchanged_meanwhile_is_not_restored(place: Place, tmp_path: Path) -> None:
    file = _written(tmp_path / "b", ABOUT, VECTOR, BOARD)
    contents = examine(file, lambda _: None)
    _written(file, ABOUT, VECTOR)
    target = transfer.open_target(place.settings)
    with pytest.raises(BackupError, match="has changed meanwhile"):
        transfer.restore(file, contents, target, lambda _: None)
    target.close()
    assert place.boards_sql("SELECT count(*) FROM vector") == [(0,)]
    if place.kind == "postgres":
        assert place.boards_sql("SELECT count(*) FROM names") == [(0,)]


def test_files_of_sqlite_are_written_in_one_transaction(new_place: NewPlace) -> None:
    """SQLite promises that of several files only where they have rollback journals."""
    target = transfer.open_target(new_place("sqlite").settings)
    database = target._database  # type: ignore[attr-defined]  # noqa: SLF001
    schemas = [name for _, name, _ in database.execute("PRAGMA database_list")]
    assert sorted(schemas) == ["journal", "keys", "main", "profiles"]
    for schema in schemas:
        assert database.execute(f"PRAGMA {schema}.journal_mode").fetchone() == ("delete",)
        assert database.execute(f"PRAGMA {schema}.synchronous").fetchone() == (2,)
    target.close()


def test_scores_for_people_are_whole_on_boards_of_integers(
    new_place: NewPlace, tmp_path: Path
) -> None:
    source, target = new_place("postgres"), new_place("sqlite")
    _filled(source)
    source.backup(tmp_path / "b")
    target.restore(tmp_path / "b")
    query = (
        "SELECT members.score, typeof(members.score) "
        "FROM members JOIN boards ON id = board WHERE name = ?"
    )
    found = set(target.boards_sql(query + " AND code IS NOT NULL", "best"))
    # Beyond 2**53 PostgreSQL keeps the nearest double, for people.
    assert found == {(7, "integer"), (-(2.0**63), "real"), (2.0**63, "real")}
    assert {kind for _, kind in target.boards_sql(query, "last")} == {"real"}


def test_frames_are_bounded(tmp_path: Path) -> None:
    rows: list[backup.MemberRow] = [(f"member-{n:0100}", n, n, n, 0) for n in range(10_000)]
    file = _written(tmp_path / "b", ABOUT, VECTOR, BOARD, *[Members(1, rows)] * 5)
    sizes = []
    content = file.read_bytes()[20:]
    while size := struct.unpack(">I", content[:4])[0]:
        sizes.append(len(gzip.decompress(content[4 : 4 + size])))
        content = content[4 + size :]
    assert len(sizes) == 5
    assert max(sizes) < 2_000_000
    # Nothing but the trailer is left: its length, and the checksum of all before.
    (size,) = struct.unpack(">I", content[4:8])
    assert msgspec.msgpack.decode(content[8 : 8 + size])["members"] == 50_000
    assert content[8 + size :] == hashlib.sha256(file.read_bytes()[:-32]).digest()


def test_a_file_is_there_when_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "b"
    with output(file, replace=False) as opened:
        opened.write(b"one")
        assert not file.exists()
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(BackupError, match="is there already; --force"), output(file, replace=False):
        pytest.fail("the work began")
    late = tmp_path / "late"
    with pytest.raises(BackupError, match="is there already"), output(late, replace=False):
        late.write_bytes(b"mine")
    assert late.read_bytes() == b"mine"
    late.unlink()

    def fail() -> None:
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError), output(file, replace=True):
        fail()
    assert file.read_bytes() == b"one"
    with output(file, replace=True) as opened:
        opened.write(b"two")
    assert file.read_bytes() == b"two"
    assert [found.name for found in tmp_path.iterdir()] == ["b"]


def test_a_storage_of_an_older_version_says_what_to_do(new_place: NewPlace) -> None:
    place = new_place("sqlite")
    with place.open():
        pass
    place.boards_sql("DELETE FROM schema_migrations WHERE number = 3")
    with pytest.raises(StorageError, match=r"boards\.sqlite was written by an older version"):
        open_source(Storage(path=place.settings.path))
