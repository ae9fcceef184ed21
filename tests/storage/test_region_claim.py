"""Whose a database is: named once, moved by `adopt` only, and kept in backups."""

from __future__ import annotations

import struct
from pathlib import Path

import psycopg
import pytest

from fix_postgres import Database
from fix_postgres_node import Node
from fix_region_journal import Place
from fix_server import until
from fix_storage import NewPlace
from rankwire.settings import Storage
from rankwire.storage import Batch, StorageError
from rankwire.storage.proof import Report, offline
from rankwire.storage.region_claim import IS_USED, adopt
from rankwire.storage.region_journal import RegionJournal
from rankwire.storage.source import open_source
from rankwire.storage.transfer import examine, open_target, restore, save

_REGIONS = "SELECT DISTINCT region FROM origins ORDER BY region"


def _stopped(place: Place) -> None:
    """End its nodes."""
    for node in place.nodes:
        node.storage.close()
    place.journal.close()


def _save(url: str, file: Path) -> None:
    source = open_source(Storage(url=url))
    with file.open("wb") as opened:
        save(source, opened, lambda _: None)
    source.close()


def _adopt(url: str, region: str) -> None:
    """Adopt a database whose nodes have just been stopped."""
    with psycopg.connect(url, autocommit=True) as connection:
        until(lambda: connection.execute(IS_USED).fetchone() == (False,), "the end of all sessions")
    adopt(Storage(url=url), region)


def _restore(file: Path, kept: Storage) -> None:
    contents = examine(file, lambda _: None)
    target = open_target(kept)
    try:
        restore(file, contents, target, lambda _: None)
    finally:
        target.close()


def _proof(url: str) -> Report:
    source = open_source(Storage(url=url))
    try:
        return offline(source, lambda *_: None)
    finally:
        source.close()


def test_what_was_there_becomes_the_first_regions(postgres: Database) -> None:
    with Node(postgres.url) as node:
        node.create("a")
        assert node.checkpoint()
        boards = node.boards
    with Node(postgres.url, region="eu") as node:
        assert node.boards == boards
        assert postgres.sql(_REGIONS) == [("eu",)]
        with RegionJournal(Storage(url=postgres.url), "eu") as journal:
            served = journal.serve({}, ["us"])
            assert [row.region for row in served.origins] == ["eu"]
            assert [each.batch for each in journal.serve({}, ["eu"]).batches] == [b""]


@pytest.mark.parametrize(
    ("region", "what"), [("us", "this server's region is us"), ("", "the settings name no region")]
)
def test_the_database_of_another_region_is_refused(
    postgres: Database, region: str, what: str
) -> None:
    Node(postgres.url, region="eu").storage.close()
    with pytest.raises(StorageError) as caught:
        Node(postgres.url, region=region)
    assert str(caught.value).startswith(f"the database belongs to the region eu, and {what}: ")
    assert "`rankwire regions adopt`" in str(caught.value)
    Node(postgres.url, region="eu").storage.close()


@pytest.mark.parametrize("name", ["US East!", "", "x" * 33])
def test_a_database_is_given_no_name_that_settings_cannot_say(
    postgres: Database, name: str
) -> None:
    Node(postgres.url, region="eu").storage.close()
    with pytest.raises(StorageError, match="a region cannot be called"):
        adopt(Storage(url=postgres.url), name)
    assert postgres.sql("SELECT region FROM cluster") == [("eu",)]


def test_a_copy_becomes_another_regions(pair: list[Place]) -> None:
    """As one that a region lost all of its own with; its old runs are its own again."""
    eu, us = pair
    eu.nodes[0].create("a")
    us.pull(eu)
    us.nodes[0].catch_up()
    us.nodes[0].submit("a", "ann", 1)
    boards = us.nodes[0].boards
    assert us.journal.begin()
    assert us.journal.extend_lease(1, None)
    ((cluster,),) = us.sql("SELECT id FROM cluster")
    # What the region commits after the copy was made.
    eu.nodes[0].submit("a", "bob", 1)
    eu.nodes[0].storage.close()
    _stopped(us)
    _adopt(us.url, "eu")
    ((renamed, region),) = us.sql("SELECT id, region FROM cluster")
    assert region == "eu"
    assert renamed != cluster
    with RegionJournal(Storage(url=us.url), "eu") as journal, Node(us.url, region="eu") as node:
        assert node.boards == boards
        state = journal.state()
        assert (state.epoch, state.primary, state.is_open, state.links) == (1, "us", False, [])
        origins = journal.origins()
        assert origins[eu.nodes[0].engine.origin] == "eu"
        assert origins[us.nodes[0].engine.origin] == "us"
        # Its peers give that back.
        served = eu.journal.serve(journal.vector(), [])
        journal.insert(served.origins, served.batches)
        node.catch_up()
        node.storage.tidy()
        assert journal.open_origins() == []
        assert [size for _, _, size, _ in node.boards] == [2]


def test_a_database_in_use_is_not_adopted(postgres: Database) -> None:
    with Node(postgres.url, region="eu"), pytest.raises(StorageError, match="stop all nodes first"):
        adopt(Storage(url=postgres.url), "us")
    _adopt(postgres.url, "us")
    Node(postgres.url, region="us").storage.close()


def test_a_database_without_a_region_is_not_adopted(postgres: Database) -> None:
    """Nobody knows then which of its runs were where."""
    Node(postgres.url).storage.close()
    with pytest.raises(StorageError, match="belongs to no region"):
        _adopt(postgres.url, "us")


def test_repairs_of_the_old_region_have_to_be_in_the_checkpoint(postgres: Database) -> None:
    """They count in one region only, and a batch that has some tells by its first byte."""
    with Node(postgres.url, region="eu") as node:
        node.storage.append(Batch(1, struct.pack("<BI", 3, 0)))
    with pytest.raises(StorageError, match=r"repairs .* count in that database only"):
        _adopt(postgres.url, "us")
    postgres.sql("INSERT INTO vector SELECT origin, number FROM journal")
    _adopt(postgres.url, "us")


def test_a_backup_knows_its_region(pair: list[Place], tmp_path: Path, new_place: NewPlace) -> None:
    eu, us = pair
    eu.nodes[0].create("a", policy="sum")
    us.pull(eu)
    node = us.nodes[0]
    node.catch_up()
    node.submit("a", "ann", 1)
    assert node.checkpoint()
    eu.nodes[0].submit("a", "bob", 2)
    us.pull(eu)
    node.catch_up()
    node.submit("a", "cem", 3)
    assert us.journal.begin()
    _save(us.url, tmp_path / "file")
    restored = new_place("postgres")
    _restore(tmp_path / "file", restored.settings)
    url = restored.settings.url
    with pytest.raises(StorageError, match="belongs to the region us"):
        Node(url, region="eu")
    with RegionJournal(restored.settings, "us") as journal, Node(url, region="us") as again:
        assert again.boards == node.boards
        assert journal.vector() == us.journal.vector()
        assert journal.origins() == us.journal.origins() | {again.engine.origin: "us"}
        state = journal.state()
        assert (state.epoch, state.primary, state.is_open) == (1, "us", False)
        # What came later is fetched as if nothing had happened.
        eu.nodes[0].submit("a", "bob", 2)
        node.submit("a", "cem", 3)
        eu.pull(us)
        served = eu.journal.serve(journal.vector(), [])
        journal.insert(served.origins, served.batches)
        again.catch_up()
        eu.nodes[0].catch_up()
        assert again.boards == eu.nodes[0].boards
    assert _proof(url).differences == []


def test_a_backup_without_regions_has_the_first_format(postgres: Database, tmp_path: Path) -> None:
    for region, number in (("", 1), ("eu", 2)):
        Node(postgres.url, region=region).storage.close()
        _save(postgres.url, tmp_path / f"{number}")
        head = (tmp_path / f"{number}").read_bytes()[16:20]
        assert struct.unpack(">I", head) == (number,)


def test_a_backup_of_a_region_does_not_go_into_sqlite(
    postgres: Database, tmp_path: Path, new_place: NewPlace
) -> None:
    Node(postgres.url, region="eu").storage.close()
    _save(postgres.url, tmp_path / "file")
    target = new_place("sqlite")
    with pytest.raises(StorageError, match="only be restored into PostgreSQL"):
        _restore(tmp_path / "file", target.settings)
    assert target.state().boards == {}


def test_a_proof_takes_all_regions_batches(pair: list[Place]) -> None:
    eu, us = pair
    eu.nodes[0].create("a")
    us.pull(eu)
    us.nodes[0].catch_up()
    us.nodes[0].submit("a", "ann", 1)
    report = _proof(us.url)
    assert (report.differences, report.batches) == ([], 2)


def test_a_restored_backup_becomes_another_regions(
    pair: list[Place], tmp_path: Path, new_place: NewPlace
) -> None:
    eu, us = pair
    eu.nodes[0].create("a")
    us.pull(eu)
    us.nodes[0].catch_up()
    us.nodes[0].submit("a", "ann", 1)
    _save(us.url, tmp_path / "file")
    kept = new_place("postgres").settings
    _restore(tmp_path / "file", kept)
    adopt(kept, "eu")
    with RegionJournal(kept, "eu") as journal:
        assert journal.origins() == us.journal.origins()
    with Node(kept.url, region="eu") as node:
        assert node.boards == us.nodes[0].boards
