"""The journal's life in a server and on the command line."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from fix_archive import Failing, NewOld, Old, age, batches_of
from fix_server import NewServer, until
from fix_storage import KINDS
from rankwire.cli._ops_archive import command
from rankwire.ops import lifecycle as lifecycle_module
from rankwire.ops.lifecycle import Keeper
from rankwire.storage.archive import week_of
from rankwire.storage.archive_source import open_archive_source
from rankwire.storage.objects import ObjectStoreError


def _run(*words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(command, words)
    assert done.exit_code == code, done.output + done.stderr
    return done


@contextmanager
def _keeping(keeper: Keeper) -> Iterator[Keeper]:
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.stop()


# The command line.


def test_the_life_of_an_archive(old: Old, tmp_path: Path) -> None:
    rows = age(old.place)
    before = old.journal
    assert "Nothing is archived." in _run("list", *old.flags).output
    dry = _run("run", "--dry-run", *old.flags).output
    assert "would archive" in dry
    assert "and drop them" in dry
    assert old.journal == before
    done = _run("run", *old.flags).output
    assert f"Dropped 60 batches of {sum(len(row[4]) for row in rows):,} bytes" in done
    assert "Nothing is older than 90 days" in _run("run", "--dry-run", *old.flags).output
    listed = _run("list", *old.flags).output
    weeks = {week_of(row[3]) for row in rows}
    assert all(week in listed for week in weeks)
    assert "segments are good: 60 batches" in _run("verify", *old.flags).output
    file = tmp_path / "back.sqlite"
    span = ("--from", "2020-01-01", "--to", "2100-01-01T00:00:00Z")
    restored = _run("restore", str(file), *span, *old.flags).output
    assert "Restored 60 batches from" in restored
    assert file.stat().st_mode & 0o777 == 0o600
    assert batches_of(file) == rows
    with closing(sqlite3.connect(file)) as found:
        score = "SELECT member, int64 FROM records WHERE type = 'score' AND member = 'm41'"
        assert found.execute(score).fetchall() == [("m41", 41)]
        assert found.execute("SELECT name FROM records WHERE type = 'create'").fetchall() == [
            ("cup",)
        ]
    assert "is there already" in _run("restore", str(file), *span, *old.flags, code=1).stderr


def test_only_the_asked_time_comes_back(old: Old, tmp_path: Path) -> None:
    rows = age(old.place)
    _run("run", *old.flags)
    first, end = rows[20][3] // 1_000_000, rows[33][3] // 1_000_000
    wanted = [row for row in rows if first * 1_000_000 <= row[3] < end * 1_000_000]
    assert 5 < len(wanted) < 20
    file = tmp_path / "back.sqlite"
    _run("restore", str(file), "--from", _moment(first), "--to", _moment(end), *old.flags)
    assert batches_of(file) == wanted


def _moment(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def test_postgresql_gets_tables_that_can_be_asked(new_old: NewOld) -> None:
    old = new_old("postgres")
    age(old.place)
    _run("run", *old.flags)
    span = ("--from", "2020-01-01", "--to", "2100-01-01")
    for _ in range(2):
        done = _run("restore", "--into-database", *span, *old.flags)
        assert "60 batches" in done.output
    (found,) = old.place.journal_sql(
        "SELECT count(*), max(int64) FROM journal_restored_records JOIN names USING (board)"
        " WHERE names.name = 'cup' AND type = 'score'"
    )
    assert found == (59, 58)
    sqlite = new_old("sqlite")
    age(sqlite.place)
    wrong = _run("restore", "--into-database", *span, *sqlite.flags, code=2)
    assert "--into-database is for PostgreSQL" in wrong.stderr


def test_holds_are_placed_listed_and_released(old: Old) -> None:
    age(old.place)
    assert "nothing of the journal is dropped" in _run("hold", "case 4711", *old.flags).output
    assert "and keep them" in _run("run", "--dry-run", *old.flags).output
    assert "There is a legal hold" in _run("run", *old.flags).output
    assert len(old.journal) == 62
    assert ": case 4711" in _run("list", *old.flags).output
    assert "Released: case 4711" in _run("release", *old.flags).output
    assert "There was no hold" in _run("release", *old.flags).output
    assert "Dropped 60 batches" in _run("run", *old.flags).output


def test_a_hold_counts_even_if_the_store_is_away(old: Old, tmp_path: Path) -> None:
    age(old.place)
    (tmp_path / "archive").write_text("in the way")
    failed = _run("hold", "case 1", *old.flags, code=1)
    assert "the hold stands, and nothing is dropped, but" in failed.stderr
    (tmp_path / "archive").unlink()
    assert "There is a legal hold" in _run("run", *old.flags).output
    assert ": case 1" in _run("list", *old.flags).output
    assert len(old.journal) == 62


def test_damage_ends_verify_with_1(old: Old, tmp_path: Path) -> None:
    age(old.place)
    _run("run", *old.flags)
    file = min((tmp_path / "archive").rglob("*.segment"))
    file.write_bytes(file.read_bytes()[:-1])
    done = _run("verify", *old.flags, code=1)
    assert f"Problem: {file.relative_to(tmp_path / 'archive')} is damaged" in done.output
    span = ("--from", "2020-01-01", "--to", "2100-01-01")
    back = tmp_path / "back.sqlite"
    assert "is damaged" in _run("restore", str(back), *span, *old.flags, code=1).stderr
    assert not back.exists()


def test_an_archive_outlives_its_database(new_old: NewOld, tmp_path: Path) -> None:
    old = new_old("sqlite")
    rows = age(old.place)
    _run("run", *old.flags)
    cluster = old.lifecycle().cluster()
    flags = ("--cluster", cluster, "--ops-archive-url", old.url)
    gone = ("--storage-path", str(tmp_path / "gone"))
    assert "20" in _run("list", *flags, *gone).output
    assert "60 batches" in _run("verify", *flags, *gone).output
    span = ("--from", "2020-01-01", "--to", "2100-01-01")
    _run("restore", str(tmp_path / "back"), *span, *flags, *gone)
    assert batches_of(tmp_path / "back") == rows
    assert "32 characters" in _run("list", "--cluster", "../x", code=2).stderr


def test_wrong_use_says_what_is_right(tmp_path: Path) -> None:
    assert "ops.archive_url: found nothing" in _run("run", code=2).stderr
    url = ("--ops-archive-url", (tmp_path / "a").as_uri())
    place = ("--storage-path", str(tmp_path / "none"))
    assert "there is no storage in" in _run("run", *url, *place, code=1).stderr
    assert "begins with 'ftp'" in _run("run", "--ops-archive-url", "ftp://x", code=1).stderr
    span = ("--from", "2026-02-01", "--to", "2026-02-01")
    assert "has to be before" in _run("restore", "f", *span, *url, code=2).stderr
    assert "name a FILE" in _run("restore", *span, *url, code=2).stderr
    assert "1 to 500 characters" in _run("hold", " ", *url, code=2).stderr


def test_stop_ends_the_archive(old: Old) -> None:
    age(old.place)
    assert "The journal was not archived" in _run("stop", *old.place.flags).output
    _run("run", *old.flags)
    assert "the old journal is dropped unarchived" in _run("stop", *old.place.flags).output
    assert "The journal was not archived" in _run("stop", *old.place.flags).output


def test_stop_says_where_there_is_nothing(tmp_path: Path) -> None:
    place = ("--storage-path", str(tmp_path / "none"))
    assert "there is no storage in" in _run("stop", *place, code=1).stderr


@pytest.mark.parametrize(
    "words",
    [(), ("run",), ("list",), ("verify",), ("restore",), ("hold",), ("release",), ("stop",)],
)
def test_help_ends_with_examples(words: tuple[str, ...]) -> None:
    assert "rankwire ops archive" in _run(*words, "--help").output.partition("Examples:")[2]


# In a server.


def test_a_keeper_archives_while_it_leads_and_says_what_it_did(old: Old) -> None:
    rows = age(old.place)
    leads = threading.Event()
    keeper = Keeper(old.lifecycle(), leads.is_set)
    assert keeper.round() < 60
    assert len(old.journal) == 62
    leads.set()
    with _keeping(keeper):
        until(lambda: keeper.totals.last_success is not None, "a round")
    assert old.archived == rows
    totals = keeper.totals
    assert (totals.dropped_batches, totals.failures, totals.is_held) == (60, 0, False)
    assert totals.stored_bytes > 0
    assert keeper.trouble is None


def test_a_store_that_is_away_is_trouble_and_drops_nothing(old: Old, tmp_path: Path) -> None:
    age(old.place)
    before = old.journal
    (tmp_path / "archive").write_text("in the way")
    keeper = Keeper(old.lifecycle(), lambda: True)
    with capture_logs() as logs:
        for _ in range(3):
            assert keeper.round() <= 60
    assert [entry["log_level"] for entry in logs] == ["warning"], "said once"
    assert "Not a directory" in (keeper.trouble or "")
    assert keeper.totals.failures == 3
    assert keeper.totals.last_success is None
    assert old.journal == before
    (tmp_path / "archive").unlink()
    keeper.round()
    assert keeper.trouble is None
    assert len(old.journal) == 2


def test_a_round_that_fails_counts_what_it_did(old: Old) -> None:
    age(old.place)
    lifecycle = old.lifecycle()
    lifecycle._archiver = old.archiver(Failing(old.store, 30))  # noqa: SLF001
    keeper = Keeper(lifecycle, lambda: True)
    with capture_logs() as logs:
        keeper.round()
    totals = keeper.totals
    assert (totals.failures, totals.last_success) == (1, None)
    assert "nothing more of it is dropped" in logs[0]["event"]
    assert 0 < totals.dropped_batches == 62 - len(old.journal) < 60
    assert totals.stored_bytes > 0
    keeper.round()
    assert totals.dropped_batches == 60
    assert totals.last_success is not None
    assert len(old.journal) == 2


def test_what_is_in_use_is_tried_again_after_a_while(new_old: NewOld) -> None:
    """Each attempt may hold up commits."""
    old = new_old("postgres")
    age(old.place)
    keeper = Keeper(old.lifecycle(), lambda: True)
    with psycopg.connect(old.place.settings.url) as reader:
        reader.execute("LOCK TABLE journal IN ACCESS SHARE MODE")
        assert keeper.round() == 60
    assert keeper.round() > 60
    assert len(old.journal) == 2


def test_a_store_that_hangs_holds_up_no_stop(
    new_old: NewOld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle_module, "_STOP_SECONDS", 0.1)
    old = new_old("sqlite")
    age(old.place)
    lifecycle = old.lifecycle()
    reached, go_on = threading.Event(), threading.Event()

    class Hanging:
        def __getattr__(self, method: str) -> Any:
            reached.set()
            go_on.wait()
            raise ObjectStoreError("it was away")

    lifecycle._archiver._store = Hanging()  # noqa: SLF001
    keeper = Keeper(lifecycle, lambda: True)
    with old.place.open() as node:
        keeper.start()
        assert reached.wait(30)
        # Commits, checkpoints and tidying go on meanwhile.
        node.submit("cup", "busy", 1)
        node.checkpoint()
        node.storage.tidy()
        keeper.stop()
        assert keeper.trouble is None, "it hangs still"
        go_on.set()
        until(lambda: keeper.trouble == "it was away", "the end of the round")


def test_it_works_beside_a_running_server(new_old: NewOld, new_server: NewServer) -> None:
    for kind in KINDS:
        old = new_old(kind)
        rows = age(old.place)
        flags = old.place.flags if kind == "postgres" else []
        # It keeps what is old itself, for this long.
        server = new_server(
            *flags, "--storage-journal-days", "3000", directory=old.place.settings.path
        ).start()
        server.submit("cup", "new", 5)
        _run("run", *old.flags)
        assert old.archived == rows
        server.submit("cup", "newer", 6)
        assert server.get("/v1/boards/cup/history?limit=1000").status == 200
        server.terminate()
        state = old.place.state()
        assert next(iter(state.boards.values())).total == 63


def test_two_that_archive_do_not_meet(old: Old) -> None:
    age(old.place)
    with open_archive_source(old.place.settings).open():
        keeper = Keeper(old.lifecycle(), lambda: True)
        keeper.round()
        assert keeper.trouble == "another process archives this journal now"
        failed = _run("run", *old.flags, code=1)
        assert "another process archives this journal now" in failed.stderr


def test_a_bucket_works_from_the_command_line(new_old: NewOld, bucket: str) -> None:
    old = new_old("sqlite", bucket)
    age(old.place)
    _run("run", *old.flags)
    assert "60 batches" in _run("verify", *old.flags).output
    _run("hold", "x", *old.flags)
    assert _run("release", *old.flags).output == "Released: x\n"
    assert "the-secret-word" not in _run("list", *old.flags).output
