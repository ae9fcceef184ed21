"""`rankwire migrate`: what it would change, what it changes, and when it refuses to."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fix_engine import Kept, sql
from fix_postgres import Database, postgres_tool
from fix_postgres_node import Node
from rankwire.cli import main
from rankwire.storage.keys import KEYS_FILE
from rankwire.storage.migrate import migrations
from rankwire.storage.sqlite import SqliteStorage
from storage import golden, golden_postgres

_SQLITE = ("journal", "boards", "profiles", "keys")
_DONE = "The schema is that of this version.\n"
_NEWER = "which this version of Rankwire does not know: it was written by a newer one"
_FUTURE = "INSERT INTO schema_migrations (number, name, sha256) VALUES (99, '0099_x.sql', '')"


def _migrate(*words: str) -> Result:
    return CliRunner().invoke(main, ["migrate", *words])


def _names(*databases: str) -> list[str]:
    return [f"{name}/{step.name}" for name in databases for step in migrations(name)]


def test_nothing_is_made_by_a_look(directory: Path) -> None:
    seen = _migrate("--check", "--storage-path", str(directory))
    assert seen.exit_code == 1
    assert seen.output.splitlines()[:-1] == _names(*_SQLITE)
    assert not directory.exists()


def test_an_empty_directory_gets_what_a_server_would_make(directory: Path) -> None:
    place = ("--storage-path", str(directory))
    made = _migrate(*place)
    assert (made.exit_code, made.output.splitlines()[:-1]) == (0, _names(*_SQLITE))
    for words in (place, ("--check", *place)):
        again = _migrate(*words)
        assert (again.exit_code, again.output) == (0, _DONE)
    assert stat.S_IMODE((directory / KEYS_FILE).stat().st_mode) == 0o600
    with Kept(directory) as kept:
        kept.create("a")
        assert kept.submit("a", "ann", 1)["rank"] == 1


def test_old_data_is_brought_up_and_means_the_same(directory: Path, tmp_path: Path) -> None:
    golden.load(golden.FIRST, directory)
    golden.load(golden.FIRST, tmp_path / "other")
    place = ("--storage-path", str(directory))
    lacking = _migrate("--check", *place)
    assert lacking.exit_code == 1
    done = _migrate(*place)
    assert done.exit_code == 0
    assert done.output.splitlines()[:-1] == lacking.output.splitlines()[:-1]
    with Kept(directory) as kept, Kept(tmp_path / "other") as other:
        assert kept.boards == other.boards != {}


def test_a_directory_that_a_server_uses_is_left_alone(directory: Path) -> None:
    golden.load(golden.FIRST, directory)
    with closing(SqliteStorage(directory, 1.0)):
        refused = _migrate("--storage-path", str(directory))
        assert refused.exit_code == 1
        assert f"another Rankwire uses the storage in {directory}" in refused.output
        # What this part of a server does not make.
        still = _migrate("--check", "--storage-path", str(directory))
        assert still.output.splitlines()[:-1] == _names("profiles", "keys")
    assert _migrate("--storage-path", str(directory)).exit_code == 0


def test_a_newer_storage_is_refused_and_not_changed(directory: Path) -> None:
    Kept(directory).close()
    sql(directory / "boards.sqlite", _FUTURE)
    for words in ((), ("--check",)):
        refused = _migrate(*words, "--storage-path", str(directory))
        assert refused.exit_code == 1
        assert _NEWER in refused.output
    assert {file.name for file in directory.glob("*.sqlite")} == {"journal.sqlite", "boards.sqlite"}


def test_a_storage_that_cannot_be_had_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    failed = _migrate("--storage-path", str(tmp_path / "file"))
    assert failed.exit_code == 1
    assert "cannot change the schema" in failed.output
    failed = _migrate("--storage-url", "postgresql://nobody@127.0.0.1:1/none")
    assert failed.exit_code == 1
    assert "cannot read the schema" in failed.output


@pytest.mark.parametrize("number", golden_postgres.FORMATS)
def test_old_tables_of_postgres_are_brought_up(postgres: Database, number: int) -> None:
    golden_postgres.load(postgres_tool("psql"), postgres.url, number)
    place = ("--storage-url", postgres.url)
    newer = [f"postgres/{step.name}" for step in migrations("postgres") if step.number > number]
    lacking = _migrate("--check", *place)
    assert lacking.exit_code == (1 if newer else 0)
    assert postgres.sql("SELECT max(number) FROM schema_migrations") == [(number,)]
    done = _migrate(*place)
    assert done.exit_code == 0
    if newer:
        assert done.output.splitlines()[:-1] == lacking.output.splitlines()[:-1] == newer
    assert _migrate("--check", *place).output == _DONE
    with Node(postgres.url) as node:
        digests = {f"{board:x}": [name, size, digest] for board, name, size, digest in node.boards}
        assert digests == golden_postgres.expected(number)["digests"]


def test_several_at_once_apply_each_migration_once(postgres: Database) -> None:
    look = _migrate("--check", "--storage-url", postgres.url)
    assert look.output.splitlines()[:-1] == _names("postgres")
    assert postgres.sql("SELECT to_regclass('schema_migrations')") == [(None,)]
    with ThreadPoolExecutor(4) as threads:
        words = ["migrate", "--storage-url", postgres.url]
        # Runners share standard output; what they say is not looked at here.
        codes = list(threads.map(lambda _: _code(words), range(4)))
    assert codes == [0] * 4
    found = postgres.sql("SELECT number, sha256 FROM schema_migrations ORDER BY number")
    assert found == [(step.number, step.sha256) for step in migrations("postgres")]


def _code(words: list[str]) -> int:
    try:
        main(words)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_newer_tables_of_postgres_are_refused(postgres: Database) -> None:
    assert _migrate("--storage-url", postgres.url).exit_code == 0
    postgres.sql(_FUTURE)
    for words in ((), ("--check",)):
        refused = _migrate(*words, "--storage-url", postgres.url)
        assert refused.exit_code == 1
        assert _NEWER in refused.output
