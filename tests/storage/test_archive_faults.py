"""Archives while everything fails: killed runs, stores that lose or change what they have."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fix_archive import DAYS, Failing, NewOld, Old, age
from fix_storage import KINDS, Kind
from rankwire.storage.archive import ArchiveError, decode, encode, encode_rows
from rankwire.storage.archive_reader import Archive
from rankwire.storage.objects import ObjectStoreError

# In the order in which runs that go on get to them, one after the other.
POINTS = (
    ("before put segment", 1),
    ("before link", 2),
    ("after put segment", 1),
    ("before put manifest", 1),
    ("after put manifest", 1),
    ("before detach", 1),
    ("after detach", 1),
    ("before drop", 1),
    ("after drop", 1),
    ("before discard", 1),
    ("after discard", 1),
)


def _is_for_rows(point: str) -> bool:
    return point.split()[1] not in {"detach", "drop"}


def test_a_run_that_is_killed_anywhere_is_finished_by_the_next(old: Old, tmp_path: Path) -> None:
    rows = age(old.place)
    before = old.journal
    for point, call in POINTS:
        if old.kind == "postgres" or _is_for_rows(point):
            assert old.run_and_die(point, call) == -signal.SIGKILL, point
            there = {row[0] for row in [*old.journal, *old.detached, *old.archived]}
            assert there == {row[0] for row in before}, f"something is lost {point}"
            assert old.place.offline().differences == [], f"there is a gap {point}"
    assert old.run().left == []
    old.check(before, rows)
    assert old.restored(tmp_path) == rows


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_that_fails_at_any_call_loses_nothing(
    new_old: NewOld, kind: Kind, tmp_path: Path
) -> None:
    old = new_old(kind)
    rows = age(old.place)
    before = old.journal
    call = 1
    while True:
        store = Failing(old.store, call)
        try:
            old.archiver(store).run(DAYS)
        except ObjectStoreError:
            assert store.failed
        there = {row[0] for row in [*old.journal, *old.detached, *old.archived]}
        assert there == {row[0] for row in before}, "something is lost"
        if not store.failed:
            break
        call += 1
    assert call > 10
    old.check(before, rows)
    assert old.restored(tmp_path) == rows


def test_a_store_that_is_away_lets_nothing_be_dropped(new_old: NewOld, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for kind in KINDS:
        old = new_old(kind, (tmp_path / "file" / "archive").as_uri())
        age(old.place)
        before = old.journal
        with pytest.raises(ObjectStoreError, match="Not a directory"):
            old.run()
        assert old.journal == before


def test_a_flipped_bit_is_found_and_nothing_is_dropped(old: Old) -> None:
    age(old.place)
    before = old.journal
    old.lifecycle().hold("keep")
    old.run()
    archive = Archive(old.store, old.lifecycle().cluster())
    name = archive.names()[1]
    old.lifecycle().release()
    file = Path(old.store.where) / name.segment
    content = bytearray(file.read_bytes())
    for place in (3, len(content) // 2, len(content) - 1):
        content[place] ^= 4
        file.write_bytes(content)
        found = old.lifecycle().verify()
        assert len([words for words in found.problems if name.segment in words]) == 1
        assert any("are missing" in words for words in found.problems)
        with pytest.raises(ArchiveError, match=r"is damaged|is not "):
            old.run()
        assert {row[0] for row in old.journal} >= {row[0] for row in before[6:]}
        content[place] ^= 4
    file.write_bytes(content)
    assert old.lifecycle().verify().problems == []
    old.run()
    assert old.journal == before[60:]


def test_a_segment_or_manifest_that_vanished_is_found(old: Old) -> None:
    age(old.place)
    old.run()
    archive = Archive(old.store, old.lifecycle().cluster())
    first, second = archive.names()[:2]
    last = archive.names()[-1]
    old.store.delete(first.segment)
    old.store.delete(second.manifest)
    old.store.delete(last.manifest)
    old.store.delete(last.segment)
    found = old.lifecycle().verify()
    assert f"{first.segment} is gone" in found.problems
    assert any("are neither archived nor in the journal" in words for words in found.problems)
    assert any("have no manifest" in words and second.segment in words for words in found.notes)


def test_verify_takes_a_run_beside_it_for_no_fault(old: Old) -> None:
    age(old.place)
    lifecycle = old.lifecycle()
    listed = old.store.list

    class Beside:
        """An archive is made right after the first listing."""

        is_first = True

        def list(self, folder: str) -> Sequence[str]:
            found = listed(folder)
            if self.is_first:
                self.is_first = False
                old.run()
            return found

        def __getattr__(self, method: str) -> Any:
            return getattr(old.store, method)

    lifecycle.store = Beside()
    found = lifecycle.verify()
    assert (found.problems, found.notes) == ([], [])


def test_what_was_changed_in_the_journal_is_not_dropped(old: Old) -> None:
    """As when two copies of a database archive into one place."""
    age(old.place)
    old.lifecycle().hold("keep")
    old.run()
    old.lifecycle().release()
    old.place.journal_sql("UPDATE journal SET batch = ? WHERE number = 1", b"other")
    with pytest.raises(ArchiveError, match=r"batch 1 of origin .* is archived otherwise"):
        old.run()
    assert len(old.journal) == 62


def test_a_store_that_gives_back_something_else_is_not_believed(old: Old) -> None:
    age(old.place)
    before = old.journal
    for wanted in (".segment", ".json"):

        class Changing:
            """Gives back one byte less of some objects."""

            where = ""

            def __init__(self, suffix: str) -> None:
                self._suffix = suffix

            def get(self, name: str, most_bytes: int) -> bytes | None:
                content = old.store.get(name, most_bytes)
                is_changed = content is not None and name.endswith(self._suffix)
                return content[:-2] if is_changed and content is not None else content

            def __getattr__(self, method: str) -> Any:
                return getattr(old.store, method)

        with pytest.raises(ArchiveError, match=r"is damaged"):
            old.archiver(Changing(wanted)).run(DAYS)
        assert old.journal == before


def test_a_segment_that_is_not_what_was_put_gets_no_manifest(old: Old) -> None:
    """As when something else stands there under that name."""
    age(old.place)
    before = old.journal

    class Other:
        where = ""

        def get(self, name: str, most_bytes: int) -> bytes | None:
            content = old.store.get(name, most_bytes)
            if content is None or not name.endswith(".segment"):
                return content
            return encode(encode_rows(decode(content, name)[:-1]))

        def __getattr__(self, method: str) -> Any:
            return getattr(old.store, method)

    with pytest.raises(ArchiveError, match=r"has other batches than were stored there"):
        old.archiver(Other()).run(DAYS)
    assert Archive(old.store, old.lifecycle().cluster()).names() == []
    assert old.journal == before


def test_what_vanishes_between_two_rounds_is_missed_before_the_drop(new_old: NewOld) -> None:
    old = new_old("postgres")
    age(old.place)
    archiver = old.archiver()
    assert archiver.run(DAYS, most_segments=1).has_more
    (name,) = Archive(old.store, old.lifecycle().cluster()).names()
    old.store.delete(name.segment)
    with pytest.raises(ArchiveError, match=r"is gone"):
        archiver.run(DAYS)
    assert len({row[0] for row in [*old.journal, *old.detached]}) == 62
